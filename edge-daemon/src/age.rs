//! Ages as people write them.

use std::str::FromStr;
use std::time::Duration;

/// An age, written as `90s`, `15min`, `36h` or `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl FromStr for Age {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = unit.trim_start();
        let seconds = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| seconds);
        let number: Option<u64> = digits.parse().ok();
        let seconds = number.zip(seconds).and_then(|(number, seconds)| number.checked_mul(*seconds));
        let age = seconds.map(|seconds| Self(Duration::from_secs(seconds)));
        age.ok_or("an age is a whole number with a unit: s, min, h or d, as in 30d")
    }
}

const UNITS: [(&str, u64); 4] = [("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_with_their_unit() {
        let check = |text: &str, seconds| assert_eq!(text.parse(), Ok(Age(Duration::from_secs(seconds))));
        check("90s", 90);
        check("15min", 900);
        check("36 h", 129_600);
        check("30d", 2_592_000);
    }

    #[test]
    fn what_is_no_age_is_refused() {
        for text in ["", "30", "d", "1.5h", "-1d", "30m", "213503982334602d"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }
}

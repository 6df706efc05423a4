//! Numbers of bytes as people write them.

use std::str::FromStr;

/// A number of bytes, written as `4096`, `500MB` or `3GiB`: powers of 1,000, or of 1,024 with an `i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromStr for ByteSize {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let unit = unit.trim_start();
        let factor = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, factor)| factor);
        let number: Option<u64> = digits.parse().ok();
        let bytes = number.zip(factor).and_then(|(number, factor)| number.checked_mul(*factor));
        bytes.map(Self).ok_or("a size is a whole number of bytes with or without a unit, as 500MB or 3GiB")
    }
}

const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        let check = |text: &str, bytes| assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        check("4096", 4096);
        check("0B", 0);
        check("500MB", 500_000_000);
        check("3GiB", 3 << 30);
        check("16 mib", 16 << 20);
        check("1kB", 1_000);
        check("2TiB", 2 << 40);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "GiB", "-1", "1.5GiB", "3G", "3 parsecs", "99999999999TiB", "18446744073709551616"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}

//! How fast a line carries bytes, or a sensor gives events.

/// So many units a second, at most [`Pace::BURST_US`] of them at once.
#[derive(Debug)]
pub(crate) struct Pace {
    per_second: u64,
    /// What is allowed and was not taken yet, in millionths of a unit.
    allowed_micro: u64,
    updated_us: u64,
}

impl Pace {
    /// The longest time whose allowance is kept while nobody takes it, in microseconds.
    pub(crate) const BURST_US: u64 = 10_000;

    /// A pace of `per_second` units, beginning at `now_us`.
    pub(crate) const fn new(per_second: u64, now_us: u64) -> Self {
        Self { per_second, allowed_micro: 0, updated_us: now_us }
    }

    /// How many units may be taken at `now_us`.
    pub(crate) fn allowed(&mut self, now_us: u64) -> u64 {
        let elapsed_us = now_us.saturating_sub(self.updated_us);
        self.updated_us = now_us;
        let burst_micro = (self.per_second * Self::BURST_US).max(MICRO);
        self.allowed_micro = (self.allowed_micro + elapsed_us.min(MICRO) * self.per_second).min(burst_micro);
        self.allowed_micro / MICRO
    }

    /// Takes `units`, at most as many as are allowed.
    pub(crate) fn take(&mut self, units: u64) {
        self.allowed_micro = self.allowed_micro.saturating_sub(units.saturating_mul(MICRO));
    }
}

const MICRO: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_allows_its_rate_and_keeps_no_more_than_a_burst() {
        let mut pace = Pace::new(300_000, 0);
        assert_eq!(pace.allowed(0), 0);
        assert_eq!(pace.allowed(1_000), 300);
        pace.take(100);
        assert_eq!(pace.allowed(1_000), 200);
        assert_eq!(pace.allowed(1_000_000), 3_000);
        let taken: u64 = (0..1_000)
            .map(|n| {
                let allowed = pace.allowed(1_000_000 + n * 1_000);
                pace.take(allowed);
                allowed
            })
            .sum();
        assert_eq!(taken, 3_000 + 999 * 300);
    }

    #[test]
    fn a_slow_pace_still_allows_a_unit() {
        let mut pace = Pace::new(1, 0);
        assert_eq!(pace.allowed(999_999), 0);
        assert_eq!(pace.allowed(1_000_000), 1);
    }
}

//! Logging at a bounded rate: a broken cable must not fill the disk that it writes its complaints to.

use std::time::{Duration, Instant};

/// Lets one message through a period and counts the others.
#[derive(Debug)]
pub(crate) struct RateLimit {
    period: Duration,
    passed: Option<Instant>,
    withheld: u64,
}

impl RateLimit {
    /// A limit of one message each `period`.
    pub(crate) const fn new(period: Duration) -> Self {
        Self { period, passed: None, withheld: 0 }
    }

    /// Asks for `count` occurrences to be told of at `now`: `Some(all since the last that passed)`, or `None` while
    /// the period of the last has not ended.
    pub(crate) fn admit(&mut self, now: Instant, count: u64) -> Option<u64> {
        self.withheld = self.withheld.saturating_add(count);
        if count == 0 || self.passed.is_some_and(|passed| now.duration_since(passed) < self.period) {
            return None;
        }
        self.passed = Some(now);
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_passes_a_period_and_carries_the_count_of_the_withheld() {
        let start = Instant::now();
        let mut limit = RateLimit::new(Duration::from_secs(10));
        assert_eq!(limit.admit(start, 1), Some(1));
        assert_eq!(limit.admit(start + Duration::from_secs(1), 2), None);
        assert_eq!(limit.admit(start + Duration::from_millis(9_999), 1), None);
        assert_eq!(limit.admit(start + Duration::from_secs(10), 1), Some(4));
        assert_eq!(limit.admit(start + Duration::from_secs(30), 0), None);
    }
}

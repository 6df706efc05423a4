//! How long an acknowledgement takes, and when to stop waiting for one (RFC 6298).

use crate::timing::{RETRANSMIT_INITIAL_MS, RETRANSMIT_MAX_MS, RETRANSMIT_MIN_MS, TickRate};

/// The smoothed round-trip time of a link and the retransmission timer that follows from it, in ticks.
#[derive(Clone, Debug)]
pub(crate) struct RoundTrip {
    rate: TickRate,
    /// Smoothed time and its mean deviation, once there is a measurement.
    smoothed: Option<(u64, u64)>,
    doublings: u32,
}

impl RoundTrip {
    pub(crate) const fn new(rate: TickRate) -> Self {
        Self { rate, smoothed: None, doublings: 0 }
    }

    /// Takes in a measurement: of a frame that was sent once, since an acknowledgement of a repeated one could mean
    /// either copy (Karn's rule).
    pub(crate) fn measured(&mut self, ticks: u64) {
        self.smoothed = Some(match self.smoothed {
            None => (ticks, ticks / 2),
            Some((mean, deviation)) => ((7 * mean + ticks) / 8, (3 * deviation + mean.abs_diff(ticks)) / 4),
        });
    }

    /// The timer ran out: the next one takes twice as long.
    pub(crate) fn timed_out(&mut self) {
        self.doublings = (self.doublings + 1).min(DOUBLINGS_MAX);
    }

    /// An acknowledgement moved on: the timer is as measured again.
    pub(crate) fn progressed(&mut self) {
        self.doublings = 0;
    }

    /// How long to wait for an acknowledgement.
    pub(crate) fn timeout(&self) -> u64 {
        let least = self.longest().max(self.rate.ms(RETRANSMIT_MIN_MS));
        (least << self.doublings).min(self.rate.ms(RETRANSMIT_MAX_MS))
    }

    /// How long an acknowledgement takes at the longest, unless something is lost.
    pub(crate) fn longest(&self) -> u64 {
        match self.smoothed {
            Some((mean, deviation)) => mean + (4 * deviation).max(1),
            None => self.rate.ms(RETRANSMIT_INITIAL_MS),
        }
    }
}

/// From the shortest timer to the longest.
const DOUBLINGS_MAX: u32 = 5;

const _: () = assert!(RETRANSMIT_MIN_MS << DOUBLINGS_MAX >= RETRANSMIT_MAX_MS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_follows_the_mean_and_four_deviations() {
        let mut round_trip = RoundTrip::new(TickRate(1_000));
        assert_eq!(round_trip.timeout(), 500);
        round_trip.measured(200);
        assert_eq!(round_trip.timeout(), 200 + 4 * 100);
        round_trip.measured(280);
        assert_eq!(round_trip.timeout(), 210 + 4 * 95);
        assert_eq!(round_trip.longest(), 590);
    }

    #[test]
    fn the_timer_stays_within_its_bounds() {
        let mut round_trip = RoundTrip::new(TickRate(1_000));
        round_trip.measured(0);
        assert_eq!(round_trip.timeout(), 100);
        let doubled = [200, 400, 800, 1_600, 2_000, 2_000].map(|expected| {
            round_trip.timed_out();
            round_trip.timeout() == expected
        });
        assert_eq!(doubled, [true; 6]);
        round_trip.progressed();
        assert_eq!(round_trip.timeout(), 100);
        round_trip.measured(1 << 40);
        assert_eq!(round_trip.timeout(), 2_000);
    }
}

//! The timers of the protocol, and clocks that tick at a rate of their own.

/// A live device says so this often.
pub const STATUS_INTERVAL_MS: u32 = 1_000;

/// A live host acknowledges each lane this often, whether anything came or not.
pub const ACK_INTERVAL_MS: u32 = 1_000;

/// A session ends after this long without a valid frame from the other side.
pub const SILENCE_MS: u32 = 3_000;

/// How long a handshake message waits for its answer at first; each repetition doubles it.
pub const HANDSHAKE_RETRY_MS: u32 = 250;

/// The longest that a handshake message waits for its answer, and how long both sides rest after a refusal.
pub const HANDSHAKE_RETRY_MAX_MS: u32 = 4_000;

/// How often a host sends the same `Welcome` or `Fetch` before it gives the session up.
pub const TRIES_MAX: u32 = 4;

/// The most that events wait for company in a batch while others are under way.
pub const LINGER_MS: u32 = 20;

/// The retransmission timer before the first round trip has been measured.
pub const RETRANSMIT_INITIAL_MS: u32 = 500;

/// The shortest retransmission timer: above the latency timers of serial adapters and the turns of a busy host.
pub const RETRANSMIT_MIN_MS: u32 = 100;

/// The longest retransmission timer.
pub const RETRANSMIT_MAX_MS: u32 = 2_000;

const _: () = assert!(STATUS_INTERVAL_MS < SILENCE_MS && ACK_INTERVAL_MS < SILENCE_MS);
const _: () =
    assert!(RETRANSMIT_MIN_MS <= RETRANSMIT_INITIAL_MS && RETRANSMIT_INITIAL_MS <= RETRANSMIT_MAX_MS);
const _: () = assert!(RETRANSMIT_MAX_MS < SILENCE_MS);
const _: () = assert!(HANDSHAKE_RETRY_MS << (TRIES_MAX - 1) <= HANDSHAKE_RETRY_MAX_MS);

/// How many ticks a clock makes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TickRate(pub(crate) u32);

impl TickRate {
    pub(crate) const MICROSECONDS: Self = Self(1_000_000);

    /// So many milliseconds in ticks, rounded up.
    pub(crate) const fn ms(self, ms: u32) -> u64 {
        (ms as u64 * self.0 as u64).div_ceil(1_000)
    }
}

/// A message that is sent again and again, at longer and longer intervals, until it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Repetition {
    due: Option<u64>,
    retry_ms: u32,
    tries: u32,
}

impl Repetition {
    /// Nothing to send.
    pub(crate) const fn stopped() -> Self {
        Self { due: None, retry_ms: HANDSHAKE_RETRY_MS, tries: 0 }
    }

    /// To be sent first at `due`.
    pub(crate) const fn starting(due: u64) -> Self {
        Self { due: Some(due), retry_ms: HANDSHAKE_RETRY_MS, tries: 0 }
    }

    pub(crate) const fn due(&self) -> Option<u64> {
        self.due
    }

    pub(crate) fn is_due(&self, now: u64) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// How often it has been sent.
    pub(crate) const fn tries(&self) -> u32 {
        self.tries
    }

    /// Notes that it has been sent.
    pub(crate) fn sent(&mut self, now: u64, rate: TickRate) {
        self.due = Some(now + rate.ms(self.retry_ms));
        self.retry_ms = (self.retry_ms * 2).min(HANDSHAKE_RETRY_MAX_MS);
        self.tries += 1;
    }

    /// Sends it again no later than `due`.
    pub(crate) fn hasten(&mut self, due: u64) {
        self.due = Some(self.due.map_or(due, |at| at.min(due)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timer_of_a_slow_clock_is_shorter_than_said() {
        assert_eq!(TickRate(32_768).ms(1_000), 32_768);
        assert_eq!(TickRate(32_768).ms(1), 33);
        assert_eq!(TickRate(1).ms(20), 1);
    }

    #[test]
    fn repetitions_come_at_longer_and_longer_intervals() {
        let rate = TickRate(1_000);
        let mut repetition = Repetition::starting(10);
        let mut intervals = [0; 6];
        for interval in &mut intervals {
            let now = repetition.due().unwrap();
            assert!(repetition.is_due(now) && !repetition.is_due(now - 1));
            repetition.sent(now, rate);
            *interval = repetition.due().unwrap() - now;
        }
        assert_eq!(intervals, [250, 500, 1_000, 2_000, 4_000, 4_000]);
        assert_eq!(repetition.tries(), 6);
    }
}

//! How a host finds out who is there.

use crate::timing::{HANDSHAKE_RETRY_MS, Repetition, TickRate};

/// The `Discover` messages that a host has sent and whose answers it still takes.
#[derive(Debug)]
pub(super) struct Discovery {
    repetition: Repetition,
    /// The latest two: on a slow line the answer to one comes after the next has left.
    asked: [Option<Asked>; 2],
    /// No `Discover` before this time.
    rest_until: u64,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    nonce: u32,
    at: u64,
}

impl Discovery {
    /// The first `Discover` is due at `due`.
    pub(super) const fn starting(due: u64) -> Self {
        Self { repetition: Repetition::starting(due), asked: [None; 2], rest_until: due }
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.repetition.is_due(now)
    }

    pub(super) const fn due(&self) -> Option<u64> {
        self.repetition.due()
    }

    pub(super) fn sent(&mut self, now: u64, nonce: u32) {
        self.asked = [Some(Asked { nonce, at: now }), self.asked[0]];
        self.repetition.sent(now, TickRate::MICROSECONDS);
        self.rest_until = now + TickRate::MICROSECONDS.ms(HANDSHAKE_RETRY_MS);
    }

    /// Someone spoke up: ask soon.
    pub(super) fn hasten(&mut self, now: u64) {
        self.repetition.hasten(now.max(self.rest_until));
    }

    /// When the question of this nonce was asked, if its answer is still taken. No later answer is.
    pub(super) fn answered(&mut self, nonce: u32) -> Option<u64> {
        let asked = self.asked.iter().flatten().find(|asked| asked.nonce == nonce)?.at;
        self.stop();
        Some(asked)
    }

    /// Stops asking.
    pub(super) fn stop(&mut self) {
        self.asked = [None; 2];
        self.repetition = Repetition::stopped();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_two_questions_may_be_answered_once() {
        let mut discovery = Discovery::starting(0);
        for (at, nonce) in [(0, 1), (250_000, 2), (750_000, 3)] {
            assert_eq!(discovery.due(), Some(at));
            discovery.sent(at, nonce);
        }
        assert_eq!(discovery.answered(1), None);
        assert_eq!(discovery.answered(2), Some(250_000));
        assert_eq!(discovery.answered(3), None);
        assert_eq!(discovery.due(), None);
    }

    #[test]
    fn noise_does_not_make_a_host_ask_faster() {
        let mut discovery = Discovery::starting(0);
        discovery.sent(0, 1);
        discovery.sent(250_000, 2);
        discovery.hasten(300_000);
        assert_eq!(discovery.due(), Some(500_000));
    }
}

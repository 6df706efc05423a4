//! A host's view of one lane of a session: what comes next, what is durable, how much it takes.

use varve_core::DeviceSequence;

use crate::admission::LaneCursor;
use crate::chain::Chain;
use crate::frame::BATCH_LEN_MAX;

/// The marks of a lane, in order: `durable ≤ next ≤ heard`.
#[derive(Clone, Debug)]
pub(super) struct HostLane {
    /// The only sequence that is accepted, and the chain there.
    pub(super) next: DeviceSequence,
    pub(super) chain: Chain,
    pub(super) durable: DeviceSequence,
    /// Behind the highest sequence that the device spoke of.
    pub(super) heard: DeviceSequence,
    pub(super) ack_due: bool,
    pub(super) out_of_order: bool,
    /// Credit taken since the session began; credit granted since then, which never shrinks; and how much of it the
    /// device was told of.
    taken: u64,
    granted: u64,
    told: u64,
}

/// What becomes of a batch or gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// The host has all of it.
    Duplicate,
    /// The host lacks something before it.
    OutOfOrder,
    /// The host did not offer to take it.
    OverCredit,
    /// It begins inside what the host has: the device has another history.
    Overlap,
}

impl HostLane {
    /// A lane whose stored cursor is `cursor`, and whose device starts to send at `next`, where the chain is `chain`.
    pub(super) fn new(cursor: LaneCursor, next: DeviceSequence, chain: Chain, heard: DeviceSequence) -> Self {
        Self {
            next,
            chain,
            durable: cursor.next,
            heard: heard.max(next),
            ack_due: true,
            out_of_order: false,
            taken: 0,
            granted: 0,
            told: 0,
        }
    }

    /// Judges what takes `[first, end)` and `credit`. What is accepted moves the lane on to `chain`. While the lane is
    /// `closed` it takes nothing, whatever was granted.
    pub(super) fn judge(
        &mut self,
        first: DeviceSequence,
        end: DeviceSequence,
        credit: u32,
        closed: bool,
        chain: impl FnOnce(Chain) -> Chain,
    ) -> Verdict {
        self.ack_due = true;
        self.heard = self.heard.max(end);
        if end <= self.next {
            return Verdict::Duplicate;
        }
        if first > self.next {
            self.out_of_order = true;
            return Verdict::OutOfOrder;
        }
        if first < self.next {
            return Verdict::Overlap;
        }
        if closed || self.taken >= self.granted {
            return Verdict::OverCredit;
        }
        self.taken += u64::from(credit);
        self.next = end;
        self.chain = chain(self.chain);
        Verdict::Accepted
    }

    /// What is before `durable` is stored for good.
    pub(super) fn handle_durable(&mut self, durable: DeviceSequence) {
        let durable = durable.min(self.next);
        if durable > self.durable {
            self.durable = durable;
            self.ack_due = true;
        }
    }

    /// The host takes so many bytes beyond what it has accepted. The device is told at once if it waits for that, or
    /// if it is as much as a batch.
    pub(super) fn set_credit(&mut self, bytes: u32) {
        self.granted = self.granted.max(self.taken.saturating_add(bytes.into()));
        self.ack_due |= self.granted > self.told
            && (self.told <= self.taken || self.granted - self.told >= BATCH_LEN_MAX as u64);
    }

    /// What the next acknowledgement grants.
    pub(super) fn tell_credit(&mut self) -> u32 {
        self.told = self.granted;
        u32::try_from(self.granted.saturating_sub(self.taken)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(next: u64, credit: u32) -> HostLane {
        let cursor = LaneCursor { next: DeviceSequence(next), chain: Chain(1) };
        let mut lane = HostLane::new(cursor, cursor.next, cursor.chain, cursor.next);
        lane.set_credit(credit);
        lane
    }

    fn judge(lane: &mut HostLane, first: u64, end: u64) -> Verdict {
        lane.judge(DeviceSequence(first), DeviceSequence(end), 100, false, |chain| Chain(chain.0 + 1))
    }

    #[test]
    fn only_the_next_sequence_is_accepted() {
        let mut lane = lane(10, 1_000);
        assert_eq!(judge(&mut lane, 10, 12), Verdict::Accepted);
        assert_eq!((lane.next, lane.chain), (DeviceSequence(12), Chain(2)));
        assert_eq!(judge(&mut lane, 10, 12), Verdict::Duplicate);
        assert_eq!(judge(&mut lane, 2, 5), Verdict::Duplicate);
        assert!(!lane.out_of_order);
        assert_eq!(judge(&mut lane, 13, 15), Verdict::OutOfOrder);
        assert!(lane.out_of_order);
        assert_eq!(judge(&mut lane, 11, 13), Verdict::Overlap);
        assert_eq!((lane.next, lane.chain, lane.heard), (DeviceSequence(12), Chain(2), DeviceSequence(15)));
    }

    #[test]
    fn a_batch_is_taken_while_credit_is_left_and_none_after() {
        let mut lane = lane(0, 101);
        assert_eq!(judge(&mut lane, 0, 1), Verdict::Accepted);
        assert_eq!(judge(&mut lane, 1, 2), Verdict::Accepted);
        assert_eq!(judge(&mut lane, 2, 3), Verdict::OverCredit);
        lane.set_credit(1);
        assert_eq!(judge(&mut lane, 2, 3), Verdict::Accepted);
    }

    #[test]
    fn what_was_granted_is_never_taken_back() {
        let mut lane = lane(0, 150);
        lane.set_credit(0);
        assert_eq!(lane.tell_credit(), 150);
        assert_eq!(judge(&mut lane, 0, 1), Verdict::Accepted);
        assert_eq!(lane.tell_credit(), 50);
    }

    #[test]
    fn new_credit_is_told_at_once_only_where_it_matters() {
        let mut lane = lane(0, 1_000);
        lane.tell_credit();
        lane.ack_due = false;
        lane.set_credit(1_001);
        assert!(!lane.ack_due);
        lane.set_credit(1_000 + BATCH_LEN_MAX as u32);
        assert!(lane.ack_due);
    }

    #[test]
    fn nothing_is_durable_before_it_was_received() {
        let mut lane = lane(5, 0);
        lane.handle_durable(DeviceSequence(9));
        assert_eq!(lane.durable, DeviceSequence(5));
        lane.handle_durable(DeviceSequence(4));
        assert_eq!(lane.durable, DeviceSequence(5));
    }
}

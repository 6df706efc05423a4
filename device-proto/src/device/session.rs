//! A device's view of one session: how far it has sent, what has come of it, and when to send again.

use varve_core::DeviceSequence;

use crate::message::{Ack, Fetch};
use crate::round_trip::RoundTrip;
use crate::timing::{Repetition, SILENCE_MS, STATUS_INTERVAL_MS, TickRate};

/// The marks of the window, in order: `durable ≤ received ≤ send_next ≤ sent_max`, where `received` may overtake
/// `send_next` only for a moment, after which both are equal.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) number: u32,
    /// The nonce of the hello that led to it.
    pub(super) nonce: u32,
    /// The host has answered inside the session, so that it has the `Start`.
    pub(super) confirmed: bool,
    pub(super) start: Repetition,
    pub(super) durable: DeviceSequence,
    pub(super) received: DeviceSequence,
    pub(super) send_next: DeviceSequence,
    /// Behind all that was sent whole.
    sent_max: DeviceSequence,
    /// The host takes this much beyond `received`.
    pub(super) credit: u32,
    pub(super) fetch: Option<Fetch>,
    rate: TickRate,
    heard_at: u64,
    status_due: u64,
    round_trip: RoundTrip,
    /// A frame that was sent once, by its end, and when.
    timed: Option<(DeviceSequence, u64)>,
    retransmit_at: Option<u64>,
    /// Before this time an out-of-order mark tells of frames from before the last return.
    return_from: u64,
}

/// What an acknowledgement asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AckOutcome {
    /// It tells of what was never sent.
    Senseless,
    Taken,
    /// Something was lost: send again from `received`.
    Return,
}

impl Session {
    pub(super) fn new(number: u32, nonce: u32, first: DeviceSequence, rate: TickRate, now: u64) -> Self {
        Self {
            number,
            nonce,
            confirmed: false,
            start: Repetition::starting(now),
            durable: DeviceSequence(0),
            received: first,
            send_next: first,
            sent_max: first,
            credit: 0,
            fetch: None,
            rate,
            heard_at: now,
            status_due: now + rate.ms(STATUS_INTERVAL_MS),
            round_trip: RoundTrip::new(rate),
            timed: None,
            retransmit_at: None,
            return_from: now,
        }
    }

    /// A valid frame of the session came.
    pub(super) fn heard(&mut self, now: u64) {
        self.heard_at = now;
        self.confirmed = true;
        self.start = Repetition::stopped();
    }

    pub(super) fn handle_ack(&mut self, now: u64, ack: &Ack) -> AckOutcome {
        if ack.received > self.sent_max || ack.durable > ack.received {
            return AckOutcome::Senseless;
        }
        if ack.received < self.received || ack.durable < self.durable {
            // An older one that was overtaken.
            return AckOutcome::Taken;
        }
        self.credit = ack.credit;
        self.durable = ack.durable;
        if ack.received > self.received {
            self.progress(now, ack.received);
        }
        let lost = ack.is_out_of_order() && self.received < self.send_next && now >= self.return_from;
        if lost {
            self.return_from = now + self.round_trip.longest();
            return AckOutcome::Return;
        }
        AckOutcome::Taken
    }

    fn progress(&mut self, now: u64, received: DeviceSequence) {
        self.received = received;
        self.send_next = self.send_next.max(received);
        self.round_trip.progressed();
        if let Some((end, sent_at)) = self.timed
            && end <= received
        {
            self.round_trip.measured(now.saturating_sub(sent_at));
            self.timed = None;
        }
        let waits = self.received < self.send_next;
        self.retransmit_at = waits.then(|| now + self.round_trip.timeout());
    }

    /// A batch or gap has left whole. Returns whether it had done so before.
    pub(super) fn sent(&mut self, now: u64, end: DeviceSequence) -> bool {
        let again = end <= self.sent_max;
        if !again {
            self.sent_max = end;
            self.timed.get_or_insert((end, now));
        }
        if end > self.received {
            self.retransmit_at.get_or_insert(now + self.round_trip.timeout());
        }
        again
    }

    /// Goes back: the next to be sent is `next`. What was timed is sent again, so that it tells nothing.
    pub(super) fn rewind_to(&mut self, next: DeviceSequence) {
        self.send_next = next;
        self.timed = None;
        self.retransmit_at = None;
    }

    /// The timer ran out in vain.
    pub(super) fn timed_out(&mut self) {
        self.round_trip.timed_out();
    }

    pub(super) fn must_retransmit(&self, now: u64) -> bool {
        self.retransmit_at.is_some_and(|at| at <= now)
    }

    pub(super) fn is_silent(&self, now: u64) -> bool {
        self.silence_at() <= now
    }

    pub(super) fn status_is_due(&self, now: u64) -> bool {
        self.status_due <= now
    }

    pub(super) fn status_sent(&mut self, now: u64) {
        self.status_due = now + self.rate.ms(STATUS_INTERVAL_MS);
    }

    /// When the next timer runs out.
    pub(super) fn timeout(&self) -> u64 {
        let always = self.silence_at().min(self.status_due);
        let sometimes = [self.start.due(), self.retransmit_at];
        sometimes.into_iter().flatten().fold(always, u64::min)
    }

    const fn silence_at(&self) -> u64 {
        self.heard_at + self.rate.ms(SILENCE_MS)
    }
}

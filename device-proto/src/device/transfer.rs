//! How what a device holds gets to the host, and is forgotten.

use embassy_sync::blocking_mutex::raw::RawMutex;
use varve_core::Lane;

use super::body::Body;
use super::session::AckOutcome;
use super::{DeviceLink, Sending, count};
use crate::frame::{Kind, Seal};
use crate::message::{Ack, Fetch, Gap, NextSequence, Status};
use crate::outbox::What;
use crate::short_sequence::IN_FLIGHT_MAX;
use crate::timing::LINGER_MS;

impl<M: RawMutex, const RING: usize, const SLOTS: usize> DeviceLink<'_, M, RING, SLOTS> {
    pub(super) fn handle_ack(&mut self, now: u64, ack: &Ack) -> bool {
        let Some(session) = &mut self.session else {
            return false;
        };
        session.heard(now);
        if ack.lane != Lane(0) || (ack.received > session.received && !self.outbox.is_boundary(ack.received))
        {
            return false;
        }
        match session.handle_ack(now, ack) {
            AckOutcome::Senseless => return false,
            AckOutcome::Taken => {}
            AckOutcome::Return => self.rewind(),
        }
        self.release();
        true
    }

    pub(super) fn handle_fetch(&mut self, now: u64, fetch: Fetch) -> bool {
        if let Some(session) = &mut self.session {
            session.heard(now);
            session.fetch = Some(fetch);
        }
        true
    }

    /// Sends again from what the host has received, unless that is being done.
    pub(super) fn rewind(&mut self) {
        let Some(session) = &mut self.session else {
            return;
        };
        let received = session.received;
        match self.sending {
            Sending::Held { first, end } if first == received => session.rewind_to(end),
            Sending::Held { .. } => {
                session.rewind_to(received);
                self.give_up_frame();
            }
            _ => session.rewind_to(received),
        }
    }

    /// Forgets what is durable, but for what is being sent.
    pub(super) fn release(&mut self) {
        let Some(session) = &self.session else {
            return;
        };
        let durable = match self.sending {
            Sending::Held { first, .. } => session.durable.min(first),
            _ => session.durable,
        };
        self.outbox.release(durable);
    }

    pub(super) fn begin_descriptor(&mut self, fetch: Fetch) {
        let Some(session) = &mut self.session else {
            return;
        };
        session.fetch = None;
        let seal = Seal::Session(session.number);
        let mut channels = self.outbox.channels().iter();
        let descriptor = channels
            .find(|info| info.descriptor_hash.0 == fetch.hash)
            .map_or(&[][..], |info| info.descriptor);
        let from = usize::from(fetch.offset).min(descriptor.len());
        let piece = &descriptor[from..descriptor.len().min(from + DESCRIPTOR_PIECE_LEN)];
        let head = (fetch.hash, from as u16, descriptor.len() as u16);
        self.body = Body::descriptor(&head, piece);
        self.encoder.begin(seal);
        self.sending = Sending::Control;
    }

    pub(super) fn begin_status(&mut self, now: u64) {
        if let Some(session) = &mut self.session {
            session.status_sent(now);
        }
        let lanes = [NextSequence(self.outbox.span().next)].into_iter().collect();
        self.begin_message(Kind::Status, &Status { lanes, now });
    }

    /// Begins the next batch or gap, if the host takes it and it is sealed.
    pub(super) fn begin_held(&mut self) -> bool {
        if !self.may_send() {
            return false;
        }
        let Some(session) = &mut self.session else {
            return false;
        };
        let Some(held) = self.outbox.take(session.send_next) else {
            return false;
        };
        let (first, end) = (held.first, held.end());
        match held.what {
            What::Batch { .. } if end.0 - session.received.0 > IN_FLIGHT_MAX => return false,
            What::Batch { offset, len, .. } => {
                self.body = Body::batch(first, offset as usize, usize::from(len));
                self.encoder.begin(Seal::Batch(session.number, first));
                count(&mut self.stats.batches_sent);
            }
            What::Gap { reason, .. } => {
                let gap = Gap { lane: Lane(0), first, len: held.count, reason };
                self.body = Body::message(Kind::Gap, &gap);
                self.encoder.begin(Seal::Session(session.number));
                count(&mut self.stats.gaps_sent);
            }
        }
        session.send_next = end;
        self.sending = Sending::Held { first, end };
        true
    }

    /// Whether the host takes another batch: it has credit left, and no gap is under way.
    fn may_send(&self) -> bool {
        self.session.as_ref().is_some_and(|session| {
            let (from, to) = (session.received, session.send_next);
            self.outbox.credit_between(from, to) < session.credit && !self.outbox.has_gap_between(from, to)
        })
    }

    /// Seals the open batch before it is full: at once while nothing is under way, else after a moment.
    pub(super) fn seal_early(&mut self, now: u64) -> bool {
        if !self.outbox.has_open_batch() || !self.may_send() {
            self.linger_end = None;
            return false;
        }
        let under_way = self.session.as_ref().is_some_and(|session| session.received < session.send_next);
        let end = *self.linger_end.get_or_insert(now + self.rate.ms(LINGER_MS));
        let seal = !under_way || end <= now;
        if seal {
            self.linger_end = None;
            self.outbox.seal();
        }
        seal
    }
}

/// How much of a descriptor travels in one frame.
const DESCRIPTOR_PIECE_LEN: usize = 512;

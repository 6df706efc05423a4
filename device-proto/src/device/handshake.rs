//! How a device enters a session and leaves it.

use embassy_sync::blocking_mutex::raw::RawMutex;
use varve_core::{DeviceSequence, Epoch};

use super::body::{Body, HelloHead};
use super::session::Session;
use super::{DeviceEvent, DeviceLink, Identity, Sending, count};
use crate::frame::{Kind, Seal};
use crate::message::{Discover, LaneStart, Refuse, Start, VERSION_MAX, VERSION_MIN, Welcome};
use crate::timing::{HANDSHAKE_RETRY_MAX_MS, Repetition};

impl<M: RawMutex, const RING: usize, const SLOTS: usize> DeviceLink<'_, M, RING, SLOTS> {
    pub(super) fn handle_discover(&mut self, now: u64, discover: &Discover) -> bool {
        if discover.nonce == 0 {
            return false;
        }
        // The host's nonce is new each time, so that the device's own is, however poor its seed.
        self.nonces.stir(u64::from(discover.nonce) << 32 ^ now);
        self.discovered = Some(discover.nonce);
        true
    }

    pub(super) fn handle_welcome(&mut self, now: u64, welcome: &Welcome) -> bool {
        if let Some(session) = self.session.as_mut().filter(|session| session.number == welcome.session) {
            // The `Start` was lost, or the `Welcome` came twice.
            if !session.confirmed {
                session.start.hasten(now);
            }
            return session.nonce == welcome.nonce;
        }
        let Some(terms) = self.terms_of(welcome) else {
            return false;
        };
        self.give_up_frame();
        if welcome.rebase {
            self.outbox.renumber();
        }
        self.identity = terms.identity;
        let wanted = terms.next.max(self.outbox.span().oldest);
        let (first, _) = self.outbox.chain_at(wanted);
        self.session = Some(Session::new(welcome.session, welcome.nonce, first, self.rate, now));
        self.attempt = None;
        self.discovered = None;
        self.unsolicited = Repetition::stopped();
        count(&mut self.stats.sessions);
        self.tell(DeviceEvent::Connected { session: welcome.session });
        true
    }

    /// What a welcome says, or `None` where the device cannot follow it.
    fn terms_of(&self, welcome: &Welcome) -> Option<Terms> {
        let identity = Identity { incarnation: welcome.incarnation, epoch: welcome.epoch };
        let next = welcome.lanes.first()?.0;
        let held = self.outbox.span();
        let reachable = if welcome.rebase { held.next.0 - held.oldest.0 } else { held.next.0 };
        let named = welcome.session != 0 && identity.incarnation != 0 && identity.epoch != Epoch(0);
        let mine = welcome.rebase || self.identity == Identity::default() || self.identity == identity;
        let spoken = (VERSION_MIN..=VERSION_MAX).contains(&welcome.version);
        let answers = self.attempt == Some(welcome.nonce);
        (answers && named && mine && spoken && next.0 <= reachable).then_some(Terms { identity, next })
    }

    pub(super) fn handle_refuse(&mut self, now: u64, refuse: &Refuse) -> bool {
        let of_session = self.session.as_ref().is_some_and(|session| session.nonce == refuse.nonce);
        if !of_session && self.attempt != Some(refuse.nonce) {
            return false;
        }
        count(&mut self.stats.refusals);
        self.attempt = None;
        self.leave(now + self.rate.ms(HANDSHAKE_RETRY_MAX_MS), DeviceEvent::Refused(refuse.reason));
        true
    }

    /// Ends the session, if there is one; the device speaks up at `retry`.
    pub(super) fn leave(&mut self, retry: u64, why: DeviceEvent) {
        self.give_up_frame();
        self.session = None;
        self.linger_end = None;
        self.unsolicited = Repetition::starting(retry);
        self.tell(why);
    }

    pub(super) fn begin_hello(&mut self, now: u64, discover: u32) {
        if discover != 0 && self.attempt.is_none() {
            self.attempt = Some(self.nonces.next());
        }
        let head = HelloHead {
            version_min: VERSION_MIN,
            version_max: VERSION_MAX,
            features: 0,
            discover,
            nonce: self.attempt.filter(|_| discover != 0).unwrap_or(0),
            session: self.session.as_ref().map_or(0, |session| session.number),
            device: self.config.device,
            incarnation: self.identity.incarnation,
            epoch: self.identity.epoch,
            reset: self.config.reset,
            tick_hz: self.rate.0,
            now,
            lanes: [self.outbox.span()].into_iter().collect(),
        };
        self.body = Body::hello(&head, self.outbox.channels().len());
        self.encoder.begin_apart(Seal::Handshake);
        self.sending = Sending::Control;
        self.unsolicited.sent(now, self.rate);
    }

    pub(super) fn begin_start(&mut self, now: u64) {
        let Some(session) = &mut self.session else {
            return;
        };
        session.start.sent(now, self.rate);
        let (first, chain) = self.outbox.chain_at(session.received);
        let lanes = [LaneStart { first, chain: chain.0 }].into_iter().collect();
        self.begin_message(Kind::Start, &Start { lanes });
    }
}

/// What a welcome says.
struct Terms {
    identity: Identity,
    next: DeviceSequence,
}

//! The device's side of the link.

mod body;
mod session;

use embassy_sync::blocking_mutex::raw::RawMutex;
use heapless::Deque;
use serde::Serialize;
use varve_core::{DeviceId, DeviceSequence, Epoch, Lane};

use crate::frame::{Frame, FrameDecoder, FrameEncoder, HOST_FRAME_LEN_MAX, Kind, Seal};
use crate::message::{
    self, Ack, Discover, Fetch, Gap, LaneStart, NextSequence, Refusal, Refuse, ResetReason, Start, Status,
    VERSION_MAX, VERSION_MIN, Welcome,
};
use crate::nonce::NonceSource;
use crate::outbox::{Outbox, What};
use crate::short_sequence::IN_FLIGHT_MAX;
use crate::timing::{HANDSHAKE_RETRY_MAX_MS, HANDSHAKE_RETRY_MS, LINGER_MS, Repetition, TickRate};
use body::{Body, HelloHead};
use session::{AckOutcome, Session};

/// Sends what an outbox holds to a host, until the host has made it durable. It does no input or output and knows no
/// clock: bytes and the time go in, bytes and the time of the next call come out. All times are in ticks of the
/// device's clock.
///
/// Call [`handle_bytes`](Self::handle_bytes) with what came, [`poll_transmit`](Self::poll_transmit) until it returns 0,
/// and again when bytes come, at [`poll_timeout`](Self::poll_timeout), or when [`Outbox::wait_for_news`] is ready.
pub struct DeviceLink<'o, M: RawMutex, const RING: usize, const SLOTS: usize> {
    outbox: &'o Outbox<M, RING, SLOTS>,
    config: DeviceConfig,
    rate: TickRate,
    nonces: NonceSource,
    identity: Identity,
    decoder: FrameDecoder<HOST_FRAME_LEN_MAX>,
    encoder: FrameEncoder,
    body: Body,
    sending: Sending,
    /// The nonce of the present attempt to enter a session.
    attempt: Option<u32>,
    /// The nonce of the `Discover` to be answered.
    discovered: Option<u32>,
    unsolicited: Repetition,
    session: Option<Session>,
    linger_end: Option<u64>,
    events: Deque<DeviceEvent, EVENTS_MAX>,
    stats: DeviceStats,
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConfig {
    /// The device.
    pub device: DeviceId,
    /// Ticks per second of its clock, at least 1.
    pub tick_hz: u32,
    /// Why it started.
    pub reset: ResetReason,
    /// As random as the device can: a generator's output, a boot counter, an analogue input. It may repeat.
    pub seed: u64,
}

/// Under which name the device's sequences run; 0 and 0 before the first session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Identity {
    incarnation: u64,
    epoch: Epoch,
}

/// What the encoder is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Nothing,
    Control,
    /// A batch or gap of these sequences.
    Held {
        first: DeviceSequence,
        end: DeviceSequence,
    },
}

/// How far a device is on its way into a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DeviceState {
    /// No host has spoken.
    Apart,
    /// A host has asked who is there, and has not admitted the device yet.
    Asking,
    /// The device is admitted, and does not know yet whether the host knows that it knows.
    Starting,
    /// In a session.
    Live,
}

/// What a device may want to know of its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DeviceEvent {
    /// A host has admitted the device to a session of this number.
    Connected {
        /// The session.
        session: u32,
    },
    /// The host has been silent for too long. What is held stays held.
    Silent,
    /// A host does not admit the device. It keeps what it holds and asks again.
    Refused(Refusal),
}

/// What a device's link has counted; each number wraps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DeviceStats {
    /// Bytes handed out.
    pub bytes_sent: u32,
    /// Frames handed out whole.
    pub frames_sent: u32,
    /// Of them batches, for the first time or again.
    pub batches_sent: u32,
    /// Of them gaps, for the first time or again.
    pub gaps_sent: u32,
    /// Batches and gaps that were sent again.
    pub resent: u32,
    /// Frames given up half-way.
    pub aborted: u32,
    /// Frames from a host that passed their check.
    pub frames_received: u32,
    /// Frames that did not: cut, too long, damaged, or of another session.
    pub bad_frames: u32,
    /// The device's own frames that came back.
    pub echoes: u32,
    /// Frames of a kind that this version does not know.
    pub unknown_kinds: u32,
    /// Messages that made no sense, or none any more, and were ignored.
    pub ignored: u32,
    /// Acknowledgements that were waited for in vain.
    pub timeouts: u32,
    /// Sessions entered.
    pub sessions: u32,
    /// Refusals heard.
    pub refusals: u32,
}

impl<'o, M: RawMutex, const RING: usize, const SLOTS: usize> DeviceLink<'o, M, RING, SLOTS> {
    /// A link without a session. It speaks up by itself after a moment, unless a host does so first.
    pub fn new(config: DeviceConfig, outbox: &'o Outbox<M, RING, SLOTS>, now: u64) -> Self {
        let rate = TickRate(config.tick_hz.max(1));
        Self {
            outbox,
            config,
            rate,
            nonces: NonceSource::new(config.seed ^ config.device.0),
            identity: Identity::default(),
            decoder: FrameDecoder::new(),
            encoder: FrameEncoder::new(),
            body: Body::empty(),
            sending: Sending::Nothing,
            attempt: None,
            discovered: None,
            unsolicited: Repetition::starting(now + rate.ms(HANDSHAKE_RETRY_MS)),
            session: None,
            linger_end: None,
            events: Deque::new(),
            stats: DeviceStats::default(),
        }
    }

    /// Takes in bytes that came from the host.
    pub fn handle_bytes(&mut self, now: u64, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, outcome) = self.decoder.decode(bytes);
            bytes = &bytes[taken..];
            match outcome {
                Some(Ok(len)) => self.handle_frame(now, len),
                Some(Err(_)) => count(&mut self.stats.bad_frames),
                None => {}
            }
        }
    }

    /// Writes the next bytes for the host to `out` and returns how many: 0 when there is nothing to send now. A buffer
    /// of any size will do, one of a single byte too.
    pub fn poll_transmit(&mut self, now: u64, out: &mut [u8]) -> usize {
        self.handle_timeout(now);
        let mut written = 0;
        while written < out.len() {
            if self.encoder.is_idle() && !self.begin_frame(now) {
                break;
            }
            written += self.encoder.poll(&mut self.body.reader(self.outbox), &mut out[written..]);
            if self.encoder.is_idle() {
                self.end_frame(now);
            }
        }
        self.stats.bytes_sent = self.stats.bytes_sent.wrapping_add(written as u32);
        written
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) again if nothing happens before.
    pub fn poll_timeout(&self) -> Option<u64> {
        let next = match &self.session {
            Some(session) => Some(session.timeout()),
            None => self.unsolicited.due(),
        };
        [next, self.linger_end].into_iter().flatten().min()
    }

    /// The next thing that the device may want to know. At most 4 wait; the oldest give way.
    pub fn poll_event(&mut self) -> Option<DeviceEvent> {
        self.events.pop_front()
    }

    /// Whether the device is in a session that the host has confirmed.
    pub fn is_connected(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.confirmed)
    }

    /// How far the link is on its way into a session.
    pub fn state(&self) -> DeviceState {
        match (&self.session, self.attempt) {
            (Some(session), _) if session.confirmed => DeviceState::Live,
            (Some(_), _) => DeviceState::Starting,
            (None, Some(_)) => DeviceState::Asking,
            (None, None) => DeviceState::Apart,
        }
    }

    /// The epoch that the device's sequences belong to, with the incarnation of the store that allotted it.
    pub fn epoch(&self) -> Option<(u64, Epoch)> {
        (self.identity.epoch != Epoch(0)).then_some((self.identity.incarnation, self.identity.epoch))
    }

    /// What the link has counted.
    pub fn stats(&self) -> DeviceStats {
        self.stats
    }
}

/// Input.
impl<M: RawMutex, const RING: usize, const SLOTS: usize> DeviceLink<'_, M, RING, SLOTS> {
    fn handle_frame(&mut self, now: u64, len: usize) {
        let Some(frame) = Frame::new_checked(self.decoder.frame(len)) else {
            return count(&mut self.stats.bad_frames);
        };
        if !frame.is_from_host() {
            return count(&mut self.stats.echoes);
        }
        let Some(kind) = Kind::from_byte(frame.kind_byte()) else {
            return count(&mut self.stats.unknown_kinds);
        };
        let session = self.session.as_ref().map(|session| session.number);
        let seal = match kind {
            Kind::Discover | Kind::Welcome | Kind::Refuse => Some(Seal::Handshake),
            _ => session.map(Seal::Session),
        };
        if !seal.is_some_and(|seal| frame.is_sealed_with(seal)) {
            return count(&mut self.stats.bad_frames);
        }
        count(&mut self.stats.frames_received);
        let body = frame.body();
        let understood = match kind {
            Kind::Discover => message::read(body).map(|discover| self.handle_discover(now, &discover)),
            Kind::Welcome => message::read(body).map(|welcome| self.handle_welcome(now, &welcome)),
            Kind::Refuse => message::read(body).map(|refuse| self.handle_refuse(now, &refuse)),
            Kind::Ack => message::read(body).map(|ack| self.handle_ack(now, &ack)),
            Kind::Fetch => message::read(body).map(|fetch| self.handle_fetch(now, fetch)),
            _ => None,
        };
        if understood != Some(true) {
            count(&mut self.stats.ignored);
        }
    }

    fn handle_discover(&mut self, now: u64, discover: &Discover) -> bool {
        if discover.nonce == 0 {
            return false;
        }
        // The host's nonce is new each time, so that the device's own is, however poor its seed.
        self.nonces.stir(u64::from(discover.nonce) << 32 ^ now);
        self.discovered = Some(discover.nonce);
        true
    }

    fn handle_welcome(&mut self, now: u64, welcome: &Welcome) -> bool {
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

    fn handle_refuse(&mut self, now: u64, refuse: &Refuse) -> bool {
        let of_session = self.session.as_ref().is_some_and(|session| session.nonce == refuse.nonce);
        if !of_session && self.attempt != Some(refuse.nonce) {
            return false;
        }
        count(&mut self.stats.refusals);
        self.attempt = None;
        self.leave(now + self.rate.ms(HANDSHAKE_RETRY_MAX_MS), DeviceEvent::Refused(refuse.reason));
        true
    }

    fn handle_ack(&mut self, now: u64, ack: &Ack) -> bool {
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

    fn handle_fetch(&mut self, now: u64, fetch: Fetch) -> bool {
        if let Some(session) = &mut self.session {
            session.heard(now);
            session.fetch = Some(fetch);
        }
        true
    }

    fn handle_timeout(&mut self, now: u64) {
        let Some(session) = &mut self.session else {
            return;
        };
        if session.is_silent(now) {
            return self.leave(now + self.rate.ms(HANDSHAKE_RETRY_MS), DeviceEvent::Silent);
        }
        if session.must_retransmit(now) {
            count(&mut self.stats.timeouts);
            session.timed_out();
            self.rewind();
        }
    }

    /// Sends again from what the host has received, unless that is being done.
    fn rewind(&mut self) {
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
    fn release(&mut self) {
        let Some(session) = &self.session else {
            return;
        };
        let durable = match self.sending {
            Sending::Held { first, .. } => session.durable.min(first),
            _ => session.durable,
        };
        self.outbox.release(durable);
    }

    /// Ends the session, if there is one; the device speaks up at `retry`.
    fn leave(&mut self, retry: u64, why: DeviceEvent) {
        self.give_up_frame();
        self.session = None;
        self.linger_end = None;
        self.unsolicited = Repetition::starting(retry);
        self.tell(why);
    }

    fn give_up_frame(&mut self) {
        if self.sending != Sending::Nothing {
            self.encoder.abort();
            self.sending = Sending::Nothing;
            count(&mut self.stats.aborted);
        }
    }

    fn tell(&mut self, event: DeviceEvent) {
        if self.events.is_full() {
            self.events.pop_front();
        }
        let _ = self.events.push_back(event);
    }
}

/// Output.
impl<M: RawMutex, const RING: usize, const SLOTS: usize> DeviceLink<'_, M, RING, SLOTS> {
    /// Begins the next frame, if one is to be sent now.
    fn begin_frame(&mut self, now: u64) -> bool {
        if let Some(discover) = self.discovered.take() {
            self.begin_hello(now, discover);
            return true;
        }
        let Some(session) = &self.session else {
            let due = self.unsolicited.is_due(now);
            if due {
                self.begin_hello(now, 0);
            }
            return due;
        };
        if session.start.is_due(now) {
            self.begin_start(now);
        } else if let Some(fetch) = session.fetch {
            self.begin_descriptor(fetch);
        } else if session.status_is_due(now) {
            self.begin_status(now);
        } else {
            return self.begin_held() || (self.seal_early(now) && self.begin_held());
        }
        true
    }

    fn begin_hello(&mut self, now: u64, discover: u32) {
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

    fn begin_start(&mut self, now: u64) {
        let Some(session) = &mut self.session else {
            return;
        };
        session.start.sent(now, self.rate);
        let (first, chain) = self.outbox.chain_at(session.received);
        let lanes = [LaneStart { first, chain: chain.0 }].into_iter().collect();
        self.begin_message(Kind::Start, &Start { lanes });
    }

    fn begin_descriptor(&mut self, fetch: Fetch) {
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

    fn begin_status(&mut self, now: u64) {
        if let Some(session) = &mut self.session {
            session.status_sent(now);
        }
        let lanes = [NextSequence(self.outbox.span().next)].into_iter().collect();
        self.begin_message(Kind::Status, &Status { lanes, now });
    }

    fn begin_message(&mut self, kind: Kind, message: &impl Serialize) {
        let Some(session) = &self.session else {
            return;
        };
        self.body = Body::message(kind, message);
        self.encoder.begin(Seal::Session(session.number));
        self.sending = Sending::Control;
    }

    /// Begins the next batch or gap, if the host takes it and it is sealed.
    fn begin_held(&mut self) -> bool {
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
    fn seal_early(&mut self, now: u64) -> bool {
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

    fn end_frame(&mut self, now: u64) {
        let sent = core::mem::replace(&mut self.sending, Sending::Nothing);
        if sent != Sending::Nothing {
            count(&mut self.stats.frames_sent);
        }
        if let (Sending::Held { end, .. }, Some(session)) = (sent, &mut self.session) {
            if session.sent(now, end) {
                count(&mut self.stats.resent);
            }
            self.release();
        }
    }
}

/// What a welcome says.
struct Terms {
    identity: Identity,
    next: DeviceSequence,
}

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

/// How much of a descriptor travels in one frame.
const DESCRIPTOR_PIECE_LEN: usize = 512;
/// How many events wait to be polled.
const EVENTS_MAX: usize = 4;

/// The small profile: what a 16 KiB machine spends on link, outbox, and one buffer each way to its port.
const _: () = {
    use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
    let outbox = size_of::<Outbox<CriticalSectionRawMutex, 4096, 16>>();
    let link = size_of::<DeviceLink<'_, CriticalSectionRawMutex, 4096, 16>>();
    // Where pointers are wider, nobody counts the bytes.
    assert!(usize::BITS > 32 || outbox + link + 2 * PORT_PIECE_LEN <= SMALL_PROFILE_LEN_MAX);
};

/// What a port takes at once: a packet of full-speed USB.
const PORT_PIECE_LEN: usize = 64;
/// 6.5 KiB.
const SMALL_PROFILE_LEN_MAX: usize = 6 * 1024 + 512;

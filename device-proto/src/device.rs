//! The device's side of the link.

mod body;
mod handshake;
mod session;
mod transfer;

use embassy_sync::blocking_mutex::raw::RawMutex;
use heapless::Deque;
use serde::Serialize;
use varve_core::{DeviceId, DeviceSequence, Epoch};

use crate::frame::{Frame, FrameDecoder, FrameEncoder, HOST_FRAME_LEN_MAX, Kind, Seal};
use crate::message::{self, Refusal, ResetReason};
use crate::nonce::NonceSource;
use crate::outbox::Outbox;
use crate::timing::{HANDSHAKE_RETRY_MS, Repetition, TickRate};
use body::Body;
use session::Session;

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

    fn begin_message(&mut self, kind: Kind, message: &impl Serialize) {
        let Some(session) = &self.session else {
            return;
        };
        self.body = Body::message(kind, message);
        self.encoder.begin(Seal::Session(session.number));
        self.sending = Sending::Control;
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

fn count(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}

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

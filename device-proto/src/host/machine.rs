//! The machine behind a host's link: which phase it is in, and what each message and each timer does there.
//!
//! ```text
//!            Hello                 admit                  Start
//!  Apart ───────────► Deciding ───────────► Welcoming ───────────► Live
//!    ▲ refuse            │                     │ no answer           │ silence, refuse,
//!    └───────────────────┴─────────────────────┴─────────────────────┘ a Hello of another session
//! ```

mod handshake;
mod transfer;

use heapless::{Deque, Vec};
use varve_core::{CHANNELS_MAX, DescriptorHash, DeviceId, DeviceSequence, GapReason, Lane};

use super::discovery::Discovery;
use super::fetch::Fetches;
use super::lane::HostLane;
use super::outgoing::Outgoing;
use super::{ClockSample, HostConfig, HostState, HostStats, LostReason, Session};
use crate::admission::Admission;
use crate::chain::Chain;
use crate::frame::{Frame, Kind, Seal};
use crate::message::{
    Ack, Discover, HeldLane, NextSequence, Refusal, Refuse, VERSION_MAX, VERSION_MIN, Welcome,
};
use crate::nonce::NonceSource;
use crate::timing::{ACK_INTERVAL_MS, HANDSHAKE_RETRY_MAX_MS, Repetition, SILENCE_MS, TRIES_MAX, TickRate};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) stats: HostStats,
    nonces: NonceSource,
    phase: Phase,
    discovery: Discovery,
    peer: Peer,
    lanes: Vec<HostLane, { Lane::COUNT }>,
    fetches: Fetches,
    refuse: Option<Refuse>,
    outgoing: Outgoing,
    pending: Deque<Pending, PENDING_MAX>,
}

#[derive(Debug)]
enum Phase {
    /// Nobody is there yet.
    Apart,
    /// A hello waits for its answer.
    Deciding,
    /// The device is admitted; its `Start` is to come.
    Welcoming {
        admission: Admission,
        session: u32,
        repetition: Repetition,
    },
    Live {
        session: u32,
        heard_at: u64,
        ack_at: u64,
    },
}

/// What the latest admitted or asking device said of itself.
#[derive(Clone, Debug)]
struct Peer {
    device: DeviceId,
    /// Of its hello.
    nonce: u32,
    version: u8,
    clock: ClockSample,
    held: Vec<HeldLane, { Lane::COUNT }>,
    /// The lane of each channel.
    channels: Vec<Lane, CHANNELS_MAX>,
}

/// An event that waits to be polled. What borrows from a frame or a descriptor keeps its length only.
#[derive(Debug)]
pub(super) enum Pending {
    Hello { frame_len: usize },
    Session(Session),
    Descriptor { hash: DescriptorHash, len: usize },
    Batch { lane: Lane, first: DeviceSequence, chain: Chain, frame_len: usize },
    Gap { lane: Lane, first: DeviceSequence, len: u64, reason: GapReason, chain: Chain },
    Status { ticks: u64, received_us: u64 },
    Lost(LostReason),
    Refused(Refusal),
}

/// What became of a message.
enum Outcome {
    Taken,
    /// It made no sense, or none any more.
    Ignored,
    /// No honest device sends it.
    Refused(Refusal),
}

impl Machine {
    pub(super) fn new(config: HostConfig) -> Self {
        let peer = Peer {
            device: DeviceId(0),
            nonce: 0,
            version: VERSION_MAX,
            clock: ClockSample::default(),
            held: Vec::new(),
            channels: Vec::new(),
        };
        Self {
            stats: HostStats::default(),
            nonces: NonceSource::new(config.seed),
            phase: Phase::Apart,
            discovery: Discovery::starting(0),
            peer,
            lanes: Vec::new(),
            fetches: Fetches::new(),
            refuse: None,
            outgoing: Outgoing::new(),
            pending: Deque::new(),
        }
    }

    pub(super) fn has_event(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn next_event(&mut self) -> Option<Pending> {
        self.pending.pop_front()
    }

    pub(super) fn fetched_descriptor(&self, len: usize) -> &[u8] {
        self.fetches.descriptor(len)
    }

    pub(super) fn state(&self) -> HostState {
        match self.phase {
            Phase::Apart => HostState::Apart,
            Phase::Deciding => HostState::Deciding,
            Phase::Welcoming { .. } => HostState::Welcoming,
            Phase::Live { .. } if self.fetches.is_empty() => HostState::Live,
            Phase::Live { .. } => HostState::Fetching,
        }
    }

    pub(super) fn session(&self) -> Option<u32> {
        match self.phase {
            Phase::Live { session, .. } => Some(session),
            _ => None,
        }
    }

    pub(super) fn heard(&self, lane: Lane) -> Option<DeviceSequence> {
        self.lanes.get(usize::from(lane.0)).map(|lane| lane.heard)
    }

    fn tell(&mut self, event: Pending) {
        let kept = self.pending.push_back(event);
        debug_assert!(kept.is_ok(), "no frame is taken in while events wait");
    }
}

/// Commands.
impl Machine {
    pub(super) fn admit(&mut self, admission: Admission) {
        if matches!(self.phase, Phase::Deciding) && admission.lanes.len() == self.peer.held.len() {
            let session = self.nonces.next();
            self.phase = Phase::Welcoming { admission, session, repetition: Repetition::starting(0) };
        }
    }

    pub(super) fn refuse(&mut self, reason: Refusal) {
        if !matches!(self.phase, Phase::Apart) {
            self.refuse_hello(self.peer.nonce, reason);
        }
    }

    pub(super) fn fetch_descriptor(&mut self, hash: DescriptorHash) -> bool {
        self.session().is_some() && self.fetches.want(hash)
    }

    pub(super) fn handle_durable(&mut self, session: u32, lane: Lane, durable: DeviceSequence) {
        if self.session() == Some(session)
            && let Some(lane) = self.lanes.get_mut(usize::from(lane.0))
        {
            lane.handle_durable(durable);
        }
    }

    pub(super) fn set_credit(&mut self, lane: Lane, bytes: u32) {
        if self.session().is_some()
            && let Some(lane) = self.lanes.get_mut(usize::from(lane.0))
        {
            lane.set_credit(bytes);
        }
    }

    /// Answers a hello with a refusal, and lets the line rest.
    fn refuse_hello(&mut self, nonce: u32, reason: Refusal) {
        self.refuse = Some(Refuse { nonce, reason });
        self.stats.refusals += 1;
        self.fetches.clear();
        self.phase = Phase::Apart;
        // The rest begins when the refusal leaves.
        self.discovery.stop();
    }

    /// Refuses on the link's own account.
    fn refuse_peer(&mut self, reason: Refusal) {
        self.refuse_hello(self.peer.nonce, reason);
        self.tell(Pending::Refused(reason));
    }

    fn part(&mut self, now: u64) {
        self.phase = Phase::Apart;
        self.fetches.clear();
        self.discovery = Discovery::starting(now);
    }
}

/// Input.
impl Machine {
    pub(super) fn handle_frame(&mut self, now: u64, decoded: &[u8]) {
        let Some(frame) = Frame::new_checked(decoded) else {
            self.stats.bad_frames += 1;
            return;
        };
        if frame.is_from_host() {
            self.stats.echoes += 1;
            return;
        }
        let Some(kind) = Kind::from_byte(frame.kind_byte()) else {
            self.stats.unknown_kinds += 1;
            return;
        };
        let outcome = match kind {
            Kind::Hello if frame.is_sealed_with(Seal::Handshake) => {
                self.stats.frames_received += 1;
                self.handle_hello(now, frame.body(), decoded.len())
            }
            Kind::Hello => return self.stats.bad_frames += 1,
            _ => self.handle_session_frame(now, kind, &frame, decoded.len()),
        };
        match outcome {
            Outcome::Taken => {}
            Outcome::Ignored => self.stats.ignored += 1,
            Outcome::Refused(reason) => self.refuse_peer(reason),
        }
    }

    fn handle_session_frame(&mut self, now: u64, kind: Kind, frame: &Frame<'_>, frame_len: usize) -> Outcome {
        let (session, live) = match self.phase {
            Phase::Welcoming { session, .. } => (session, false),
            Phase::Live { session, .. } => (session, true),
            _ => {
                self.stats.bad_frames += 1;
                return Outcome::Taken;
            }
        };
        let target = if kind == Kind::Batch { self.batch_target(frame.body()) } else { None };
        let seal = target.map_or(Seal::Session(session), |(_, first)| Seal::Batch(session, first));
        if !frame.is_sealed_with(seal) {
            self.stats.bad_frames += 1;
            return Outcome::Taken;
        }
        self.stats.frames_received += 1;
        if let Phase::Live { heard_at, .. } = &mut self.phase {
            *heard_at = now;
        }
        match (kind, live, target) {
            (Kind::Start, ..) => self.handle_start(now, frame.body()),
            (Kind::Batch, true, Some((lane, first))) => {
                self.handle_batch(lane, first, frame.body(), frame_len)
            }
            (Kind::Gap, true, _) => self.handle_gap(frame.body()),
            (Kind::Descriptor, true, _) => self.handle_descriptor(frame.body()),
            (Kind::Status, true, _) => self.handle_status(now, frame.body()),
            _ => Outcome::Ignored,
        }
    }
}

/// Output.
impl Machine {
    pub(super) fn poll_transmit(&mut self, now: u64, out: &mut [u8]) -> usize {
        self.handle_timeout(now);
        let mut written = 0;
        while written < out.len() {
            if self.outgoing.is_idle() && !self.begin_frame(now) {
                break;
            }
            written += self.outgoing.poll(&mut out[written..]);
        }
        self.stats.bytes_sent += written as u64;
        written
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let of_phase = match &self.phase {
            Phase::Apart | Phase::Deciding => None,
            Phase::Welcoming { repetition, .. } => repetition.due(),
            Phase::Live { heard_at, ack_at, .. } => Some((heard_at + ms(SILENCE_MS)).min(*ack_at)),
        };
        [of_phase, self.discovery.due(), self.fetches.repetition.due()].into_iter().flatten().min()
    }

    fn handle_timeout(&mut self, now: u64) {
        match &self.phase {
            Phase::Live { heard_at, .. } if heard_at + ms(SILENCE_MS) <= now => {
                self.part(now);
                self.tell(Pending::Lost(LostReason::Silent));
            }
            Phase::Welcoming { repetition, .. }
                if repetition.tries() >= TRIES_MAX && repetition.is_due(now) =>
            {
                self.part(now);
            }
            _ => {}
        }
        if self.fetches.has_failed(now) {
            self.refuse_peer(Refusal::Descriptor);
        }
    }

    /// Begins the next frame, if one is to be sent now.
    fn begin_frame(&mut self, now: u64) -> bool {
        if let Some(refuse) = self.refuse.take() {
            self.outgoing.begin(Kind::Refuse, Seal::Handshake, &refuse);
            self.discovery = Discovery::starting(now + ms(HANDSHAKE_RETRY_MAX_MS));
            return true;
        }
        if self.discovery.is_due(now) {
            self.begin_discover(now);
            return true;
        }
        match &mut self.phase {
            Phase::Welcoming { admission, session, repetition } if repetition.is_due(now) => {
                repetition.sent(now, TickRate::MICROSECONDS);
                let welcome = Welcome {
                    nonce: self.peer.nonce,
                    version: self.peer.version,
                    features: 0,
                    session: *session,
                    incarnation: admission.incarnation,
                    epoch: admission.epoch,
                    rebase: admission.rebase,
                    lanes: admission.lanes.iter().map(|lane| NextSequence(lane.next)).collect(),
                };
                self.outgoing.begin(Kind::Welcome, Seal::Handshake, &welcome);
                true
            }
            Phase::Live { session, .. } => {
                let session = *session;
                self.begin_fetch(now, session) || self.begin_ack(now, session)
            }
            _ => false,
        }
    }

    fn begin_discover(&mut self, now: u64) {
        let nonce = self.nonces.next();
        self.discovery.sent(now, nonce);
        let discover = Discover { version_min: VERSION_MIN, version_max: VERSION_MAX, nonce };
        self.outgoing.begin(Kind::Discover, Seal::Handshake, &discover);
    }

    fn begin_fetch(&mut self, now: u64, session: u32) -> bool {
        let due = self.fetches.repetition.is_due(now);
        match self.fetches.next() {
            Some(fetch) if due => {
                self.fetches.repetition.sent(now, TickRate::MICROSECONDS);
                self.outgoing.begin(Kind::Fetch, Seal::Session(session), &fetch);
                true
            }
            _ => false,
        }
    }

    fn begin_ack(&mut self, now: u64, session: u32) -> bool {
        if let Phase::Live { ack_at, .. } = &mut self.phase
            && *ack_at <= now
        {
            *ack_at = now + ms(ACK_INTERVAL_MS);
            self.lanes.iter_mut().for_each(|lane| lane.ack_due = true);
        }
        let fetching = !self.fetches.is_empty();
        let Some((index, lane)) = self.lanes.iter_mut().enumerate().find(|(_, lane)| lane.ack_due) else {
            return false;
        };
        lane.ack_due = false;
        let out_of_order = core::mem::take(&mut lane.out_of_order);
        let ack = Ack {
            lane: Lane(index as u8),
            received: lane.next,
            durable: lane.durable,
            credit: if fetching { 0 } else { lane.tell_credit() },
            flags: if out_of_order { Ack::OUT_OF_ORDER } else { 0 },
        };
        self.outgoing.begin(Kind::Ack, Seal::Session(session), &ack);
        true
    }
}

const fn ms(ms: u32) -> u64 {
    TickRate::MICROSECONDS.ms(ms)
}

/// A start brings a session and a gap for each lane; a timer may add the end of it.
const PENDING_MAX: usize = 8;

const _: () = assert!(1 + Lane::COUNT + 2 <= PENDING_MAX);

//! The machine behind a host's link: which phase it is in, and what each message and each timer does there.
//!
//! ```text
//!            Hello                 admit                  Start
//!  Apart ───────────► Deciding ───────────► Welcoming ───────────► Live
//!    ▲ refuse            │                     │ no answer           │ silence, refuse,
//!    └───────────────────┴─────────────────────┴─────────────────────┘ a Hello of another session
//! ```

use heapless::{Deque, Vec};
use varve_core::{
    Batch, CHANNELS_MAX, Channel, DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, crc32c,
};

use super::discovery::Discovery;
use super::fetch::{Fetches, PieceOutcome};
use super::lane::{HostLane, Verdict};
use super::outgoing::Outgoing;
use super::{ClockSample, HostConfig, HostState, HostStats, LostReason, Session};
use crate::admission::{Admission, LaneCursor};
use crate::chain::Chain;
use crate::frame::{Frame, Kind, SHORT_SEQUENCE_LEN, Seal};
use crate::message::{
    self, Ack, CHANNEL_NAME_LEN_MAX, DescriptorPiece, Discover, Gap, GapReason, HeldLane, Hello, LaneStart,
    NextSequence, Refusal, Refuse, Start, Status, VERSION_MAX, VERSION_MIN, Welcome,
};
use crate::nonce::NonceSource;
use crate::outbox::GAP_CREDIT;
use crate::short_sequence::ShortSequence;
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

/// The handshake.
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

    fn handle_hello(&mut self, now: u64, body: &[u8], frame_len: usize) -> Outcome {
        let Some(prefix) = message::read::<HelloPrefix>(body) else {
            return Outcome::Ignored;
        };
        if let Phase::Welcoming { repetition, .. } = &mut self.phase
            && prefix.nonce == self.peer.nonce
        {
            repetition.hasten(now);
            return Outcome::Taken;
        }
        let hello = message::read::<Hello<'_>>(body);
        if let (Phase::Live { session, .. }, Some(hello)) = (&self.phase, &hello)
            && hello.session == *session
        {
            self.discovery.stop();
            return Outcome::Taken;
        }
        let asked = if prefix.nonce == 0 { None } else { self.discovery.answered(prefix.discover) };
        match (asked, &self.phase) {
            (Some(asked), Phase::Apart | Phase::Live { .. }) => {
                self.handle_answer(now, asked, &prefix, hello.as_ref(), frame_len)
            }
            // Unsolicited. An answer to an older question hastens nothing, or a slow line would never catch up.
            (None, Phase::Apart | Phase::Live { .. }) if prefix.discover == 0 => {
                self.discovery.hasten(now);
                Outcome::Taken
            }
            _ => Outcome::Ignored,
        }
    }

    /// A hello that answers a `Discover` of this host, and is not of the present session.
    fn handle_answer(
        &mut self,
        now: u64,
        asked: u64,
        prefix: &HelloPrefix,
        hello: Option<&Hello<'_>>,
        frame_len: usize,
    ) -> Outcome {
        if matches!(self.phase, Phase::Live { .. }) {
            self.part(now);
            self.tell(Pending::Lost(LostReason::Reset));
        }
        self.discovery.stop();
        self.peer.nonce = prefix.nonce;
        if prefix.version_max < VERSION_MIN || prefix.version_min > VERSION_MAX {
            return Outcome::Refused(Refusal::Version);
        }
        let Some(hello) = hello.filter(|hello| makes_sense(hello)) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        self.peer = Peer {
            device: hello.device,
            nonce: hello.nonce,
            version: hello.version_max.min(VERSION_MAX),
            clock: ClockSample {
                ticks: hello.now,
                tick_hz: hello.tick_hz,
                host_us: asked + now.saturating_sub(asked) / 2,
                uncertainty_us: now.saturating_sub(asked).div_ceil(2),
            },
            held: hello.lanes.clone(),
            channels: hello.channels.iter().map(|channel| channel.lane).collect(),
        };
        self.phase = Phase::Deciding;
        self.tell(Pending::Hello { frame_len });
        Outcome::Taken
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

    fn handle_start(&mut self, now: u64, body: &[u8]) -> Outcome {
        let Some(start) = message::read::<Start>(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        let Phase::Welcoming { admission, session, .. } = &self.phase else {
            // It came twice.
            self.lanes.iter_mut().for_each(|lane| lane.ack_due = true);
            return Outcome::Taken;
        };
        if start.lanes.len() != admission.lanes.len() {
            return Outcome::Refused(Refusal::Malformed);
        }
        let starts = || admission.lanes.iter().zip(&self.peer.held).zip(&start.lanes);
        if let Some(refusal) =
            starts().find_map(|((cursor, held), start)| check_start(admission, cursor, held, start))
        {
            return Outcome::Refused(refusal);
        }
        let lanes = starts().map(|((cursor, held), start)| {
            let heard =
                if admission.rebase { DeviceSequence(held.next.0 - held.oldest.0) } else { held.next };
            HostLane::new(*cursor, start.first, Chain(start.chain), heard)
        });
        self.lanes = lanes.collect();
        let opened = Session {
            number: *session,
            device: self.peer.device,
            admission: admission.clone(),
            clock: self.peer.clock,
        };
        self.stats.sessions += 1;
        self.phase = Phase::Live { session: opened.number, heard_at: now, ack_at: now };
        self.tell(Pending::Session(opened.clone()));
        self.tell_restored_gaps(&opened.admission);
        Outcome::Taken
    }

    /// What the device has forgotten, since this host's store once had it, is a gap.
    fn tell_restored_gaps(&mut self, admission: &Admission) {
        for (index, cursor) in admission.lanes.iter().enumerate() {
            let (next, chain) = (self.lanes[index].next, self.lanes[index].chain);
            if next > cursor.next {
                let len = next.0 - cursor.next.0;
                let reason = GapReason::HostRestored;
                self.tell(Pending::Gap { lane: Lane(index as u8), first: cursor.next, len, reason, chain });
            }
        }
    }
}

/// Inside a session.
impl Machine {
    /// The lane and the first sequence of a batch, before its frame has been checked.
    fn batch_target(&self, body: &[u8]) -> Option<(Lane, DeviceSequence)> {
        let (short, batch) = body.split_first_chunk::<SHORT_SEQUENCE_LEN>()?;
        let lane = Lane(batch.first()? >> 5 & 3);
        let expected = self.lanes.get(usize::from(lane.0))?.next;
        Some((lane, ShortSequence(u16::from_le_bytes(*short)).expand(expected)))
    }

    fn handle_batch(&mut self, lane: Lane, first: DeviceSequence, body: &[u8], frame_len: usize) -> Outcome {
        let bytes = &body[SHORT_SEQUENCE_LEN..];
        let Ok(batch) = Batch::new_checked(bytes) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        let of_lane = |channel: Channel| self.peer.channels.get(usize::from(channel.0)) == Some(&lane);
        if !batch.events().all(|event| of_lane(event.channel)) {
            return Outcome::Refused(Refusal::Malformed);
        }
        let count = batch.len() as u64;
        let link = |chain: Chain| chain.after_batch(crc32c(bytes));
        self.accept(lane, first, count, bytes.len() as u32, link, |chain| Pending::Batch {
            lane,
            first,
            chain,
            frame_len,
        })
    }

    fn handle_gap(&mut self, body: &[u8]) -> Outcome {
        let Some(Gap { lane, first, len, reason }) = message::read(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        let link = |chain: Chain| chain.after_gap(first, len, reason);
        self.accept(lane, first, len, GAP_CREDIT, link, |chain| Pending::Gap {
            lane,
            first,
            len,
            reason,
            chain,
        })
    }

    /// Accepts what takes `count` sequences from `first` on, if it is next.
    fn accept(
        &mut self,
        lane: Lane,
        first: DeviceSequence,
        count: u64,
        credit: u32,
        link: impl FnOnce(Chain) -> Chain,
        event: impl FnOnce(Chain) -> Pending,
    ) -> Outcome {
        let fetching = !self.fetches.is_empty();
        let (Some(end), Some(lane)) = (first.checked_add(count), self.lanes.get_mut(usize::from(lane.0)))
        else {
            return Outcome::Refused(Refusal::Malformed);
        };
        if count == 0 {
            return Outcome::Refused(Refusal::Malformed);
        }
        let verdict = lane.judge(first, end, credit, fetching, link);
        let chain = lane.chain;
        match verdict {
            Verdict::Accepted => {
                let event = event(chain);
                match event {
                    Pending::Batch { .. } => {
                        self.stats.batches += 1;
                        self.stats.events += count;
                    }
                    _ => self.stats.gaps += 1,
                }
                self.tell(event);
            }
            Verdict::Duplicate => self.stats.duplicates += 1,
            Verdict::OutOfOrder => self.stats.out_of_order += 1,
            Verdict::OverCredit => self.stats.over_credit += 1,
            Verdict::Overlap => return Outcome::Refused(Refusal::Chain),
        }
        Outcome::Taken
    }

    fn handle_descriptor(&mut self, body: &[u8]) -> Outcome {
        let Some(piece) = message::read::<DescriptorPiece<'_>>(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        match self.fetches.handle_piece(&piece) {
            PieceOutcome::Ignored => return Outcome::Ignored,
            PieceOutcome::Kept => {}
            PieceOutcome::Failed => return Outcome::Refused(Refusal::Descriptor),
            PieceOutcome::Complete(hash, len) => {
                // With the last descriptor the credit becomes true.
                self.lanes.iter_mut().for_each(|lane| lane.ack_due = true);
                self.tell(Pending::Descriptor { hash, len });
            }
        }
        Outcome::Taken
    }

    fn handle_status(&mut self, now: u64, body: &[u8]) -> Outcome {
        let Some(status) = message::read::<Status>(body) else {
            return Outcome::Refused(Refusal::Malformed);
        };
        for (lane, NextSequence(next)) in self.lanes.iter_mut().zip(&status.lanes) {
            lane.heard = lane.heard.max(*next);
        }
        self.tell(Pending::Status { ticks: status.now, received_us: now });
        Outcome::Taken
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

/// The fields of a hello that no version changes.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
struct HelloPrefix {
    version_min: u8,
    version_max: u8,
    #[expect(dead_code, reason = "no feature is defined yet")]
    features: u32,
    discover: u32,
    nonce: u32,
}

/// Whether a hello is one that an honest device of a known version sends.
fn makes_sense(hello: &Hello<'_>) -> bool {
    let identity = hello.device.is_valid() && (hello.incarnation == 0) == (hello.epoch == Epoch(0));
    let lanes = !hello.lanes.is_empty() && hello.lanes.iter().all(|lane| lane.oldest <= lane.next);
    let channels = !hello.channels.is_empty()
        && hello.channels.iter().all(|channel| {
            (1..=CHANNEL_NAME_LEN_MAX).contains(&channel.name.len())
                && usize::from(channel.lane.0) < hello.lanes.len()
        });
    identity && lanes && channels && hello.tick_hz > 0 && hello.nonce != 0
}

/// Why a lane cannot start as the device says, if it cannot.
fn check_start(
    admission: &Admission,
    cursor: &LaneCursor,
    held: &HeldLane,
    start: &LaneStart,
) -> Option<Refusal> {
    let oldest = if admission.rebase { DeviceSequence(0) } else { held.oldest };
    if start.first < cursor.next || (start.first == cursor.next && Chain(start.chain) != cursor.chain) {
        Some(Refusal::Chain)
    } else if start.first > cursor.next && start.first != oldest {
        Some(Refusal::Malformed)
    } else {
        None
    }
}

const fn ms(ms: u32) -> u64 {
    TickRate::MICROSECONDS.ms(ms)
}

/// A start brings a session and a gap for each lane; a timer may add the end of it.
const PENDING_MAX: usize = 8;

const _: () = assert!(1 + Lane::COUNT + 2 <= PENDING_MAX);

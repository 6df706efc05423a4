//! The host's side of the link.

mod discovery;
mod fetch;
mod lane;
mod machine;
mod outgoing;

use varve_core::{Batch, DescriptorHash, DeviceId, DeviceSequence, GapReason, Lane};

use crate::admission::Admission;
use crate::chain::Chain;
use crate::frame::{FRAME_LEN_MAX, Frame, FrameDecoder, SHORT_SEQUENCE_LEN};
use crate::message::{self, Hello, Refusal};
use machine::{Machine, Pending};

/// Receives what one port brings, in order and without doubles, and tells the device what is received and what is
/// durable. It does no input or output and knows no clock: bytes and the time go in, bytes, events and the time of the
/// next call come out. All times are in microseconds of one monotonic clock.
///
/// ```text
/// bytes came         handle_bytes until all are taken, and after each call poll_event until None
/// always after that  poll_transmit until 0, then poll_event until None
/// nothing happens    until poll_timeout, then poll_transmit
/// ```
///
/// A [`HostEvent::Hello`] waits for [`admit`](Self::admit) or [`refuse`](Self::refuse). After
/// [`HostEvent::Session`], [`fetch_descriptor`](Self::fetch_descriptor) for each unknown one and
/// [`set_credit`](Self::set_credit) let the device send.
#[derive(Debug)]
pub struct HostLink {
    decoder: FrameDecoder<FRAME_LEN_MAX>,
    machine: Machine,
}

/// What a host's link needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Random, and another for every link and every start: sessions and nonces come from it.
    pub seed: u64,
}

/// What happened on a link.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "an event is looked at once, where it was made")]
pub enum HostEvent<'a> {
    /// A device wants to be admitted. Answer with [`HostLink::admit`] or [`HostLink::refuse`], now or later.
    Hello(Hello<'a>),
    /// The device has accepted its admission: from now on its terms may be stored.
    Session(Session),
    /// A descriptor that was asked for. Its hash is right; its contents are not checked.
    FetchedDescriptor {
        /// Its hash.
        hash: DescriptorHash,
        /// Its bytes: at most 4,096.
        bytes: &'a [u8],
    },
    /// The next batch of a lane.
    Batch {
        /// The lane.
        lane: Lane,
        /// The sequence of its first event.
        first: DeviceSequence,
        /// The chain behind it.
        chain: Chain,
        /// The batch. Its channels are channels of that lane.
        batch: Batch<'a>,
    },
    /// The next sequences of a lane have no events.
    Gap {
        /// The lane.
        lane: Lane,
        /// The first of them.
        first: DeviceSequence,
        /// How many: never 0.
        len: u64,
        /// Why.
        reason: GapReason,
        /// The chain behind it.
        chain: Chain,
    },
    /// The device's clock stood at `ticks` no later than at `received_us`.
    Status {
        /// The device's clock.
        ticks: u64,
        /// The host's.
        received_us: u64,
    },
    /// The session is over.
    Lost(LostReason),
    /// The link itself has refused the device, and a session is over if there was one.
    Refused(Refusal),
}

/// How far a host is on its way into a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostState {
    /// Nobody is there yet.
    Apart,
    /// A device waits to be admitted.
    Deciding,
    /// The device is admitted, and has not accepted yet.
    Welcoming,
    /// In a session, whose device may not send yet: descriptors are missing.
    Fetching,
    /// In a session.
    Live,
}

/// A session that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Names it in [`HostLink::handle_durable`]. Never 0.
    pub number: u32,
    /// The device.
    pub device: DeviceId,
    /// The terms on which it was admitted.
    pub admission: Admission,
    /// How the device's clock stands to the host's.
    pub clock: ClockSample,
}

/// Two clocks at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSample {
    /// The device's, in ticks.
    pub ticks: u64,
    /// Ticks per second.
    pub tick_hz: u32,
    /// The host's, in microseconds.
    pub host_us: u64,
    /// How far `host_us` may be off, either way.
    pub uncertainty_us: u64,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// The device was silent for 3 s.
    Silent,
    /// The device does not know of the session: it was reset, or another one is there.
    Reset,
}

/// What a host's link has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostStats {
    /// Bytes taken in.
    pub bytes_received: u64,
    /// Bytes handed out.
    pub bytes_sent: u64,
    /// Frames from the device that passed their check.
    pub frames_received: u64,
    /// Frames that did not: cut, too long, damaged, or of another session.
    pub bad_frames: u64,
    /// The host's own frames that came back.
    pub echoes: u64,
    /// Frames of a kind that this version does not know.
    pub unknown_kinds: u64,
    /// Messages that made no sense, or none any more, and were ignored.
    pub ignored: u64,
    /// Batches accepted.
    pub batches: u64,
    /// Their events.
    pub events: u64,
    /// Gaps accepted from the device.
    pub gaps: u64,
    /// Batches and gaps that the host had already.
    pub duplicates: u64,
    /// Batches and gaps that came before what precedes them, and were dropped.
    pub out_of_order: u64,
    /// Batches and gaps for which there was no credit, and which were dropped.
    pub over_credit: u64,
    /// Sessions that have begun.
    pub sessions: u64,
    /// Refusals sent.
    pub refusals: u64,
}

impl HostLink {
    /// A link that asks who is there as soon as it is polled.
    pub fn new(config: HostConfig) -> Self {
        Self { decoder: FrameDecoder::new(), machine: Machine::new(config) }
    }

    /// Takes in bytes up to the end of a frame that brings an event, and returns how many it took: none while an event
    /// waits to be polled.
    #[must_use = "the rest is to be passed in again"]
    pub fn handle_bytes(&mut self, now_us: u64, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while taken < bytes.len() && !self.machine.has_event() {
            let (len, outcome) = self.decoder.decode(&bytes[taken..]);
            taken += len;
            match outcome {
                Some(Ok(len)) => self.machine.handle_frame(now_us, self.decoder.frame(len)),
                Some(Err(_)) => self.machine.stats.bad_frames += 1,
                None => {}
            }
        }
        self.machine.stats.bytes_received += taken as u64;
        taken
    }

    /// What happened next. It borrows from the frame that came last.
    pub fn poll_event(&mut self) -> Option<HostEvent<'_>> {
        let pending = self.machine.next_event()?;
        // The machine has checked these bytes; only their borrow is made anew.
        let body = |len| Frame::new_checked(self.decoder.frame(len)).map(|frame| frame.body());
        Some(match pending {
            Pending::Hello { frame_len } => HostEvent::Hello(message::read(body(frame_len)?)?),
            Pending::Session(session) => HostEvent::Session(session),
            Pending::Descriptor { hash, len } => {
                HostEvent::FetchedDescriptor { hash, bytes: self.machine.fetched_descriptor(len) }
            }
            Pending::Batch { lane, first, chain, frame_len } => {
                let bytes = body(frame_len)?.get(SHORT_SEQUENCE_LEN..)?;
                HostEvent::Batch { lane, first, chain, batch: Batch::new_checked(bytes).ok()? }
            }
            Pending::Gap { lane, first, len, reason, chain } => {
                HostEvent::Gap { lane, first, len, reason, chain }
            }
            Pending::Status { ticks, received_us } => HostEvent::Status { ticks, received_us },
            Pending::Lost(reason) => HostEvent::Lost(reason),
            Pending::Refused(reason) => HostEvent::Refused(reason),
        })
    }

    /// Writes the next bytes for the device to `out` and returns how many: 0 when there is nothing to send now.
    pub fn poll_transmit(&mut self, now_us: u64, out: &mut [u8]) -> usize {
        self.machine.poll_transmit(now_us, out)
    }

    /// When to call [`poll_transmit`](Self::poll_transmit) again if nothing happens before.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.machine.poll_timeout()
    }

    /// Admits the device whose hello came last. Without one that waits for it, it does nothing.
    pub fn admit(&mut self, admission: Admission) {
        self.machine.admit(admission);
    }

    /// Refuses the device whose hello came last, or ends the session with it.
    pub fn refuse(&mut self, reason: Refusal) {
        self.machine.refuse(reason);
    }

    /// Asks the device for a descriptor, which will come as [`HostEvent::FetchedDescriptor`]. Until all that were asked
    /// for have come, the device has no credit. `false` outside a session, and where 16 are wanted already.
    pub fn fetch_descriptor(&mut self, hash: DescriptorHash) -> bool {
        self.machine.fetch_descriptor(hash)
    }

    /// Tells the device that all of a lane before `durable` is stored for good. It is ignored unless the session is
    /// still the one that the events came in.
    pub fn handle_durable(&mut self, session: u32, lane: Lane, durable: DeviceSequence) {
        self.machine.handle_durable(session, lane, durable);
    }

    /// Lets the device send so many bytes of a lane beyond what has been received. The device may exceed it by one
    /// batch: keep [`BATCH_LEN_MAX`](crate::BATCH_LEN_MAX) bytes in reserve. What was granted is never taken back.
    pub fn set_credit(&mut self, lane: Lane, bytes: u32) {
        self.machine.set_credit(lane, bytes);
    }

    /// How far the link is on its way into a session.
    pub fn state(&self) -> HostState {
        self.machine.state()
    }

    /// The present session, once it has begun.
    pub fn session(&self) -> Option<u32> {
        self.machine.session()
    }

    /// Behind the highest sequence of a lane that the device spoke of in the latest session, whether it came or not.
    pub fn heard(&self, lane: Lane) -> Option<DeviceSequence> {
        self.machine.heard(lane)
    }

    /// What the link has counted.
    pub fn stats(&self) -> HostStats {
        self.machine.stats
    }
}

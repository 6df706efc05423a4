//! What a port asks of the writer.

use std::sync::Arc;

use varve_core::{DescriptorHash, DeviceId, DeviceSequence, Epoch, GapReason, Lane, StreamBinding, StreamId};

use crate::quota::Room;

/// Which port: its place among the daemon's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortNumber(pub(crate) usize);

/// A request, and the port that it comes from.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) port: PortNumber,
    pub(crate) request: Request,
    /// Its part of the port's quota, held until the request is done with.
    pub(crate) _room: Room,
}

/// What a port asks of the writer.
#[derive(Debug)]
pub(crate) enum Request {
    /// What does the store know of this device, and which of these descriptors does it lack? The answer bears the
    /// question's number.
    Know { question: u64, device: DeviceId, descriptors: Vec<DescriptorHash> },
    /// The device has taken these terms: what follows is under them.
    Begin(Arc<Terms>),
    /// Keep this descriptor, whose hash was checked.
    Descriptor(Vec<u8>),
    /// Store this batch, which was checked.
    Batch { first: DeviceSequence, events: u64, chain: u32, ingest_us: u64, bytes: Vec<u8> },
    /// Record that these events will never come.
    Gap { lane: Lane, first: DeviceSequence, len: u64, reason: GapReason, chain: u32, ingest_us: u64 },
    /// The device is no longer live on the port; its session told of the sequences before these, lane by lane.
    End { heard: Vec<DeviceSequence> },
}

/// Under what name a device's events are stored in one session, and what its session says of it at its beginning.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) device: DeviceId,
    pub(crate) epoch: Epoch,
    /// The store does not have the epoch yet.
    pub(crate) opens: bool,
    /// The earlier epoch that ends unknown.
    pub(crate) closes: Option<Epoch>,
    pub(crate) channels: Vec<ChannelTerms>,
    /// For each lane, the sequence that the store has next and the one that the device will give next.
    pub(crate) lanes: Vec<LaneTerms>,
    pub(crate) clock: ClockReading,
    pub(crate) begun_us: u64,
}

/// Where the events of a channel go.
#[derive(Debug)]
pub(crate) struct ChannelTerms {
    pub(crate) name: String,
    pub(crate) id: StreamId,
    pub(crate) descriptor: DescriptorHash,
    /// The descriptor comes to the store by another way.
    pub(crate) external: bool,
}

/// How far a lane is on either side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LaneTerms {
    pub(crate) stored: DeviceSequence,
    pub(crate) heard: DeviceSequence,
}

/// What a device's clock showed at a time of the host's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockReading {
    pub(crate) ticks: u64,
    pub(crate) tick_hz: u32,
    pub(crate) host_us: u64,
    pub(crate) uncertainty_us: u32,
}

impl Request {
    /// How many bytes it brings: what counts against the port's quota.
    pub(crate) fn bytes_len(&self) -> usize {
        match self {
            Self::Batch { bytes, .. } | Self::Descriptor(bytes) => bytes.len(),
            Self::Know { .. } | Self::Begin(_) | Self::Gap { .. } | Self::End { .. } => 0,
        }
    }
}

impl ChannelTerms {
    fn binding(&self) -> StreamBinding<'_> {
        StreamBinding { name: &self.name, id: self.id, descriptor: self.descriptor }
    }
}

impl Terms {
    /// The streams of the channels, in the order of the device's channel table.
    pub(crate) fn bindings(&self) -> Vec<StreamBinding<'_>> {
        self.channels.iter().map(ChannelTerms::binding).collect()
    }
}

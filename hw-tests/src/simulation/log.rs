//! The seam between the gateway and what keeps its events.

use std::sync::Arc;

use varve_core::{DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, StreamBinding, StreamId};
use varve_device_proto::{Admission, Chain, GapReason, KnownEpoch};

use super::account::Account;

/// What keeps a gateway's events: the real store, or one that is broken on purpose.
///
/// A power failure may come between [`Log::write`] and [`Log::flush`]: [`Log::crash`] then forgets what was written.
pub trait Log: Sized {
    /// Names the store; another one after [`Log::replace`].
    fn incarnation(&self) -> u64;

    /// What is stored of a device's latest epoch.
    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch>;

    /// Whether a descriptor of that hash is stored.
    fn knows(&self, descriptor: DescriptorHash) -> bool;

    /// Takes records in, in order, at that time of the host, and says how safe they are by now.
    fn write(&mut self, now_us: u64, records: &[Record]) -> Standing;

    /// Makes all that was written durable.
    fn flush(&mut self);

    /// The power fails and comes back.
    fn crash(&mut self);

    /// A store of its own, of the same incarnation, with what is durable here.
    fn fork(&self) -> Self;

    /// Becomes an empty store of another incarnation.
    fn replace(&mut self);

    /// Everything that is stored.
    fn account(&self) -> Account;
}

/// Whether written records may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A power failure would cost them.
    Volatile,
    /// They are safe.
    Durable,
}

/// One thing for a log to keep.
#[derive(Clone, Debug)]
pub enum Record {
    /// A device has taken the terms of its admission: an epoch may open, and an earlier one close.
    Terms {
        /// Whose.
        device: DeviceId,
        /// The terms.
        admission: Admission,
    },
    /// The device has emitted that much, by its own account.
    Heard {
        /// Whose.
        device: DeviceId,
        /// Its epoch.
        epoch: Epoch,
        /// Its lane.
        lane: Lane,
        /// One past the highest sequence.
        next: DeviceSequence,
    },
    /// A sealed batch.
    Batch {
        /// Where it goes.
        place: RecordPlace,
        /// The stream of each channel.
        channels: Arc<[Binding]>,
        /// The batch.
        bytes: Vec<u8>,
    },
    /// What the events of a channel are.
    Descriptor {
        /// Its hash.
        hash: DescriptorHash,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// Sequences without events.
    Gap {
        /// Where it goes.
        place: RecordPlace,
        /// How many.
        len: u64,
        /// Why.
        reason: GapReason,
    },
}

impl Record {
    /// Whose record it is; a descriptor is everybody's.
    pub fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Terms { device, .. } | Self::Heard { device, .. } => Some(*device),
            Self::Batch { place, .. } | Self::Gap { place, .. } => Some(place.device),
            Self::Descriptor { .. } => None,
        }
    }
}

/// Where the events of a channel go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The stream's name.
    pub stream: String,
    /// Which stream of that name.
    pub id: StreamId,
    /// What the events are.
    pub descriptor: DescriptorHash,
}

impl Binding {
    /// The binding in the store's terms.
    pub fn as_stored(&self) -> StreamBinding<'_> {
        StreamBinding { name: &self.stream, id: self.id, descriptor: self.descriptor }
    }
}

/// Where a record of a device goes.
#[derive(Clone, Copy, Debug)]
pub struct RecordPlace {
    /// Whose.
    pub device: DeviceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its lane.
    pub lane: Lane,
    /// The first sequence.
    pub first: DeviceSequence,
    /// The chain after it.
    pub chain: Chain,
}

/// The incarnation of the store that replaces one of this.
pub(super) fn next_incarnation(incarnation: u64) -> u64 {
    incarnation.rotate_left(1) ^ 0x5EED
}

//! An event of any stream, without its type.

use std::fmt;
use std::sync::Arc;

use crate::archive::access_root;
use crate::descriptor::Schema;
use crate::store::error::{Damage, Place, ReadError};
use crate::store::log::block::Origin as RunOrigin;
use crate::store::log::clock::EventTime;
use crate::store::read::snapshot::Snapshot;
use crate::store::write::event_type::EventType;
use crate::{
    DescriptorHash, DeviceId, DeviceSequence, Epoch, Event, GlobalSequence, Lane, StreamId, StreamSequence,
};

/// An event of any stream, borrowed from the map, with all that the store knows of it.
#[derive(Clone, Copy)]
pub struct EventView<'s> {
    /// Its place in the log.
    pub global_seq: GlobalSequence,
    /// The name of its stream.
    pub stream_name: &'s str,
    /// Which stream of the name.
    pub stream_id: StreamId,
    /// Its place in the stream.
    pub stream_seq: StreamSequence,
    /// The archived bytes.
    pub payload: &'s [u8],
    pub(in crate::store) snapshot: &'s Snapshot,
    pub(in crate::store) descriptor: u32,
    pub(in crate::store) origin: Option<RunOrigin>,
    pub(in crate::store) device_seq: DeviceSequence,
    pub(in crate::store) ticks: Option<u64>,
    pub(in crate::store) ingest_us: u64,
    pub(in crate::store) domain: u32,
}

/// An event of any stream, with a copy of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobalEvent {
    /// Its place in the log.
    pub global_seq: GlobalSequence,
    /// The name of its stream.
    pub stream_name: String,
    /// Which stream of the name.
    pub stream_id: StreamId,
    /// Its place in the stream.
    pub stream_seq: StreamSequence,
    /// The archived bytes.
    pub payload: Vec<u8>,
}

/// The device that an event came from, and its place among all that the device emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The device.
    pub device: DeviceId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The event's place in the lane.
    pub sequence: DeviceSequence,
}

impl<'s> EventView<'s> {
    /// What describes the bytes; `None` where the store has not the descriptor.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where its row is damaged.
    pub fn schema(&self) -> Result<Option<Arc<Schema>>, ReadError> {
        self.snapshot.schema_of(self.descriptor)
    }

    /// The hash of the descriptor that the event came with.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where its row is damaged.
    pub fn descriptor_hash(&self) -> Result<DescriptorHash, ReadError> {
        Ok(self.snapshot.descriptor_row(self.descriptor)?.hash)
    }

    /// The event as a `T`.
    ///
    /// # Errors
    ///
    /// [`ReadError::LayoutMismatch`] where it has another layout; [`ReadError::Corrupt`] where it is damaged.
    pub fn archived<T: Event>(&self) -> Result<&'s T::Archived, ReadError> {
        let row = self.snapshot.descriptor_row(self.descriptor)?;
        let asked = EventType::of::<T>();
        let Some(root_len) = row.root_len_as(&asked) else {
            let mismatch = row.mismatch(self.stream_name, Some(self.stream_id), &asked);
            return Err(ReadError::LayoutMismatch(mismatch));
        };
        let place = Place::Event(self.global_seq);
        let damage = |_| Damage { place, reason: "its bytes are not of its layout" };
        Ok(access_root::<T>(self.payload, root_len).map_err(damage)?)
    }

    /// When it happened: by the device's clock where that can be told, or else when the host took it in.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where a row of the device's clock or of the host's is damaged.
    pub fn time(&self) -> Result<EventTime, ReadError> {
        if let Some((origin, ticks)) = self.origin.as_ref().zip(self.ticks)
            && let Some(time) = self.snapshot.device_time(origin, ticks)?
        {
            return Ok(time);
        }
        self.ingest_time()
    }

    /// When the host took it in.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where the row of the host's clock is damaged.
    pub fn ingest_time(&self) -> Result<EventTime, ReadError> {
        self.snapshot.ingest_time(self.domain, self.ingest_us)
    }

    /// The device's clock when it happened.
    pub fn ticks(&self) -> Option<u64> {
        self.ticks
    }

    /// The device that it came from; `None` for an event of this host.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where the device's row is damaged.
    pub fn origin(&self) -> Result<Option<Origin>, ReadError> {
        let Some(RunOrigin { device, epoch, lane, .. }) = self.origin else { return Ok(None) };
        let device = self.snapshot.device_id(device)?;
        Ok(Some(Origin { device, epoch, lane, sequence: self.device_seq }))
    }

    /// A copy that outlives the snapshot.
    pub fn to_event(&self) -> GlobalEvent {
        GlobalEvent {
            global_seq: self.global_seq,
            stream_name: self.stream_name.into(),
            stream_id: self.stream_id,
            stream_seq: self.stream_seq,
            payload: self.payload.to_vec(),
        }
    }
}

impl fmt::Debug for EventView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventView")
            .field("global_seq", &self.global_seq)
            .field("stream_name", &self.stream_name)
            .field("stream_id", &self.stream_id)
            .field("stream_seq", &self.stream_seq)
            .field("payload", &self.payload)
            .finish_non_exhaustive()
    }
}

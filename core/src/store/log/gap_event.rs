//! The system stream of gaps: loss is data.

use crate::{DeviceId, DeviceSequence, Epoch, GapReason, Lane, StreamId};

/// Events of a device that are lost, or an epoch whose end nobody knows. It is stored like any event, in the
/// stream [`GapEvent::STREAM`](crate::Event::STREAM) with the id [`GapEvent::stream_id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, crate::Event)]
#[event(stream = "varve.gap")]
pub struct GapEvent {
    /// The device's id.
    #[event(doc = "the device's id")]
    pub device: u64,
    /// The device's epoch.
    #[event(doc = "the device's epoch")]
    pub epoch: u32,
    /// The lane.
    #[event(doc = "the lane")]
    pub lane: u8,
    /// Why.
    #[event(doc = "why")]
    pub reason: GapReason,
    /// Whether the epoch ended here and it may have emitted more than anybody heard of.
    #[event(doc = "the epoch ended here, and may have emitted more than was heard of")]
    pub end_unknown: bool,
    /// The place of the first lost event in the lane.
    #[event(doc = "the place of the first lost event in the lane")]
    pub first: u64,
    /// How many events are lost.
    #[event(doc = "how many events are lost")]
    pub len: u64,
}

impl GapEvent {
    /// The stream of the gaps of a device's lane.
    pub const fn stream_id(device: DeviceId, lane: Lane) -> StreamId {
        StreamId::of_device(device, lane.0)
    }

    pub(in crate::store) fn new(
        device: DeviceId,
        epoch: Epoch,
        lane: Lane,
        first: DeviceSequence,
        len: u64,
        reason: GapReason,
    ) -> Self {
        Self {
            device: device.0,
            epoch: epoch.0,
            lane: lane.0,
            reason,
            end_unknown: false,
            first: first.0,
            len,
        }
    }
}

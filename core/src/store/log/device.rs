//! What a device's batches, gaps and epochs are to the store, and what the store keeps of each device.

use crate::store::log::tables::array;
use crate::{Batch, DescriptorHash, DeviceId, DeviceSequence, Epoch, GapReason, Lane, StreamId};

/// A batch to be stored, with its place among all that its device emits. The lane is the batch's own.
#[derive(Clone, Debug)]
pub struct DeviceBatch<'a> {
    /// The device.
    pub device: DeviceId,
    /// The device's epoch.
    pub epoch: Epoch,
    /// The place of the first event in the lane.
    pub first: DeviceSequence,
    /// The chain over the lane's sealed batches after this one.
    pub chain: u32,
    /// When the host took it in: [`HostClock::now_us`](crate::HostClock::now_us).
    pub ingest_us: u64,
    /// The stream of each channel, in the order of the device's channel table.
    pub channels: &'a [StreamBinding<'a>],
    /// The batch.
    pub batch: Batch<'a>,
}

/// Where the events of a channel go, and what describes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamBinding<'a> {
    /// The stream's name, 1 to [`STREAM_NAME_LEN_MAX`](crate::STREAM_NAME_LEN_MAX) bytes.
    pub name: &'a str,
    /// Which stream of the name: [`StreamId::of_device`].
    pub id: StreamId,
    /// The descriptor. The store must have it, by an earlier commit or by this one.
    pub descriptor: DescriptorHash,
}

/// Events of a device that will never come: they were dropped, or nobody holds them any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceGap {
    /// The device.
    pub device: DeviceId,
    /// The device's epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The place of the first lost event in the lane.
    pub first: DeviceSequence,
    /// How many are lost.
    pub len: u64,
    /// Why, as the device says or the host.
    pub reason: GapReason,
    /// The chain over the lane's sealed batches after the gap.
    pub chain: u32,
    /// When the host learnt of it.
    pub ingest_us: u64,
}

/// What the store knows of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRecord {
    /// The device.
    pub device: DeviceId,
    /// The latest epoch that was opened for it.
    pub epoch: Epoch,
    /// The lanes of every epoch, in order, but for those that retention took: what [`DeviceRecord::lanes`] filters. [`Snapshot::device`](crate::Snapshot::device)
    /// gives those of the latest alone.
    pub history: Vec<LaneRecord>,
}

/// How far one lane of one epoch is stored. Events stored + events in recorded gaps = `next`, and what was heard
/// of beyond it is yet to come, or becomes a gap when the epoch is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneRecord {
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The place of the next event: everything before is stored, or in a recorded gap.
    pub next: DeviceSequence,
    /// The chain over the lane's sealed batches up to there.
    pub chain: u32,
    /// How many events were lost in gaps.
    pub gap_total: u64,
    /// The place after the last event ever heard of.
    pub heard: DeviceSequence,
    /// Whether the epoch has ended.
    pub closed: bool,
}

/// The end of what is stored of a lane, as a commit left it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneMark {
    /// The device.
    pub device: DeviceId,
    /// The epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The place of the next event: everything before is durable.
    pub next: DeviceSequence,
}

/// A batch or a gap that was not stored, since it does not follow what is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Where the lane is; [`LaneMark::next`] is what would have followed.
    pub lane: LaneMark,
    /// The place of its first event.
    pub first: DeviceSequence,
    /// Why.
    pub reason: RefusedReason,
}

/// Why a batch or a gap was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedReason {
    /// It begins after the next event: storing it would leave a hole.
    Ahead,
    /// It begins before the next event and ends after it: it was cut anew.
    Straddles,
    /// Its epoch was never opened, or has ended, or a later one has begun.
    EpochNotOpen,
    /// A descriptor of its events is neither in the store nor announced as external.
    UnknownDescriptor,
    /// It would take the lane past the end of the number space.
    Exhausted,
    /// A stream of its events is to be sealed, and the store has as many keys as it may.
    KeysFull,
}

impl DeviceRecord {
    /// The lanes of the latest epoch.
    pub fn lanes(&self) -> impl Iterator<Item = &LaneRecord> {
        self.history.iter().filter(|lane| lane.epoch == self.epoch)
    }

    /// One lane of the latest epoch; `None` before anything of it was stored or heard of.
    pub fn lane(&self, lane: Lane) -> Option<&LaneRecord> {
        self.lanes().find(|record| record.lane == lane)
    }

    /// Whether the latest epoch has ended.
    pub fn is_closed(&self) -> bool {
        self.lanes().any(|lane| lane.closed)
    }
}

impl LaneRecord {
    /// A lane of which nothing is stored.
    pub(in crate::store) fn new(epoch: Epoch, lane: Lane) -> Self {
        Self {
            epoch,
            lane,
            next: DeviceSequence(0),
            chain: 0,
            gap_total: 0,
            heard: DeviceSequence(0),
            closed: false,
        }
    }

    /// The row of the table `cursor`.
    pub(in crate::store) fn to_row(self) -> [u8; field::CURSOR_LEN] {
        let mut row = [0; field::CURSOR_LEN];
        row[field::NEXT..][..8].copy_from_slice(&self.next.0.to_le_bytes());
        row[field::CHAIN..][..4].copy_from_slice(&self.chain.to_le_bytes());
        row[field::GAP_TOTAL..][..8].copy_from_slice(&self.gap_total.to_le_bytes());
        row[field::HEARD..][..8].copy_from_slice(&self.heard.0.to_le_bytes());
        row[field::CLOSED] = self.closed.into();
        row
    }

    /// Reads a row of the table `cursor`.
    pub(in crate::store) fn from_row(epoch: Epoch, lane: Lane, row: &[u8]) -> Option<Self> {
        if row.len() != field::CURSOR_LEN || row[field::CLOSED] > 1 {
            return None;
        }
        let u64_at = |at| array(row, at).map(u64::from_le_bytes);
        let (next, gap_total) = (u64_at(field::NEXT)?, u64_at(field::GAP_TOTAL)?);
        (gap_total <= next).then_some(Self {
            epoch,
            lane,
            next: DeviceSequence(next),
            chain: array(row, field::CHAIN).map(u32::from_le_bytes)?,
            gap_total,
            heard: DeviceSequence(u64_at(field::HEARD)?),
            closed: row[field::CLOSED] == 1,
        })
    }
}

/// The key of a lane in the table `cursor`.
pub(in crate::store) fn cursor_key(device: u32, epoch: Epoch, lane: Lane) -> [u8; 9] {
    let mut key = [0; 9];
    key[..8].copy_from_slice(&epoch_key(device, epoch));
    key[8] = lane.0;
    key
}

/// What the keys of an epoch's lanes in the table `cursor` begin with.
pub(in crate::store) fn epoch_key(device: u32, epoch: Epoch) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&device.to_be_bytes());
    key[4..].copy_from_slice(&epoch.0.to_be_bytes());
    key
}

/// A row of the table `device`: the device's id and its latest epoch.
pub(in crate::store) fn device_row(device: DeviceId, epoch: Epoch) -> [u8; field::DEVICE_LEN] {
    let mut row = [0; field::DEVICE_LEN];
    row[..8].copy_from_slice(&device.0.to_le_bytes());
    row[8..].copy_from_slice(&epoch.0.to_le_bytes());
    row
}

/// Reads a row of the table `device`.
pub(in crate::store) fn read_device_row(row: &[u8]) -> Option<(DeviceId, Epoch)> {
    let row: [u8; field::DEVICE_LEN] = row.try_into().ok()?;
    Some((DeviceId(array(&row, 0).map(u64::from_le_bytes)?), Epoch(array(&row, 8).map(u32::from_le_bytes)?)))
}

mod field {
    //! Where the fields of a row of the table `cursor` stand, and the length of a row of `device`.
    pub(in crate::store) const NEXT: usize = 0;
    pub(in crate::store) const CHAIN: usize = 8;
    pub(in crate::store) const GAP_TOTAL: usize = 12;
    pub(in crate::store) const HEARD: usize = 20;
    pub(in crate::store) const CLOSED: usize = 28;
    pub(in crate::store) const CURSOR_LEN: usize = 29;
    pub(in crate::store) const DEVICE_LEN: usize = 12;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_survives_its_row() {
        let lane = LaneRecord {
            epoch: Epoch(3),
            lane: Lane(1),
            next: DeviceSequence(0x0102_0304_0506_0708),
            chain: 0x1122_3344,
            gap_total: 9,
            heard: DeviceSequence(u64::MAX),
            closed: true,
        };
        let row = lane.to_row();
        assert_eq!(LaneRecord::from_row(Epoch(3), Lane(1), &row), Some(lane));
        assert_eq!(LaneRecord::from_row(Epoch(3), Lane(1), &row[1..]), None);
        let more_lost_than_passed = LaneRecord { gap_total: u64::MAX, ..lane };
        assert_eq!(LaneRecord::from_row(Epoch(3), Lane(1), &more_lost_than_passed.to_row()), None);
    }
}

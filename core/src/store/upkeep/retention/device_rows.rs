//! The rows of a device that go with its events, or with its gaps: they tell of nothing that is left.
//!
//! A lane takes events in the order of its places, and a device in that of its epochs. So whatever of them comes before an
//! event that goes is gone, too. A device that is reset before it emits anything has gaps alone: one for each epoch's end.

use std::ops::Range;

use heed::{RoTxn, RwTxn};

use crate::store::log::block::{Block, Run};
use crate::store::log::catalog::StreamRow;
use crate::store::log::clock::mapping_key;
use crate::store::log::device::{epoch_key, read_device_row};
use crate::store::log::gap_event::GapEvent;
use crate::store::log::tables::{RowError, Table, Tables, array};
use crate::{DeviceSequence, Epoch, Event, Lane, access};

/// The end of a run of a device that goes, or of its gaps.
pub(super) struct DeviceRun {
    device: u32,
    epoch: Epoch,
    /// How many events go.
    count: u32,
    /// The lane, and the place after the last event; `None` of gaps.
    end: Option<(Lane, DeviceSequence)>,
}

impl DeviceRun {
    /// Those of a block.
    pub(super) fn all(txn: &RoTxn<'_>, tables: &Tables, block: &Block<'_>) -> Result<Vec<Self>, RowError> {
        let gaps = number(tables.hash.get(txn, &GapEvent::DESCRIPTOR_HASH.0)?);
        let mut runs = Vec::new();
        let held = if block.is_quarantined() { 0 } else { block.runs() };
        for index in 0..held {
            let run = block.run(index)?;
            if let Some(origin) = run.origin() {
                let end = DeviceSequence(origin.first.0.saturating_add(run.count().into()));
                let (device, epoch, count) = (origin.device, origin.epoch, run.count());
                runs.push(Self { device, epoch, count, end: Some((origin.lane, end)) });
            } else if gaps == Some(run.descriptor()) {
                runs.extend(Self::of_gaps(txn, tables, &run)?);
            }
        }
        Ok(runs)
    }

    /// That of the gaps of a device's lane, as the last of them tells; `None` where they are sealed, or are somebody else's.
    fn of_gaps(txn: &RoTxn<'_>, tables: &Tables, run: &Run<'_>) -> Result<Option<Self>, RowError> {
        let info = tables.stream_info.get(txn, &run.stream().to_be_bytes())?.and_then(StreamRow::parse);
        if run.is_sealed() || info.is_none_or(|info| info.name != GapEvent::STREAM) {
            return Ok(None);
        }
        let last = run.event(run.count() as usize - 1).and_then(|event| access::<GapEvent>(event).ok());
        let Some(last) = last else { return Ok(None) };
        let device = number(tables.device_id.get(txn, &last.device.to_native().to_be_bytes())?);
        let Some(device) = device else { return Ok(None) };
        let row = tables.device.get(txn, &device.to_be_bytes())?.and_then(read_device_row);
        // An epoch may be closed that was never opened.
        let epoch = row.map(|(_, latest)| latest.min(Epoch(last.epoch.to_native())));
        Ok(epoch.map(|epoch| Self { device, epoch, count: run.count(), end: None }))
    }

    /// Removes the cursors and clocks of earlier epochs, and the clocks that tell no time of the lane's events from the end of
    /// the run on.
    pub(super) fn remove_rows_before(&self, txn: &mut RwTxn<'_>, tables: &Tables) -> Result<(), RowError> {
        let Self { device, epoch, .. } = *self;
        let epochs = device.to_be_bytes().to_vec()..epoch_key(device, epoch).to_vec();
        self.remove(txn, &tables.cursor, &epochs)?;
        self.remove(txn, &tables.clock, &epochs)?;
        let Some((lane, end)) = self.end else { return Ok(()) };
        let end = mapping_key(device, epoch, lane, end);
        let Some((clock, _)) = tables.clock.at_or_before(txn, &end)? else { return Ok(()) };
        let clocks = mapping_key(device, epoch, lane, DeviceSequence(0)).to_vec()..clock.to_vec();
        self.remove(txn, &tables.clock, &clocks)
    }

    /// Removes the rows of a range of keys; of very many the first, and the rest with the next run that goes. No less than a
    /// gap has for each epoch.
    fn remove(&self, txn: &mut RwTxn<'_>, table: &Table, keys: &Range<Vec<u8>>) -> Result<(), RowError> {
        for _ in 0..REMOVED_MAX + self.count as usize {
            let row = table.from(txn, &keys.start)?.next().transpose()?;
            let Some(key) = row.map(|(key, _)| key.to_vec()).filter(|key| *key < keys.end) else { break };
            table.delete(txn, &key)?;
        }
        Ok(())
    }
}

/// The number that a row holds. What does not tell one takes nothing along.
fn number(row: Option<&[u8]>) -> Option<u32> {
    row.and_then(|row| array(row, 0)).map(u32::from_le_bytes)
}

/// How many rows a run takes along of each kind, at most, beside one for each of its events.
const REMOVED_MAX: usize = 1_024;

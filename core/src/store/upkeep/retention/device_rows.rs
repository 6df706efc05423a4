//! The rows of a device that go with its events: they tell of nothing that is left.
//!
//! A lane takes events in the order of its places, and a device in that of its epochs. So whatever of them comes before an
//! event that goes is gone, too.

use std::ops::Range;

use heed::RwTxn;

use crate::DeviceSequence;
use crate::store::log::block::{Block, Origin};
use crate::store::log::clock::mapping_key;
use crate::store::log::device::epoch_key;
use crate::store::log::tables::{RowError, Table, Tables};

/// The end of a run of a device that goes.
pub(super) struct DeviceRun {
    origin: Origin,
    end: DeviceSequence,
}

impl DeviceRun {
    /// Those of a block.
    pub(super) fn all(block: &Block<'_>) -> Result<Vec<Self>, RowError> {
        let mut runs = Vec::new();
        let held = if block.is_quarantined() { 0 } else { block.runs() };
        for index in 0..held {
            let run = block.run(index)?;
            if let Some(origin) = run.origin() {
                let end = DeviceSequence(origin.first.0.saturating_add(run.count().into()));
                runs.push(Self { origin, end });
            }
        }
        Ok(runs)
    }

    /// Removes the cursors and clocks of earlier epochs, and the clocks that tell no time of the lane's events from the end of
    /// the run on.
    pub(super) fn remove_rows_before(&self, txn: &mut RwTxn<'_>, tables: &Tables) -> Result<(), RowError> {
        let Origin { device, epoch, lane, .. } = self.origin;
        let epochs = device.to_be_bytes().to_vec()..epoch_key(device, epoch).to_vec();
        remove(txn, &tables.cursor, &epochs)?;
        remove(txn, &tables.clock, &epochs)?;
        let end = mapping_key(device, epoch, lane, self.end);
        let Some((clock, _)) = tables.clock.at_or_before(txn, &end)? else { return Ok(()) };
        let clocks = mapping_key(device, epoch, lane, DeviceSequence(0)).to_vec()..clock.to_vec();
        remove(txn, &tables.clock, &clocks)
    }
}

/// Removes the rows of a range of keys; of very many the first, and the rest with the next run that goes.
fn remove(txn: &mut RwTxn<'_>, table: &Table, keys: &Range<Vec<u8>>) -> Result<(), RowError> {
    for _ in 0..REMOVED_MAX {
        let row = table.from(txn, &keys.start)?.next().transpose()?;
        let Some(key) = row.map(|(key, _)| key.to_vec()).filter(|key| *key < keys.end) else { break };
        table.delete(txn, &key)?;
    }
    Ok(())
}

/// How many rows a run takes along of each kind, at most.
const REMOVED_MAX: usize = 1_024;

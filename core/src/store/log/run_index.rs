//! The index of runs: where the events of a stream stand.

use crate::store::log::tables::{array, key12, long_number, number};
use crate::{GlobalSequence, StreamSequence};

/// A row of the table `stream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct RunIndex {
    /// The stream's number.
    pub(in crate::store) stream: u32,
    /// The place of the run's first event in the stream.
    pub(in crate::store) first: StreamSequence,
    /// The key of the block.
    pub(in crate::store) block: GlobalSequence,
    /// The run in the block.
    pub(in crate::store) run: u16,
    /// How many events it has, not 0.
    pub(in crate::store) count: u32,
}

impl RunIndex {
    /// Reads a row; `None` where it is none, or has no events.
    pub(in crate::store) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        if key.len() != 12 || value.len() != VALUE_LEN {
            return None;
        }
        let row = Self {
            stream: number(key, 0)?,
            first: StreamSequence(long_number(key, 4)?),
            block: GlobalSequence(array(value, 0).map(u64::from_le_bytes)?),
            run: array(value, 8).map(u16::from_le_bytes)?,
            count: array(value, 10).map(u32::from_le_bytes)?,
        };
        (row.count > 0).then_some(row)
    }

    /// The row's key.
    pub(in crate::store) fn key(&self) -> [u8; 12] {
        key12(self.stream, self.first.0)
    }

    /// The row's value.
    pub(in crate::store) fn value(&self) -> [u8; VALUE_LEN] {
        let mut value = [0; VALUE_LEN];
        value[..8].copy_from_slice(&self.block.0.to_le_bytes());
        value[8..10].copy_from_slice(&self.run.to_le_bytes());
        value[10..].copy_from_slice(&self.count.to_le_bytes());
        value
    }

    /// The place after the run's last event.
    pub(in crate::store) fn end(&self) -> Option<StreamSequence> {
        self.first.0.checked_add(self.count.into()).map(StreamSequence)
    }
}

const VALUE_LEN: usize = 14;

//! The index of runs: where the events of a stream stand, and where the stream ends.

use crate::store::log::rows::Rows;
use crate::store::log::tables::{RowError, array, key12, long_number, number};
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
    /// Reads a row; `None` where it is none, or has no events, or its checksum is wrong.
    pub(in crate::store) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        if key.len() != 12 || value.len() != VALUE_LEN {
            return None;
        }
        let row = Self {
            stream: number(key, 0)?,
            first: StreamSequence(long_number(key, 4)?),
            block: GlobalSequence(array(value, field::BLOCK).map(u64::from_le_bytes)?),
            run: array(value, field::RUN).map(u16::from_le_bytes)?,
            count: array(value, field::COUNT).map(u32::from_le_bytes)?,
        };
        (row.count > 0 && value == row.value()).then_some(row)
    }

    /// The row's key.
    pub(in crate::store) fn key(&self) -> [u8; 12] {
        key12(self.stream, self.first.0)
    }

    /// The row's value.
    pub(in crate::store) fn value(&self) -> [u8; VALUE_LEN] {
        let mut value = [0; VALUE_LEN];
        value[field::BLOCK..][..8].copy_from_slice(&self.block.0.to_le_bytes());
        value[field::RUN..][..2].copy_from_slice(&self.run.to_le_bytes());
        value[field::COUNT..][..4].copy_from_slice(&self.count.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&self.key()), &value[..field::CRC]);
        value[field::CRC..].copy_from_slice(&crc.to_le_bytes());
        value
    }

    /// The place after the run's last event.
    pub(in crate::store) fn end(&self) -> Option<StreamSequence> {
        self.first.0.checked_add(self.count.into()).map(StreamSequence)
    }
}

/// The place after the last event of a stream, as the tail tells it, or the last row of the index.
///
/// A flipped bit in the number of a key makes the row another stream's, and it stands where it stood all the same. So the
/// rows before and behind have to be whole too: one that is not is perhaps the stream's last.
pub(in crate::store) fn stream_end(rows: Rows<'_>, stream: u32) -> Result<StreamSequence, RowError> {
    if let Some((run, _)) = rows.tail_run(stream, StreamSequence(u64::MAX)) {
        return Ok(run.end());
    }
    let table = &rows.tables.stream;
    let parse =
        |(key, value)| RunIndex::parse(key, value).ok_or_else(|| table.damage(key, "it locates no run"));
    let end = key12(stream, u64::MAX);
    table.from(rows.txn, &end)?.next().transpose()?.map(parse).transpose()?;
    let last = table.at_or_before(rows.txn, &end)?.map(parse).transpose()?;
    match last.filter(|row| row.stream == stream) {
        Some(row) => Ok(row.end().ok_or_else(|| table.damage(&row.key(), "its events are too many"))?),
        None => Ok(StreamSequence(0)),
    }
}

const VALUE_LEN: usize = field::CRC + 4;

mod field {
    //! Where the fields of a row's value stand.
    pub(super) const BLOCK: usize = 0;
    pub(super) const RUN: usize = 8;
    pub(super) const COUNT: usize = 10;
    pub(super) const CRC: usize = 14;
}

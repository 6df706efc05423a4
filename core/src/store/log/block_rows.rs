//! The rows of a block: the block itself, where its runs stand, and when its events happened.

use heed::RwTxn;

use crate::store::log::block::BlockWriter;
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::{RowError, Tables};
use crate::store::log::time_index;

/// Writes the rows of a block that is complete, over those of one that it goes on with. Returns the block's length.
pub(in crate::store) fn put(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    block: &BlockWriter,
) -> Result<usize, RowError> {
    let (first, extent) = (block.first(), block.extent());
    tables.block.put_filled(txn, &first.0.to_be_bytes(), extent.len, |place| block.fill(&extent, place))?;
    for (run, (stream, first_of_run, count)) in block.runs().enumerate() {
        let index = RunIndex { stream, first: first_of_run, block: first, run: run as u16, count };
        tables.stream.put(txn, &index.key(), &index.value())?;
    }
    time_index::put(tables, txn, first)?;
    Ok(extent.len)
}

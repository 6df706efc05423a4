//! Where a stream ends: at its last event, or where the snapshot does.

use crate::store::error::ReadError;
use crate::store::log::block::Block;
use crate::store::log::run_index::{self, RunIndex};
use crate::store::read::snapshot::Snapshot;
use crate::{GlobalSequence, StreamSequence};

impl Snapshot {
    /// The place after the last event of a stream that the snapshot shows, or that it showed before retention took it.
    pub(in crate::store) fn stream_end(&self, stream: u32) -> Result<StreamSequence, ReadError> {
        if !self.is_cut() {
            return Ok(run_index::stream_end(self.rows(), stream)?);
        }
        if self.end() == GlobalSequence(0) {
            return Ok(StreamSequence(0));
        }
        let end = self.end_of_blocks(stream)?;
        let Some(last) = end.0.checked_sub(1).map(StreamSequence) else { return Ok(end) };
        match self.run_at_or_before(stream, last)? {
            Some(run) if run.block >= self.first_global_seq()? => self.end_within(&run, end),
            _ => Ok(end),
        }
    }

    /// The place after the events of a stream that stand in blocks which begin before the end of the snapshot.
    ///
    /// The runs of a stream stand in the order of the log. Those that are retired stood before all others.
    fn end_of_blocks(&self, stream: u32) -> Result<StreamSequence, ReadError> {
        let (mut low, mut high) = (0, run_index::stream_end(self.rows(), stream)?.0);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.run_at_or_before(stream, StreamSequence(middle))? {
                Some(run) if run.block >= self.end() => high = run.first.0,
                Some(run) => low = run.end().map_or(high, |end| end.0).max(middle + 1),
                None => low = middle + 1,
            }
        }
        Ok(StreamSequence(high))
    }

    /// The place after the last event of a stream that is shown, where `run` is the last in such a block, and ends at `end`.
    fn end_within(&self, run: &RunIndex, end: StreamSequence) -> Result<StreamSequence, ReadError> {
        let block = self.block_from(run.block)?;
        block.check_index_row(run)?;
        if block.end()? <= self.end() {
            return Ok(end);
        }
        if block.is_quarantined() {
            return Ok(self.lost_end(&block, run)?.min(end));
        }
        let mut shown_end = end;
        for (index, shown) in block.events_before(self.end())?.into_iter().enumerate() {
            let of_block = block.run(index)?;
            if of_block.stream() == run.stream && shown < of_block.count().into() {
                shown_end = shown_end.min(StreamSequence(of_block.first().0 + shown));
            }
        }
        Ok(shown_end)
    }

    /// The place after the events of the stream of `run`, a lost one, that may stand before the end of the snapshot: nobody
    /// knows the order of a block in the place of lost events.
    pub(in crate::store) fn lost_end(
        &self,
        block: &Block<'_>,
        run: &RunIndex,
    ) -> Result<StreamSequence, ReadError> {
        let before = self.end().0.saturating_sub(block.first().0);
        let of_stream = block.index_rows()?.into_iter().filter(|row| row.stream == run.stream);
        let first = of_stream.map(|row| row.first.0).min().unwrap_or(run.first.0);
        Ok(StreamSequence(first.saturating_add(before)))
    }
}

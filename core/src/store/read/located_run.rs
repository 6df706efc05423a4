//! Runs as a snapshot finds them, in LMDB or in the tail.

use crate::StreamSequence;
use crate::store::error::ReadError;
use crate::store::log::block::{Block, Run};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::key12;
use crate::store::read::snapshot::Snapshot;
use crate::store::tail::TailRun;

/// A run where it was found: in LMDB or in the tail.
#[derive(Clone, Copy)]
pub(in crate::store) struct LocatedRun<'s> {
    pub(in crate::store) block: Block<'s>,
    pub(in crate::store) run: Run<'s>,
    /// Its place in the block.
    pub(in crate::store) index: u16,
    /// How many of its events the snapshot shows.
    pub(in crate::store) count: u32,
}

impl Snapshot {
    /// The run that holds the event at `seq` of a stream; `None` past the stream's end.
    pub(in crate::store) fn run_at(
        &self,
        stream: u32,
        seq: StreamSequence,
    ) -> Result<Option<LocatedRun<'_>>, ReadError> {
        self.check_age()?;
        if let Some((run, block)) = self.rows().tail_run(stream, seq) {
            if seq >= run.end() {
                return Ok(None);
            }
            let block = Block::new_trusted(run.first_of_block, block)?;
            return self.shown_run(block, block.run(run.run.into())?, run.run, seq);
        }
        let stored = self.stored_run_at_or_before(stream, seq)?;
        match self.holding(stored, stream, seq)? {
            Some(index) => self.run(&index, seq),
            None => Ok(None),
        }
    }

    /// Where the run is that holds the event at `seq` of a stream; `None` past the stream's end. Of a run whose block goes
    /// beyond the end of the snapshot it may be that no event is shown.
    pub(in crate::store) fn run_index_at(
        &self,
        stream: u32,
        seq: StreamSequence,
    ) -> Result<Option<RunIndex>, ReadError> {
        self.check_age()?;
        self.holding(self.run_at_or_before(stream, seq)?, stream, seq)
    }

    /// Where the last run of a stream is that begins at or before `seq`, whether it is shown or not.
    pub(in crate::store) fn run_at_or_before(
        &self,
        stream: u32,
        seq: StreamSequence,
    ) -> Result<Option<RunIndex>, ReadError> {
        let Some((run, _)) = self.rows().tail_run(stream, seq) else {
            return self.stored_run_at_or_before(stream, seq);
        };
        let TailRun { first, count, run, first_of_block: block, .. } = run;
        Ok(Some(RunIndex { stream, first, block, run, count }))
    }

    fn stored_run_at_or_before(
        &self,
        stream: u32,
        seq: StreamSequence,
    ) -> Result<Option<RunIndex>, ReadError> {
        let row = self.tables().stream.at_or_before(self.txn(), &key12(stream, seq.0))?;
        let index = row.map(|(key, value)| self.run_index(key, value)).transpose()?;
        Ok(index.filter(|index| index.stream == stream))
    }

    /// The run that was found at or before `seq`, where it holds the event there.
    fn holding(
        &self,
        found: Option<RunIndex>,
        stream: u32,
        seq: StreamSequence,
    ) -> Result<Option<RunIndex>, ReadError> {
        if let Some(index) = found
            && index.end().is_some_and(|end| seq < end)
        {
            return Ok((index.block < self.end()).then_some(index));
        }
        if seq >= self.stream_end(stream)? {
            return Ok(None);
        }
        Err(self.why_absent_of(stream, seq))
    }

    /// Reads a row of the index of runs.
    pub(in crate::store) fn run_index(&self, key: &[u8], value: &[u8]) -> Result<RunIndex, ReadError> {
        let index = RunIndex::parse(key, value);
        Ok(index.ok_or_else(|| self.tables().stream.damage(key, "it locates no run"))?)
    }

    /// Refuses a row of the index of runs that does not begin at `seq`, where the one before it ends.
    pub(in crate::store) fn check_joins(&self, row: &RunIndex, seq: StreamSequence) -> Result<(), ReadError> {
        if row.first == seq {
            return Ok(());
        }
        Err(self.tables().stream.damage(&row.key(), "it does not follow the run before").into())
    }

    /// The run that a row of the index locates, as [`Snapshot::run_in`] has it.
    pub(in crate::store) fn run(
        &self,
        index: &RunIndex,
        seq: StreamSequence,
    ) -> Result<Option<LocatedRun<'_>>, ReadError> {
        let key = index.block.0.to_be_bytes();
        self.run_in(index, self.tables().block.get(self.txn(), &key)?, seq)
    }

    /// The run that a row of the index locates, in the bytes of its block, where there are any. It holds the event at `seq`;
    /// `None` where that is not shown.
    pub(in crate::store) fn run_in<'s>(
        &'s self,
        index: &RunIndex,
        block: Option<&'s [u8]>,
        seq: StreamSequence,
    ) -> Result<Option<LocatedRun<'s>>, ReadError> {
        let value = block.ok_or_else(|| self.why_missing(index))?;
        let block = self.verified(index.block, value)?;
        if block.is_quarantined() {
            block.check_index_row(index)?;
            let is_shown = !self.is_cut() || seq < self.lost_end(&block, index)?;
            return if is_shown { Err(self.why_lost(index)) } else { Ok(None) };
        }
        let run = block.run(index.run.into())?;
        if (run.stream(), run.first(), run.count()) != (index.stream, index.first, index.count) {
            return Err(block.damage("a run is not what the index says").into());
        }
        self.shown_run(block, run, index.run, seq)
    }

    /// The run at `index` of a block, which holds the event at `seq`; `None` where that is not shown.
    fn shown_run<'s>(
        &'s self,
        block: Block<'s>,
        mut run: Run<'s>,
        index: u16,
        seq: StreamSequence,
    ) -> Result<Option<LocatedRun<'s>>, ReadError> {
        let mut count = run.count();
        if block.end()? > self.end() {
            let shown =
                if block.first() < self.end() { block.events_before(self.end())? } else { Vec::new() };
            count = shown.get(usize::from(index)).map_or(0, |&shown| shown as u32);
            if seq.0.saturating_sub(run.first().0) >= count.into() {
                return Ok(None);
            }
        }
        if run.is_sealed() {
            run = self.open_run(&block, index.into())?;
        }
        Ok(Some(LocatedRun { block, run, index, count }))
    }
}

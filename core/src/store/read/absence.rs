//! Why an event is not there: retired by retention, quarantined by a salvage, or lost to damage that nobody has seen yet.
//!
//! **Invariant.** The range of an absence holds the place that was asked for, so that what goes on at its end moves.

use std::ops::Range;

use crate::store::error::{Absence, AbsenceReason, Damage, Place, ReadError};
use crate::store::log::block::{Block, Run};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::key12;
use crate::store::read::snapshot::Snapshot;
use crate::store::upkeep::retention::first_retained;
use crate::{GlobalSequence, StreamSequence};

impl Snapshot {
    /// Refuses a snapshot that shows nothing any more: retention has passed its end, so that it cannot be told how far each
    /// stream went.
    pub(in crate::store) fn check_retained(&self) -> Result<(), ReadError> {
        let (end, first) = (self.end(), first_retained(self.tables(), self.txn())?);
        if end == GlobalSequence(0) || end >= first {
            return Ok(());
        }
        Err(Absence::in_log(AbsenceReason::Retired, GlobalSequence(0)..end).into())
    }

    /// Refuses a block that stands in for lost events.
    pub(in crate::store) fn present<'s>(&self, block: Block<'s>) -> Result<Block<'s>, ReadError> {
        if block.is_quarantined() {
            let lost = block.first()..block.end()?.min(self.end());
            return Err(Absence::in_log(AbsenceReason::Quarantined, lost).into());
        }
        Ok(block)
    }

    /// Why no block holds the event at `global`, which is before the end of the log.
    pub(in crate::store) fn why_absent(&self, global: GlobalSequence) -> ReadError {
        match self.first_global_seq() {
            Ok(first) if global < first => {
                Absence::in_log(AbsenceReason::Retired, GlobalSequence(0)..first).into()
            }
            Ok(_) => Damage { place: Place::Event(global), reason: "no block holds it" }.into(),
            Err(error) => error,
        }
    }

    /// Why no run holds the event at `seq` of a stream, which is before the stream's end.
    pub(in crate::store) fn why_absent_of(&self, stream: u32, seq: StreamSequence) -> ReadError {
        match self.first_of(stream) {
            Ok(first) if seq < first => {
                self.absent_in_stream(AbsenceReason::Retired, stream, StreamSequence(0)..first)
            }
            Ok(_) => self.tables().stream.damage(&key12(stream, seq.0), "no run holds it").into(),
            Err(error) => error,
        }
    }

    /// Why the block of a run is missing, which a row of the index locates.
    pub(in crate::store) fn why_missing(&self, row: &RunIndex) -> ReadError {
        let last = row.end().map_or(row.first, |end| StreamSequence(end.0.saturating_sub(1)));
        match self.first_global_seq() {
            Ok(retained) if row.block < retained => self.why_absent_of(row.stream, last),
            Ok(_) => self.tables().block.damage(&row.block.0.to_be_bytes(), "it is missing").into(),
            Err(error) => error,
        }
    }

    /// Says that the events of a run are lost, which a row of the index locates.
    pub(in crate::store) fn why_lost(&self, row: &RunIndex) -> ReadError {
        let end = row.end().unwrap_or(StreamSequence(u64::MAX));
        self.absent_in_stream(AbsenceReason::Quarantined, row.stream, row.first..end)
    }

    /// Says that events of a stream are absent.
    pub(in crate::store) fn absent_in_stream(
        &self,
        reason: AbsenceReason,
        stream: u32,
        range: Range<StreamSequence>,
    ) -> ReadError {
        let end = if self.is_cut() { self.stream_end(stream) } else { Ok(range.end) };
        match end.and_then(|end| Ok((end.min(range.end), self.stream_row(stream)?))) {
            Ok((end, stream)) => Absence::in_stream(reason, stream.name, stream.id, range.start..end).into(),
            Err(error) => error,
        }
    }

    /// Says that the events of a sealed run cannot be opened, nor those after it up to `end`.
    pub(in crate::store) fn unopened(
        &self,
        reason: AbsenceReason,
        run: &Run<'_>,
        end: StreamSequence,
    ) -> ReadError {
        let first = run.first();
        let run_end = StreamSequence(first.0.saturating_add(run.count().into()));
        self.absent_in_stream(reason, run.stream(), first..end.max(run_end))
    }

    /// The first event of a stream that retention left; the stream's end where there is none.
    pub(in crate::store) fn first_of(&self, stream: u32) -> Result<StreamSequence, ReadError> {
        let retained = self.first_global_seq()?;
        if retained == GlobalSequence(0) {
            return Ok(StreamSequence(0));
        }
        let mut first = StreamSequence(0);
        for row in self.rows().within(&self.tables().stream, &stream.to_be_bytes())? {
            let (key, value) = row?;
            let index = self.run_index(key, value)?;
            if index.block >= retained {
                return Ok(index.first);
            }
            // What follows a run that is retired is in the log, or in the tail, or still to come.
            first = index.end().unwrap_or(first);
        }
        Ok(first)
    }
}

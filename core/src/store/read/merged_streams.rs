//! The events of many streams, merged in global order.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::store::error::ReadError;
use crate::store::log::block::Block;
use crate::store::log::block_cursor::BlockCursor;
use crate::store::log::run_index::RunIndex;
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::time_filter::TimeFilter;
use crate::store::write::stream::check_name;
use crate::{GlobalSequence, StreamId, StreamSequence};

/// Iterates over the events of many streams in global order. In the place of events that cannot be had, and might be some
/// of theirs, it gives a [`ReadError::Absent`], and goes on behind them; after any other error it ends.
///
/// It reads only the blocks that hold events of these streams, each once.
pub struct MergedStreams<'s> {
    snapshot: &'s Snapshot,
    /// The numbers of the streams, ascending.
    streams: Vec<u32>,
    /// What was retired of them, until that is told.
    retired: Option<ReadError>,
    /// Where the streams go on, by the first event of the block: each stands at one block.
    blocks: BTreeMap<GlobalSequence, Vec<RunIndex>>,
    /// The block where the iterator is.
    cursor: Option<BlockCursor<'s>>,
    /// The streams that stand at that block.
    here: Vec<RunIndex>,
    from: GlobalSequence,
    /// Between which times; `None` where any will do.
    times: Option<TimeFilter>,
}

impl Snapshot {
    /// The events from `from` on of some streams, merged in global order. One that nothing was appended to is empty, and
    /// one that is named twice counts once.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// let mut doors = varve.stream::<u8, 1>("doors")?;
    /// let mut lamps = varve.stream::<u16, 2>("lamps")?;
    /// for (id, state) in [(1, 10), (2, 20), (1, 11)] {
    ///     doors.append(StreamId(id), &state)?;
    ///     lamps.append(StreamId(id), &1)?;
    /// }
    ///
    /// let snapshot = varve.snapshot()?;
    /// let wanted = [("doors", StreamId(1)), ("lamps", StreamId(2))];
    /// let mut places = Vec::new();
    /// for event in snapshot.iter_streams(wanted, GlobalSequence(0))? {
    ///     places.push(event?.global_seq.0);
    /// }
    /// assert_eq!(places, [0, 3, 4]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError::StreamName`]; [`ReadError::TooManyStreams`] past [`MERGED_STREAMS_MAX`]; [`ReadError::Corrupt`] where
    /// the index of a stream is damaged.
    pub fn iter_streams<'n>(
        &self,
        streams: impl IntoIterator<Item = (&'n str, StreamId)>,
        from: GlobalSequence,
    ) -> Result<MergedStreams<'_>, ReadError> {
        let mut numbers = Vec::new();
        for (name, id) in streams {
            check_name(name)?;
            if numbers.len() == MERGED_STREAMS_MAX {
                return Err(ReadError::TooManyStreams { max: MERGED_STREAMS_MAX });
            }
            numbers.extend(self.stream_number(name, id)?);
        }
        MergedStreams::new(self, numbers, from)
    }

    /// The events from `from` on of all streams of a name, merged in global order.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::iter_streams`].
    pub fn iter_name(&self, name: &str, from: GlobalSequence) -> Result<MergedStreams<'_>, ReadError> {
        check_name(name)?;
        let numbers = self.stream_numbers(name, MERGED_STREAMS_MAX)?;
        MergedStreams::new(self, numbers, from)
    }
}

impl<'s> MergedStreams<'s> {
    /// Only those events that [happened](EventView::time) within `utc_us`, in µs since 1970-01-01 UTC. It passes over the
    /// blocks that the index by time rules out.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651])?;
    ///
    /// let snapshot = varve.snapshot()?;
    /// let utc_us = snapshot.log().get(GlobalSequence(0))?.unwrap().time()?.utc_us;
    /// let stream = [("readings", StreamId(7))];
    /// let hour = snapshot.iter_streams(stream, GlobalSequence(0))?.between(utc_us..utc_us + 3_600_000_000);
    /// assert_eq!(hour.count(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn between(mut self, utc_us: Range<i64>) -> Self {
        self.times = Some(TimeFilter::new(utc_us));
        self
    }

    fn new(snapshot: &'s Snapshot, mut streams: Vec<u32>, from: GlobalSequence) -> Result<Self, ReadError> {
        streams.sort_unstable();
        streams.dedup();
        let mut merged = Self {
            snapshot,
            streams,
            retired: None,
            blocks: BTreeMap::new(),
            cursor: None,
            here: Vec::new(),
            from,
            times: None,
        };
        let mut is_cut = false;
        for &stream in &merged.streams {
            let first = snapshot.first_of(stream)?;
            is_cut |= first > StreamSequence(0);
            if let Some(run) = first_run(snapshot, stream, first, from)? {
                merged.blocks.entry(run.block).or_default().push(run);
            }
        }
        if is_cut && from < snapshot.first_global_seq()? {
            merged.retired = Some(snapshot.why_absent(from).passed_in_log(&mut merged.from));
        }
        Ok(merged)
    }

    fn advance(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        if let Some(retired) = self.retired.take() {
            return Err(retired);
        }
        loop {
            if let Some(event) = self.next_of_block()? {
                return Ok(Some(event));
            }
            self.leave_block()?;
            let Some((first, here)) = self.blocks.pop_first() else { return Ok(None) };
            self.here = here;
            if let Some(times) = &mut self.times
                && times.end_of_none(self.snapshot, first)?.is_some()
            {
                continue;
            }
            let block = self.checked_block(first)?;
            let mut next = first.max(self.from);
            if block.is_quarantined() && !block.holds(next) {
                continue;
            }
            let block = self.snapshot.present(block).map_err(|error| error.passed_in_log(&mut next))?;
            let mut cursor = BlockCursor::new(block, self.snapshot.end())?;
            cursor.skip(self.from.0.saturating_sub(first.0))?;
            self.cursor = Some(cursor);
        }
    }

    /// The block that begins at `first`, where the streams of `here` have the runs that the index says.
    fn checked_block(&self, first: GlobalSequence) -> Result<Block<'s>, ReadError> {
        let block = self.snapshot.block_from(first)?;
        self.here.iter().try_for_each(|run| block.check_index_row(run))?;
        Ok(block)
    }

    /// The next event of the block, but for those of other streams.
    fn next_of_block(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        while let Some((stream, len)) = cursor.turn()? {
            if self.streams.binary_search(&stream).is_err() {
                cursor.skip(len.into())?;
                continue;
            }
            let Some(event) = cursor.next(self.snapshot)? else { break };
            if self.times.as_ref().map_or(Ok(true), |times| times.takes(&event))? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Finds the block where each stream of this one goes on.
    fn leave_block(&mut self) -> Result<(), ReadError> {
        let block = self.cursor.take().map(|cursor| *cursor.block());
        for run in self.here.drain(..) {
            let mut next = Some(run);
            while let Some(last) = next.filter(|next| next.block == run.block) {
                block.iter().try_for_each(|block| block.check_index_row(&last))?;
                let end = last.end().unwrap_or(StreamSequence(u64::MAX));
                next = self.snapshot.run_index_at(run.stream, end)?;
                next.iter().try_for_each(|next| self.snapshot.check_joins(next, end))?;
            }
            if let Some(run) = next {
                self.blocks.entry(run.block).or_default().push(run);
            }
        }
        Ok(())
    }
}

/// The first run of a stream, which begins at `first`, that can hold an event at or behind `from`.
fn first_run(
    snapshot: &Snapshot,
    stream: u32,
    first: StreamSequence,
    from: GlobalSequence,
) -> Result<Option<RunIndex>, ReadError> {
    // A stream whose events are all retired still has a row, of a block that is gone.
    let (mut low, mut high) = (first, snapshot.stream_end(stream)?);
    let mut before = None;
    while low < high {
        let middle = StreamSequence(low.0 + (high.0 - low.0) / 2);
        let Some(run) = snapshot.run_index_at(stream, middle)? else { return Ok(None) };
        if run.block <= from {
            low = run.end().unwrap_or(high);
            before = Some(run);
        } else {
            high = run.first;
        }
    }
    match before {
        None => snapshot.run_index_at(stream, low),
        before => Ok(before),
    }
}

impl<'s> Iterator for MergedStreams<'s> {
    type Item = Result<EventView<'s>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            self.cursor = None;
            self.here.clear();
            self.blocks.clear();
        }
        event.transpose()
    }
}

impl fmt::Debug for MergedStreams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MergedStreams").field("streams", &self.streams.len()).finish_non_exhaustive()
    }
}

/// The most streams that are merged at once: for each the iterator keeps a place, and looks it up again in every block
/// that holds events of the stream.
pub const MERGED_STREAMS_MAX: usize = 4096;

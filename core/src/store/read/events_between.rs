//! The events between two times, found through the index by time.

use std::fmt;
use std::ops::Range;

use crate::GlobalSequence;
use crate::store::error::ReadError;
use crate::store::log::block::Block;
use crate::store::log::block_cursor::BlockCursor;
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::time_filter::TimeFilter;

/// Iterates over the events between two times, in global order. In the place of events that cannot be had, and might
/// be some of them, it gives a [`ReadError::Absent`], and goes on behind them; after any other error it ends. It begins
/// where the log does: what was retired it does not tell.
///
/// It reads the blocks that the index by time cannot rule out.
pub struct EventsBetween<'s> {
    snapshot: &'s Snapshot,
    times: TimeFilter,
    /// The block where the iterator is.
    cursor: Option<BlockCursor<'s>>,
    /// The place of the next block.
    next: GlobalSequence,
    end: GlobalSequence,
}

impl Snapshot {
    /// The events that [happened](EventView::time) within `utc_us`, in µs since 1970-01-01 UTC, in global order. A time
    /// counts as it is told, however uncertain it is; where a clock has been set since, as it is told now.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651])?;
    ///
    /// let snapshot = varve.snapshot()?;
    /// let first = snapshot.log().get(GlobalSequence(0))?.unwrap();
    /// let utc_us = first.time()?.utc_us;
    /// assert_eq!(snapshot.iter_between(utc_us..utc_us + 1_000_000)?.count(), 2);
    /// assert_eq!(snapshot.iter_between(0..1_000_000)?.count(), 0);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where the ends of the log are damaged.
    pub fn iter_between(&self, utc_us: Range<i64>) -> Result<EventsBetween<'_>, ReadError> {
        let (next, end) = (self.first_global_seq()?, self.next_global_seq()?);
        Ok(EventsBetween { snapshot: self, times: TimeFilter::new(utc_us), cursor: None, next, end })
    }
}

impl<'s> EventsBetween<'s> {
    fn advance(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        loop {
            while let Some(cursor) = &mut self.cursor
                && let Some(event) = cursor.next(self.snapshot)?
            {
                if self.times.takes(&event)? {
                    return Ok(Some(event));
                }
            }
            let Some(block) = self.next_block()? else { return Ok(None) };
            self.cursor = Some(BlockCursor::new(block, self.end)?);
        }
    }

    /// The next block that may hold such an event.
    fn next_block(&mut self) -> Result<Option<Block<'s>>, ReadError> {
        while self.next < self.end {
            if let Some(end) = self.times.end_of_none(self.snapshot, self.next)? {
                self.next = end;
                continue;
            }
            let block = self.snapshot.block_at(self.next);
            let block = block.map_err(|error| error.passed_in_log(&mut self.next))?;
            let Some(block) = block else { return Ok(None) };
            self.next = block.end()?;
            if self.times.may_be_in(self.snapshot, &block)? {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }
}

impl<'s> Iterator for EventsBetween<'s> {
    type Item = Result<EventView<'s>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            (self.cursor, self.next) = (None, self.end);
        }
        event.transpose()
    }
}

impl fmt::Debug for EventsBetween<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsBetween").field("next", &self.next).finish_non_exhaustive()
    }
}

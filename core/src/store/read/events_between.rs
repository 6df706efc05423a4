//! The events between two times, found through the index by time.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use crate::GlobalSequence;
use crate::store::error::ReadError;
use crate::store::log::block::Block;
use crate::store::log::block_cursor::BlockCursor;
use crate::store::log::clock::Domain;
use crate::store::log::time_index::{TimeRow, TimeSpan};
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;

/// Iterates over the events between two times, in global order. In the place of events that cannot be had, and might
/// be some of them, it gives a [`ReadError::Absent`], and goes on behind them; after any other error it ends. It begins
/// where the log does: what was retired it does not tell.
///
/// It reads the blocks that the index by time cannot rule out.
pub struct EventsBetween<'s> {
    snapshot: &'s Snapshot,
    utc_us: Range<i64>,
    /// The domains that were met.
    domains: HashMap<u32, Domain>,
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
        Ok(EventsBetween { snapshot: self, utc_us, domains: HashMap::new(), cursor: None, next, end })
    }
}

impl<'s> EventsBetween<'s> {
    fn advance(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        loop {
            while let Some(cursor) = &mut self.cursor
                && let Some(event) = cursor.next(self.snapshot)?
            {
                if self.utc_us.contains(&event.time()?.utc_us) {
                    return Ok(Some(event));
                }
            }
            let Some(block) = self.next_block()? else { return Ok(None) };
            self.cursor = Some(BlockCursor::new(block)?);
        }
    }

    /// The next block that may hold such an event.
    fn next_block(&mut self) -> Result<Option<Block<'s>>, ReadError> {
        while self.next < self.end {
            if let Some(row) = self.snapshot.time_row(self.next)?
                && row.events > 0
                && !self.may_hold(&row.spans)?
            {
                self.next = row.end();
                continue;
            }
            let block = self.snapshot.block_at(self.next);
            let block = block.map_err(|error| error.passed_in_log(&mut self.next))?;
            let Some(block) = block else { return Ok(None) };
            self.next = block.end()?;
            // The tail has no rows.
            let row = TimeRow::of(self.snapshot.rows(), &block)?;
            if row.map_or(Ok(true), |row| self.may_hold(&row.spans))? {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Whether one of these times may lie between the two.
    fn may_hold(&mut self, spans: &[TimeSpan]) -> Result<bool, ReadError> {
        for span in spans {
            let domain = match self.domains.get(&span.domain) {
                Some(domain) => *domain,
                None => *self.domains.entry(span.domain).or_insert(self.snapshot.domain(span.domain)?),
            };
            let utc_us = |host_us: i64| domain.time(host_us.into(), None).utc_us;
            if utc_us(span.min) < self.utc_us.end && utc_us(span.max) >= self.utc_us.start {
                return Ok(true);
            }
        }
        Ok(false)
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
        f.debug_struct("EventsBetween").field("utc_us", &self.utc_us).finish_non_exhaustive()
    }
}

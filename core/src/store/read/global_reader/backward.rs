//! The whole log, the last event first.

use std::fmt;

use super::GlobalReader;
use crate::GlobalSequence;
use crate::store::error::{Absence, AbsenceReason, ReadError};
use crate::store::log::block_cursor::BlockCursor;
use crate::store::read::event_view::{EventView, GlobalEvent};
use crate::store::read::snapshot::Snapshot;

/// The log before a place, the last event first, as it was when it was asked for. Iterate over a reference.
#[derive(Debug)]
pub struct GlobalEventsBack {
    snapshot: Snapshot,
    before: Option<GlobalSequence>,
}

/// Iterates over the log, the last event first. In the place of events that cannot be had it gives a
/// [`ReadError::Absent`], and goes on before them; after any other error it ends. It ends where the log begins: what was
/// retired there it does not tell.
///
/// The columns of a block can only be read forward. So the iterator keeps views of the events of one block, up to
/// the place where it is.
pub struct GlobalIterBack<'s> {
    snapshot: &'s Snapshot,
    /// The place after the event to come, but for those that are kept.
    end: GlobalSequence,
    /// Whether a block was read before, which begins at `end`.
    has_begun: bool,
    /// Events of one block, in global order, and why some cannot be had: from the back, those to come.
    events: Vec<Result<EventView<'s>, ReadError>>,
}

impl GlobalReader {
    /// The events before `before`, or all of them: the last first.
    ///
    /// ```
    /// # use varve_core::{GlobalSequence, StreamId, Varve};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut varve = Varve::new(dir.path())?;
    /// # varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651, 652])?;
    /// let events = varve.global_reader().iter_back(None)?;
    /// let latest = events.iter()?.next().transpose()?.expect("the log holds an event");
    /// assert_eq!(latest.global_seq, GlobalSequence(2));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`](crate::VarveView::snapshot).
    pub fn iter_back(&self, before: Option<GlobalSequence>) -> Result<GlobalEventsBack, ReadError> {
        Ok(GlobalEventsBack { snapshot: self.view.snapshot()?, before })
    }
}

impl GlobalEventsBack {
    /// Iterates over the events, borrowed from the map.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::iter_back`](crate::Snapshot::iter_back).
    pub fn iter(&self) -> Result<GlobalIterBack<'_>, ReadError> {
        self.snapshot.iter_back(self.before)
    }

    /// Copies every event.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where one of them cannot be had: an iterator goes on before it.
    pub fn collect_all(self) -> Result<Vec<GlobalEvent>, ReadError> {
        self.iter()?.map(|event| event.map(|event| event.to_event())).collect()
    }
}

impl<'s> GlobalIterBack<'s> {
    pub(in crate::store) fn new(
        snapshot: &'s Snapshot,
        before: Option<GlobalSequence>,
    ) -> Result<Self, ReadError> {
        let end = snapshot.next_global_seq()?;
        let end = before.map_or(end, |before| before.min(end));
        Ok(Self { snapshot, end, has_begun: false, events: Vec::new() })
    }

    fn advance(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        if self.events.is_empty() {
            self.read_block()?;
        }
        self.events.pop().transpose()
    }

    /// Reads the events before `end` of the block that holds the last of them. The block must end where the one after
    /// it begins.
    fn read_block(&mut self) -> Result<(), ReadError> {
        let Some(last) = self.end.0.checked_sub(1).map(GlobalSequence) else { return Ok(()) };
        let block = match self.snapshot.block_around(last) {
            Ok(Some(block)) => block,
            // The log begins here.
            Ok(None) => return Ok(()),
            Err(error) if error.is_absence() => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.has_begun && block.end()? != self.end {
            return Err(block.damage("the block after it does not follow").into());
        }
        let end = std::mem::replace(&mut self.end, block.first());
        self.has_begun = true;
        if block.is_quarantined() {
            return Err(Absence::in_log(AbsenceReason::Quarantined, block.first()..end).into());
        }
        let mut cursor = BlockCursor::new(block, end)?;
        while let Some(event) = cursor.next(self.snapshot).transpose() {
            match event {
                Err(error) if !error.is_absence() => return Err(error),
                event => self.events.push(event),
            }
        }
        Ok(())
    }
}

impl<'s> Iterator for GlobalIterBack<'s> {
    type Item = Result<EventView<'s>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            self.end = GlobalSequence(0);
            self.events.clear();
        }
        event.transpose()
    }
}

impl fmt::Debug for GlobalIterBack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalIterBack").field("end", &self.end).finish_non_exhaustive()
    }
}

//! Reads the whole log, in global order.

mod backward;

use std::fmt;

use crate::store::error::ReadError;
use crate::store::log::block_cursor::BlockCursor;
use crate::store::read::block_walk::BlockWalk;
use crate::store::read::event_view::{EventView, GlobalEvent};
use crate::store::read::pinned::Pinned;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::view::VarveView;
use crate::{GlobalSequence, StreamSequence};
pub use backward::{GlobalEventsBack, GlobalIterBack};

/// Reads events of all streams in global order. Clones are cheap, and each may go to a thread of its own. Each call sees
/// all that is durable then; between calls it holds nothing.
///
/// ```
/// use varve_core::{GlobalSequence, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// varve.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
/// varve.stream::<u8, 1>("doors")?.append(StreamId(1), &1)?;
///
/// let mut log = varve.global_reader();
/// let second = log.get(GlobalSequence(1))?.expect("it was appended");
/// assert_eq!((second.stream_name.as_str(), second.payload), ("doors", vec![1]));
/// for event in log.iter_from(GlobalSequence(0))?.iter()? {
///     let event = event?; // borrowed from the map
///     println!("{} {}/{}", event.global_seq, event.stream_name, event.stream_id);
/// }
/// assert_eq!(log.iter_from(GlobalSequence(1))?.collect_all()?.len(), 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct GlobalReader {
    view: VarveView,
}

/// The log from a place on, as it was when it was asked for. Iterate over a reference.
#[derive(Debug)]
pub struct GlobalEvents {
    snapshot: Snapshot,
    from: GlobalSequence,
}

/// Iterates over the log in global order. In the place of events that cannot be had it gives a [`ReadError::Absent`],
/// and goes on behind them; after any other error it ends.
pub struct GlobalIter<'s> {
    snapshot: &'s Snapshot,
    /// What is not there at the place where it begins, until that is told.
    absent: Option<ReadError>,
    blocks: Option<BlockWalk<'s>>,
    cursor: Option<BlockCursor<'s>>,
}

impl GlobalReader {
    pub(in crate::store) fn new(view: VarveView) -> Self {
        Self { view }
    }

    /// A copy of the event at `global_seq`; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::Corrupt`] where it is damaged.
    pub fn get(&mut self, global_seq: GlobalSequence) -> Result<Option<GlobalEvent>, ReadError> {
        let snapshot = self.view.snapshot()?;
        let Some(block) = snapshot.block_at(global_seq)? else { return Ok(None) };
        let position = block.position(global_seq)?;
        let run = snapshot.open_run(&block, position.run);
        let run = run.map_err(|error| error.of_stretch(global_seq, position.index as u64, 1))?;
        let payload = run.event(position.index).ok_or_else(|| block.damage("an event exceeds its run"))?;
        let stream = snapshot.stream_row(run.stream())?;
        Ok(Some(GlobalEvent {
            global_seq,
            stream_name: stream.name.into(),
            stream_id: stream.id,
            stream_seq: StreamSequence(run.first().0 + position.index as u64),
            payload: payload.to_vec(),
        }))
    }

    /// The bytes of the event at `global_seq`, borrowed from the map; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::Corrupt`] where it is damaged.
    pub fn get_bytes(&mut self, global_seq: GlobalSequence) -> Result<Option<Pinned<'_, [u8]>>, ReadError> {
        Pinned::find(self.view.snapshot()?, |snapshot| {
            let Some(block) = snapshot.block_at(global_seq)? else { return Ok(None) };
            let position = block.position(global_seq)?;
            let run = snapshot.open_run(&block, position.run);
            let run = run.map_err(|error| error.of_stretch(global_seq, position.index as u64, 1))?;
            let bytes = run.event(position.index);
            Ok(Some(bytes.ok_or_else(|| block.damage("an event exceeds its run"))?))
        })
    }

    /// The events from `from` on. What was retired of them is told first, as one absence: what is left begins at
    /// [`Snapshot::first_global_seq`].
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`](crate::VarveView::snapshot).
    pub fn iter_from(&self, from: GlobalSequence) -> Result<GlobalEvents, ReadError> {
        Ok(GlobalEvents { snapshot: self.view.snapshot()?, from })
    }

    /// Waits for commits to the store, of whichever process.
    #[cfg(feature = "notify")]
    pub fn watcher(&self) -> crate::store::follow::watcher::WriteWatcher {
        self.view.watcher()
    }
}

impl GlobalEvents {
    /// Iterates over the events, borrowed from the map.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::iter_from`].
    pub fn iter(&self) -> Result<GlobalIter<'_>, ReadError> {
        self.snapshot.iter_from(self.from)
    }

    /// Copies every event.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where one of them cannot be had: an iterator goes on behind it.
    pub fn collect_all(self) -> Result<Vec<GlobalEvent>, ReadError> {
        self.iter()?.map(|event| event.map(|event| event.to_event())).collect()
    }
}

impl<'s> GlobalIter<'s> {
    pub(in crate::store) fn new(snapshot: &'s Snapshot, from: GlobalSequence) -> Result<Self, ReadError> {
        let mut iter = Self { snapshot, absent: None, blocks: None, cursor: None };
        let mut next = from;
        let block = match snapshot.block_at(from) {
            Err(error) if error.is_absence() => {
                iter.absent = Some(error.passed_in_log(&mut next));
                snapshot.block_around(next)?
            }
            block => block?,
        };
        let Some(block) = block else { return Ok(iter) };
        let blocks = iter.blocks.insert(BlockWalk::new(snapshot, block.first(), snapshot.end())?);
        if block.holds(from) {
            blocks.next().transpose()?;
            let cursor = iter.cursor.insert(BlockCursor::new(block, snapshot.end())?);
            cursor.skip(from.0 - block.first().0)?;
        }
        Ok(iter)
    }

    fn advance(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        if let Some(absent) = self.absent.take() {
            return Err(absent);
        }
        loop {
            if let Some(cursor) = &mut self.cursor
                && let Some(event) = cursor.next(self.snapshot)?
            {
                return Ok(Some(event));
            }
            let Some(block) = self.blocks.as_mut().and_then(Iterator::next) else { return Ok(None) };
            let block = self.snapshot.present(block?)?;
            self.cursor = Some(BlockCursor::new(block, self.snapshot.end())?);
        }
    }
}

impl<'s> Iterator for GlobalIter<'s> {
    type Item = Result<EventView<'s>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            (self.blocks, self.cursor) = (None, None);
        }
        event.transpose()
    }
}

impl fmt::Debug for GlobalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for GlobalIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let next = self.cursor.as_ref().map(BlockCursor::next_place);
        f.debug_struct("GlobalIter").field("next", &next).finish_non_exhaustive()
    }
}

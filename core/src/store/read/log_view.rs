//! The log at one moment: its events by their places, as often as one likes.

use std::fmt;

use crate::GlobalSequence;
use crate::store::error::{Damage, ReadError};
use crate::store::log::block::{Block, RunEvents};
use crate::store::log::block_cursor::BlockCursor;
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;

/// The log as its snapshot has it: any event, in any order. It keeps the block at hand that it read from last, so that
/// neighbours cost little. What it lends lives as long as the snapshot.
///
/// ```
/// use varve_core::{GlobalSequence, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651])?;
///
/// let snapshot = varve.snapshot()?;
/// let mut log = snapshot.log();
/// assert_eq!(log.get_bytes(GlobalSequence(1))?, Some(&651u16.to_le_bytes()[..]));
/// assert_eq!(log.get_bytes(GlobalSequence(2))?, None);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct LogView<'s> {
    snapshot: &'s Snapshot,
    block: Option<Block<'s>>,
    /// The events of each run; `None` where they are sealed and were not asked for.
    runs: Vec<Option<RunEvents<'s>>>,
    /// The stretches of the block, in order.
    stretches: Vec<Stretch>,
    at_hand: StretchEvents<'s>,
    /// The place behind the event that was last told of in full.
    cursor: Option<BlockCursor<'s>>,
}

/// Neighbours in the log that are neighbours in their run.
#[derive(Clone, Copy)]
struct Stretch {
    /// The place of the first event in the block.
    first: u32,
    len: u32,
    run: usize,
    /// The place of the first event in its run.
    index: usize,
}

/// The events of a stretch.
#[derive(Clone, Copy)]
struct StretchEvents<'s> {
    first: GlobalSequence,
    len: u32,
    events: RunEvents<'s>,
    index: usize,
}

impl Snapshot {
    /// The log, to be read from any place.
    pub fn log(&self) -> LogView<'_> {
        let first = GlobalSequence::default();
        let at_hand = StretchEvents { first, len: 0, events: RunEvents::default(), index: 0 };
        let (runs, stretches) = (Vec::new(), Vec::new());
        LogView { snapshot: self, block: None, runs, stretches, at_hand, cursor: None }
    }
}

impl<'s> LogView<'s> {
    /// The bytes of the event at `global_seq`; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::Corrupt`] where it is damaged.
    #[inline]
    pub fn get_bytes(&mut self, global_seq: GlobalSequence) -> Result<Option<&'s [u8]>, ReadError> {
        match self.at_hand.get(global_seq) {
            None => self.seek(global_seq),
            bytes => Ok(bytes),
        }
    }

    /// The event at `global_seq`, with all that the store knows of it; `None` where there is none yet.
    ///
    /// The columns of a block are read from the front: what lies behind the event before costs less than what lies
    /// before it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::Corrupt`] where it is damaged.
    pub fn get(&mut self, global_seq: GlobalSequence) -> Result<Option<EventView<'s>>, ReadError> {
        let is_ahead =
            |cursor: &BlockCursor<'_>| cursor.next_place() <= global_seq && cursor.block().holds(global_seq);
        let mut cursor = match self.cursor.take().filter(is_ahead) {
            Some(cursor) => cursor,
            None => match self.snapshot.block_at(global_seq)? {
                Some(block) => BlockCursor::new(block)?,
                None => return Ok(None),
            },
        };
        cursor.skip(global_seq.0 - cursor.next_place().0)?;
        let event = cursor.next(self.snapshot)?;
        self.cursor = Some(cursor);
        Ok(event)
    }

    /// Takes the stretch to hand that holds the event at `global_seq`, if there is one, and lends the event.
    fn seek(&mut self, global_seq: GlobalSequence) -> Result<Option<&'s [u8]>, ReadError> {
        let at_hand = self.block.filter(|block| block.holds(global_seq));
        let block = match at_hand {
            Some(block) => block,
            None => {
                let Some(block) = self.snapshot.block_at(global_seq)? else { return Ok(None) };
                self.take(block)?;
                block
            }
        };
        let place = (global_seq.0 - block.first().0) as u32;
        let stretch = self.stretches.partition_point(|stretch| stretch.first <= place).checked_sub(1);
        let stretch = stretch.and_then(|stretch| self.stretches.get(stretch));
        if let Some(&Stretch { first, len, run, index }) = stretch {
            let first = GlobalSequence(block.first().0 + u64::from(first));
            let events = match self.runs[run] {
                Some(events) => events,
                None => {
                    let opened = self.snapshot.open_run(&block, run);
                    let opened = opened.map_err(|error| error.of_stretch(first, index as u64, len.into()))?;
                    *self.runs[run].insert(opened.events())
                }
            };
            self.at_hand = StretchEvents { first, len, events, index };
        }
        let bytes = self.at_hand.get(global_seq);
        Ok(Some(bytes.ok_or_else(|| block.damage("an event exceeds its run"))?))
    }

    /// Takes a block to hand.
    fn take(&mut self, block: Block<'s>) -> Result<(), Damage> {
        self.block = None;
        self.runs.clear();
        self.stretches.clear();
        for index in 0..block.runs() {
            let run = block.run(index)?;
            self.runs.push(if run.is_sealed() { None } else { Some(run.events()) });
        }
        let mut seen = vec![0usize; block.runs()];
        let (mut order, mut first) = (block.order(), 0);
        while first < block.len() {
            let (run, len) = block.next_pair(&mut order)?;
            self.stretches.push(Stretch { first, len, run, index: seen[run] });
            seen[run] += len as usize;
            first = first.saturating_add(len);
        }
        self.block = Some(block);
        Ok(())
    }
}

impl<'s> StretchEvents<'s> {
    #[inline]
    fn get(&self, global_seq: GlobalSequence) -> Option<&'s [u8]> {
        let place = global_seq.0.wrapping_sub(self.first.0);
        if place < u64::from(self.len) { self.events.get(self.index + place as usize) } else { None }
    }
}

impl fmt::Debug for LogView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogView").field("at_hand", &self.at_hand.first).finish_non_exhaustive()
    }
}

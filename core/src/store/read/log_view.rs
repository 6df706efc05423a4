//! The log at one moment: its events by their places, as often as one likes.

use std::fmt;

use crate::GlobalSequence;
use crate::store::error::{Damage, ReadError};
use crate::store::log::block::{Block, RunEvents};
use crate::store::log::block_cursor::BlockCursor;
use crate::store::read::directory::Directory;
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;

/// The log as its snapshot has it: any event, in any order. It remembers the blocks that it has read from, up to
/// [`VIEW_STRETCHES_MAX`], so that it looks for each once. What it lends lives as long as the snapshot.
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
    /// The blocks that were read from.
    blocks: Directory<KnownBlock<'s>>,
    /// How many stretches they have.
    stretches: usize,
    /// The stretch that was read from last.
    at_hand: StretchEvents<'s>,
    /// The place behind the event that was last told of in full.
    cursor: Option<BlockCursor<'s>>,
}

/// A block that was read from.
struct KnownBlock<'s> {
    block: Block<'s>,
    /// The place after the last of its events that the snapshot shows.
    end: GlobalSequence,
    /// The events of each run; `None` where they are sealed and were not asked for.
    runs: Vec<Option<RunEvents<'s>>>,
    /// The stretches of the block, in order.
    stretches: Vec<Stretch>,
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
        LogView { snapshot: self, blocks: Directory::new(), stretches: 0, at_hand, cursor: None }
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
        if global_seq >= self.snapshot.end() {
            return Ok(None);
        }
        let is_ahead =
            |cursor: &BlockCursor<'_>| cursor.next_place() <= global_seq && cursor.block().holds(global_seq);
        let mut cursor = match self.cursor.take().filter(is_ahead) {
            Some(cursor) => cursor,
            None => match self.snapshot.block_at(global_seq)? {
                Some(block) => BlockCursor::new(block, self.snapshot.end())?,
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
        let snapshot = self.snapshot;
        let Some(known) = self.block_of(global_seq)? else { return Ok(None) };
        let (block, stretch) = (known.block, known.stretch_of(snapshot, global_seq)?);
        let bytes = stretch.and_then(|stretch| {
            self.at_hand = stretch;
            stretch.get(global_seq)
        });
        Ok(Some(bytes.ok_or_else(|| block.damage("an event exceeds its run"))?))
    }

    /// The block that holds the event at `global_seq`; `None` past the end of the log.
    fn block_of(&mut self, global_seq: GlobalSequence) -> Result<Option<&mut KnownBlock<'s>>, ReadError> {
        let known = self.blocks.at_or_before(global_seq.0);
        let known =
            known.filter(|&number| self.blocks.get_mut(number).is_some_and(|known| global_seq < known.end));
        let number = match known {
            Some(number) => number,
            None => {
                let Some(block) = self.snapshot.block_at(global_seq)? else { return Ok(None) };
                self.insert(KnownBlock::new(block, self.snapshot.end())?)
            }
        };
        Ok(self.blocks.get_mut(number))
    }

    /// Remembers a block, and returns its number.
    fn insert(&mut self, known: KnownBlock<'s>) -> usize {
        if self.stretches + known.stretches.len() > VIEW_STRETCHES_MAX {
            self.blocks.clear();
            self.stretches = 0;
        }
        self.stretches += known.stretches.len();
        self.blocks.insert(known.block.first().0, known)
    }
}

impl<'s> KnownBlock<'s> {
    /// Reads where the runs and the stretches of a block are, before `end`, which is behind its first event.
    fn new(block: Block<'s>, end: GlobalSequence) -> Result<Self, Damage> {
        let end = block.end()?.min(end);
        let shown = (end.0 - block.first().0) as u32;
        let mut runs = Vec::with_capacity(block.runs());
        for index in 0..block.runs() {
            let run = block.run(index)?;
            runs.push(if run.is_sealed() { None } else { Some(run.events()) });
        }
        let mut stretches = Vec::with_capacity(block.runs());
        let mut seen = vec![0usize; block.runs()];
        let (mut order, mut first) = (block.order(), 0);
        while first < shown {
            let (run, len) = block.next_pair(&mut order)?;
            let len = len.min(shown - first);
            stretches.push(Stretch { first, len, run, index: seen[run] });
            seen[run] += len as usize;
            first = first.saturating_add(len);
        }
        Ok(Self { block, end, runs, stretches })
    }

    /// The stretch that holds the event at `global_seq`, which the block holds. Its run is opened where it is sealed.
    fn stretch_of(
        &mut self,
        snapshot: &'s Snapshot,
        global_seq: GlobalSequence,
    ) -> Result<Option<StretchEvents<'s>>, ReadError> {
        let place = (global_seq.0 - self.block.first().0) as u32;
        let stretch = self.stretches.partition_point(|stretch| stretch.first <= place).checked_sub(1);
        let Some(&Stretch { first, len, run, index }) = stretch.and_then(|at| self.stretches.get(at)) else {
            return Ok(None);
        };
        let first = GlobalSequence(self.block.first().0 + u64::from(first));
        let events = match self.runs[run] {
            Some(events) => events,
            None => {
                let opened = snapshot.open_run(&self.block, run);
                let opened = opened.map_err(|error| error.of_stretch(first, index as u64, len.into()))?;
                *self.runs[run].insert(opened.events())
            }
        };
        Ok(Some(StretchEvents { first, len, events, index }))
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

/// How many stretches the blocks have together that a view remembers, which takes some MiB. A stretch is what stands
/// together in the log and in its stream; a block of one stream is one. Past it the view begins anew.
pub const VIEW_STRETCHES_MAX: usize = 65_536;

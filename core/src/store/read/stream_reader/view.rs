//! A stream at one moment: its events by their places, as often as one likes.

use std::fmt;

use super::backward::RawIterBack;
use super::{RawIter, RunCursor, StreamIter, StreamIterBack};
use crate::store::error::ReadError;
use crate::store::log::block::RunEvents;
use crate::store::read::directory::Directory;
use crate::store::read::readability::Readability;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::typed_run::TypedRun;
use crate::store::read::validated::ValidatedRuns;
use crate::store::write::stream::check_name;
use crate::{Event, StreamId, StreamSequence};

/// A stream as its snapshot has it, read as events of type `T`: any of them, in any order.
///
/// It remembers where the runs stand that it has read from, [`VIEW_RUNS_MAX`] of them at most, so that it looks for each
/// once: what it takes goes by the blocks of the stream, not by its events. What it lends lives as long as the snapshot.
///
/// The first event of a block costs a look at the whole block, whose checksum and structure are checked once in a process.
/// Of a run, each event is checked as it is lent until an eighth of them was lent; then all are, and lent as they are.
///
/// ```
/// use varve_core::{StreamId, StreamSequence, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651, 652])?;
///
/// let snapshot = varve.snapshot()?;
/// let mut readings = snapshot.stream::<u16>("readings", StreamId(7))?;
/// let last = readings.get(StreamSequence(readings.version() - 1))?.unwrap();
/// let first = readings.get(StreamSequence(0))?.unwrap();
/// assert_eq!((first.to_native(), last.to_native()), (650, 652));
/// assert!(readings.get(StreamSequence(3))?.is_none());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct StreamView<'s, T: Event> {
    snapshot: &'s Snapshot,
    /// The stream's number; `None` where it holds nothing.
    stream: Option<u32>,
    end: StreamSequence,
    readability: Readability,
    /// The runs that were read from.
    runs: Directory<KnownRun<'s, T>>,
    /// The number of the one that was read from last.
    at_hand: usize,
}

/// A run that was read from.
struct KnownRun<'s, T: Event> {
    /// The place of its first event.
    first: StreamSequence,
    /// How many of its events the snapshot shows.
    count: usize,
    events: KnownEvents<'s, T>,
    /// How many of them were lent before it was known whether all are valid.
    lent: u32,
}

/// The events of a run.
enum KnownEvents<'s, T: Event> {
    /// Events of `T`.
    Typed(TypedRun<'s, T>),
    /// Events of another layout.
    Others(RunEvents<'s>),
}

impl Snapshot {
    /// The stream `id` of a name, to be read as events of type `T`. One that nothing was appended to is empty.
    ///
    /// # Errors
    ///
    /// [`ReadError::StreamName`]; [`ReadError::Corrupt`] where the index of the stream is damaged.
    pub fn stream<T: Event>(&self, name: &str, id: StreamId) -> Result<StreamView<'_, T>, ReadError> {
        check_name(name)?;
        let stream = self.stream_number(name, id)?;
        let end = stream.map(|stream| self.stream_end(stream)).transpose()?.unwrap_or_default();
        let (readability, runs) = (Readability::default(), Directory::new());
        Ok(StreamView { snapshot: self, stream, end, readability, runs, at_hand: 0 })
    }
}

impl<'s, T: Event> StreamView<'s, T> {
    /// The version of the stream: how many events it ever got. It is what
    /// [`ExpectedVersion::Exact`](crate::ExpectedVersion::Exact) takes.
    pub fn version(&self) -> u64 {
        self.end.0
    }

    /// The event at `seq`; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::LayoutMismatch`] where it has another layout
    /// than `T`; [`ReadError::Corrupt`] where it is damaged.
    #[inline]
    pub fn get(&mut self, seq: StreamSequence) -> Result<Option<&'s T::Archived>, ReadError> {
        let validated = self.snapshot.validated();
        match self.run_of(seq)?.and_then(|run| run.archived(seq, validated)) {
            None => self.refuse(seq, true),
            archived => Ok(archived),
        }
    }

    /// The bytes of the event at `seq`, whatever their layout; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::Corrupt`] where it is damaged.
    #[inline]
    pub fn get_bytes(&mut self, seq: StreamSequence) -> Result<Option<&'s [u8]>, ReadError> {
        match self.run_of(seq)?.and_then(|run| run.events().get(run.index_of(seq))) {
            None => self.refuse(seq, false),
            bytes => Ok(bytes),
        }
    }

    /// The events from `from` on.
    pub fn iter_from(&self, from: StreamSequence) -> StreamIter<'s, T> {
        StreamIter::new(RawIter::new(self.snapshot, self.stream, from))
    }

    /// The events before `before`, or all of them: the last first.
    pub fn iter_back(&self, before: Option<StreamSequence>) -> StreamIterBack<'s, T> {
        let end = before.map_or(self.end, |before| before.min(self.end));
        StreamIterBack::new(RawIterBack::new(self.snapshot, self.stream.unwrap_or_default(), end))
    }

    /// The run that holds the event at `seq`, which is then at hand; `None` where there is none.
    #[inline]
    fn run_of(&mut self, seq: StreamSequence) -> Result<Option<&mut KnownRun<'s, T>>, ReadError> {
        if !self.is_at_hand(seq) {
            self.at_hand = self.runs.at_or_before(seq.0).unwrap_or_default();
            if !self.is_at_hand(seq) && !self.look_up(seq)? {
                return Ok(None);
            }
        }
        Ok(self.runs.get_mut(self.at_hand))
    }

    /// Whether the run at hand holds the event at `seq`.
    #[inline]
    fn is_at_hand(&mut self, seq: StreamSequence) -> bool {
        self.runs.get_mut(self.at_hand).is_some_and(|run| run.index_of(seq) < run.count)
    }

    /// Takes the run to hand that holds the event at `seq`, and tells whether there is one.
    #[cold]
    fn look_up(&mut self, seq: StreamSequence) -> Result<bool, ReadError> {
        let Some(cursor) = self.locate(seq)? else { return Ok(false) };
        let events = match cursor.typed(self.snapshot, &mut self.readability) {
            Ok(typed) => KnownEvents::Typed(typed),
            Err(ReadError::LayoutMismatch(_)) => KnownEvents::Others(cursor.run.events()),
            Err(error) => return Err(error),
        };
        if self.runs.len() >= VIEW_RUNS_MAX {
            self.runs.clear();
        }
        let (first, count) = (cursor.run.first(), cursor.count);
        self.at_hand = self.runs.insert(first.0, KnownRun { first, count, events, lent: 0 });
        Ok(true)
    }

    /// The event at `seq`, found by the index; `None` where there is none yet.
    fn locate(&self, seq: StreamSequence) -> Result<Option<RunCursor<'s>>, ReadError> {
        match self.stream {
            Some(stream) if seq < self.end => RunCursor::locate(self.snapshot, stream, seq),
            _ => Ok(None),
        }
    }

    /// Says why the event at `seq`, whose run was sought, is not lent: it is not there, its layout is another one, where
    /// that matters, or it is damaged.
    #[cold]
    fn refuse<R>(&mut self, seq: StreamSequence, typed: bool) -> Result<Option<R>, ReadError> {
        let Some(mut cursor) = self.locate(seq)? else { return Ok(None) };
        if typed {
            self.readability.root_len::<T>(self.snapshot, &cursor.run)?;
        }
        Err(cursor.damage_at(seq))
    }
}

impl<'s, T: Event> KnownRun<'s, T> {
    #[inline]
    fn archived(&mut self, seq: StreamSequence, validated: &ValidatedRuns) -> Option<&'s T::Archived> {
        let index = self.index_of(seq);
        let KnownEvents::Typed(typed) = &mut self.events else { return None };
        if typed.is_unknown() {
            self.lent += 1;
            if self.lent as usize * VALIDATED_SHARE > typed.events().len() {
                typed.validate(validated);
            }
        }
        Some(typed.get(index)?.0)
    }

    #[inline]
    fn events(&self) -> &RunEvents<'s> {
        match &self.events {
            KnownEvents::Typed(typed) => typed.events(),
            KnownEvents::Others(events) => events,
        }
    }

    /// The place in the run of the event at `seq`, which no run has where the event lies before it.
    #[inline]
    fn index_of(&self, seq: StreamSequence) -> usize {
        usize::try_from(seq.0.wrapping_sub(self.first.0)).unwrap_or(usize::MAX)
    }
}

impl<T: Event> fmt::Debug for StreamView<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamView").field("end", &self.end).finish_non_exhaustive()
    }
}

/// How many runs a view remembers, which takes some MiB: those of 1 GiB of events where each fills a block. Past it the
/// view begins anew.
pub const VIEW_RUNS_MAX: usize = 16_384;

/// A view that has lent more than one of so many events of a run looks at all of them.
const VALIDATED_SHARE: usize = 8;

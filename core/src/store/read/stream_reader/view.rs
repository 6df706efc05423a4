//! A stream at one moment: its events by their places, as often as one likes.

use std::collections::BTreeMap;
use std::fmt;

use super::backward::RawIterBack;
use super::{RawIter, RunCursor, StreamIter, StreamIterBack};
use crate::store::error::ReadError;
use crate::store::log::block::RunEvents;
use crate::store::read::readability::Readability;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::typed_run::TypedRun;
use crate::store::write::stream::check_name;
use crate::{Event, StreamId, StreamSequence};

/// A stream as its snapshot has it, read as events of type `T`: any of them, in any order.
///
/// It remembers where the runs stand that it has read from, [`VIEW_RUNS_MAX`] of them at most, so that it looks for each
/// once: what it takes goes by the blocks of the stream, not by its events. What it lends lives as long as the snapshot.
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
    /// The run that was read from last.
    at_hand: KnownRun<'s, T>,
    /// The runs that were read from, by the place of their first event.
    runs: BTreeMap<StreamSequence, KnownRun<'s, T>>,
}

/// A run that was read from.
struct KnownRun<'s, T: Event> {
    /// The place of its first event.
    first: StreamSequence,
    events: RunEvents<'s>,
    /// The events as those of `T`; `None` where they have another layout.
    typed: Option<TypedRun<'s, T>>,
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
        let at_hand = KnownRun { first: end, events: RunEvents::default(), typed: None };
        let (readability, runs) = (Readability::default(), BTreeMap::new());
        Ok(StreamView { snapshot: self, stream, end, readability, at_hand, runs })
    }
}

impl<'s, T: Event> StreamView<'s, T> {
    /// The version of the stream: how many events it holds. It is what
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
        if let Some(archived) = self.at_hand.archived(seq) {
            return Ok(Some(archived));
        }
        self.seek(seq)?;
        match self.at_hand.archived(seq) {
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
        if let Some(bytes) = self.at_hand.bytes(seq) {
            return Ok(Some(bytes));
        }
        self.seek(seq)?;
        match self.at_hand.bytes(seq) {
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

    /// Takes the run to hand that holds the event at `seq`, if there is one.
    fn seek(&mut self, seq: StreamSequence) -> Result<(), ReadError> {
        if let Some((_, run)) = self.runs.range(..=seq).next_back()
            && run.index_of(seq) < run.events.len()
        {
            self.at_hand = *run;
            return Ok(());
        }
        let Some(cursor) = self.locate(seq)? else { return Ok(()) };
        let typed = match cursor.typed(self.snapshot, &mut self.readability) {
            Ok(typed) => Some(typed),
            Err(ReadError::LayoutMismatch(_)) => None,
            Err(error) => return Err(error),
        };
        if self.runs.len() >= VIEW_RUNS_MAX {
            self.runs.clear();
        }
        self.at_hand = KnownRun { first: cursor.run.first(), events: cursor.run.events(), typed };
        self.runs.insert(self.at_hand.first, self.at_hand);
        Ok(())
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
    fn archived(&self, seq: StreamSequence) -> Option<&'s T::Archived> {
        Some(self.typed.as_ref()?.get(self.index_of(seq))?.0)
    }

    #[inline]
    fn bytes(&self, seq: StreamSequence) -> Option<&'s [u8]> {
        self.events.get(self.index_of(seq))
    }

    /// The place in the run of the event at `seq`, which no run has where the event lies before it.
    #[inline]
    fn index_of(&self, seq: StreamSequence) -> usize {
        usize::try_from(seq.0.wrapping_sub(self.first.0)).unwrap_or(usize::MAX)
    }
}

impl<T: Event> Clone for KnownRun<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Event> Copy for KnownRun<'_, T> {}

impl<T: Event> fmt::Debug for StreamView<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamView").field("end", &self.end).finish_non_exhaustive()
    }
}

/// How many runs a view remembers, which takes some MiB: those of 1 GiB of events where each fills a block. Past it the
/// view begins anew.
pub const VIEW_RUNS_MAX: usize = 16_384;

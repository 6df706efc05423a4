//! The events of one stream, the last first.

use std::fmt;
use std::marker::PhantomData;

use super::{RunCursor, StreamEvent, StreamReader};
use crate::store::error::{Absence, AbsenceReason, ReadError};
use crate::store::log::tables::key12;
use crate::store::read::readability::Readability;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::typed_run::TypedRun;
use crate::{Event, StreamId, StreamSequence};

/// The events of a stream before a place, the last first, as they were when they were asked for. Iterate over a
/// reference:
///
/// ```
/// # use varve_core::{StreamId, Varve};
/// # let dir = tempfile::tempdir()?;
/// # let mut varve = Varve::new(dir.path())?;
/// # let mut readings = varve.stream::<u16, 2>("readings")?;
/// # readings.append_batch(StreamId(7), &[650, 651, 652])?;
/// let events = readings.reader().iter_stream_back(StreamId(7), None)?;
/// let latest: Vec<u16> =
///     events.iter().take(2).map(|event| Ok(event?.archived.to_native())).collect::<Result<_, varve_core::ReadError>>()?;
/// assert_eq!(latest, [652, 651]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamEventsBack<T: Event> {
    snapshot: Snapshot,
    /// The stream's number; 0 where there is none, and then nothing to read.
    stream: u32,
    end: StreamSequence,
    event_type: PhantomData<fn() -> T>,
}

/// Iterates over the events of a stream, the last first. In the place of events that cannot be had it gives a
/// [`ReadError::Absent`], and goes on before them; after any other error it ends. It ends where the stream begins: what was
/// retired there it does not tell.
pub struct StreamIterBack<'s, T: Event> {
    raw: RawIterBack<'s>,
    readability: Readability,
    /// The run where the iterator is.
    run: TypedRun<'s, T>,
    /// How many of its events are to come.
    left: usize,
}

impl<T: Event> StreamReader<T> {
    /// The events of the stream `id` before `before`, or all of them: the last first.
    ///
    /// It costs what [`StreamReader::iter_stream`] costs, and for each run a look-up in the index.
    ///
    /// # Errors
    ///
    /// As [`StreamReader::iter_stream`].
    pub fn iter_stream_back(
        &self,
        id: StreamId,
        before: Option<StreamSequence>,
    ) -> Result<StreamEventsBack<T>, ReadError> {
        let snapshot = self.view.snapshot()?;
        let (stream, end) = match snapshot.stream_number(&self.name, id)? {
            Some(stream) => (stream, snapshot.stream_end(stream)?),
            None => (0, StreamSequence(0)),
        };
        let end = before.map_or(end, |before| before.min(end));
        Ok(StreamEventsBack { snapshot, stream, end, event_type: PhantomData })
    }
}

impl<T: Event> StreamEventsBack<T> {
    /// Iterates over the events, borrowed from the map.
    pub fn iter(&self) -> StreamIterBack<'_, T> {
        StreamIterBack::new(self.raw_iter())
    }

    /// Copies every event's bytes.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where one of them cannot be had: an iterator goes on before it.
    pub fn collect_bytes(self) -> Result<Vec<(StreamSequence, Vec<u8>)>, ReadError> {
        let mut iter = self.raw_iter();
        let events = std::iter::from_fn(|| iter.advance().transpose());
        events.map(|event| event.map(|(seq, bytes)| (seq, bytes.to_vec()))).collect()
    }

    fn raw_iter(&self) -> RawIterBack<'_> {
        RawIterBack::new(&self.snapshot, self.stream, self.end)
    }
}

impl<'s, T: Event> IntoIterator for &'s StreamEventsBack<T>
where
    T::Archived: 's,
{
    type Item = Result<StreamEvent<'s, T>, ReadError>;
    type IntoIter = StreamIterBack<'s, T>;

    fn into_iter(self) -> StreamIterBack<'s, T> {
        self.iter()
    }
}

impl<'s, T: Event> StreamIterBack<'s, T> {
    pub(super) fn new(raw: RawIterBack<'s>) -> Self {
        Self { raw, readability: Readability::default(), run: TypedRun::none(), left: 0 }
    }

    /// The next event, where it is another one of the same run and there is nothing to say about it.
    #[inline]
    fn next_of_run(&mut self) -> Option<StreamEvent<'s, T>> {
        let index = self.left.checked_sub(1)?;
        let (archived, bytes) = self.run.get(index)?;
        let stream_seq = StreamSequence(self.raw.end.0 - 1);
        (self.left, self.raw.end) = (index, stream_seq);
        Some(StreamEvent { stream_seq, archived, bytes })
    }

    /// The next event, of the run before.
    #[cold]
    fn advance(&mut self) -> Result<Option<StreamEvent<'s, T>>, ReadError> {
        let Some((seq, mut cursor)) = self.raw.cursor()? else { return Ok(None) };
        if self.left == 0 {
            self.run = cursor.typed(self.raw.snapshot, &mut self.readability)?;
            self.run.validate(self.raw.snapshot.validated());
            self.left = (seq.0 - cursor.run.first().0) as usize + 1;
            if let Some(event) = self.next_of_run() {
                return Ok(Some(event));
            }
        }
        Err(cursor.damage_at(seq))
    }
}

impl<'s, T: Event> Iterator for StreamIterBack<'s, T>
where
    T::Archived: 's,
{
    type Item = Result<StreamEvent<'s, T>, ReadError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(event) = self.next_of_run() {
            return Some(Ok(event));
        }
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            (self.raw.end, self.left) = (StreamSequence(0), 0);
        }
        event.transpose()
    }
}

impl<T: Event> fmt::Debug for StreamIterBack<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamIterBack").field("end", &self.raw.end).finish_non_exhaustive()
    }
}

/// Iterates over the events of a stream, whatever their layouts, the last first.
pub(super) struct RawIterBack<'s> {
    snapshot: &'s Snapshot,
    stream: u32,
    /// The place after the event to come; 0 at the end of the iteration.
    end: StreamSequence,
    /// Whether a run was found before, which begins at `end`.
    has_begun: bool,
    run: Option<RunCursor<'s>>,
}

impl<'s> RawIterBack<'s> {
    /// The events before `end` of the stream of a number.
    pub(super) fn new(snapshot: &'s Snapshot, stream: u32, end: StreamSequence) -> Self {
        Self { snapshot, stream, end, has_begun: false, run: None }
    }

    /// The next event, of the run before if this one has none left.
    fn advance(&mut self) -> Result<Option<(StreamSequence, &'s [u8])>, ReadError> {
        let Some((seq, mut cursor)) = self.cursor()? else { return Ok(None) };
        cursor.next = (seq.0 - cursor.run.first().0) as usize;
        self.end = seq;
        cursor.advance()
    }

    /// The place of the event to come, and its run.
    fn cursor(&mut self) -> Result<Option<(StreamSequence, RunCursor<'s>)>, ReadError> {
        let Some(seq) = self.end.0.checked_sub(1).map(StreamSequence) else { return Ok(None) };
        let cursor = match self.run {
            Some(cursor) if cursor.run.first() < self.end => cursor,
            _ => match self.run_before(seq) {
                Ok(cursor) => *self.run.insert(cursor),
                Err(ReadError::Absent(absence)) => return self.pass_over(*absence),
                Err(error) => return Err(error),
            },
        };
        self.has_begun = true;
        Ok(Some((seq, cursor)))
    }

    /// Goes on before an absence, and tells it. The stream begins where it was retired.
    fn pass_over<R>(&mut self, mut absence: Absence) -> Result<Option<R>, ReadError> {
        self.run = None;
        let range = absence.stream.as_mut().map(|stream| &mut stream.range);
        let range = range.filter(|range| absence.reason != AbsenceReason::Retired && range.start < self.end);
        let Some(range) = range else {
            self.end = StreamSequence(0);
            return Ok(None);
        };
        range.end = self.end;
        (self.end, self.has_begun) = (range.start, true);
        Err(absence.into())
    }

    /// The run that holds the event at `seq`. It must end where the one after it begins.
    fn run_before(&self, seq: StreamSequence) -> Result<RunCursor<'s>, ReadError> {
        let located = self.snapshot.run_at(self.stream, seq)?;
        let cursor = located.map(|located| RunCursor::at(located, seq));
        let cursor = cursor.filter(|cursor| !self.has_begun || cursor.end() == self.end);
        let table = &self.snapshot.tables().stream;
        let damage = || table.damage(&key12(self.stream, seq.0), "the run after it does not follow");
        Ok(cursor.ok_or_else(damage)?)
    }
}

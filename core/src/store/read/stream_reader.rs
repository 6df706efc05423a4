//! Reads the events of one stream: one of them, or all from a place on.

mod backward;
mod view;

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use crate::archive::access_root;
use crate::store::error::{Damage, Place, ReadError};
use crate::store::log::block::{Block, Position, Run};
use crate::store::read::located_run::LocatedRun;
use crate::store::read::pinned::Pinned;
use crate::store::read::readability::Readability;
use crate::store::read::runs_ahead::{FoundRun, RunsAhead};
use crate::store::read::snapshot::Snapshot;
use crate::store::read::typed_run::{TypedEvents, TypedRun};
use crate::store::read::view::VarveView;
use crate::{Event, StreamId, StreamSequence};
pub use backward::{StreamEventsBack, StreamIterBack};
pub use view::{StreamView, VIEW_RUNS_MAX};

/// Reads the streams of a name as events of type `T`. Clones are cheap, and each may go to a thread of its own, beside
/// whoever appends. Each call sees all that is durable then; between calls it holds nothing.
///
/// ```
/// use varve_core::{StreamId, StreamSequence, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// let mut readings = varve.stream::<u16, 2>("readings")?;
/// readings.append_batch(StreamId(7), &[650, 651])?;
///
/// let reader = readings.reader();
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         let mut reader = reader.clone();
///         scope.spawn(move || {
///             let second = reader.get_archived(StreamId(7), StreamSequence(1)).expect("it is whole");
///             assert_eq!(second.expect("it was appended").to_native(), 651);
///         });
///     }
/// });
/// assert!(reader.clone().get_bytes(StreamId(7), StreamSequence(2))?.is_none());
/// assert_eq!(reader.iter_stream(StreamId(7), None)?.collect_bytes()?.len(), 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct StreamReader<T: Event> {
    view: VarveView,
    name: Arc<str>,
    /// The stream that an event was last got of, and its number, which it has for good.
    last: Option<(StreamId, u32)>,
    readability: Readability,
    event_type: PhantomData<fn() -> T>,
}

/// The events of a stream from a place on, as they were when they were asked for. Iterate over a reference:
///
/// ```
/// # use varve_core::{StreamId, Varve};
/// # let dir = tempfile::tempdir()?;
/// # let mut varve = Varve::new(dir.path())?;
/// # let mut readings = varve.stream::<u16, 2>("readings")?;
/// # readings.append_batch(StreamId(7), &[650, 651])?;
/// for event in &readings.reader().iter_stream(StreamId(7), None)? {
///     let event = event?;
///     println!("{}: {}", event.stream_seq, event.archived);
/// }
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StreamEvents<T: Event> {
    snapshot: Snapshot,
    stream: Option<u32>,
    from: StreamSequence,
    event_type: PhantomData<fn() -> T>,
}

/// An event of a stream, borrowed from the map.
pub struct StreamEvent<'s, T: Event> {
    /// Its place in the stream.
    pub stream_seq: StreamSequence,
    /// The event.
    pub archived: &'s T::Archived,
    /// The event's bytes.
    pub bytes: &'s [u8],
}

/// Iterates over the events of a stream. In the place of events that cannot be had it gives a [`ReadError::Absent`], and goes
/// on behind them; after any other error it ends.
pub struct StreamIter<'s, T: Event> {
    raw: RawIter<'s>,
    readability: Readability,
    /// Those to come of the run where the iterator is.
    events: TypedEvents<'s, T>,
    /// The place of the event to come.
    next: StreamSequence,
}

impl<T: Event> StreamReader<T> {
    pub(in crate::store) fn new(view: VarveView, name: Arc<str>) -> Self {
        let readability = Readability::default();
        Self { view, name, last: None, readability, event_type: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name, as clones share it.
    pub(in crate::store) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// The event at `seq` of the stream `id`, borrowed from the map; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::LayoutMismatch`] where it has another layout
    /// than `T`; [`ReadError::Corrupt`] where it is damaged.
    pub fn get_archived(
        &mut self,
        id: StreamId,
        seq: StreamSequence,
    ) -> Result<Option<Pinned<'_, T::Archived>>, ReadError> {
        Pinned::find(self.view.snapshot()?, |snapshot| {
            let Some(mut cursor) = self.find(snapshot, id, seq)? else { return Ok(None) };
            let root_len = self.readability.root_len::<T>(snapshot, &cursor.run)?;
            let Some((_, bytes)) = cursor.advance()? else { return Ok(None) };
            access_root::<T>(bytes, root_len).map(Some).map_err(|_| cursor.damaged_event())
        })
    }

    /// The bytes of the event at `seq` of the stream `id`, whatever their layout; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where it cannot be had any more; [`ReadError::Corrupt`] where it is damaged.
    pub fn get_bytes(
        &mut self,
        id: StreamId,
        seq: StreamSequence,
    ) -> Result<Option<Pinned<'_, [u8]>>, ReadError> {
        Pinned::find(self.view.snapshot()?, |snapshot| {
            let Some(mut cursor) = self.find(snapshot, id, seq)? else { return Ok(None) };
            Ok(cursor.advance()?.map(|(_, bytes)| bytes))
        })
    }

    /// The version of the stream `id`: how many events it ever got, 0 where there is none. It is what
    /// [`ExpectedVersion::Exact`](crate::ExpectedVersion::Exact) takes. Retention and shredding do not change it.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where the index of the stream is damaged.
    pub fn version(&self, id: StreamId) -> Result<u64, ReadError> {
        let snapshot = self.view.snapshot()?;
        let Some(stream) = snapshot.stream_number(&self.name, id)? else { return Ok(0) };
        Ok(snapshot.stream_end(stream)?.0)
    }

    /// The events of the stream `id` from `from` on, or from the first that retention left. What was retired behind `from`
    /// is told first, as one absence.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`](crate::VarveView::snapshot); [`ReadError::Corrupt`]
    /// where the index of the stream is damaged.
    pub fn iter_stream(
        &self,
        id: StreamId,
        from: Option<StreamSequence>,
    ) -> Result<StreamEvents<T>, ReadError> {
        let snapshot = self.view.snapshot()?;
        let stream = snapshot.stream_number(&self.name, id)?;
        let from = match (from, stream) {
            (Some(from), _) => from,
            (None, Some(stream)) => snapshot.first_of(stream)?,
            (None, None) => StreamSequence(0),
        };
        Ok(StreamEvents { snapshot, stream, from, event_type: PhantomData })
    }

    /// Waits for commits to the store, of whichever process.
    #[cfg(feature = "notify")]
    pub fn watcher(&self) -> crate::store::follow::watcher::WriteWatcher {
        self.view.watcher()
    }

    /// Finds the event at `seq` of the stream `id`.
    fn find<'s>(
        &mut self,
        snapshot: &'s Snapshot,
        id: StreamId,
        seq: StreamSequence,
    ) -> Result<Option<RunCursor<'s>>, ReadError> {
        let stream = match self.last {
            Some((last, stream)) if last == id => stream,
            _ => {
                let Some(stream) = snapshot.stream_number(&self.name, id)? else { return Ok(None) };
                self.last = Some((id, stream));
                stream
            }
        };
        RunCursor::locate(snapshot, stream, seq)
    }
}

impl<T: Event> Clone for StreamReader<T> {
    fn clone(&self) -> Self {
        Self::new(self.view.clone(), self.name.clone())
    }
}

impl<T: Event> fmt::Debug for StreamReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamReader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<T: Event> StreamEvents<T> {
    /// Iterates over the events, borrowed from the map.
    pub fn iter(&self) -> StreamIter<'_, T> {
        StreamIter::new(self.raw_iter())
    }

    /// Copies every event's bytes.
    ///
    /// # Errors
    ///
    /// [`ReadError::Absent`] where one of them cannot be had: an iterator goes on behind it.
    pub fn collect_bytes(self) -> Result<Vec<(StreamSequence, Vec<u8>)>, ReadError> {
        self.raw_iter().map(|event| event.map(|(seq, bytes)| (seq, bytes.to_vec()))).collect()
    }

    fn raw_iter(&self) -> RawIter<'_> {
        RawIter::new(&self.snapshot, self.stream, self.from)
    }
}

impl<'s, T: Event> IntoIterator for &'s StreamEvents<T>
where
    T::Archived: 's,
{
    type Item = Result<StreamEvent<'s, T>, ReadError>;
    type IntoIter = StreamIter<'s, T>;

    fn into_iter(self) -> StreamIter<'s, T> {
        self.iter()
    }
}

impl<'s, T: Event> StreamIter<'s, T> {
    fn new(raw: RawIter<'s>) -> Self {
        let (readability, events) = (Readability::default(), TypedEvents::none());
        Self { raw, readability, events, next: StreamSequence(0) }
    }

    /// The next event, where it is another one of the same run and there is nothing to say about it.
    #[inline]
    fn next_of_run(&mut self) -> Option<StreamEvent<'s, T>> {
        let event = self.events.next()?;
        Some(self.placed(event))
    }

    /// An event with its place, behind which the next one is to come.
    #[inline]
    fn placed(&mut self, (archived, bytes): (&'s T::Archived, &'s [u8])) -> StreamEvent<'s, T> {
        let stream_seq = self.next;
        self.next = StreamSequence(stream_seq.0 + 1);
        StreamEvent { stream_seq, archived, bytes }
    }

    /// Goes to the next run, and tells whether there is one. An error that is no absence ends the iteration.
    ///
    /// It is cold for the sake of loops over long runs. What it calls is not, for the sake of short ones.
    #[cold]
    #[inline(never)]
    fn seek(&mut self) -> Result<bool, ReadError> {
        let found = self.advance();
        if found.is_err() {
            self.events = TypedEvents::none();
        }
        if found.as_ref().is_err_and(|error| !error.is_absence()) {
            self.raw.end();
        }
        found
    }

    /// Goes to the next run, and tells whether there is one.
    #[inline(never)]
    fn advance(&mut self) -> Result<bool, ReadError> {
        if let Some(cursor) = &mut self.raw.run
            && self.next < cursor.end()
        {
            return Err(cursor.damage_at(self.next));
        }
        let snapshot = self.raw.snapshot;
        let Some(cursor) = self.raw.next_cursor()? else { return Ok(false) };
        let mut run = cursor.typed::<T>(snapshot, &mut self.readability)?;
        run.validate(snapshot.validated());
        self.next = StreamSequence(cursor.run.first().0 + cursor.next as u64);
        self.events = run.iter_range(cursor.next, cursor.count - cursor.next);
        Ok(true)
    }
}

impl<'s, T: Event> Iterator for StreamIter<'s, T>
where
    T::Archived: 's,
{
    type Item = Result<StreamEvent<'s, T>, ReadError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.next_of_run() {
                return Some(Ok(event));
            }
            match self.seek() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// As `next` over and over, but that it knows the run of the events to come.
    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = init;
        loop {
            for event in mem::replace(&mut self.events, TypedEvents::none()) {
                folded = f(folded, Ok(self.placed(event)));
            }
            match self.seek() {
                Ok(true) => {}
                Ok(false) => return folded,
                Err(error) => folded = f(folded, Err(error)),
            }
        }
    }
}

impl<T: Event> fmt::Debug for StreamEvent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamEvent")
            .field("stream_seq", &self.stream_seq)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<T: Event> fmt::Debug for StreamIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamIter").finish_non_exhaustive()
    }
}

/// Iterates over the events of a stream, whatever their layouts.
struct RawIter<'s> {
    snapshot: &'s Snapshot,
    /// The stream's number; `None` where there is nothing to read, or nothing more.
    stream: Option<u32>,
    /// Where the next run begins, or the iteration.
    next: StreamSequence,
    /// The runs of LMDB behind the one that the iteration began with, or began with anew.
    ahead: Option<RunsAhead<'s>>,
    run: Option<RunCursor<'s>>,
}

/// A run and the place in it.
#[derive(Clone, Copy)]
struct RunCursor<'s> {
    block: Block<'s>,
    run: Run<'s>,
    index: u16,
    /// The place in the run of the event to come.
    next: usize,
    /// How many of its events the snapshot shows.
    count: usize,
}

impl<'s> RunCursor<'s> {
    /// Finds the event at `seq` of the stream of a number.
    fn locate(snapshot: &'s Snapshot, stream: u32, seq: StreamSequence) -> Result<Option<Self>, ReadError> {
        Ok(snapshot.run_at(stream, seq)?.map(|located| Self::at(located, seq)))
    }

    /// The event at `seq` of a run that holds it.
    fn at(located: LocatedRun<'s>, seq: StreamSequence) -> Self {
        let LocatedRun { block, run, index, count } = located;
        Self { block, run, index, next: (seq.0 - run.first().0) as usize, count: count as usize }
    }

    /// The place after the last event of the run that the snapshot shows.
    fn end(&self) -> StreamSequence {
        StreamSequence(self.run.first().0.saturating_add(self.count as u64))
    }

    /// The next event, or `None` past the last.
    fn advance(&mut self) -> Result<Option<(StreamSequence, &'s [u8])>, ReadError> {
        if self.next >= self.count {
            return Ok(None);
        }
        let bytes = self.run.event(self.next).ok_or_else(|| self.block.damage("an event exceeds its run"))?;
        let seq = StreamSequence(self.run.first().0 + self.next as u64);
        self.next += 1;
        Ok(Some((seq, bytes)))
    }

    /// The run as events of type `T`.
    fn typed<T: Event>(
        &self,
        snapshot: &Snapshot,
        readability: &mut Readability,
    ) -> Result<TypedRun<'s, T>, ReadError> {
        let root_len = readability.root_len::<T>(snapshot, &self.run)?;
        Ok(TypedRun::new(snapshot.validated(), &self.block, self.index, &self.run, root_len))
    }

    /// Says what is wrong with the event at `seq`, which cannot be lent.
    fn damage_at(&mut self, seq: StreamSequence) -> ReadError {
        self.next = seq.0.saturating_sub(self.run.first().0) as usize;
        match self.advance() {
            Ok(_) => self.damaged_event(),
            Err(error) => error,
        }
    }

    /// Says that the bytes of the event before are not what its descriptor promises.
    fn damaged_event(&self) -> ReadError {
        let position = Position { run: self.index.into(), index: self.next.saturating_sub(1) };
        match self.block.global(position) {
            Ok(global) => {
                Damage { place: Place::Event(global), reason: "its bytes are not of its layout" }.into()
            }
            Err(damage) => damage.into(),
        }
    }
}

impl<'s> RawIter<'s> {
    /// The events from `from` on of the stream of a number.
    fn new(snapshot: &'s Snapshot, stream: Option<u32>, from: StreamSequence) -> Self {
        Self { snapshot, stream, next: from, ahead: None, run: None }
    }

    /// The next event, of the next run if this one has ended.
    fn advance(&mut self) -> Result<Option<(StreamSequence, &'s [u8])>, ReadError> {
        loop {
            if let Some(cursor) = &mut self.run
                && let Some(event) = cursor.advance()?
            {
                return Ok(Some(event));
            }
            if self.next_cursor()?.is_none() {
                self.end();
                return Ok(None);
            }
        }
    }

    /// Goes to the next run. Where it is absent, the iteration begins anew behind it; an error that leads nowhere ends it.
    fn next_cursor(&mut self) -> Result<Option<&RunCursor<'s>>, ReadError> {
        let Some(stream) = self.stream else { return Ok(None) };
        let located = match self.next_run(stream, self.next) {
            Ok(Some(located)) => located,
            Ok(None) => {
                self.end();
                return Ok(None);
            }
            Err(error) => {
                let at = self.next;
                let error = error.passed_in_stream(&mut self.next);
                (self.ahead, self.run) = (None, None);
                self.stream = self.stream.filter(|_| self.next > at);
                return Err(error);
            }
        };
        if self.run.is_none() {
            self.ahead = Some(RunsAhead::behind(self.snapshot, stream, located.run.first())?);
        }
        let run_end = located.run.first().0.saturating_add(located.run.count().into());
        let cursor = &*self.run.insert(RunCursor::at(located, self.next));
        self.next = StreamSequence(run_end);
        Ok(Some(cursor))
    }

    /// The run that holds the event at `seq`: of LMDB's index while that has one, then of the tail.
    fn next_run(&mut self, stream: u32, seq: StreamSequence) -> Result<Option<LocatedRun<'s>>, ReadError> {
        let Some(ahead) = &mut self.ahead else { return self.snapshot.run_at(stream, seq) };
        let Some(FoundRun { index, block }) = ahead.next()? else {
            return self.snapshot.run_at(stream, seq);
        };
        self.snapshot.check_joins(&index, seq)?;
        self.snapshot.run_in(&index, block, seq)
    }

    /// Ends the iteration.
    fn end(&mut self) {
        (self.stream, self.ahead, self.run) = (None, None, None);
    }
}

impl<'s> Iterator for RawIter<'s> {
    type Item = Result<(StreamSequence, &'s [u8]), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            self.end();
        }
        event.transpose()
    }
}

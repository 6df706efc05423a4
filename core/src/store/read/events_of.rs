//! Every event of a type, in whichever stream, in global order.

use std::fmt;
use std::mem;

use crate::store::error::{Absence, Damage, Place, ReadError};
use crate::store::log::block::{Block, Pairs, Run};
use crate::store::log::catalog::StreamRow;
use crate::store::read::readability::Readability;
use crate::store::read::snapshot::Snapshot;
use crate::store::read::typed_run::{TypedEvents, TypedRun};
use crate::{Event, GlobalSequence, StreamId, StreamSequence};

/// An event of a type, in whichever stream, borrowed from the map.
pub struct TypedEvent<'s, T: Event> {
    /// Its place in the log.
    pub global_seq: GlobalSequence,
    /// The name of its stream.
    pub stream_name: &'s str,
    /// Which stream of the name.
    pub stream_id: StreamId,
    /// Its place in the stream.
    pub stream_seq: StreamSequence,
    /// The event.
    pub archived: &'s T::Archived,
    /// The event's bytes.
    pub bytes: &'s [u8],
}

/// Iterates over the events that can be read as a `T`, in global order, and passes over those of another layout. In the
/// place of events that cannot be had, and might be some of `T`, it gives a [`ReadError::Absent`], and goes on behind them;
/// after any other error it ends.
pub struct EventsOf<'s, T: Event> {
    snapshot: &'s Snapshot,
    readability: Readability,
    /// The block where the iterator is; `None` before the first.
    block: Option<BlockOf<'s, T>>,
    /// The events to come of the stretch where the iterator is.
    events: TypedEvents<'s, T>,
    /// The place of the event to come.
    next: GlobalSequence,
    /// What is to be added to a place in the log, modulo 2⁶⁴, for the place in the stream.
    stream_offset: u64,
    stream: StreamRow<'s>,
}

/// A block, and how far it was read.
struct BlockOf<'s, T: Event> {
    block: Block<'s>,
    order: Pairs<'s>,
    runs: Vec<RunOf<'s, T>>,
    /// The place after those events whose turn has come.
    next: u64,
    /// The place after the last event that the snapshot shows.
    end: u64,
}

/// A run, and how far it was read.
struct RunOf<'s, T: Event> {
    run: Run<'s>,
    events: EventsOfRun<'s, T>,
    next: u32,
}

/// What a run is to somebody who reads events of `T`.
enum EventsOfRun<'s, T: Event> {
    /// Its events, and their stream.
    Typed(TypedRun<'s, T>, StreamRow<'s>),
    /// It has another layout.
    Others,
    /// It cannot be opened.
    Absent(Box<Absence>),
}

impl Snapshot {
    /// The events from `from` on that can be read as a `T`, whatever stream they are of.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// varve.stream::<u16, 2>("readings")?.append_batch(StreamId(7), &[650, 651])?;
    /// varve.stream::<u8, 1>("modes")?.append(StreamId(7), &1)?;
    /// varve.stream::<u16, 2>("levels")?.append(StreamId(9), &20)?;
    ///
    /// let snapshot = varve.snapshot()?;
    /// let mut sum = 0;
    /// for event in snapshot.events_of::<u16>(GlobalSequence(0)) {
    ///     sum += event?.archived.to_native();
    /// }
    /// assert_eq!(sum, 650 + 651 + 20);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn events_of<T: Event>(&self, from: GlobalSequence) -> EventsOf<'_, T> {
        EventsOf {
            snapshot: self,
            readability: Readability::default(),
            block: None,
            events: TypedEvents::none(),
            next: from,
            stream_offset: 0,
            stream: StreamRow { name: "", id: StreamId(0) },
        }
    }
}

impl<'s, T: Event> EventsOf<'s, T> {
    /// The next event, where it follows the one before in its run.
    #[inline]
    fn next_of_stretch(&mut self) -> Option<TypedEvent<'s, T>> {
        let event = self.events.next()?;
        Some(self.placed(event))
    }

    /// An event with its places, behind which the next one is to come.
    #[inline]
    fn placed(&mut self, (archived, bytes): (&'s T::Archived, &'s [u8])) -> TypedEvent<'s, T> {
        let StreamRow { name: stream_name, id: stream_id } = self.stream;
        let global_seq = self.next;
        let stream_seq = StreamSequence(global_seq.0.wrapping_add(self.stream_offset));
        self.next = GlobalSequence(global_seq.0 + 1);
        TypedEvent { global_seq, stream_name, stream_id, stream_seq, archived, bytes }
    }

    /// Goes to the next stretch of events of the type, and tells whether there is one. Where there is none, and after an
    /// error that is no absence, the iterator has ended.
    #[cold]
    #[inline(never)]
    fn seek(&mut self) -> Result<bool, ReadError> {
        let found = self.advance();
        if matches!(&found, Ok(false)) || found.as_ref().is_err_and(|error| !error.is_absence()) {
            (self.block, self.events, self.next) = (None, TypedEvents::none(), GlobalSequence(u64::MAX));
        }
        found
    }

    /// Goes to the next stretch of events of the type, and tells whether there is one.
    fn advance(&mut self) -> Result<bool, ReadError> {
        loop {
            if let Some(block) = &self.block
                && self.next.0 < block.next
            {
                let reason = "its bytes are not of its layout";
                return Err(Damage { place: Place::Event(self.next), reason }.into());
            }
            let block = match self.block.take().filter(|block| block.next < block.end) {
                Some(block) => self.block.insert(block),
                None => {
                    let block = self.snapshot.block_at(self.next);
                    let block = block.map_err(|error| error.passed_in_log(&mut self.next))?;
                    let Some(block) = block else { return Ok(false) };
                    let block = BlockOf::new(self.snapshot, block, &mut self.readability)?;
                    self.block.insert(block)
                }
            };
            let (first, index, len) = block.next_stretch()?;
            if block.next <= self.next.0 {
                continue;
            }
            let skipped = self.next.0.saturating_sub(first) as u32;
            let RunOf { run, events, next } = &block.runs[index];
            let place = next - len + skipped;
            let (typed, stream) = match events {
                EventsOfRun::Typed(typed, stream) => (typed, stream),
                EventsOfRun::Others => {
                    self.next = GlobalSequence(block.next);
                    continue;
                }
                EventsOfRun::Absent(absence) => {
                    let first = mem::replace(&mut self.next, GlobalSequence(block.next));
                    let len = (len - skipped).into();
                    return Err(absence.as_ref().clone().of_stretch(first, place.into(), len).into());
                }
            };
            self.events = typed.iter_range(place as usize, (len - skipped) as usize);
            self.stream = *stream;
            self.stream_offset = (run.first().0 + u64::from(place)).wrapping_sub(self.next.0);
            return Ok(true);
        }
    }
}

impl<'s, T: Event> BlockOf<'s, T> {
    fn new(
        snapshot: &'s Snapshot,
        block: Block<'s>,
        readability: &mut Readability,
    ) -> Result<Self, ReadError> {
        let mut runs = Vec::with_capacity(block.runs());
        for index in 0..block.runs() {
            let run = block.run(index)?;
            let events = match Self::typed(snapshot, &block, index, &run, readability) {
                Ok(typed) => EventsOfRun::Typed(typed, snapshot.stream_row(run.stream())?),
                Err(ReadError::LayoutMismatch(_)) => EventsOfRun::Others,
                Err(ReadError::Absent(absence)) => EventsOfRun::Absent(absence),
                Err(error) => return Err(error),
            };
            runs.push(RunOf { run, events, next: 0 });
        }
        let end = block.end()?.min(snapshot.end()).0;
        Ok(Self { next: block.first().0, end, order: block.order(), runs, block })
    }

    fn typed(
        snapshot: &'s Snapshot,
        block: &Block<'s>,
        index: usize,
        run: &Run<'s>,
        readability: &mut Readability,
    ) -> Result<TypedRun<'s, T>, ReadError> {
        let root_len = readability.root_len::<T>(snapshot, run)?;
        let run = snapshot.open_run(block, index)?;
        let mut run = TypedRun::new(snapshot.validated(), block, index as u16, &run, root_len);
        run.validate(snapshot.validated());
        Ok(run)
    }

    /// The place of the first event of the next stretch, its run, and how many events it has.
    fn next_stretch(&mut self) -> Result<(u64, usize, u32), Damage> {
        let (run, len) = self.block.next_pair(&mut self.order)?;
        let first = self.next;
        let len = u32::try_from(self.end - first).map_or(len, |shown| shown.min(len));
        let overdrawn = || self.block.damage("its order column overdraws a run");
        let taken = self.runs[run].next.checked_add(len).ok_or_else(overdrawn)?;
        self.runs[run].next = taken;
        self.next = first.saturating_add(len.into());
        Ok((first, run, len))
    }
}

impl<'s, T: Event> Iterator for EventsOf<'s, T>
where
    T::Archived: 's,
{
    type Item = Result<TypedEvent<'s, T>, ReadError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.next_of_stretch() {
                return Some(Ok(event));
            }
            match self.seek() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// As `next` over and over, but that it knows the stretch of the events to come.
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

impl<T: Event> fmt::Debug for TypedEvent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedEvent")
            .field("global_seq", &self.global_seq)
            .field("stream_name", &self.stream_name)
            .field("stream_id", &self.stream_id)
            .field("stream_seq", &self.stream_seq)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl<T: Event> fmt::Debug for EventsOf<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventsOf").field("next", &self.next).finish_non_exhaustive()
    }
}

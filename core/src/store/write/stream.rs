//! A typed handle that appends local events.

use std::sync::Arc;

use crate::store::error::{AppendError, NameError};
use crate::store::read::stream_reader::StreamReader;
use crate::store::write::event_type::EventType;
use crate::store::write::expected_version::ExpectedVersion;
use crate::store::write::transaction::Transaction;
use crate::store::write::writer::Writer;
use crate::{Event, GlobalSequence, StreamId, StreamSequence, is_system_stream};

/// The streams of a name, for local events of one type that take at most `N` bytes when archived.
///
/// Any number of handles may exist, and clones are cheap: all append through the store's one writer, each commit on its
/// own. Threads that append at the same time share a flush of the disk, so that eight of them store several times as
/// many events a second as one does:
///
/// ```
/// use varve_core::{StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// let readings = varve.stream::<u16, 2>("readings")?;
/// std::thread::scope(|scope| {
///     for id in 0..8 {
///         let mut readings = readings.clone();
///         scope.spawn(move || readings.append(StreamId(id), &650).expect("there is room"));
///     }
/// });
/// assert_eq!(varve.next_global_seq()?.0, 8);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stream<T: Event, const N: usize> {
    writer: Arc<Writer>,
    reader: StreamReader<T>,
}

/// Where the events of an append stand: side by side, in the stream and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    first: (StreamSequence, GlobalSequence),
    len: usize,
}

impl<T: Event, const N: usize> Stream<T, N> {
    pub(in crate::store) fn new(writer: Arc<Writer>, reader: StreamReader<T>) -> Self {
        Self { writer, reader }
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.reader.name()
    }

    /// The name, as it is shared by all that came of one handle.
    pub(in crate::store) fn shared_name(&self) -> &Arc<str> {
        self.reader.shared_name()
    }

    /// Whether it is of the store that a writer writes.
    pub(in crate::store) fn is_of(&self, writer: &Arc<Writer>) -> bool {
        Arc::ptr_eq(&self.writer, writer)
    }

    /// Appends an event to the stream `id` and returns its places in the stream and in the log. When it returns,
    /// the event is on the disk.
    ///
    /// # Errors
    ///
    /// [`AppendError::EventTooLarge`] past `N` bytes or [`EVENT_LEN_MAX`](crate::EVENT_LEN_MAX); [`AppendError::LayoutMismatch`] where
    /// another handle has meanwhile given the name another layout; [`AppendError::SystemStream`]; where there is no room or the disk fails, as
    /// [`Append::commit`](crate::Append::commit).
    pub fn append(
        &mut self,
        id: StreamId,
        event: &T,
    ) -> Result<(StreamSequence, GlobalSequence), AppendError> {
        self.append_expecting(id, ExpectedVersion::Any, event)
    }

    /// As [`Stream::append`], where the stream `id` has the version `expected`; or else it stores nothing.
    ///
    /// # Errors
    ///
    /// [`AppendError::ConcurrencyConflict`] with the version that the stream has; and as [`Stream::append`].
    pub fn append_expecting(
        &mut self,
        id: StreamId,
        expected: ExpectedVersion,
        event: &T,
    ) -> Result<(StreamSequence, GlobalSequence), AppendError> {
        let appended = self.append_batch_expecting(id, expected, std::slice::from_ref(event))?;
        Ok(appended.first)
    }

    /// Appends events to the stream `id` in one transaction: all of them, or none. Until it ends they take about
    /// as much memory as they take on the disk.
    ///
    /// ```
    /// # use varve_core::{StreamId, Varve};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut varve = Varve::new(dir.path())?;
    /// let mut readings = varve.stream::<u16, 2>("readings")?;
    /// let appended = readings.append_batch(StreamId(7), &[650, 651, 652])?;
    /// let places: Vec<_> = appended.iter().map(|(stream_seq, global_seq)| (stream_seq.0, global_seq.0)).collect();
    /// assert_eq!(places, [(0, 0), (1, 1), (2, 2)]);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Stream::append`].
    pub fn append_batch(&mut self, id: StreamId, events: &[T]) -> Result<Appended, AppendError> {
        self.append_batch_expecting(id, ExpectedVersion::Any, events)
    }

    /// As [`Stream::append_batch`], where the stream `id` has the version `expected` before the first of them; or
    /// else it stores nothing.
    ///
    /// # Errors
    ///
    /// As [`Stream::append_expecting`].
    pub fn append_batch_expecting(
        &mut self,
        id: StreamId,
        expected: ExpectedVersion,
        events: &[T],
    ) -> Result<Appended, AppendError> {
        refuse_system_stream(self.name())?;
        let event_type = EventType::of::<T>();
        let len_min = events.len() * event_type.root_len;
        let (first, _) = self.writer.commit(len_min, |transaction| {
            transaction.expect(self.name(), id, expected)?;
            self.push_all(transaction, id, events, &event_type)
        })?;
        Ok(Appended { first, len: events.len() })
    }

    /// A reader of the same streams.
    pub fn reader(&self) -> StreamReader<T> {
        self.reader.clone()
    }

    /// Waits for commits to the store.
    #[cfg(feature = "notify")]
    pub fn watcher(&self) -> crate::store::follow::watcher::WriteWatcher {
        self.reader.watcher()
    }

    fn push_all(
        &self,
        transaction: &mut Transaction<'_>,
        id: StreamId,
        events: &[T],
        event_type: &EventType,
    ) -> Result<(StreamSequence, GlobalSequence), AppendError> {
        if events.is_empty() {
            return Ok((StreamSequence(0), transaction.next()));
        }
        let target = transaction.local_target(self.name(), id, event_type)?;
        let first = (transaction.stream_next(&target), transaction.next());
        transaction.push_local(&target, N, events, crate::archive_into::<T>)?;
        Ok(first)
    }
}

impl<T: Event, const N: usize> Clone for Stream<T, N> {
    fn clone(&self) -> Self {
        Self::new(self.writer.clone(), self.reader.clone())
    }
}

impl Appended {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The places of the event at `index`.
    pub fn get(&self, index: usize) -> Option<(StreamSequence, GlobalSequence)> {
        let (StreamSequence(stream), GlobalSequence(global)) = self.first;
        let offset = index as u64;
        (index < self.len).then_some((StreamSequence(stream + offset), GlobalSequence(global + offset)))
    }

    /// The places of every event, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (StreamSequence, GlobalSequence)> {
        let appended = *self;
        (0..self.len).map(move |index| appended.get(index).expect("it is within the length"))
    }
}

/// Refuses a name that is empty or too long.
pub(in crate::store) fn check_name(name: &str) -> Result<(), NameError> {
    let len = name.len();
    if (1..=STREAM_NAME_LEN_MAX).contains(&len) { Ok(()) } else { Err(NameError { len }) }
}

/// Refuses a name that the store keeps for itself: what it writes there is of one layout, and is believed.
pub(in crate::store) fn refuse_system_stream(name: &str) -> Result<(), AppendError> {
    if is_system_stream(name) { Err(AppendError::SystemStream { name: name.into() }) } else { Ok(()) }
}

/// The longest name of a stream in bytes.
pub const STREAM_NAME_LEN_MAX: usize = 255;

//! An append in the making: what is to land in the store together, or not at all.

use std::sync::Arc;

use crate::descriptor::Schema;
use crate::store::error::AppendError;
use crate::store::follow::consumer::check_consumer_name;
use crate::store::log::block::EVENT_LEN_MAX;
use crate::store::log::clock::ClockMapping;
use crate::store::log::device::{DeviceBatch, DeviceGap, LaneMark, Refused};
use crate::store::write::draft::{Draft, Mark, Operation};
use crate::store::write::expected_version::ExpectedVersion;
use crate::store::write::stream::{Stream, check_name, refuse_system_stream};
use crate::store::write::writer::Writer;
use crate::{DescriptorHash, DeviceId, DeviceSequence, Epoch, Event, GlobalSequence, Lane, StreamId};

/// Collects what is to be stored together: events of several streams and devices, with the devices' cursors,
/// their new descriptors and clocks, and the cursors of consumers. [`Append::commit`] stores it in one transaction.
///
/// It is bounded by [`APPEND_BYTES_MAX`] and [`APPEND_OPERATIONS_MAX`], and keeps its memory for the next round.
///
/// ```
/// use varve_core::{StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// let orders = varve.stream::<u32, 4>("orders")?;
/// let stock = varve.stream::<i32, 4>("stock")?;
/// let mut append = varve.begin();
/// append.event(&orders, StreamId(42), &3)?;
/// append.event(&stock, StreamId(7), &-3)?;
/// let committed = append.commit()?;
/// assert_eq!((committed.first.0, committed.events), (0, 2));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Append {
    writer: Arc<Writer>,
    draft: Draft,
}

/// What a commit stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The global sequence of the first event, or of the next one where none was stored.
    pub first: GlobalSequence,
    /// How many events were stored, those of system streams included: they take the sequences from `first` on.
    pub events: u64,
    /// How many events came again, and were not stored again.
    pub duplicates: u64,
    /// What was not stored, since it does not follow what is.
    pub refused: Vec<Refused>,
    /// Where each lane that was named stands now: all before is as durable as the store makes it.
    pub lanes: Vec<LaneMark>,
}

impl Append {
    pub(in crate::store) fn new(writer: Arc<Writer>) -> Self {
        Self { draft: writer.take_draft(), writer }
    }

    /// Adds a local event.
    ///
    /// # Errors
    ///
    /// [`AppendError::EventTooLarge`] past the stream's `N`; [`AppendError::OtherStore`]; [`AppendError::SystemStream`];
    /// [`AppendError::Full`].
    pub fn event<T: Event, const N: usize>(
        &mut self,
        stream: &Stream<T, N>,
        id: StreamId,
        event: &T,
    ) -> Result<(), AppendError> {
        self.refuse_other_store(stream)?;
        refuse_system_stream(stream.name())?;
        self.draft.event(stream.shared_name(), id, event, N.min(EVENT_LEN_MAX))
    }

    /// Adds an event of a system stream, of at most `len_max` bytes when archived.
    pub(in crate::store) fn system_event<T: Event>(
        &mut self,
        id: StreamId,
        event: &T,
        len_max: usize,
    ) -> Result<(), AppendError> {
        self.draft.event(&T::STREAM.into(), id, event, len_max)
    }

    /// Expects a version of the stream `id` before what is added next: events that this append added to it so far
    /// count, those that it adds later do not. Where the stream has another version, the commit fails with
    /// [`AppendError::ConcurrencyConflict`] and stores nothing, of whichever stream. Any number of streams can be
    /// expected, also such as get no event.
    ///
    /// ```
    /// # use varve_core::{ExpectedVersion, StreamId, Varve};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut varve = Varve::new(dir.path())?;
    /// let accounts = varve.stream::<i32, 4>("accounts")?;
    /// let (from, to) = (StreamId(1), StreamId(2));
    /// let mut transfer = varve.begin();
    /// transfer.expect(&accounts, from, ExpectedVersion::NoStream)?;
    /// transfer.expect(&accounts, to, ExpectedVersion::NoStream)?;
    /// transfer.event(&accounts, from, &-500)?;
    /// transfer.event(&accounts, to, &500)?;
    /// transfer.commit()?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppendError::OtherStore`], [`AppendError::Full`].
    pub fn expect<T: Event, const N: usize>(
        &mut self,
        stream: &Stream<T, N>,
        id: StreamId,
        expected: ExpectedVersion,
    ) -> Result<(), AppendError> {
        self.refuse_other_store(stream)?;
        self.draft.check_room(stream.name().len())?;
        let name = self.draft.keep_name(stream.name());
        self.draft.add(Operation::Expect { name, id, expected });
        Ok(())
    }

    /// Adds a device's batch. Its epoch must be open, by an earlier commit or by this append.
    ///
    /// Whether it follows what is stored is decided inside the commit: a batch that is stored already counts as
    /// duplicates, one that would leave a hole is refused, and neither keeps the rest from being stored.
    ///
    /// ```
    /// use varve_core::*;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// // On the device:
    /// let mut region = [0; 64];
    /// let mut writer = BatchWriter::new(Lane(0), TimeColumn::None);
    /// writer.try_push(&mut region, Channel(0), 0, |room| archive_into(&650u16, room).ok())?;
    /// let sealed = writer.seal(&mut region);
    ///
    /// // On the host, twice, since the acknowledgement got lost:
    /// let varve = Varve::new(dir.path())?;
    /// let (device, epoch) = (DeviceId(7), Epoch(1));
    /// let id = StreamId::of_device(device, 0);
    /// let channels = [StreamBinding { name: "readings", id, descriptor: u16::DESCRIPTOR_HASH }];
    /// let ingest_us = HostClock.now_us();
    /// let batch = Batch::new_checked(&region[sealed])?;
    /// let batch =
    ///     DeviceBatch { device, epoch, first: DeviceSequence(0), chain: 1, ingest_us, channels: &channels, batch };
    /// let mut append = varve.begin();
    /// append.open_epoch(device, epoch)?;
    /// append.descriptor(u16::DESCRIPTOR)?;
    /// append.device_batch(batch.clone())?;
    /// assert_eq!(append.commit()?.events, 1);
    /// append.device_batch(batch)?;
    /// let committed = append.commit()?;
    /// assert_eq!((committed.events, committed.duplicates), (0, 1));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppendError::UnboundChannel`], [`AppendError::StreamName`], [`AppendError::SystemStream`],
    /// [`AppendError::Full`].
    pub fn device_batch(&mut self, batch: DeviceBatch<'_>) -> Result<(), AppendError> {
        let names_len = batch.channels.iter().map(|binding| binding.name.len()).sum::<usize>();
        self.draft.check_room(batch.batch.bytes().len() + names_len)?;
        if let Some(event) =
            batch.batch.events().find(|event| usize::from(event.channel.0) >= batch.channels.len())
        {
            return Err(AppendError::UnboundChannel { channel: event.channel });
        }
        for binding in batch.channels {
            check_name(binding.name)?;
            refuse_system_stream(binding.name)?;
        }
        let bindings = self.draft.bind(batch.channels);
        let bytes = self.draft.keep(batch.batch.bytes());
        self.draft.add(Operation::DeviceBatch {
            place: Place {
                device: batch.device,
                epoch: batch.epoch,
                lane: batch.batch.lane(),
                first: batch.first,
            },
            chain: batch.chain,
            ingest_us: batch.ingest_us,
            bindings,
            batch: bytes,
        });
        Ok(())
    }

    /// Records that events of a device are lost: moves the lane's cursor past them and stores a
    /// [`GapEvent`](crate::GapEvent), or refuses it like a batch.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`].
    pub fn device_gap(&mut self, gap: DeviceGap) -> Result<(), AppendError> {
        self.draft.try_add(Operation::DeviceGap(gap))
    }

    /// Opens an epoch of a device, which becomes its latest. Epochs only rise: an earlier one is left as it is.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`].
    pub fn open_epoch(&mut self, device: DeviceId, epoch: Epoch) -> Result<(), AppendError> {
        self.draft.try_add(Operation::OpenEpoch { device, epoch })
    }

    /// Ends an epoch whose device has lost it. For each lane that is known or named in `heard`, with the place
    /// after the last event heard of, what is missing becomes a gap with
    /// [`end_unknown`](crate::GapEvent::end_unknown); where nothing is missing, a gap of no events says so.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`].
    pub fn close_epoch(
        &mut self,
        device: DeviceId,
        epoch: Epoch,
        heard: &[(Lane, DeviceSequence)],
        ingest_us: u64,
    ) -> Result<(), AppendError> {
        heard.iter().try_for_each(|&(lane, next)| self.heard(device, epoch, lane, next))?;
        self.draft.try_add(Operation::CloseEpoch { device, epoch, ingest_us })
    }

    /// Notes that a device told of events before `next` in a lane.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`].
    pub fn heard(
        &mut self,
        device: DeviceId,
        epoch: Epoch,
        lane: Lane,
        next: DeviceSequence,
    ) -> Result<(), AppendError> {
        self.draft.try_add(Operation::Heard(Place { device, epoch, lane, first: next }))
    }

    /// Adds a descriptor and returns its hash, which is computed here. One that is known, or was announced as
    /// external, is completed.
    ///
    /// # Errors
    ///
    /// [`AppendError::Descriptor`] where the bytes are none; [`AppendError::Full`].
    pub fn descriptor(&mut self, bytes: &[u8]) -> Result<DescriptorHash, AppendError> {
        let schema = Schema::parse(bytes).map_err(AppendError::Descriptor)?;
        self.draft.check_room(bytes.len())?;
        let bytes = self.draft.keep(bytes);
        let (hash, layout) = (schema.descriptor_hash(), schema.layout_hash());
        self.draft.add(Operation::Descriptor { hash, layout, bytes });
        Ok(schema.descriptor_hash())
    }

    /// Announces a descriptor that the store does not get from the device: its events are stored all the same,
    /// and can be read once [`Append::descriptor`] brings it.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`].
    pub fn external(&mut self, hash: DescriptorHash) -> Result<(), AppendError> {
        self.draft.try_add(Operation::External(hash))
    }

    /// Records how the ticks of a device's lane map to the host's time, from an event on; from the next one, where that
    /// event is stored already: what is stored keeps its time.
    ///
    /// # Errors
    ///
    /// [`AppendError::Full`].
    pub fn clock(&mut self, mapping: ClockMapping) -> Result<(), AppendError> {
        self.draft.try_add(Operation::Clock(mapping))
    }

    /// Moves the cursor of a consumer to `next`, the first event that it has yet to see, forward or back.
    ///
    /// What a consumer appends with its cursor is stored exactly once. Where its work is of another kind, committing
    /// the cursor after the work does it at least once.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// let mut varve = Varve::new(path)?;
    /// let alarms = varve.stream::<u64, 8>("alarms")?;
    /// varve.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
    /// assert_eq!(varve.consumer("watchman")?, None);
    ///
    /// let mut append = varve.begin();
    /// append.event(&alarms, StreamId(7), &0)?;
    /// append.consumer("watchman", GlobalSequence(1))?;
    /// append.commit()?;
    /// assert_eq!(varve.consumer("watchman")?, Some(GlobalSequence(1)));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppendError::ConsumerName`], [`AppendError::Full`]; from the commit [`AppendError::ConsumerAhead`].
    pub fn consumer(&mut self, name: &str, next: GlobalSequence) -> Result<(), AppendError> {
        check_consumer_name(name)?;
        self.draft.check_room(name.len())?;
        let name = self.draft.keep_name(name);
        self.draft.add(Operation::Consumer { name, next });
        Ok(())
    }

    /// Moves the cursor of a consumer, whose name was checked, from where it is expected to stand, if it has one. A full
    /// append takes it too: it is full of what the consumer did.
    pub(in crate::store) fn move_consumer(
        &mut self,
        name: &str,
        expected: Option<GlobalSequence>,
        next: GlobalSequence,
    ) {
        let name = self.draft.keep_name(name);
        self.draft.add(Operation::ExpectConsumer { name: name.clone(), next: expected });
        self.draft.add(Operation::Consumer { name, next });
    }

    /// What is added so far, to [go back](Append::rewind) to. It holds until the append is cleared.
    pub(in crate::store) fn mark(&self) -> Mark {
        self.draft.mark()
    }

    /// Forgets what was added since the mark.
    pub(in crate::store) fn rewind(&mut self, mark: Mark) {
        self.draft.rewind(mark);
    }

    /// Whether so much is added that it is time to commit.
    pub(in crate::store) fn is_half_full(&self) -> bool {
        self.draft.len() >= APPEND_OPERATIONS_MAX / 2 || self.bytes_len() >= APPEND_BYTES_MAX / 2
    }

    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.draft.len() == 0
    }

    /// How many bytes are to be stored, about: what [`APPEND_BYTES_MAX`] bounds.
    pub fn bytes_len(&self) -> usize {
        self.draft.bytes_len()
    }

    /// Stores everything in one transaction, in the order in which it was added, and returns once it is on the
    /// disk (unless the store is [`Relaxed`](crate::Durability::Relaxed)). The append is then empty again.
    ///
    /// # Errors
    ///
    /// Where it fails the append still holds what it held. Nothing is stored: [`AppendError::ConcurrencyConflict`] where a
    /// stream is not as [expected](Append::expect); [`AppendError::LayoutMismatch`] where its name holds another layout;
    /// [`AppendError::DiskFull`], [`AppendError::QuotaExceeded`] and [`AppendError::MapFull`] while there is no room;
    /// [`AppendError::ConsumerAhead`]; [`AppendError::Exhausted`]; [`AppendError::Corrupt`]. Where the disk failed,
    /// [`AppendError::Storage`] and [`AppendError::Poisoned`], it may be stored: open the store again and look.
    pub fn commit(&mut self) -> Result<Committed, AppendError> {
        let ((), committed) = self.writer.commit(0, |transaction| self.draft.apply(transaction))?;
        self.clear();
        Ok(committed)
    }

    /// As [`Append::commit`], without waiting for the disk: what is stored is durable, and readers see it, once a later
    /// commit returns, of whichever handle, or [`Varve::flush`](crate::Varve::flush) does, or the last handle is dropped. A
    /// power cut before that takes it back, and a crash of the process does not.
    ///
    /// ```
    /// # use varve_core::{GlobalSequence, StreamId, Varve};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut varve = Varve::new(dir.path())?;
    /// let readings = varve.stream::<u16, 2>("readings")?;
    /// let mut append = varve.begin();
    /// append.event(&readings, StreamId(7), &650)?;
    /// append.commit_relaxed()?;
    /// assert_eq!(varve.next_global_seq()?, GlobalSequence(0));
    /// varve.flush()?;
    /// assert_eq!(varve.next_global_seq()?, GlobalSequence(1));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Append::commit`]; an append of more than the tail takes is durable at once.
    pub fn commit_relaxed(&mut self) -> Result<Committed, AppendError> {
        let ((), committed) = self.writer.commit_relaxed(|transaction| self.draft.apply(transaction))?;
        self.clear();
        Ok(committed)
    }

    /// Forgets everything that was added.
    pub fn clear(&mut self) {
        self.draft.clear();
    }

    fn refuse_other_store<T: Event, const N: usize>(&self, stream: &Stream<T, N>) -> Result<(), AppendError> {
        if stream.is_of(&self.writer) {
            return Ok(());
        }
        Err(AppendError::OtherStore { stream: stream.name().into() })
    }
}

impl Drop for Append {
    fn drop(&mut self) {
        self.writer.give_draft(std::mem::take(&mut self.draft));
    }
}

/// A place among all that a device emits.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Place {
    pub(in crate::store) device: DeviceId,
    pub(in crate::store) epoch: Epoch,
    pub(in crate::store) lane: Lane,
    pub(in crate::store) first: DeviceSequence,
}

/// The most bytes that an append holds: batches, events, names and descriptors together.
pub const APPEND_BYTES_MAX: usize = 16 << 20;

/// The most operations that an append holds.
pub const APPEND_OPERATIONS_MAX: usize = 1 << 16;

const _: () = assert!(EVENT_LEN_MAX <= APPEND_BYTES_MAX);

#[cfg(test)]
mod tests {
    use crate::{AppendError, ExpectedVersion, StreamId, Varve};

    #[test]
    fn an_append_holds_nothing_of_the_one_whose_memory_it_takes() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let numbers = varve.stream::<u16, 2>("numbers").unwrap();
        for round in 0..4 {
            let mut dropped = varve.begin();
            (0..9).for_each(|id| dropped.event(&numbers, StreamId(id), &1).unwrap());
            dropped.consumer("watchman", crate::GlobalSequence(0)).unwrap();
            drop(dropped);
            let mut append = varve.begin();
            assert!(append.is_empty() && append.bytes_len() == 0);
            assert!(append.draft.capacity() > 0, "round {round}: the memory is used again");
            append.event(&numbers, StreamId(round), &2).unwrap();
            assert_eq!(append.commit().unwrap().events, 1);
        }
        assert_eq!(numbers.reader().iter_stream(StreamId(3), None).unwrap().iter().count(), 1);
        assert_eq!(varve.next_global_seq().unwrap().0, 4);
    }

    #[test]
    fn a_stream_of_another_store_is_refused() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (varve, mut other) = (Varve::new(dir.path()).unwrap(), Varve::new(other.path()).unwrap());
        let numbers = other.stream::<u16, 2>("numbers").unwrap();
        let mut append = varve.begin();
        let event = append.event(&numbers, StreamId(0), &1);
        let expected = append.expect(&numbers, StreamId(0), ExpectedVersion::NoStream);
        for refused in [event, expected] {
            let error = refused.unwrap_err();
            assert!(matches!(&error, AppendError::OtherStore { stream } if stream == "numbers"), "{error}");
        }
        assert!(append.is_empty());
        other.begin().event(&numbers.clone(), StreamId(0), &1).unwrap();
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn where_no_key_is_left_the_rest_of_an_append_is_stored_and_losses_are_told() {
        use crate::*;

        let dir = tempfile::tempdir().unwrap();
        let encryption = Some(Encryption::new(MasterKey::from_bytes([7; 32])));
        let config = Config { encryption, ..Config::default() };
        let mut varve = Varve::with_config(dir.path(), config).unwrap();
        let mut numbers = varve.stream::<u16, 2>("numbers").unwrap();
        numbers.append(StreamId(0), &1).unwrap();
        let mut append = varve.begin();
        append.writer.sealing().fill();

        let mut region = [0; 64];
        let mut batch = BatchWriter::new(Lane(0), TimeColumn::None);
        batch.try_push(&mut region, Channel(0), 0, |room| archive_into(&2u16, room).ok()).unwrap();
        let sealed = batch.seal(&mut region);
        let batch = Batch::new_checked(&region[sealed]).unwrap();
        let (device, epoch, first, ingest_us) = (DeviceId(7), Epoch(1), DeviceSequence(0), 0);
        append.open_epoch(device, epoch).unwrap();
        append.descriptor(u16::DESCRIPTOR).unwrap();
        for (name, id) in [("numbers", StreamId(1)), ("others", StreamId(0))] {
            let channels = [StreamBinding { name, id, descriptor: u16::DESCRIPTOR_HASH }];
            let batch = DeviceBatch { device, epoch, first, chain: 1, ingest_us, channels: &channels, batch };
            append.device_batch(batch).unwrap();
        }
        append.close_epoch(device, epoch, &[], 0).unwrap();
        append.event(&numbers, StreamId(0), &3).unwrap();
        let committed = append.commit().unwrap();
        let reasons: Vec<_> = committed.refused.iter().map(|refused| refused.reason).collect();
        assert_eq!((committed.events, reasons), (2, vec![RefusedReason::KeysFull; 2]));
        let gaps = varve.stream_reader::<GapEvent>(GapEvent::STREAM).unwrap();
        assert_eq!(gaps.iter_stream(GapEvent::stream_id(device, Lane(0)), None).unwrap().iter().count(), 1);

        append.event(&numbers, StreamId(1), &4).unwrap();
        let error = append.commit().unwrap_err();
        assert!(matches!(error, AppendError::Keys(KeysError::Full)), "{error}");
    }

    #[test]
    fn much_memory_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let blobs = varve.stream::<Vec<u8>, 60_000>("blobs").unwrap();
        let mut append = varve.begin();
        (0..40).for_each(|_| append.event(&blobs, StreamId(0), &vec![1; 50_000]).unwrap());
        drop(append);
        assert_eq!(varve.begin().draft.capacity(), 0);
    }
}

//! What an append collects until it is committed.

use std::ops::Range;
use std::sync::Arc;

use crate::store::error::AppendError;
use crate::store::log::block::{LocalEvent, LocalRun};
use crate::store::log::clock::ClockMapping;
use crate::store::log::device::{DeviceGap, StreamBinding};
use crate::store::write::append::{APPEND_BYTES_MAX, APPEND_OPERATIONS_MAX, Place};
use crate::store::write::event_type::EventType;
use crate::store::write::expected_version::ExpectedVersion;
use crate::store::write::local_streams::{LocalStream, LocalStreams};
use crate::store::write::transaction::Transaction;
use crate::{Batch, Channel, DescriptorHash, DeviceId, Epoch, Event, GlobalSequence, LayoutHash, StreamId};

/// Operations in the order in which they came. One that was cleared keeps its memory.
#[derive(Debug, Default)]
pub(in crate::store) struct Draft {
    operations: Vec<Operation>,
    /// How many there are, of which events that follow each other stand in `operations` as one.
    len: usize,
    events: Vec<LocalEvent>,
    /// The bytes that operations name by their range, then zeros.
    bytes: Vec<u8>,
    bytes_len: usize,
    /// The names that they name so.
    names: String,
    /// The name that was kept last: operations on one stream follow each other.
    latest_name: Range<usize>,
    bindings: Vec<OwnedBinding>,
    streams: LocalStreams,
}

/// One thing to do, in the terms of the draft's own buffers.
#[derive(Debug)]
pub(super) enum Operation {
    /// Local events: those of the draft up to `end` that no earlier operation has. Their bytes begin at `at`.
    Events {
        at: usize,
        end: usize,
    },
    Expect {
        name: Range<usize>,
        id: StreamId,
        expected: ExpectedVersion,
    },
    DeviceBatch {
        place: Place,
        chain: u32,
        ingest_us: u64,
        bindings: Range<usize>,
        batch: Range<usize>,
    },
    DeviceGap(DeviceGap),
    OpenEpoch {
        device: DeviceId,
        epoch: Epoch,
    },
    CloseEpoch {
        device: DeviceId,
        epoch: Epoch,
        ingest_us: u64,
    },
    Heard(Place),
    Descriptor {
        hash: DescriptorHash,
        layout: LayoutHash,
        bytes: Range<usize>,
    },
    External(DescriptorHash),
    Clock(ClockMapping),
    ExpectConsumer {
        name: Range<usize>,
        next: Option<GlobalSequence>,
    },
    Consumer {
        name: Range<usize>,
        next: GlobalSequence,
    },
}

/// How much a draft held at a moment.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Mark {
    operations: usize,
    len: usize,
    events: usize,
    bytes: usize,
    names: usize,
    bindings: usize,
    streams: usize,
}

#[derive(Debug)]
struct OwnedBinding {
    name: Range<usize>,
    id: StreamId,
    descriptor: DescriptorHash,
}

impl Draft {
    /// How many operations there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many bytes are to be stored, about.
    pub(super) fn bytes_len(&self) -> usize {
        self.bytes_len + self.names.len() + self.streams.names_len()
    }

    /// Refuses another operation where there are too many, or too many bytes with `len` more.
    #[inline]
    pub(super) fn check_room(&self, len: usize) -> Result<(), AppendError> {
        if self.len() >= APPEND_OPERATIONS_MAX || self.bytes_len() + len > APPEND_BYTES_MAX {
            return Err(AppendError::Full);
        }
        Ok(())
    }

    /// Adds an operation for which there is room.
    pub(super) fn add(&mut self, operation: Operation) {
        self.operations.push(operation);
        self.len += 1;
    }

    /// Adds an operation of a few bytes.
    pub(super) fn try_add(&mut self, operation: Operation) -> Result<(), AppendError> {
        self.check_room(0)?;
        self.add(operation);
        Ok(())
    }

    /// Adds a local event of at most `len_max` bytes, if there is room.
    pub(super) fn event<T: Event>(
        &mut self,
        name: &Arc<str>,
        id: StreamId,
        event: &T,
        len_max: usize,
    ) -> Result<(), AppendError> {
        self.check_room(len_max)?;
        let spare = self.spare(len_max);
        let len = crate::archive_into(event, spare).map_err(|error| {
            spare.fill(0);
            AppendError::of_archive(error, len_max)
        })?;
        let at = self.bytes_len;
        let stream = self.streams.name(name, id, T::DESCRIPTOR_HASH, EventType::of::<T>);
        self.events.push(LocalEvent { stream, len: len as u32 });
        self.bytes_len += len;
        self.len += 1;
        let events = self.events.len();
        match self.operations.last_mut() {
            Some(Operation::Events { end, .. }) => *end = events,
            _ => self.operations.push(Operation::Events { at, end: events }),
        }
        Ok(())
    }

    /// Keeps bytes.
    pub(super) fn keep(&mut self, bytes: &[u8]) -> Range<usize> {
        self.spare(bytes.len()).copy_from_slice(bytes);
        let start = self.bytes_len;
        self.bytes_len += bytes.len();
        start..self.bytes_len
    }

    /// Keeps a name.
    pub(super) fn keep_name(&mut self, name: &str) -> Range<usize> {
        if &self.names[self.latest_name.clone()] != name {
            let start = self.names.len();
            self.names.push_str(name);
            self.latest_name = start..self.names.len();
        }
        self.latest_name.clone()
    }

    /// Keeps what the channels of a batch are bound to.
    pub(super) fn bind(&mut self, channels: &[StreamBinding<'_>]) -> Range<usize> {
        let start = self.bindings.len();
        for binding in channels {
            let name = self.keep_name(binding.name);
            self.bindings.push(OwnedBinding { name, id: binding.id, descriptor: binding.descriptor });
        }
        start..self.bindings.len()
    }

    /// What it holds so far, until it is cleared.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            operations: self.operations.len(),
            len: self.len,
            events: self.events.len(),
            bytes: self.bytes_len,
            names: self.names.len(),
            bindings: self.bindings.len(),
            streams: self.streams.len(),
        }
    }

    /// Forgets what came since the mark.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.operations.truncate(mark.operations);
        self.len = mark.len;
        self.events.truncate(mark.events);
        if let Some(Operation::Events { end, .. }) = self.operations.last_mut() {
            *end = mark.events;
        }
        self.cut_off(mark.bytes);
        self.names.truncate(mark.names);
        self.latest_name = 0..0;
        self.bindings.truncate(mark.bindings);
        self.streams.truncate(mark.streams);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.rewind(Mark { operations: 0, len: 0, events: 0, bytes: 0, names: 0, bindings: 0, streams: 0 });
        self.streams.clear();
    }

    /// How many bytes its buffers take, used or not.
    pub(super) fn capacity(&self) -> usize {
        self.operations.capacity() * size_of::<Operation>()
            + self.events.capacity() * size_of::<LocalEvent>()
            + self.bytes.capacity()
            + self.names.capacity()
            + self.bindings.capacity() * size_of::<OwnedBinding>()
    }

    /// Does everything in a transaction.
    pub(super) fn apply(&mut self, transaction: &mut Transaction<'_>) -> Result<(), AppendError> {
        let mut streams = Vec::with_capacity(self.streams.len());
        let mut next = 0;
        for operation in &self.operations {
            let &Operation::Events { at, end } = operation else {
                self.apply_one(operation, transaction)?;
                continue;
            };
            let events = &self.events[next..end];
            for event in events {
                // Streams are numbered in the order of their first events.
                if event.stream as usize == streams.len() {
                    streams.push(local_run(self.streams.get_mut(event.stream), transaction)?);
                }
            }
            transaction.push_archived(&mut streams, events, &self.bytes[at..])?;
            next = end;
        }
        Ok(())
    }

    fn apply_one(&self, operation: &Operation, transaction: &mut Transaction<'_>) -> Result<(), AppendError> {
        match operation {
            Operation::Events { .. } => unreachable!("events need the destinations"),
            Operation::Expect { name, id, expected } => transaction.expect(self.name(name), *id, *expected),
            Operation::DeviceBatch { place, chain, ingest_us, bindings, batch } => {
                let batch =
                    Batch::new_checked(&self.bytes[batch.clone()]).expect("it was checked when it came");
                let bindings = &self.bindings[bindings.clone()];
                let target = |transaction: &mut Transaction<'_>, channel: Channel| {
                    let binding = &bindings[usize::from(channel.0)];
                    transaction.device_target(self.name(&binding.name), binding.id, binding.descriptor)
                };
                transaction.device_batch(place, *chain, *ingest_us, &batch, target)
            }
            Operation::DeviceGap(gap) => transaction.device_gap(gap),
            Operation::OpenEpoch { device, epoch } => transaction.open_epoch(*device, *epoch),
            Operation::CloseEpoch { device, epoch, ingest_us } => {
                transaction.close_epoch(*device, *epoch, *ingest_us)
            }
            Operation::Heard(place) => transaction.heard(place),
            Operation::Descriptor { hash, layout, bytes } => {
                transaction.descriptor(*hash, Some((*layout, &self.bytes[bytes.clone()]))).map(|_| ())
            }
            Operation::External(hash) => transaction.descriptor(*hash, None).map(|_| ()),
            Operation::Clock(mapping) => transaction.clock(mapping),
            Operation::ExpectConsumer { name, next } => transaction.expect_consumer(self.name(name), *next),
            Operation::Consumer { name, next } => transaction.consumer(self.name(name), *next),
        }
    }

    /// Forgets the bytes from `len` on, and wipes them: those of a stream that is sealed are not to be kept plain.
    fn cut_off(&mut self, len: usize) {
        self.bytes[len..self.bytes_len].fill(0);
        self.bytes_len = len;
    }

    /// Room for `len` bytes behind those there are, zeroed.
    #[inline]
    fn spare(&mut self, len: usize) -> &mut [u8] {
        let end = self.bytes_len + len;
        if self.bytes.len() < end {
            self.bytes.resize(end.next_power_of_two(), 0);
        }
        &mut self.bytes[self.bytes_len..end]
    }

    fn name(&self, range: &Range<usize>) -> &str {
        &self.names[range.clone()]
    }
}

#[inline(always)]
fn local_run(stream: &mut LocalStream, transaction: &mut Transaction<'_>) -> Result<LocalRun, AppendError> {
    let LocalStream { name, id, event_type, route, .. } = stream;
    transaction.local_run(name, *id, event_type, route)
}

//! A log in memory with the store's rules: what a simulation needs where the real store would tell nothing more, and
//! what the broken logs of the tests are made of.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use varve_core::{Batch, DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, Origin};
use varve_device_proto::{Admission, Chain, KnownEpoch, LaneCursor};

use super::account::{Absence, Account, Content, Cursor, Gap};
use super::log::{Binding, Log, Record, RecordPlace, Standing, next_incarnation};

/// A log in memory.
#[derive(Clone, Debug)]
pub struct MemoryLog {
    incarnation: u64,
    contents: Vec<Content>,
    cursors: BTreeMap<(DeviceId, Epoch, Lane), MemoryCursor>,
    descriptors: Vec<DescriptorHash>,
    written: Vec<Record>,
}

/// A row of the cursor table.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MemoryCursor {
    next: DeviceSequence,
    chain: Chain,
    gap_total: u64,
    heard: DeviceSequence,
    closed: bool,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(incarnation: u64) -> Self {
        let (contents, cursors, descriptors, written) = Default::default();
        Self { incarnation, contents, cursors, descriptors, written }
    }

    /// The events and gaps of a record, unless the cursor is past it.
    pub fn append(&mut self, record: &Record) {
        match record {
            Record::Batch { place, channels, bytes } if self.is_next(place) => {
                self.append_batch(place, channels, bytes)
            }
            Record::Gap { place, len, reason } if self.is_next(place) => {
                self.append_gap(place, *len, Absence::of_wire(*reason));
            }
            Record::Terms { device, admission } => self.append_end(*device, admission),
            Record::Descriptor { hash, .. } => self.descriptors.push(*hash),
            _ => {}
        }
    }

    /// Moves the cursors as a record says, unless they are past it.
    pub fn advance(&mut self, record: &Record) {
        match record {
            Record::Terms { device, admission } => self.open(*device, admission),
            Record::Heard { device, epoch, lane, next } => {
                if let Some(cursor) = self.cursors.get_mut(&(*device, *epoch, *lane)) {
                    cursor.heard = cursor.heard.max(*next);
                }
            }
            Record::Batch { place, bytes, .. } if self.is_next(place) => {
                self.advance_by(place, checked(bytes).len() as u64, 0);
            }
            Record::Gap { place, len, .. } if self.is_next(place) => self.advance_by(place, *len, *len),
            _ => {}
        }
    }

    /// Takes over the events and gaps of another log, but not its cursors.
    pub fn adopt_contents(&mut self, other: &Self) {
        self.contents.clone_from(&other.contents);
        self.descriptors.clone_from(&other.descriptors);
    }

    fn open(&mut self, device: DeviceId, admission: &Admission) {
        admission.closes.into_iter().for_each(|epoch| self.close(device, epoch));
        for index in 0..admission.lanes.len() {
            self.cursors.entry((device, admission.epoch, Lane(index as u8))).or_default();
        }
    }

    /// The earlier epoch of a device that has begun another ends unknown: what was heard of and has not come is a gap.
    fn append_end(&mut self, device: DeviceId, admission: &Admission) {
        let Some(epoch) = admission.closes else { return };
        for ((_, _, lane), cursor) in
            self.cursors.range(lanes_of(device, epoch)).filter(|(_, cursor)| !cursor.closed)
        {
            let (first, len, reason) = (cursor.next, cursor.heard.0 - cursor.next.0, Absence::DeviceReset);
            self.contents.push(Content::Gap(Gap { device, epoch, lane: *lane, first, len, reason }));
        }
    }

    fn close(&mut self, device: DeviceId, epoch: Epoch) {
        for (_, cursor) in
            self.cursors.range_mut(lanes_of(device, epoch)).filter(|(_, cursor)| !cursor.closed)
        {
            cursor.gap_total += cursor.heard.0 - cursor.next.0;
            cursor.next = cursor.heard;
            cursor.closed = true;
        }
    }

    fn is_next(&self, place: &RecordPlace) -> bool {
        let cursor = self.cursors.get(&(place.device, place.epoch, place.lane));
        cursor.is_some_and(|cursor| !cursor.closed && cursor.next == place.first)
    }

    fn append_batch(&mut self, place: &RecordPlace, channels: &[Binding], bytes: &[u8]) {
        let RecordPlace { device, epoch, lane, first, .. } = *place;
        for (sequence, event) in (first.0..).map(DeviceSequence).zip(checked(bytes).events()) {
            let Binding { stream, id, descriptor } = &channels[usize::from(event.channel.0)];
            assert!(
                self.descriptors.contains(descriptor),
                "an event's descriptor lands before it or with it"
            );
            let origin = Origin { device, epoch, lane, sequence };
            let (stream, id, bytes) = (stream.clone(), *id, event.bytes.to_vec());
            self.contents.push(Content::Event { stream, id, origin, bytes });
        }
    }

    fn append_gap(&mut self, place: &RecordPlace, len: u64, reason: Absence) {
        let RecordPlace { device, epoch, lane, first, .. } = *place;
        self.contents.push(Content::Gap(Gap { device, epoch, lane, first, len, reason }));
    }

    fn advance_by(&mut self, place: &RecordPlace, count: u64, gap: u64) {
        let cursor = self.cursors.entry((place.device, place.epoch, place.lane)).or_default();
        cursor.next = DeviceSequence(place.first.0 + count);
        cursor.chain = place.chain;
        cursor.gap_total += gap;
        cursor.heard = cursor.heard.max(cursor.next);
    }
}

impl Log for MemoryLog {
    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch> {
        let of_device = (device, Epoch(0), Lane(0))..=(device, Epoch(u32::MAX), Lane(u8::MAX));
        let (&(_, epoch, _), newest) = self.cursors.range(of_device).next_back()?;
        let lanes = self
            .cursors
            .range(lanes_of(device, epoch))
            .map(|(_, cursor)| LaneCursor { next: cursor.next, chain: cursor.chain })
            .collect();
        Some(KnownEpoch { epoch, closed: newest.closed, lanes })
    }

    fn knows(&self, descriptor: DescriptorHash) -> bool {
        self.descriptors.contains(&descriptor)
    }

    fn write(&mut self, _: u64, records: &[Record]) -> Standing {
        self.written.extend_from_slice(records);
        Standing::Volatile
    }

    fn flush(&mut self) {
        for record in std::mem::take(&mut self.written) {
            self.append(&record);
            self.advance(&record);
        }
    }

    fn crash(&mut self) {
        self.written.clear();
    }

    fn fork(&self) -> Self {
        Self { written: Vec::new(), ..self.clone() }
    }

    fn replace(&mut self) {
        *self = Self::new(next_incarnation(self.incarnation));
    }

    fn account(&self) -> Account {
        let cursors = self.cursors.iter().map(|(&(device, epoch, lane), cursor)| Cursor {
            device,
            epoch,
            lane,
            next: cursor.next,
            gap_total: cursor.gap_total,
            heard: cursor.heard,
            closed: cursor.closed,
        });
        Account::of_contents(&self.contents, cursors.collect())
    }
}

/// The rows of an epoch.
fn lanes_of(device: DeviceId, epoch: Epoch) -> RangeInclusive<(DeviceId, Epoch, Lane)> {
    (device, epoch, Lane(0))..=(device, epoch, Lane(u8::MAX))
}

fn checked(bytes: &[u8]) -> Batch<'_> {
    Batch::new_checked(bytes).expect("the link has checked it")
}

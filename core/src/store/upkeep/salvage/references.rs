//! What blocks refer to, and what stands in for the rows that are lost.

use std::collections::{BTreeMap, BTreeSet};

use heed::RoTxn;

use crate::store::error::Damage;
use crate::store::log::block::{Block, Origin};
use crate::store::log::catalog::{DescriptorRow, StreamRow};
use crate::store::log::clock::Domain;
use crate::store::log::device::{LaneRecord, cursor_key, device_row, read_device_row};
use crate::store::log::tables::{Table, Tables, array, key12, long_number, number};
use crate::store::tail::TableNumber;
use crate::{DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, StreamId};

/// Which rows there are, and which ones the log needs.
#[derive(Debug, Default)]
pub(super) struct References {
    known: BTreeSet<Reference>,
    needed: BTreeSet<Reference>,
    /// Which descriptors each stream has events of.
    described: BTreeSet<(u32, u32)>,
    /// The greatest number of a stream name.
    last_name: u32,
    cursors: BTreeMap<(u32, Epoch, Lane), LaneRecord>,
    /// Where the last run of each lane ends.
    passed: BTreeMap<(u32, Epoch, Lane), DeviceSequence>,
    /// The latest epoch that each device has runs of.
    epochs: BTreeMap<u32, Epoch>,
    /// What descriptors and devices are, where their own rows may be lost.
    hashes: BTreeMap<u32, DescriptorHash>,
    device_ids: BTreeMap<u32, DeviceId>,
}

/// A row, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reference {
    Stream(u32),
    Descriptor(u32),
    Device(u32),
    Domain(u32),
}

/// A row that stands in for a lost one: its table, key and value.
pub(super) type MadeUp = (Table, Vec<u8>, Vec<u8>);

impl References {
    /// Notes a row that there is.
    pub(super) fn note(&mut self, table: TableNumber, key: &[u8], value: &[u8]) {
        let number = number(key, 0).unwrap_or(0);
        let known = match table.0 {
            STREAM_INFO if StreamRow::parse(value).is_some() => Reference::Stream(number),
            DESCRIPTOR if DescriptorRow::parse(value).is_some() => Reference::Descriptor(number),
            DEVICE if read_device_row(value).is_some() => Reference::Device(number),
            DOMAIN if Domain::from_row(value).is_some() => Reference::Domain(number),
            NAME => return self.note_name(array(value, 0).map(u32::from_le_bytes)),
            STREAM_ID => return self.note_name(Some(number)),
            HASH => {
                let number = array(value, 0).map(u32::from_le_bytes);
                return self.hashes.extend(number.zip(array(key, 0).map(DescriptorHash)));
            }
            DEVICE_ID => {
                let number = array(value, 0).map(u32::from_le_bytes);
                return self.device_ids.extend(number.zip(long_number(key, 0).map(DeviceId)));
            }
            CURSOR => return self.note_cursor(key, value),
            _ => return,
        };
        self.known.insert(known);
    }

    /// The streams that have a row or events, by their numbers.
    pub(super) fn streams(&self) -> impl Iterator<Item = u32> {
        let number = |reference: &Reference| match reference {
            Reference::Stream(stream) => Some(*stream),
            _ => None,
        };
        self.known.union(&self.needed).filter_map(number)
    }

    /// Notes what a block needs.
    pub(super) fn note_block(&mut self, block: &Block<'_>) -> Result<(), Damage> {
        let streams = block.index_rows()?.into_iter().map(|run| Reference::Stream(run.stream));
        self.needed.extend(streams);
        if block.is_quarantined() {
            return Ok(());
        }
        self.needed.insert(Reference::Domain(block.domain()));
        for index in 0..block.runs() {
            let run = block.run(index)?;
            self.needed.insert(Reference::Descriptor(run.descriptor()));
            self.described.insert((run.stream(), run.descriptor()));
            if let Some(origin) = run.origin() {
                self.note_origin(&origin, run.count());
            }
        }
        Ok(())
    }

    /// The rows that stand in for those that are needed and lost, and the cursors that are behind the log.
    pub(super) fn make_up(&self, tables: &Tables) -> Vec<MadeUp> {
        let mut rows = Vec::new();
        let missing: Vec<_> = self.needed.difference(&self.known).copied().collect();
        if missing.iter().any(|missing| matches!(missing, Reference::Stream(_))) {
            let name = self.name().to_le_bytes().to_vec();
            rows.push((tables.name, SALVAGED_NAME.as_bytes().to_vec(), name));
        }
        missing.into_iter().for_each(|missing| self.stand_in(missing, tables, &mut rows));
        for (&(device, epoch, lane), &next) in &self.passed {
            let cursor = self.cursors.get(&(device, epoch, lane));
            let cursor = cursor.copied().unwrap_or_else(|| LaneRecord::new(epoch, lane));
            if cursor.next < next {
                let cursor = LaneRecord { next, heard: cursor.heard.max(next), ..cursor };
                let key = cursor_key(device, epoch, lane).to_vec();
                rows.push((tables.cursor, key, cursor.to_row().to_vec()));
            }
        }
        rows
    }

    /// The rows that are missing of those that tell which layouts a name holds, as its events do. What was made up tells
    /// of none.
    pub(super) fn missing_layouts(&self, tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<Vec<MadeUp>> {
        let mut layouts = BTreeMap::new();
        for &(stream, descriptor) in &self.described {
            let info = tables.stream_info.get(txn, &stream.to_be_bytes())?.and_then(StreamRow::parse);
            let name = info.map(|info| tables.name.get(txn, info.name.as_bytes())).transpose()?.flatten();
            let row = tables.descriptor.get(txn, &descriptor.to_be_bytes())?.and_then(DescriptorRow::parse);
            let name = name.and_then(|number| array(number, 0)).map(u32::from_le_bytes);
            if let Some((name, (layout, _))) = name.zip(row.and_then(|row| row.known)) {
                let first = layouts.entry(key12(name, u64::from_be_bytes(layout.0))).or_insert(descriptor);
                *first = descriptor.min(*first);
            }
        }
        let mut rows = Vec::new();
        for (key, descriptor) in layouts {
            let value = descriptor.to_le_bytes();
            // It was external when its first events came, and has become known since.
            let external = tables.layout.get(txn, &[&key[..4], &[0; 8]].concat())?;
            if tables.layout.get(txn, &key)?.is_none() && external != Some(&value) {
                rows.push((tables.layout, key.to_vec(), value.to_vec()));
            }
        }
        Ok(rows)
    }

    fn stand_in(&self, missing: Reference, tables: &Tables, rows: &mut Vec<MadeUp>) {
        match missing {
            Reference::Stream(stream) => {
                let id = StreamId(stream.into());
                let row = StreamRow { name: SALVAGED_NAME, id }.to_row();
                rows.push((tables.stream_info, stream.to_be_bytes().to_vec(), row));
                let key = key12(self.name(), id.0).to_vec();
                rows.push((tables.stream_id, key, stream.to_le_bytes().to_vec()));
            }
            Reference::Descriptor(descriptor) => {
                let made_up = DescriptorHash(u64::from(descriptor).to_be_bytes());
                let hash = self.hashes.get(&descriptor).copied().unwrap_or(made_up);
                let row = DescriptorRow { hash, known: None }.to_row();
                rows.push((tables.descriptor, descriptor.to_be_bytes().to_vec(), row));
                rows.push((tables.hash, hash.0.to_vec(), descriptor.to_le_bytes().to_vec()));
            }
            Reference::Device(device) => {
                let id = self.device_ids.get(&device).copied().unwrap_or(DeviceId(device.into()));
                let epoch = self.epochs.get(&device).copied().unwrap_or(Epoch(0));
                rows.push((tables.device, device.to_be_bytes().to_vec(), device_row(id, epoch).to_vec()));
                let key = id.0.to_be_bytes().to_vec();
                rows.push((tables.device_id, key, device.to_le_bytes().to_vec()));
            }
            Reference::Domain(domain) => {
                let row = Domain::unknown().to_row().to_vec();
                rows.push((tables.domain, domain.to_be_bytes().to_vec(), row));
            }
        }
    }

    /// The number of the name of streams whose names are lost.
    fn name(&self) -> u32 {
        self.last_name.saturating_add(1)
    }

    fn note_name(&mut self, name: Option<u32>) {
        self.last_name = self.last_name.max(name.unwrap_or(0));
    }

    fn note_cursor(&mut self, key: &[u8], value: &[u8]) {
        let place = number(key, 0).zip(number(key, 4).map(Epoch)).zip(key.get(8).copied().map(Lane));
        let Some(((device, epoch), lane)) = place else { return };
        if let Some(cursor) = LaneRecord::from_row(epoch, lane, value) {
            self.cursors.insert((device, epoch, lane), cursor);
        }
    }

    fn note_origin(&mut self, origin: &Origin, count: u32) {
        self.needed.insert(Reference::Device(origin.device));
        let end = DeviceSequence(origin.first.0.saturating_add(count.into()));
        let passed = self.passed.entry((origin.device, origin.epoch, origin.lane)).or_default();
        *passed = end.max(*passed);
        let epoch = self.epochs.entry(origin.device).or_insert(origin.epoch);
        *epoch = origin.epoch.max(*epoch);
    }
}

/// The name of streams whose names are lost; each has its number in the store as its id.
const SALVAGED_NAME: &str = "varve.salvaged";

// The places of the tables in the list of FORMAT.md.
const NAME: u8 = 3;
const STREAM_ID: u8 = 4;
const STREAM_INFO: u8 = 5;
const DESCRIPTOR: u8 = 7;
const HASH: u8 = 8;
const DEVICE: u8 = 9;
const DEVICE_ID: u8 = 10;
const CURSOR: u8 = 11;
const DOMAIN: u8 = 13;

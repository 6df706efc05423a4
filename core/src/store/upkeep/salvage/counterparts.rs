//! Rows that tell of each other: what is lost of one is made anew of the others.
//!
//! ```text
//! stream_info  stream → id · name        name       name → number
//!                                        stream_id  number · id → stream
//! descriptor   number → hash …           hash       hash → number
//! device       number → id …             device_id  id → number
//! ```
//!
//! Without them a new name would take the number of one that is there, and its events the streams of that.

use std::collections::BTreeMap;

use heed::RoTxn;

use super::references::MadeUp;
use crate::StreamId;
use crate::store::log::catalog::{DescriptorRow, StreamRow};
use crate::store::log::device::read_device_row;
use crate::store::log::tables::{Tables, array, key12, long_number, number};
use crate::store::write::stream::STREAM_NAME_LEN_MAX;

/// The rows that are missing beside those that the tables have.
pub(super) fn missing(tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<Vec<MadeUp>> {
    let mut rows = Vec::new();
    for row in tables.descriptor.from(txn, &[])? {
        let (key, value) = row?;
        let parsed = number(key, 0).zip(DescriptorRow::parse(value));
        if let Some((number, row)) = parsed
            && tables.hash.get(txn, &row.hash.0)?.is_none()
        {
            rows.push((tables.hash, row.hash.0.to_vec(), number.to_le_bytes().to_vec()));
        }
    }
    for row in tables.device.from(txn, &[])? {
        let (key, value) = row?;
        let id = read_device_row(value).map(|(id, _)| id.0.to_be_bytes());
        if let Some((number, id)) = number(key, 0).zip(id)
            && tables.device_id.get(txn, &id)?.is_none()
        {
            rows.push((tables.device_id, id.to_vec(), number.to_le_bytes().to_vec()));
        }
    }
    let mut names = Names::read(tables, txn)?;
    names.find_streams(tables, txn, &mut rows)?;
    names.find_names(tables, txn, &mut rows)?;
    Ok(rows)
}

/// What the tables tell of names.
struct Names {
    /// The name of each number.
    names: BTreeMap<u32, Vec<u8>>,
    /// The number of each stream's name, as the stream's id tells.
    of_streams: BTreeMap<u32, u32>,
}

impl Names {
    fn read(tables: &Tables, txn: &RoTxn<'_>) -> heed::Result<Self> {
        let (mut names, mut of_streams) = (BTreeMap::new(), BTreeMap::new());
        for row in tables.name.from(txn, &[])? {
            let (name, value) = row?;
            names.extend(little_endian(value).map(|number| (number, name.to_vec())));
        }
        for row in tables.stream_id.from(txn, &[])? {
            let (key, value) = row?;
            of_streams.extend(little_endian(value).zip(number(key, 0)));
        }
        Ok(Self { names, of_streams })
    }

    /// Finds the streams whose ids and names are there.
    fn find_streams(&self, tables: &Tables, txn: &RoTxn<'_>, rows: &mut Vec<MadeUp>) -> heed::Result<()> {
        for row in tables.stream_id.from(txn, &[])? {
            let (key, value) = row?;
            let place = number(key, 0).zip(long_number(key, 4)).zip(little_endian(value));
            let Some(((name, id), stream)) = place else { continue };
            let name = self.names.get(&name).and_then(|name| std::str::from_utf8(name).ok());
            if let Some(name) = name
                && tables.stream_info.get(txn, &stream.to_be_bytes())?.is_none()
            {
                let row = StreamRow { name, id: StreamId(id) }.to_row();
                rows.push((tables.stream_info, stream.to_be_bytes().to_vec(), row));
            }
        }
        Ok(())
    }

    /// Finds the names and ids of the streams that are there.
    fn find_names(&mut self, tables: &Tables, txn: &RoTxn<'_>, rows: &mut Vec<MadeUp>) -> heed::Result<()> {
        let mut numbers: BTreeMap<Vec<u8>, u32> =
            self.names.iter().map(|(number, name)| (name.clone(), *number)).collect();
        for row in tables.stream_info.from(txn, &[])? {
            let (key, value) = row?;
            let Some((stream, row)) = number(key, 0).zip(StreamRow::parse(value)) else { continue };
            let name = row.name.as_bytes();
            if !(1..=STREAM_NAME_LEN_MAX).contains(&name.len()) {
                continue;
            }
            let number = match numbers.get(name) {
                Some(&number) => number,
                None => {
                    let number = self.number_for(stream);
                    rows.push((tables.name, name.to_vec(), number.to_le_bytes().to_vec()));
                    self.names.insert(number, name.to_vec());
                    numbers.insert(name.to_vec(), number);
                    number
                }
            };
            let key = key12(number, row.id.0);
            if tables.stream_id.get(txn, &key)?.and_then(little_endian) != Some(stream) {
                rows.push((tables.stream_id, key.to_vec(), stream.to_le_bytes().to_vec()));
            }
        }
        Ok(())
    }

    /// The number that the lost name of a stream had, or one that none has.
    fn number_for(&self, stream: u32) -> u32 {
        let told = self.of_streams.get(&stream).copied();
        let last = self.names.keys().chain(self.of_streams.values()).max().copied().unwrap_or(0);
        told.filter(|number| !self.names.contains_key(number)).unwrap_or(last.saturating_add(1))
    }
}

fn little_endian(value: &[u8]) -> Option<u32> {
    array(value, 0).map(u32::from_le_bytes)
}

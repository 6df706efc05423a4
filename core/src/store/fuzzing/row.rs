//! The rows of LMDB's tables.

use crate::store::log::catalog::{DescriptorRow, StreamRow};
use crate::store::log::clock::{Domain, StoredMapping};
use crate::store::log::device::{LaneRecord, device_row, read_device_row};
use crate::store::log::run_index::RunIndex;
use crate::store::log::time_index::TimeRow;
use crate::store::tail::Folded;
use crate::{
    DescriptorHash, DeviceId, DeviceSequence, Epoch, GlobalSequence, Lane, LayoutHash, StreamId,
    StreamSequence,
};

/// Reads a row: the number of its table, the length of its key, the key and the value. What is read is what would be
/// written.
///
/// # Panics
///
/// Where it is not.
pub fn check_row(bytes: &[u8]) -> Option<()> {
    let (&[table, key_len], row) = bytes.split_first_chunk()?;
    let (key, value) = row.split_at_checked(key_len.into())?;
    let written = match table {
        META => Folded::parse(value)?.to_row().to_vec(),
        STREAM => {
            let index = RunIndex::parse(key, value)?;
            assert_eq!(index.key(), key);
            index.value().to_vec()
        }
        STREAM_INFO => StreamRow::parse(value)?.to_row(),
        DESCRIPTOR => {
            let row = DescriptorRow::parse(value)?;
            // Of one that is external nobody knows the layout.
            row.known?;
            row.to_row()
        }
        DEVICE => read_device_row(value).map(|(device, epoch)| device_row(device, epoch))?.to_vec(),
        CURSOR => LaneRecord::from_row(Epoch(0), Lane(0), value)?.to_row().to_vec(),
        CLOCK => StoredMapping::from_row(value)?.to_row().to_vec(),
        DOMAIN => Domain::from_row(value)?.to_row().to_vec(),
        TIME => {
            let row = TimeRow::parse(key, value)?;
            assert!(row.end() >= row.first);
            row.value()
        }
        _ => return None,
    };
    assert_eq!(written, value);
    Some(())
}

/// A row of each table that has a parser of its own.
pub fn sample_rows() -> Vec<Vec<u8>> {
    let index = RunIndex { stream: 2, first: StreamSequence(40), block: GlobalSequence(7), run: 1, count: 3 };
    let stream = StreamRow { name: "doors", id: StreamId(7) };
    let known = Some((LayoutHash([1; 8]), &b"a descriptor"[..]));
    let descriptor = DescriptorRow { hash: DescriptorHash([2; 8]), known };
    let lane = LaneRecord { next: DeviceSequence(9), gap_total: 2, ..LaneRecord::new(Epoch(1), Lane(0)) };
    let mapping = StoredMapping { domain: 1, ticks: 5, tick_hz: 1_000, host_us: 6, uncertainty_us: 7 };
    let number: &[u8] = &[0, 0, 0, 2];
    let time = [&[3, 0, 0, 0][..], &[1; 20], &[2; 20]].concat();
    let rows: [(u8, &[u8], Vec<u8>); 9] = [
        (META, b"folded", Folded { generation: 4, commit: 90 }.to_row().to_vec()),
        (STREAM, &index.key(), index.value().to_vec()),
        (STREAM_INFO, number, stream.to_row()),
        (DESCRIPTOR, number, descriptor.to_row()),
        (DEVICE, number, device_row(DeviceId(7), Epoch(1)).to_vec()),
        (CURSOR, &[0; 9], lane.to_row().to_vec()),
        (CLOCK, &[0; 17], mapping.to_row().to_vec()),
        (DOMAIN, number, Domain::unknown().to_row().to_vec()),
        (TIME, &7u64.to_be_bytes(), time),
    ];
    rows.map(|(table, key, value)| [&[table, key.len() as u8], key, &value].concat()).to_vec()
}

// The places of the tables in the list of FORMAT.md, section 5.
const META: u8 = 0;
const STREAM: u8 = 2;
const STREAM_INFO: u8 = 5;
const DESCRIPTOR: u8 = 7;
const DEVICE: u8 = 9;
const CURSOR: u8 = 11;
const CLOCK: u8 = 12;
const DOMAIN: u8 = 13;
const TIME: u8 = 15;

//! A record of the tail.

use super::block::{sample_blocks, walk_unchecked_block};
use crate::GlobalSequence;
use crate::store::log::tables::array;
use crate::store::tail::{Chunk, Record, RecordHead, RecordSeed, RecordWriter, TableNumber};

/// Checks a record of header and body, and looks into each of its chunks.
///
/// # Panics
///
/// Where a record that passed its check does not hold together.
pub fn check_record(bytes: &[u8]) -> Result<(), &'static str> {
    let record = Record::parse(bytes.into(), seed_of(bytes))?;
    let mut len = HEADER_LEN;
    for index in 0..record.chunks() {
        len += CHUNK_HEAD_LEN;
        len += match record.chunk(index) {
            Chunk::Block(block) => {
                // It need not be sound: that is for its own check, where it is read.
                walk_unchecked_block(block);
                block.len()
            }
            Chunk::Row { key, value, .. } => key.len() + value.len(),
        };
    }
    assert_eq!(len, bytes.len(), "the chunks fill the record");
    assert_eq!(record.end().0 - record.head().first.0, u64::from(record.head().events));
    Ok(())
}

/// Mends length and checksums of a record, which may thus be cut or made longer.
pub fn seal_record(record: &mut Vec<u8>) {
    record.resize(record.len().max(HEADER_LEN), 0);
    let seed = crc32c::crc32c(&[&INCARNATION.to_le_bytes(), &record[8..16]].concat());
    let body_len = (record.len() - HEADER_LEN) as u32;
    record[4..8].copy_from_slice(&body_len.to_le_bytes());
    let body_crc = crc32c::crc32c_append(seed, &record[HEADER_LEN..]);
    record[56..60].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = crc32c::crc32c_append(seed, &record[..60]);
    record[60..64].copy_from_slice(&header_crc.to_le_bytes());
}

/// An empty record, one of rows, one of a block and rows.
pub fn sample_records() -> Vec<Vec<u8>> {
    let rows = |writer: &mut RecordWriter| {
        writer.row(TableNumber(11), &[7; 9], &[1; 29]);
        writer.row(TableNumber(3), b"doors", &[]);
    };
    let block_and_rows = |writer: &mut RecordWriter| {
        writer.block(|out| out.extend_from_slice(&sample_blocks()[0]));
        rows(writer);
    };
    vec![sample(0, |_| {}), sample(0, rows), sample(3, block_and_rows)]
}

fn sample(events: u32, fill: impl FnOnce(&mut RecordWriter)) -> Vec<u8> {
    let mut writer = RecordWriter::new();
    writer.begin();
    fill(&mut writer);
    let first = GlobalSequence(7);
    let head = RecordHead { generation: 4, commit: 90, durable: 89, first, events, confirmed: 0 };
    writer.finish(head, RecordSeed::new(INCARNATION, 4)).to_vec()
}

fn seed_of(bytes: &[u8]) -> RecordSeed {
    RecordSeed::new(INCARNATION, u64::from_le_bytes(array(bytes, 8).unwrap_or_default()))
}

const INCARNATION: u64 = 0x0123_4567_89ab_cdef;
const HEADER_LEN: usize = 64;
const CHUNK_HEAD_LEN: usize = 8;

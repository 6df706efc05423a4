//! A backup.

use super::block::{sample_blocks, walk_unchecked_block};
use crate::GlobalSequence;
use crate::store::log::block::Block;
use crate::store::log::tables::array;
use crate::store::tail::TableNumber;
use crate::store::upkeep::backup::{BackupChunk, BackupReader, BackupWriter, ContainerError, Header};

/// Reads a backup to its end, as a restore does.
///
/// # Errors
///
/// Where it is damaged or cut: at which byte.
pub fn check_backup(bytes: &[u8]) -> Result<(), u64> {
    let at = |error| match error {
        ContainerError::Broken { at, .. } => at,
        ContainerError::NewerFormat(_) | ContainerError::Io(_) => 0,
    };
    let (mut reader, _) = BackupReader::new(bytes).map_err(at)?;
    loop {
        let events = match reader.next().map_err(at)? {
            BackupChunk::End(_) => return Ok(()),
            BackupChunk::Row { key, .. } => {
                assert!(!key.is_empty(), "a row has a key");
                0
            }
            BackupChunk::Block(block) => {
                walk_unchecked_block(block);
                let first = array(block, BLOCK_FIRST_AT).map_or(0, u64::from_le_bytes);
                Block::new_trusted(GlobalSequence(first), block).map_or(0, |block| block.len())
            }
        };
        reader.count_events(events);
        assert!(reader.at() <= bytes.len() as u64, "it reads what is there");
    }
}

/// Mends the checksums of the header and of every chunk that is whole.
pub fn seal_backup(backup: &mut Vec<u8>) {
    backup.resize(backup.len().max(HEADER_LEN), 0);
    let mut crc = crc32c::crc32c(&backup[..HEADER_LEN - 4]);
    backup[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
    let mut at = HEADER_LEN;
    while let Some(head) = array::<CHUNK_HEAD_LEN>(backup, at) {
        let key_len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let content_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let start = at + CHUNK_HEAD_LEN;
        let Some(rest) = backup.get(start..).and_then(|rest| rest.get(..key_len + content_len)) else {
            return;
        };
        crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &head[..8]), rest);
        backup[start - 4..start].copy_from_slice(&crc.to_le_bytes());
        at = start + key_len + content_len;
    }
}

/// A backup of nothing, and one of rows and blocks.
pub fn sample_backups() -> Vec<Vec<u8>> {
    let header = Header { incarnation: 7, first: GlobalSequence(7), next: GlobalSequence(10) };
    let begin = |out| BackupWriter::new(out, &header).expect("memory takes it");
    let (mut empty, mut full) = (Vec::new(), Vec::new());
    begin(&mut empty).finish().expect("memory takes it");
    let mut writer = begin(&mut full);
    let rows: [(u8, &[u8], &[u8]); 2] = [(3, b"doors", &[1, 0, 0, 0]), (14, b"upstream", &[7; 8])];
    for (table, key, value) in rows {
        writer.row(TableNumber(table), key, value).expect("memory takes it");
    }
    writer.block(&sample_blocks()[0], 3).expect("memory takes it");
    writer.finish().expect("memory takes it");
    vec![empty, full]
}

const HEADER_LEN: usize = 40;
const CHUNK_HEAD_LEN: usize = 12;
const BLOCK_FIRST_AT: usize = 16;

//! LMDB's table of readers, in a file that any reader writes.

use crate::store::files::reader_table::{Reader, read_bytes, table};

/// Reads a table of at most so many readers; each of them reads something, and there is a slot for it.
///
/// # Panics
///
/// Where that is not so.
pub fn check_reader_table(bytes: &[u8], readers_max: u32) -> Option<()> {
    let readers = read_bytes(bytes, readers_max).ok()?;
    assert!(readers.len() <= readers_max as usize && readers.len() <= bytes.len() / SLOT_LEN);
    let reads = |reader: &Reader| reader.process != 0 && reader.transaction != u64::MAX;
    assert!(readers.iter().all(reads));
    Some(())
}

/// Tables of both sizes of a word.
pub fn sample_reader_tables() -> Vec<Vec<u8>> {
    let slots = [(7, 41), (u64::MAX, 42), (9, 0), (8, 43)];
    [(8, 40), (4, 24)].map(|(word_len, mutex_len)| table(word_len, mutex_len, &slots)).into()
}

const SLOT_LEN: usize = 64;

//! LMDB's table of readers in the file `lock.mdb`: which process reads which state of the store.
//!
//! ```text
//! 0        magic 4 · format 4 · last transaction w · slots used 4 · a mutex       up to whole cache lines of 64 bytes
//!          a mutex                                                                up to whole cache lines
//! readers  transaction w · process 4 · thread …                                   a cache line each
//! ```
//!
//! w is the size of a word. A slot without a process is free, and one whose transaction is all ones reads nothing now.
//! The format tells the sizes that it was made with: a table of others is not read. It changes while it is read, so that
//! a reader may be missed that begins or ends meanwhile.

use std::io;

use crate::store::log::tables::array;

/// A reader of the store, in any process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Reader {
    pub(in crate::store) process: u32,
    /// The transaction whose state it reads.
    pub(in crate::store) transaction: u64,
}

/// Where things stand in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    word_len: usize,
    readers: usize,
}

/// The readers in the table that `read_at` reads, as it reads a file at a place: at most `readers_max`.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] where the table cannot be understood.
pub(in crate::store) fn read(
    readers_max: u32,
    read_at: impl Fn(&mut [u8], u64) -> io::Result<usize>,
) -> io::Result<Vec<Reader>> {
    let mut head = [0; HEAD_LEN];
    let whole_head = read_at(&mut head, 0)? == HEAD_LEN;
    let layout = Layout::of(&head).filter(|_| whole_head).ok_or(io::ErrorKind::Unsupported)?;
    let slots = array(&head, 8 + layout.word_len).map_or(0, u32::from_le_bytes).min(readers_max);
    let mut readers = Vec::new();
    let mut slot = [0; SLOT_LEN];
    for number in 0..u64::from(slots) {
        if read_at(&mut slot, layout.readers as u64 + number * SLOT_LEN as u64)? < SLOT_LEN {
            break;
        }
        readers.extend(layout.reader(&slot));
    }
    Ok(readers)
}

impl Layout {
    /// Takes the sizes out of the format: that of a word, and that of a mutex in units of 4 bytes, modulo 22.
    fn of(head: &[u8; HEAD_LEN]) -> Option<Self> {
        let (magic, format) =
            (array(head, 0).map(u32::from_le_bytes)?, array(head, 4).map(u32::from_le_bytes)?);
        let (version, sizes) = (format % (1 << VERSION_BITS), format >> VERSION_BITS);
        let word_len = if sizes >> 15 & 1 == 1 { 8 } else { 4 };
        let sizes = sizes % (1 << 15);
        let (cache_line, process, lock) = (sizes % 6, sizes / 6 % 3, sizes / 270);
        let mutex_len = (lock.checked_sub(POSIX_MUTEX)? / 5 * 4) as usize;
        let is_known = magic == MAGIC && version == VERSION && cache_line == 0 && process == 1;
        let head_len = (8 + 2 * word_len + mutex_len).next_multiple_of(SLOT_LEN);
        let readers = head_len + mutex_len.next_multiple_of(SLOT_LEN);
        is_known.then_some(Self { word_len, readers })
    }

    /// The reader in a slot, if one reads.
    fn reader(self, slot: &[u8; SLOT_LEN]) -> Option<Reader> {
        let transaction = match self.word_len {
            8 => array(slot, 0).map(u64::from_le_bytes).filter(|&transaction| transaction != u64::MAX)?,
            _ => {
                array(slot, 0).map(u32::from_le_bytes).filter(|&transaction| transaction != u32::MAX)?.into()
            }
        };
        let process = array(slot, self.word_len).map(u32::from_le_bytes).filter(|&process| process != 0)?;
        Some(Reader { process, transaction })
    }
}

/// As [`read`], of a file with these bytes.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::store) fn read_bytes(bytes: &[u8], readers_max: u32) -> io::Result<Vec<Reader>> {
    read(readers_max, |out, at| {
        let from = bytes.get(at as usize..).unwrap_or_default();
        let len = from.len().min(out.len());
        out[..len].copy_from_slice(&from[..len]);
        Ok(len)
    })
}

/// A table of these readers by transaction and process, with a mutex of so many bytes.
#[cfg(any(test, feature = "fuzzing"))]
pub(in crate::store) fn table(word_len: usize, mutex_len: usize, slots: &[(u64, u32)]) -> Vec<u8> {
    let lock = POSIX_MUTEX + 3 + mutex_len as u32 / 4 * 5;
    let sizes = 6 + 18 * 2 + 90 + 270 * lock + (u32::from(word_len == 8) << 15) + (1 << 17);
    let readers = (8 + 2 * word_len + mutex_len).next_multiple_of(64) + mutex_len.next_multiple_of(64);
    let mut bytes = vec![0; readers];
    bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
    bytes[4..8].copy_from_slice(&(VERSION + (sizes << VERSION_BITS)).to_le_bytes());
    bytes[8 + word_len..12 + word_len].copy_from_slice(&(slots.len() as u32).to_le_bytes());
    for (transaction, process) in slots {
        let mut slot = [0; SLOT_LEN];
        slot[..word_len].copy_from_slice(&transaction.to_le_bytes()[..word_len]);
        slot[word_len..word_len + 4].copy_from_slice(&process.to_le_bytes());
        bytes.extend(slot);
    }
    bytes
}

const MAGIC: u32 = 0xbeef_c0de;
const VERSION: u32 = 2;
const VERSION_BITS: u32 = 12;

/// What LMDB calls a lock that is a mutex of POSIX, beside its size.
const POSIX_MUTEX: u32 = 10;

/// Up to the number of slots, with words of 8 bytes.
const HEAD_LEN: usize = 20;

const SLOT_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_found_whatever_the_sizes_of_a_word_and_a_mutex() {
        for (word_len, mutex_len) in [(8, 40), (8, 48), (4, 24), (4, 32)] {
            let slots = [(7, 41), (u64::MAX, 42), (9, 0), (8, 43)];
            let bytes = table(word_len, mutex_len, &slots);
            let expected = [(7, 41), (8, 43)];
            let expected = expected.map(|(transaction, process)| Reader { process, transaction });
            assert_eq!(read_bytes(&bytes, 100).unwrap(), expected, "{word_len} {mutex_len}");
            assert_eq!(read_bytes(&bytes, 2).unwrap(), expected[..1]);
        }
    }

    #[test]
    fn a_table_that_is_cut_or_of_another_kind_is_no_panic() {
        let bytes = table(8, 40, &[(7, 41), (8, 43)]);
        for len in 0..bytes.len() {
            let found = read_bytes(&bytes[..len], u32::MAX).map_or(0, |readers| readers.len());
            assert_eq!(found, len.saturating_sub(128) / SLOT_LEN);
        }
        for byte in 0..8 {
            let mut other = bytes.clone();
            other[byte] ^= 0x55;
            if let Err(error) = read_bytes(&other, u32::MAX) {
                assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            }
        }
    }
}

//! What the tail begins with: its header and its note.

use crate::store::log::tables::array;
use crate::store::tail::{FileHeader, Note};

/// Reads a header, and a note behind it; what is read is what would be written.
///
/// # Panics
///
/// Where it is not.
pub fn check_tail_head(bytes: &[u8]) -> Option<()> {
    let header = FileHeader::parse(&array(bytes, 0)?).ok()?;
    assert_eq!(header.encode(), bytes[..LEN]);
    assert!(header.file_len() > bytes.len() as u64, "it has a length that a tail may have");
    let note = Note::parse(&array(bytes, LEN)?, header.incarnation)?;
    assert_eq!(note.encode(header.incarnation), bytes[LEN..2 * LEN]);
    Some(())
}

/// Mends both checksums.
pub fn seal_tail_head(head: &mut Vec<u8>) {
    head.resize(2 * LEN, 0);
    let (header, note) = head.split_at_mut(LEN);
    let crc = crc32c::crc32c(&header[..CRC]);
    header[CRC..].copy_from_slice(&crc.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[INCARNATION..][..8]), &note[..CRC]);
    note[CRC..].copy_from_slice(&crc.to_le_bytes());
}

/// A header and a note.
pub fn sample_tail_heads() -> Vec<Vec<u8>> {
    let header = FileHeader { incarnation: 0x0123_4567_89ab_cdef, segment_sectors: 65 };
    let note = Note { boot_id: [7; 16], confirmed: 0x5a5a_5a5a };
    vec![[header.encode(), note.encode(header.incarnation)].concat()]
}

const LEN: usize = 24;
const INCARNATION: usize = 8;
const CRC: usize = 20;

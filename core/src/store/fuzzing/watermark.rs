//! What an owner publishes for processes beside it.

use crate::GlobalSequence;
use crate::store::tail::Published;

/// Reads the file's bytes; what is read is what would be written.
///
/// # Panics
///
/// Where it is not.
pub fn check_watermark(bytes: &[u8]) -> Option<()> {
    let published = Published::parse(bytes.first_chunk()?, INCARNATION)?;
    let written = published.encode(INCARNATION);
    assert_eq!(Published::parse(&written, INCARNATION), Some(published));
    Some(())
}

/// Mends the checksum.
pub fn seal_watermark(watermark: &mut Vec<u8>) {
    watermark.resize(LEN, 0);
    let crc = crc32c::crc32c(&watermark[..LEN - 4]);
    watermark[LEN - 4..].copy_from_slice(&crc.to_le_bytes());
}

/// A watermark.
pub fn sample_watermarks() -> Vec<Vec<u8>> {
    let next = GlobalSequence(1_000);
    let published = Published { generation: 7, records: 3, commit: 90, next, is_flushed: true };
    vec![published.encode(INCARNATION).to_vec()]
}

const INCARNATION: u64 = 0x0123_4567_89ab_cdef;
const LEN: usize = 64;

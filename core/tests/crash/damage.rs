//! Damage to what was durable when the power was cut: it is told, and never taken for what the power cut tore.

use std::path::Path;

use fastrand::Rng;
use varve_disk_shim::Disk;

use crate::boot::start_anew;
use crate::history::{History, Progress};
use crate::new_dir;
use crate::watermark::Watermark;

/// Flips a bit in the last record that the watermark of an image counts, where there are both, and opens the store after
/// another start of the machine. Tells whether it was refused; or else LMDB held that record.
///
/// # Errors
///
/// What is wrong with a store that opens, and with a refusal.
pub(crate) fn check_damaged(
    image: &Disk,
    history: &History,
    progress: Progress,
    random: &mut Rng,
) -> Result<bool, String> {
    let mut disk = image.clone();
    let Some(record) = last_counted(&disk) else { return Ok(false) };
    let (at, bit) = (random.usize(record), random.u8(..8));
    disk.patch(Path::new(TAIL), |tail| tail[at] ^= 1 << bit);
    start_anew(&mut disk);
    let dir = new_dir();
    disk.restore(dir.path()).map_err(|error| error.to_string())?;
    let damaged = |reason| format!("bit {bit} of byte {at} of the tail damaged: {reason}");
    history.is_refused(dir.path(), progress).map_err(damaged)
}

/// Where the last record stands that the watermark counts, as far as its chunks reach.
fn last_counted(disk: &Disk) -> Option<std::ops::Range<usize>> {
    let file = |name| disk.files().find(|(found, _)| *found == Path::new(name)).map(|(_, bytes)| bytes);
    let tail = file(TAIL)?;
    let told = Watermark::parse(file(WATERMARK)?, tail).filter(|told| told.is_flushed)?;
    let places = (SEGMENTS_START..tail.len()).step_by(ALIGNMENT);
    let records = places.map(|at| (at, &tail[at..])).filter(|(_, bytes)| {
        bytes.starts_with(RECORD_MAGIC) && number(&bytes[RECORD_COMMIT..]) == told.commit
    });
    // Of an earlier life there may be one with the same number that was lost.
    let (start, head) = records.max_by_key(|(_, bytes)| number(&bytes[RECORD_GENERATION..]))?;
    let len = RECORD_HEADER_LEN + number(&head[RECORD_LEN..]) as u32 as usize;
    tail.get(start..start + len).map(|_| start..start + len)
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("a field is within its record"))
}

const TAIL: &str = "tail";
const WATERMARK: &str = "watermark";

/// Where the tail's records begin, and what the place of each is a multiple of.
const SEGMENTS_START: usize = 2 * 4096;
const ALIGNMENT: usize = 64;

// Where the fields of a record stand.
const RECORD_MAGIC: &[u8] = b"VRVR";
const RECORD_LEN: usize = 4;
const RECORD_GENERATION: usize = 8;
const RECORD_COMMIT: usize = 16;
const RECORD_HEADER_LEN: usize = 64;

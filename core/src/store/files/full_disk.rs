//! A full disk, told from one that fails.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::store::error::is_disk_full;

/// Why LMDB could not write in `dir`. Where the system takes but a part of its pages, as it does when the disk is full, LMDB
/// says that the device failed.
pub(in crate::store) fn why_unwritten(dir: &Path, error: heed::Error) -> heed::Error {
    match error {
        heed::Error::Io(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
            heed::Error::Io(full_disk(dir).unwrap_or(error))
        }
        error => error,
    }
}

/// What the system says where the disk is full: it takes no more bytes.
fn full_disk(dir: &Path) -> Option<io::Error> {
    let probe = dir.join(PROBE_FILE);
    let written = fs::write(&probe, [0; PROBE_LEN]);
    let _ = fs::remove_file(&probe);
    written.err().filter(is_disk_full)
}

/// Written and removed again.
pub(super) const PROBE_FILE: &str = "probe";

/// A short write has taken what room there was: a little more will not fit.
const PROBE_LEN: usize = 64 * 1024;

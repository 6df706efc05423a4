//! Key-encryption keys as a store's files have them, wrapped. Of one that counts no more nothing may be left.

use std::fs;
use std::ops::Range;
use std::path::Path;

/// Those in `dir`: of the file of keys, and of the one that is to take its place. None of a file that the disk does not give.
pub(crate) fn wrapped_keys(dir: &Path) -> Vec<Vec<u8>> {
    let files = FILES.iter().filter_map(|name| fs::read(dir.join(name)).ok());
    let keys = files.filter_map(|file| file.get(WRAPPED_KEY).map(<[u8]>::to_vec));
    keys.filter(|key| !is_wiped(key)).collect()
}

fn is_wiped(key: &[u8]) -> bool {
    key.iter().all(|&byte| byte == 0)
}

const FILES: [&str; 2] = ["keys", "keys.new"];

/// Where it stands in a file: FORMAT.md, section 8.
const WRAPPED_KEY: Range<usize> = 32..92;

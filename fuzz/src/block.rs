//! A block of the store, under its checksum.

use varve_core::fuzzing;

use crate::Verdict;

/// Walks over the bytes as over a block that was checked before, then mends length and checksum and checks them.
pub(crate) fn run(bytes: &[u8]) -> Verdict {
    fuzzing::walk_unchecked_block(bytes);
    let mut sealed = bytes.to_vec();
    fuzzing::seal_block(&mut sealed);
    Verdict::of(&fuzzing::check_block(&sealed))
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    fuzzing::sample_blocks()
}

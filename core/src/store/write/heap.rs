//! What the process keeps of the memory that a large append frees.

use std::hint::black_box;

/// Lets the C library keep about `len` bytes that are freed, for the next append.
///
/// LMDB asks it for every page that a transaction writes, and frees them all at the end. glibc keeps twice the largest block
/// that it was ever given back whole, of those up to 32 MiB, and 128 KiB before there was one: mallopt(3),
/// `M_MMAP_THRESHOLD`. What it does not keep comes back from the system by a page fault for every 4 KiB, which takes as
/// long as a third of an append. So it is given such a block here; none of it is touched. Another library makes nothing of it.
pub(super) fn keep_freed(len: usize) {
    drop(black_box(Vec::<u8>::with_capacity(len.min(KEPT_LEN_MAX))));
}

/// Beyond 32 MiB with its header, a block tells glibc nothing.
const KEPT_LEN_MAX: usize = (32 << 20) - (64 << 10);

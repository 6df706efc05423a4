//! Which blocks this process has checked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::GlobalSequence;

/// Remembers which blocks were checked, so that a block is checked once while it is in use. What it forgets is
/// checked again.
///
/// A block goes by its first event and its stored checksum: a fold that continues a block changes it under the same
/// key, and what was checked before is then another block.
pub(in crate::store) struct VerifiedBlocks {
    /// The tag of a block, at the slot that its first event hashes to; 0 is none.
    slots: Box<[AtomicU64; SLOTS]>,
}

impl VerifiedBlocks {
    /// Nothing is checked yet.
    pub(in crate::store) fn new() -> Self {
        Self { slots: Box::new([const { AtomicU64::new(0) }; SLOTS]) }
    }

    /// Whether the block that begins with `first` and has the stored checksum `crc` was checked.
    #[inline]
    pub(in crate::store) fn contains(&self, first: GlobalSequence, crc: u32) -> bool {
        self.slot(first).load(Ordering::Relaxed) == tag(first, crc)
    }

    /// Remembers that the block that begins with `first` and has the stored checksum `crc` was checked.
    pub(in crate::store) fn insert(&self, first: GlobalSequence, crc: u32) {
        self.slot(first).store(tag(first, crc), Ordering::Relaxed);
    }

    fn slot(&self, first: GlobalSequence) -> &AtomicU64 {
        &self.slots[(hash(first) >> (u64::BITS - SLOTS.ilog2())) as usize]
    }
}

impl std::fmt::Debug for VerifiedBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedBlocks").finish_non_exhaustive()
    }
}

/// Tells apart any two checksums of one block. Its highest bit, which the slot implies, says that it is no empty slot.
fn tag(first: GlobalSequence, crc: u32) -> u64 {
    (hash(first) ^ u64::from(crc)) | 1 << (u64::BITS - 1)
}

fn hash(first: GlobalSequence) -> u64 {
    first.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// 64 KiB of memory: the blocks of 512 MiB of events.
const SLOTS: usize = 8192;

const _: () = assert!(SLOTS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: GlobalSequence = GlobalSequence(0);

    #[test]
    fn a_block_is_remembered_until_another_takes_its_slot() {
        let verified = VerifiedBlocks::new();
        assert!(!verified.contains(BLOCK, 7));
        verified.insert(BLOCK, 7);
        assert!(verified.contains(BLOCK, 7));
        let other =
            (1..).map(GlobalSequence).find(|&first| std::ptr::eq(verified.slot(first), verified.slot(BLOCK)));
        assert!(!verified.contains(other.unwrap(), 7));
        verified.insert(other.unwrap(), 7);
        assert!(!verified.contains(BLOCK, 7));
    }

    #[test]
    fn a_block_that_was_continued_under_its_key_is_another_one() {
        let verified = VerifiedBlocks::new();
        verified.insert(BLOCK, 7);
        for bit in 0..u32::BITS {
            assert!(!verified.contains(BLOCK, 7 ^ 1 << bit), "bit {bit}");
        }
        verified.insert(BLOCK, 0);
        assert!(verified.contains(BLOCK, 0) && !verified.contains(BLOCK, 7));
    }
}

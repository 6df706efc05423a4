//! Which blocks this process has checked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::GlobalSequence;

/// Remembers which blocks were checked, so that a block is checked once while it is in use. What it forgets is
/// checked again.
///
/// A block goes by its first event and its stored checksum: a fold that continues a block changes it under the same
/// key, and what was checked before is then another block.
pub(in crate::store) struct VerifiedBlocks {
    /// The tags of blocks, in the set that the first event hashes to, the latest first; 0 is none.
    sets: Box<[[AtomicU64; SET_LEN]; SETS]>,
}

impl VerifiedBlocks {
    /// Nothing is checked yet.
    pub(in crate::store) fn new() -> Self {
        Self { sets: Box::new([const { [const { AtomicU64::new(0) }; SET_LEN] }; SETS]) }
    }

    /// Whether the block that begins with `first` and has the stored checksum `crc` was checked.
    #[inline]
    pub(in crate::store) fn contains(&self, first: GlobalSequence, crc: u32) -> bool {
        let tag = tag(first, crc);
        self.set(first).iter().any(|slot| slot.load(Ordering::Relaxed) == tag)
    }

    /// Remembers that the block that begins with `first` and has the stored checksum `crc` was checked. Of a full set the
    /// earliest is forgotten.
    pub(in crate::store) fn insert(&self, first: GlobalSequence, crc: u32) {
        self.set(first).iter().fold(tag(first, crc), |tag, slot| slot.swap(tag, Ordering::Relaxed));
    }

    fn set(&self, first: GlobalSequence) -> &[AtomicU64; SET_LEN] {
        &self.sets[(hash(first) >> (u64::BITS - SETS.ilog2())) as usize]
    }
}

impl std::fmt::Debug for VerifiedBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedBlocks").finish_non_exhaustive()
    }
}

/// Tells apart any two checksums of one block. Its highest bit, which the set implies, says that it is no empty slot.
fn tag(first: GlobalSequence, crc: u32) -> u64 {
    (hash(first) ^ u64::from(crc)) | 1 << (u64::BITS - 1)
}

/// Spreads the blocks of a log over the sets, whatever length they have in common. No two firsts have one hash.
fn hash(GlobalSequence(first): GlobalSequence) -> u64 {
    let mixed = first.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ mixed >> 32
}

/// With the length of a set 64 KiB of memory: the blocks of 512 MiB of events.
const SETS: usize = 1024;

/// A cache line. To check a block again takes as long as to read it a thousand times, so two that meet must not drive
/// each other out.
const SET_LEN: usize = 8;

const _: () = assert!(SETS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: GlobalSequence = GlobalSequence(0);

    #[test]
    fn a_block_is_remembered_until_its_set_is_full_of_others() {
        let verified = VerifiedBlocks::new();
        assert!(!verified.contains(BLOCK, 7));
        verified.insert(BLOCK, 7);
        let others = (1..)
            .map(GlobalSequence)
            .filter(|&first| std::ptr::eq(verified.set(first), verified.set(BLOCK)))
            .take(SET_LEN);
        for other in others {
            assert!(verified.contains(BLOCK, 7) && !verified.contains(other, 7));
            verified.insert(other, 7);
            assert!(verified.contains(other, 7));
        }
        assert!(!verified.contains(BLOCK, 7));
    }

    #[test]
    fn blocks_of_any_one_length_have_room_beside_each_other() {
        const BLOCKS: u64 = 1_000;
        for len in (1..6_000).step_by(23).chain([987, 1_597, 2_584, 4_181]) {
            let verified = VerifiedBlocks::new();
            let firsts = || (0..BLOCKS).map(|block| GlobalSequence(block * len));
            firsts().for_each(|first| verified.insert(first, 7));
            let forgotten = firsts().filter(|&first| !verified.contains(first, 7)).count();
            assert!(forgotten <= 2, "{forgotten} of {BLOCKS} blocks of {len} events");
        }
    }

    #[test]
    fn a_block_that_was_continued_under_its_key_is_another_one() {
        let verified = VerifiedBlocks::new();
        verified.insert(BLOCK, 7);
        for bit in 0..u32::BITS {
            assert!(!verified.contains(BLOCK, 7 ^ 1 << bit), "bit {bit}");
        }
    }
}

//! Which blocks this process has checked.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::GlobalSequence;

/// Remembers which blocks were checked, so that a block is checked once while it is in use. What it forgets is
/// checked again.
pub(super) struct VerifiedBlocks {
    /// The first event of a block plus one, at the slot that its number hashes to; 0 is none.
    slots: Box<[AtomicU64; SLOTS]>,
}

impl VerifiedBlocks {
    /// Nothing is checked yet.
    pub(super) fn new() -> Self {
        Self { slots: Box::new([const { AtomicU64::new(0) }; SLOTS]) }
    }

    /// Whether the block that begins with `first` was checked.
    pub(super) fn contains(&self, first: GlobalSequence) -> bool {
        self.slot(first).load(Ordering::Relaxed) == first.0.wrapping_add(1)
    }

    /// Remembers that the block that begins with `first` was checked.
    pub(super) fn insert(&self, first: GlobalSequence) {
        self.slot(first).store(first.0.wrapping_add(1), Ordering::Relaxed);
    }

    fn slot(&self, first: GlobalSequence) -> &AtomicU64 {
        let hash = first.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOTS.ilog2());
        &self.slots[hash as usize]
    }
}

impl std::fmt::Debug for VerifiedBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedBlocks").finish_non_exhaustive()
    }
}

/// 64 KiB of memory: the blocks of 1 GiB of events, about.
const SLOTS: usize = 8192;

const _: () = assert!(SLOTS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_remembered_until_another_takes_its_slot() {
        let verified = VerifiedBlocks::new();
        assert!(!verified.contains(GlobalSequence(0)));
        verified.insert(GlobalSequence(0));
        assert!(verified.contains(GlobalSequence(0)));
        let other = (1..)
            .map(GlobalSequence)
            .find(|&first| std::ptr::eq(verified.slot(first), verified.slot(GlobalSequence(0))));
        verified.insert(other.unwrap());
        assert!(!verified.contains(GlobalSequence(0)));
    }
}

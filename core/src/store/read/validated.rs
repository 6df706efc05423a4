//! Which runs this process has found to hold valid events of a type.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::GlobalSequence;

/// Remembers which runs hold nothing but valid events of a type, so that each event is checked once while its block is
/// in use. What it forgets is checked again.
///
/// It keeps 64-bit hashes with a key of the process's own: devices choose the bytes of events, and nobody who knows not
/// the key can find a run that passes for another. A hash is the upper half of a sum of products modulo 2^128, by vector
/// multiply-shift (Dietzfelbinger 1996): under a random key any two runs share one with a chance of 2^-63, since the lowest
/// bit is given up.
pub(in crate::store) struct ValidatedRuns {
    /// A multiplier for each number that tells runs apart.
    key: [u128; NUMBERS],
    /// The hash of a run, at the slot that its highest bits name; 0 is none.
    slots: Box<[AtomicU64; SLOTS]>,
}

/// A run read as a type. The log never changes, so two blocks of one store that begin and end at the same events hold
/// the same; the checksum tells when one was written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct RunAsType {
    /// The first event of the block.
    pub(in crate::store) block: GlobalSequence,
    /// How many events the block holds.
    pub(in crate::store) events: u32,
    /// The block's stored checksum.
    pub(in crate::store) crc: u32,
    /// The run in the block.
    pub(in crate::store) run: u16,
    /// The length of an event's root.
    pub(in crate::store) root_len: u32,
    /// The address of the function that checks the type: two types that share it are checked alike.
    pub(in crate::store) check: usize,
}

/// The hash of a run read as a type, which is never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct RunTag(NonZeroU64);

impl ValidatedRuns {
    /// Nothing is checked yet.
    pub(in crate::store) fn new() -> Self {
        let random = RandomState::new();
        let key = std::array::from_fn(|number| {
            u128::from(random.hash_one((number, 0))) << 64 | u128::from(random.hash_one((number, 1)))
        });
        Self { key, slots: Box::new([const { AtomicU64::new(0) }; SLOTS]) }
    }

    /// What stands for a run here.
    pub(in crate::store) fn tag(&self, run: &RunAsType) -> RunTag {
        let products =
            run.numbers().into_iter().zip(self.key).map(|(number, key)| key.wrapping_mul(number.into()));
        let hash = products.fold(0, u128::wrapping_add) >> 64;
        RunTag(NonZeroU64::MIN | hash as u64)
    }

    /// Whether every event of the run was found to be valid.
    pub(in crate::store) fn contains(&self, run: RunTag) -> bool {
        self.slot(run).load(Ordering::Relaxed) == run.0.get()
    }

    /// Remembers that every event of the run was found to be valid.
    pub(in crate::store) fn insert(&self, run: RunTag) {
        self.slot(run).store(run.0.get(), Ordering::Relaxed);
    }

    fn slot(&self, RunTag(hash): RunTag) -> &AtomicU64 {
        &self.slots[(hash.get() >> (u64::BITS - SLOTS.ilog2())) as usize]
    }
}

impl RunAsType {
    /// All that tells it from others. Two runs that differ do so in one of the numbers.
    fn numbers(&self) -> [u64; NUMBERS] {
        let Self { block, events, crc, run, root_len, check } = *self;
        let shape = u64::from(run) << 32 | u64::from(root_len);
        [block.0, u64::from(events) << 32 | u64::from(crc), shape, check as u64]
    }
}

impl fmt::Debug for ValidatedRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidatedRuns").finish_non_exhaustive()
    }
}

/// How many numbers tell a run from others.
const NUMBERS: usize = 4;

/// 128 KiB of memory: the runs of 1 GiB of events where each fills a block.
const SLOTS: usize = 16_384;

const _: () = assert!(SLOTS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: RunAsType =
        RunAsType { block: GlobalSequence(0), events: 1, crc: 7, run: 0, root_len: 19, check: 1 };

    #[test]
    fn a_run_is_remembered_once_it_was_found_valid() {
        let validated = ValidatedRuns::new();
        let run = validated.tag(&RUN);
        assert!(!validated.contains(run));
        validated.insert(run);
        assert!(validated.contains(run));
    }

    #[test]
    fn a_run_that_differs_in_anything_is_another_one() {
        let validated = ValidatedRuns::new();
        validated.insert(validated.tag(&RUN));
        let others = [
            RunAsType { block: GlobalSequence(1), ..RUN },
            RunAsType { events: 2, ..RUN },
            RunAsType { crc: 6, ..RUN },
            RunAsType { run: 1, ..RUN },
            RunAsType { root_len: 20, ..RUN },
            RunAsType { check: 2, ..RUN },
        ];
        assert!(others.iter().all(|other| !validated.contains(validated.tag(other))));
    }

    #[test]
    fn another_run_takes_a_slot_that_is_taken() {
        let validated = ValidatedRuns::new();
        let run = validated.tag(&RUN);
        validated.insert(run);
        let others = (1..64 * SLOTS as u64).map(|n| RunAsType { block: GlobalSequence(n), ..RUN });
        others.for_each(|other| validated.insert(validated.tag(&other)));
        assert!(!validated.contains(run), "64 runs a slot leave the first no chance");
    }
}

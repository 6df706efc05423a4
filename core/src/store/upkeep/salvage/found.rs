//! The blocks that a salvage found, and where.

use std::collections::BTreeMap;

use crate::GlobalSequence;
use crate::store::log::block::Block;

/// Where a block was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// In the data file.
    InFile { at: u64, len: u32 },
    /// In a record of the tail.
    InTail { record: u32, chunk: u32 },
}

/// Blocks that do not overlap, by their first events.
#[derive(Debug, Default)]
pub(super) struct FoundBlocks {
    blocks: BTreeMap<u64, (u64, Found)>,
}

impl FoundBlocks {
    /// Adds a block that was checked, and returns where it ends. One with more events takes the place of one that begins
    /// alike: it is the same, continued. One that overlaps others otherwise is left out.
    pub(super) fn add(&mut self, block: &Block<'_>, found: Found) -> GlobalSequence {
        let GlobalSequence(first) = block.first();
        let end = first.saturating_add(block.len().into());
        let is_longer = self.blocks.get(&first).is_none_or(|&(known, _)| known < end);
        if is_longer && self.is_free(first, end) {
            self.blocks.insert(first, (end, found));
        }
        GlobalSequence(end)
    }

    /// Whether a block that begins at `first` was found.
    pub(super) fn holds(&self, first: GlobalSequence) -> bool {
        self.blocks.contains_key(&first.0)
    }

    /// Every block: where it begins, where it ends, and where it was found.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64, Found)> {
        self.blocks.iter().map(|(&first, &(end, found))| (first, end, found))
    }

    /// Where the last block ends; `from` where there is none.
    pub(super) fn end(&self, from: GlobalSequence) -> u64 {
        self.blocks.values().next_back().map_or(from.0, |&(end, _)| end)
    }

    /// What is missing between `from` and the last block, and what may be missing after it.
    pub(super) fn gaps(&self, from: GlobalSequence) -> impl Iterator<Item = (u64, u64)> {
        let ends = std::iter::once(from.0).chain(self.blocks.values().map(|&(end, _)| end));
        let gaps = ends.zip(self.blocks.keys().copied());
        gaps.filter(|(end, first)| end < first)
    }

    /// Fills what is missing from `from` on with blocks of `others`, and returns how many it took. Of two that overlap
    /// the first is taken: which of them was ever part of the log nobody can tell.
    pub(super) fn fill_gaps(&mut self, from: GlobalSequence, others: &Self) -> u64 {
        let gaps: Vec<_> = self.gaps(from).chain([(self.end(from), u64::MAX)]).collect();
        let mut taken = 0;
        for (mut next, end) in gaps {
            for (first, block_end, found) in others.iter_from(next) {
                if block_end > end {
                    break;
                }
                if first >= next {
                    self.blocks.insert(first, (block_end, found));
                    (next, taken) = (block_end, taken + 1);
                }
            }
        }
        taken
    }

    fn iter_from(&self, from: u64) -> impl Iterator<Item = (u64, u64, Found)> {
        self.blocks.range(from..).map(|(&first, &(end, found))| (first, end, found))
    }

    /// Whether no other block has events from `first` on and before `end`.
    fn is_free(&self, first: u64, end: u64) -> bool {
        let before = self.blocks.range(..first).next_back().is_none_or(|(_, &(end, _))| end <= first);
        let within = first + 1 < end && self.blocks.range(first + 1..end).next().is_some();
        before && !within
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::block::quarantined;

    fn add(blocks: &mut FoundBlocks, first: u64, events: u32, at: u64) {
        let bytes = quarantined(GlobalSequence(first), events, &[]);
        let block = Block::new_checked(GlobalSequence(first), &bytes).unwrap();
        blocks.add(&block, Found::InFile { at, len: 0 });
    }

    fn ranges(blocks: &FoundBlocks) -> Vec<(u64, u64)> {
        blocks.iter().map(|(first, end, _)| (first, end)).collect()
    }

    #[test]
    fn of_blocks_that_begin_alike_the_longest_counts_and_no_two_overlap() {
        let mut blocks = FoundBlocks::default();
        add(&mut blocks, 0, 5, 1);
        add(&mut blocks, 0, 10, 2);
        add(&mut blocks, 0, 7, 3);
        add(&mut blocks, 9, 5, 4);
        add(&mut blocks, 10, 5, 5);
        assert_eq!(ranges(&blocks), [(0, 10), (10, 15)]);
        assert!(blocks.holds(GlobalSequence(10)) && !blocks.holds(GlobalSequence(9)));
    }

    #[test]
    fn gaps_are_filled_with_what_fits_them() {
        let mut blocks = FoundBlocks::default();
        add(&mut blocks, 10, 5, 1);
        add(&mut blocks, 30, 5, 2);
        assert_eq!(blocks.gaps(GlobalSequence(0)).collect::<Vec<_>>(), [(0, 10), (15, 30)]);
        let mut others = FoundBlocks::default();
        for (first, events) in [(0, 4), (12, 3), (16, 4), (20, 11), (35, 5), (50, 1)] {
            add(&mut others, first, events, 9);
        }
        assert_eq!(blocks.fill_gaps(GlobalSequence(0), &others), 4);
        assert_eq!(ranges(&blocks), [(0, 4), (10, 15), (16, 20), (30, 35), (35, 40), (50, 51)]);
    }
}

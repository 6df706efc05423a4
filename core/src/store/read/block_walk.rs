//! The blocks of the log one after the other, from LMDB on into the tail.

use heed::RoRange;
use heed::types::Bytes;

use crate::GlobalSequence;
use crate::store::error::ReadError;
use crate::store::log::block::Block;
use crate::store::log::tables::long_number;
use crate::store::read::snapshot::Snapshot;

/// Gives each block of the log that begins before some end, checked, be it of events or in the place of lost ones. Each
/// begins where the one before it ends.
pub(in crate::store) struct BlockWalk<'s> {
    snapshot: &'s Snapshot,
    /// What LMDB still has; `None` once only the tail is left.
    stored: Option<RoRange<'s, Bytes, Bytes>>,
    /// Where the next block begins.
    next: GlobalSequence,
    end: GlobalSequence,
}

impl<'s> BlockWalk<'s> {
    /// The blocks from the one that begins at `first` on, which begin before `end`.
    pub(in crate::store) fn new(
        snapshot: &'s Snapshot,
        first: GlobalSequence,
        end: GlobalSequence,
    ) -> Result<Self, ReadError> {
        let stored = snapshot.tables().block.from(snapshot.txn(), &first.0.to_be_bytes())?;
        Ok(Self { snapshot, stored: Some(stored), next: first, end })
    }

    fn advance(&mut self) -> Result<Option<Block<'s>>, ReadError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let block = match self.next_stored()? {
            Some(block) => block,
            None => match self.snapshot.any_block_around(self.next) {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(None),
                Err(error) => return Err(error.passed_in_log(&mut self.next)),
            },
        };
        if block.first() != self.next {
            return Err(block.damage("it does not follow the block before it").into());
        }
        self.next = block.end()?;
        Ok(Some(block))
    }

    fn next_stored(&mut self) -> Result<Option<Block<'s>>, ReadError> {
        let Some(row) = self.stored.as_mut().and_then(Iterator::next) else {
            self.stored = None;
            return Ok(None);
        };
        let (key, value) = row?;
        let first = long_number(key, 0).map(GlobalSequence);
        let first =
            first.ok_or_else(|| self.snapshot.tables().block.damage(key, "its key is no sequence"))?;
        self.snapshot.verified(first, value).map(Some)
    }
}

impl<'s> Iterator for BlockWalk<'s> {
    type Item = Result<Block<'s>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

//! The blocks of LMDB that hold events of one stream, found in the order of the log.

use heed::RoRange;
use heed::types::Bytes;

use crate::GlobalSequence;
use crate::store::log::block::Block;
use crate::store::read::snapshot::Snapshot;

/// Finds blocks by their first events. A block that follows the one before it costs a step; any other, a search.
pub(in crate::store) struct BlockSeek<'s> {
    snapshot: &'s Snapshot,
    /// The block that was searched for last.
    before: Option<(GlobalSequence, &'s [u8])>,
    /// What follows the block that was found last; `None` where the one before it was not its neighbour.
    following: Option<RoRange<'s, Bytes, Bytes>>,
}

impl<'s> BlockSeek<'s> {
    /// Nothing is found yet.
    pub(in crate::store) fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, before: None, following: None }
    }

    /// The bytes that stand at the key `first`, if there are any. While blocks follow each other it looks at none of
    /// them.
    pub(in crate::store) fn find(&mut self, first: GlobalSequence) -> heed::Result<Option<&'s [u8]>> {
        let (table, txn) = (&self.snapshot.tables().block, self.snapshot.txn());
        let key = first.0.to_be_bytes();
        if self.following.is_none() && self.is_next(first) {
            self.following = Some(table.from(txn, &key)?);
        }
        if let Some(rows) = &mut self.following {
            if let Some((found, block)) = rows.next().transpose()?
                && found == key
            {
                return Ok(Some(block));
            }
            self.following = None;
        }
        let block = table.get(txn, &key)?;
        self.before = block.map(|block| (first, block));
        Ok(block)
    }

    /// Whether the block that was searched for last ends where `first` begins.
    fn is_next(&self, first: GlobalSequence) -> bool {
        let before = self.before.and_then(|(first, bytes)| Block::new_trusted(first, bytes).ok());
        before.is_some_and(|before| before.end().is_ok_and(|end| end == first))
    }
}

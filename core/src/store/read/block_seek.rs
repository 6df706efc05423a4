//! The blocks of LMDB that hold events of one stream, found in the order of the log.

use heed::RoRange;
use heed::types::Bytes;

use crate::GlobalSequence;
use crate::store::log::block::Block;
use crate::store::read::snapshot::Snapshot;

/// Finds blocks by their first events. A block that follows the one before it costs a step; any other, a search.
pub(in crate::store) struct BlockSeek<'s> {
    snapshot: &'s Snapshot,
    /// What follows the block that was found last; `None` where nobody has asked for that yet.
    following: Option<RoRange<'s, Bytes, Bytes>>,
}

impl<'s> BlockSeek<'s> {
    /// Nothing is found yet.
    pub(in crate::store) fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, following: None }
    }

    /// The bytes that stand at the key `first`, if there are any. `before` is the block that was found last.
    pub(in crate::store) fn find(
        &mut self,
        first: GlobalSequence,
        before: Option<&Block<'s>>,
    ) -> heed::Result<Option<&'s [u8]>> {
        let (table, txn) = (&self.snapshot.tables().block, self.snapshot.txn());
        let key = first.0.to_be_bytes();
        if before.is_some_and(|before| before.end().is_ok_and(|end| end == first)) {
            let rows = match &mut self.following {
                Some(rows) => rows,
                None => self.following.insert(table.from(txn, &key)?),
            };
            if let Some((found, block)) = rows.next().transpose()?
                && found == key
            {
                return Ok(Some(block));
            }
        }
        self.following = None;
        table.get(txn, &key)
    }
}

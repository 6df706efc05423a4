//! The rows of a store as somebody sees them: LMDB's, then those of the tail, then those of an append in progress.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;

use heed::RoTxn;
use heed::types::Bytes;

use crate::store::log::block::Block;
use crate::store::log::tables::{Row, RowError, Table, Tables, long_number, number};
use crate::store::tail::{RowKey, TailRun, TailView};
use crate::store::write::delta::Delta;
use crate::{GlobalSequence, StreamSequence};

/// The rows of all tables, at one moment. What it lends, it lends from the map, the tail or the append.
///
/// The tables `block` and `stream` are not to be read so: the tail has no rows of them.
#[derive(Clone, Copy)]
pub(in crate::store) struct Rows<'t> {
    pub(in crate::store) tables: &'t Tables,
    pub(in crate::store) txn: &'t RoTxn<'t>,
    tail: Option<&'t TailView>,
    delta: Option<&'t Delta>,
}

/// Rows whose keys begin alike, in the order of the keys.
pub(in crate::store) struct RowsWithin<'t> {
    prefix: Vec<u8>,
    stored: Peekable<heed::RoRange<'t, Bytes, Bytes>>,
    laid_over: Peekable<btree_map::IntoIter<&'t [u8], &'t [u8]>>,
}

impl<'t> Rows<'t> {
    /// What LMDB holds, with the rows of `tail` and `delta` laid over it.
    pub(in crate::store) fn new(
        tables: &'t Tables,
        txn: &'t RoTxn<'t>,
        tail: Option<&'t TailView>,
        delta: Option<&'t Delta>,
    ) -> Self {
        Self { tables, txn, tail: tail.filter(|tail| !tail.is_empty()), delta }
    }

    /// The value at `key`.
    pub(in crate::store) fn get(&self, table: &Table, key: &[u8]) -> heed::Result<Option<&'t [u8]>> {
        if self.tail.is_some() || self.delta.is_some() {
            let wanted = RowKey::new(table.number, key);
            let pending = self.delta.and_then(|delta| delta.row(&wanted));
            if let Some((_, value)) = pending.or_else(|| self.tail.and_then(|tail| tail.row(&wanted))) {
                return Ok(Some(value));
            }
        }
        table.get(self.txn, key)
    }

    /// The last row at or before `key`.
    pub(in crate::store) fn at_or_before(&self, table: &Table, key: &[u8]) -> heed::Result<Option<Row<'t>>> {
        let stored = table.at_or_before(self.txn, key)?;
        if self.tail.is_none() && self.delta.is_none() {
            return Ok(stored);
        }
        let wanted = RowKey::new(table.number, key);
        let in_tail = self.tail.and_then(|tail| tail.row_at_or_before(&wanted));
        let pending = self.delta.and_then(|delta| delta.row_at_or_before(&wanted));
        // Of rows with one key the last counts, which is the latest.
        Ok([stored, in_tail, pending].into_iter().flatten().max_by_key(|&(key, _)| key))
    }

    /// The last row of all, in a table whose keys have at most [`NUMBERS_LEN_MAX`] bytes.
    pub(in crate::store) fn last(&self, table: &Table) -> heed::Result<Option<Row<'t>>> {
        self.at_or_before(table, &[0xff; NUMBERS_LEN_MAX])
    }

    /// Every row.
    pub(in crate::store) fn all(&self, table: &Table) -> heed::Result<RowsWithin<'t>> {
        self.within(table, &[])
    }

    /// The rows whose keys begin with `prefix`.
    pub(in crate::store) fn within(&self, table: &Table, prefix: &[u8]) -> heed::Result<RowsWithin<'t>> {
        let wanted = RowKey::new(table.number, prefix);
        let mut laid_over = BTreeMap::new();
        laid_over.extend(self.tail.into_iter().flat_map(|tail| tail.rows_within(&wanted)));
        laid_over.extend(self.delta.into_iter().flat_map(|delta| delta.rows_within(&wanted)));
        let stored = table.from(self.txn, prefix)?.peekable();
        Ok(RowsWithin { prefix: prefix.to_vec(), stored, laid_over: laid_over.into_iter().peekable() })
    }

    /// The last run of a stream in the tail that begins at or before `seq`, and its block.
    pub(in crate::store) fn tail_run(&self, stream: u32, seq: StreamSequence) -> Option<(TailRun, &'t [u8])> {
        self.tail?.run_at_or_before(stream, seq)
    }

    /// The place after the last event of the log.
    pub(in crate::store) fn log_end(&self) -> Result<GlobalSequence, RowError> {
        if let Some(end) = self.tail.and_then(TailView::end) {
            return Ok(end);
        }
        match self.last_stored()? {
            Some((first, value)) => Ok(Block::new_trusted(first, value)?.end()?),
            None => Ok(GlobalSequence(0)),
        }
    }

    /// The place after the last event that LMDB has, as a last block tells it that is whole.
    pub(in crate::store) fn stored_end(&self) -> Result<GlobalSequence, RowError> {
        match self.last_stored()? {
            Some((first, value)) => Ok(Block::new_checked(first, value)?.end()?),
            None => Ok(GlobalSequence(0)),
        }
    }

    /// Whether LMDB has events behind `end`, in a last block that is whole: one that is damaged may tell of any number.
    pub(in crate::store) fn is_stored_beyond(&self, end: GlobalSequence) -> Result<bool, RowError> {
        let Some((first, value)) = self.last_stored()? else { return Ok(false) };
        let is_beyond = Block::new_trusted(first, value)?.end()? > end;
        Ok(is_beyond && Block::new_checked(first, value).is_ok())
    }

    /// The last block in LMDB.
    fn last_stored(&self) -> Result<Option<(GlobalSequence, &'t [u8])>, RowError> {
        let table = &self.tables.block;
        let Some((key, value)) = table.last(self.txn)? else { return Ok(None) };
        let first = long_number(key, 0).ok_or_else(|| table.damage(key, "its key is no sequence"))?;
        Ok(Some((GlobalSequence(first), value)))
    }

    /// The number that the next row takes, in a table whose keys are numbers from 1; `None` where they ran out.
    pub(in crate::store) fn next_number(&self, table: &Table) -> Result<Option<u32>, RowError> {
        match self.last(table)? {
            None => Ok(Some(1)),
            Some((key, _)) => {
                let last = number(key, 0).ok_or_else(|| table.damage(key, "its key is no number"))?;
                Ok(last.checked_add(1))
            }
        }
    }
}

impl<'t> Iterator for RowsWithin<'t> {
    type Item = heed::Result<Row<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        let laid_over = self.laid_over.peek().map(|&(key, _)| key);
        let stored = match self.stored.peek() {
            Some(Ok((key, _))) if key.starts_with(&self.prefix) => Some(*key),
            Some(Err(_)) => return self.stored.next(),
            _ => None,
        };
        match (stored, laid_over) {
            (None, None) => None,
            (Some(_), None) => self.stored.next(),
            (Some(stored), Some(laid_over)) if stored < laid_over => self.stored.next(),
            (stored, laid_over) => {
                if stored == laid_over {
                    self.stored.next();
                }
                self.laid_over.next().map(Ok)
            }
        }
    }
}

/// No key of numbers is longer.
pub(in crate::store) const NUMBERS_LEN_MAX: usize = 24;

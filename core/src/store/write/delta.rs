//! The rows that an append puts, before they are anywhere.

use std::collections::BTreeMap;

use crate::store::log::tables::Row;
use crate::store::tail::{CHUNK_HEAD_LEN, RecordWriter, RowKey, TableNumber};

/// The rows of one commit, in memory, on their way into its record of the tail.
#[derive(Debug, Default)]
pub(in crate::store) struct Delta {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Their bytes, with what a record adds to each.
    len: usize,
}

impl Delta {
    /// How much longer they make the body of the record, at most.
    pub(in crate::store) fn len(&self) -> usize {
        self.len
    }

    /// Puts a row.
    pub(in crate::store) fn put(&mut self, table: TableNumber, key: &[u8], value: &[u8]) {
        self.len += CHUNK_HEAD_LEN + key.len() + value.len();
        self.rows.insert(RowKey::new(table, key).into_bytes(), value.to_vec());
    }

    /// Writes all rows into a record.
    pub(in crate::store) fn emit(&self, record: &mut RecordWriter) {
        self.rows().for_each(|(table, (key, value))| record.row(table, key, value));
    }

    /// The rows and their tables.
    pub(in crate::store) fn rows(&self) -> impl Iterator<Item = (TableNumber, Row<'_>)> {
        self.rows.iter().map(|(key, value)| (TableNumber(key[0]), (&key[1..], value.as_slice())))
    }

    /// The row at `key`.
    pub(in crate::store) fn row(&self, key: &RowKey) -> Option<Row<'_>> {
        let (key, value) = self.rows.get_key_value(key.bytes())?;
        Some((&key[1..], value))
    }

    /// The last row at or before `key` of its table.
    pub(in crate::store) fn row_at_or_before(&self, key: &RowKey) -> Option<Row<'_>> {
        let (found, value) = self.rows.range(..=key.bytes().to_vec()).next_back()?;
        (found[0] == key.bytes()[0]).then_some((&found[1..], value.as_slice()))
    }

    /// The rows whose keys begin with `prefix`.
    pub(in crate::store) fn rows_within(&self, prefix: &RowKey) -> impl Iterator<Item = Row<'_>> {
        let rows = self.rows.range(prefix.bytes().to_vec()..);
        let prefix = prefix.bytes().to_vec();
        let rows = rows.take_while(move |(key, _)| key.starts_with(&prefix));
        rows.map(|(key, value)| (&key[1..], value.as_slice()))
    }
}

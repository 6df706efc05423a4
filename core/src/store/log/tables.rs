//! The tables of a store and the shape of their keys. FORMAT.md, section 5, specifies keys and values.

use std::io;
use std::ops::Bound;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, ReservedSpace, RoTxn, RwTxn, WithoutTls};

use crate::store::error::{Damage, OpenError, Place};
use crate::store::log::block::BLOCK_LEN_MAX;
use crate::store::log::format::{FORMAT_KEY, META_TABLE};
use crate::store::tail::TableNumber;

/// Every table of a store.
#[derive(Debug)]
pub(in crate::store) struct Tables {
    /// What the store is.
    pub(in crate::store) meta: Table,
    /// The events, in blocks, by the first global sequence.
    pub(in crate::store) block: Table,
    /// Where each run of a stream stands.
    pub(in crate::store) stream: Table,
    /// The number of each stream name.
    pub(in crate::store) name: Table,
    /// The number of each stream.
    pub(in crate::store) stream_id: Table,
    /// The name and id of each stream.
    pub(in crate::store) stream_info: Table,
    /// The layouts that each stream name holds.
    pub(in crate::store) layout: Table,
    /// The descriptors.
    pub(in crate::store) descriptor: Table,
    /// The number of each descriptor.
    pub(in crate::store) hash: Table,
    /// The devices.
    pub(in crate::store) device: Table,
    /// The number of each device.
    pub(in crate::store) device_id: Table,
    /// How far each lane of each epoch of each device is stored.
    pub(in crate::store) cursor: Table,
    /// How each session's ticks map to the host's time.
    pub(in crate::store) clock: Table,
    /// How each boot's monotonic time maps to UTC.
    pub(in crate::store) domain: Table,
    /// How far each consumer has come; `None` where this process reads a store that had none when it was opened.
    pub(in crate::store) consumer: Option<Table>,
    /// When the events of each block happened; `None` as of `consumer`.
    pub(in crate::store) time: Option<Table>,
}

/// A table: bytes by bytes, in the order of the keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Table {
    /// Its name in LMDB and in FORMAT.md.
    pub(in crate::store) name: &'static str,
    /// Its place in the list of FORMAT.md, which stands for it in the tail.
    pub(in crate::store) number: TableNumber,
    rows: Rows,
}

type Rows = Database<'static, Bytes, Bytes>;

/// A row: its key and its value.
pub(in crate::store) type Row<'t> = (&'t [u8], &'t [u8]);

impl Tables {
    /// How many tables a store can have; the rest are for later versions.
    pub(in crate::store) const COUNT: u32 = 24;

    /// Makes the tables of a new store, with `meta` as the first rows of that table, all in one transaction.
    pub(in crate::store) fn create(env: &Env<WithoutTls>, meta: &[Row<'_>]) -> heed::Result<Self> {
        let created = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            let mut rows = Vec::with_capacity(NAMES.len());
            for name in NAMES {
                let table = opener.create_database::<Bytes, Bytes>(txn, Some(name))?;
                if name == META_TABLE {
                    meta.iter().try_for_each(|(key, value)| table.put(txn, key, value))?;
                }
                rows.push(table);
            }
            let [consumer, time] =
                LATER.map(|(name, _)| opener.create_database::<Bytes, Bytes>(txn, Some(name)));
            let later = [Some(consumer?), Some(time?)];
            Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit(all(rows).map(|rows| (rows, later))))
        })?;
        let (rows, later) = created.unwrap_commit().expect("one was made for each name");
        Ok(Self::of(rows, later))
    }

    /// Makes the tables that a store lacks which was made before there were such.
    pub(in crate::store) fn complete(mut self, env: &Env<WithoutTls>) -> heed::Result<Self> {
        if self.consumer.is_none() || self.time.is_none() {
            let created = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
                let [consumer, time] =
                    LATER.map(|(name, _)| opener.create_database::<Bytes, Bytes>(txn, Some(name)));
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit([Some(consumer?), Some(time?)]))
            })?;
            [self.consumer, self.time] = Table::later(created.unwrap_commit());
        }
        Ok(self)
    }

    /// Opens the tables, or returns `None` where one is missing. `check` sees the version of the format before any
    /// other table is looked for, since another version may have other tables.
    pub(in crate::store) fn open(
        env: &Env<WithoutTls>,
        check: impl FnOnce(&[u8]) -> Result<(), OpenError>,
    ) -> Result<Option<Self>, OpenError> {
        let opened = env.open_databases_and_commit(env.read_txn()?, |opener, txn| {
            let mut rows = Vec::with_capacity(NAMES.len());
            if let Some(meta) = opener.open_database::<Bytes, Bytes>(txn, Some(META_TABLE))? {
                match meta.get(txn, FORMAT_KEY)? {
                    Some(version) => check(version)?,
                    None => return Ok(CommitOrAbort::Abort(())),
                }
            }
            for name in NAMES {
                rows.extend(opener.open_database::<Bytes, Bytes>(txn, Some(name))?);
            }
            let [consumer, time] =
                LATER.map(|(name, _)| opener.open_database::<Bytes, Bytes>(txn, Some(name)));
            let later = [consumer?, time?];
            Ok::<_, OpenError>(CommitOrAbort::Commit(all(rows).map(|rows| (rows, later))))
        })?;
        Ok(opened.commit().flatten().map(|(rows, later)| Self::of(rows, later)))
    }

    /// How many bytes of the data file's pages the tables take.
    pub(in crate::store) fn len_on_disk(&self, txn: &RoTxn<'_>) -> heed::Result<u64> {
        let always = [
            &self.meta,
            &self.block,
            &self.stream,
            &self.name,
            &self.stream_id,
            &self.stream_info,
            &self.layout,
            &self.descriptor,
            &self.hash,
            &self.device,
            &self.device_id,
            &self.cursor,
            &self.clock,
            &self.domain,
        ];
        let later = self.consumer.iter().chain(&self.time);
        always.into_iter().chain(later).map(|table| table.len_on_disk(txn)).sum()
    }

    fn of(rows: [Rows; NAMES.len()], later: [Option<Rows>; LATER.len()]) -> Self {
        let [consumer, time] = Table::later(later);
        let tables = NAMES.iter().zip(rows).zip(0..);
        let mut tables =
            tables.map(|((name, rows), number)| Table { name, number: TableNumber(number), rows });
        let mut next = || tables.next().expect("there are as many tables as names");
        Self {
            meta: next(),
            block: next(),
            stream: next(),
            name: next(),
            stream_id: next(),
            stream_info: next(),
            layout: next(),
            descriptor: next(),
            hash: next(),
            device: next(),
            device_id: next(),
            cursor: next(),
            clock: next(),
            domain: next(),
            consumer,
            time,
        }
    }
}

impl Table {
    /// The tables that not every store has.
    fn later(rows: [Option<Rows>; LATER.len()]) -> [Option<Self>; LATER.len()] {
        let mut names = LATER.into_iter();
        rows.map(|rows| {
            let (name, number) = names.next().expect("there are as many names");
            rows.map(|rows| Self { name, number: TableNumber(number), rows })
        })
    }

    /// The value at `key`.
    pub(in crate::store) fn get<'t>(&self, txn: &'t RoTxn<'_>, key: &[u8]) -> heed::Result<Option<&'t [u8]>> {
        self.rows.get(txn, key)
    }

    /// The last row at or before `key`.
    pub(in crate::store) fn at_or_before<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        key: &[u8],
    ) -> heed::Result<Option<Row<'t>>> {
        self.rows.get_lower_than_or_equal_to(txn, key)
    }

    /// The first row of all.
    pub(in crate::store) fn first<'t>(&self, txn: &'t RoTxn<'_>) -> heed::Result<Option<Row<'t>>> {
        self.rows.first(txn)
    }

    /// The last row of all.
    pub(in crate::store) fn last<'t>(&self, txn: &'t RoTxn<'_>) -> heed::Result<Option<Row<'t>>> {
        self.rows.last(txn)
    }

    /// The rows from `key` on; all of them where it is empty, which no key is.
    pub(in crate::store) fn from<'t>(
        &self,
        txn: &'t RoTxn<'_>,
        key: &[u8],
    ) -> heed::Result<heed::RoRange<'t, Bytes, Bytes>> {
        let from = if key.is_empty() { Bound::Unbounded } else { Bound::Included(key) };
        self.rows.range(txn, &(from, Bound::Unbounded))
    }

    /// Writes a row.
    pub(in crate::store) fn put(&self, txn: &mut RwTxn<'_>, key: &[u8], value: &[u8]) -> heed::Result<()> {
        self.rows.put(txn, key, value)
    }

    /// Writes a row whose value `fill` writes to its place, all of its `len` bytes. Where it writes fewer, or fails, that is an
    /// error, and the transaction is to be aborted: what stands in the place otherwise is for nobody to see.
    pub(in crate::store) fn put_filled(
        &self,
        txn: &mut RwTxn<'_>,
        key: &[u8],
        len: usize,
        fill: impl FnOnce(&mut ReservedSpace<'_>) -> io::Result<()>,
    ) -> heed::Result<()> {
        self.rows.put_reserved(txn, key, len, fill)
    }

    /// Removes a row, and tells whether it was there.
    pub(in crate::store) fn delete(&self, txn: &mut RwTxn<'_>, key: &[u8]) -> heed::Result<bool> {
        self.rows.delete(txn, key)
    }

    /// How many bytes of the data file's pages the table takes. LMDB counts them as it goes.
    pub(in crate::store) fn len_on_disk(&self, txn: &RoTxn<'_>) -> heed::Result<u64> {
        let stat = self.rows.stat(txn)?;
        let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
        Ok(pages as u64 * u64::from(stat.page_size))
    }

    /// Damage to the row at `key`.
    pub(in crate::store) fn damage(&self, key: &[u8], reason: &'static str) -> Damage {
        Damage { place: Place::Row { table: self.name, key: key.to_vec() }, reason }
    }
}

/// Whether a row has lengths that one may have.
pub(in crate::store) fn is_row(key: &[u8], value: &[u8]) -> bool {
    (1..=KEY_LEN_MAX).contains(&key.len()) && value.len() <= VALUE_LEN_MAX
}

/// LMDB's longest key.
pub(in crate::store) const KEY_LEN_MAX: usize = 511;

/// No row has a longer value than a block.
pub(in crate::store) const VALUE_LEN_MAX: usize = BLOCK_LEN_MAX;

const _: () = assert!(crate::descriptor::DESCRIPTOR_LEN_MAX + 16 <= VALUE_LEN_MAX);

/// Why a row could not be read.
#[derive(Debug)]
pub(in crate::store) enum RowError {
    Damage(Damage),
    Storage(heed::Error),
}

macro_rules! from_row_error {
    ($($error:ident),+) => {
        $(impl From<RowError> for crate::store::error::$error {
            fn from(error: RowError) -> Self {
                match error {
                    RowError::Damage(damage) => damage.into(),
                    RowError::Storage(error) => error.into(),
                }
            }
        })+
    };
}

from_row_error!(OpenError, AppendError, ReadError);

impl From<Damage> for RowError {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl From<heed::Error> for RowError {
    fn from(error: heed::Error) -> Self {
        Self::Storage(error)
    }
}

/// The big-endian number of 4 bytes at `at` of a key.
pub(in crate::store) fn number(key: &[u8], at: usize) -> Option<u32> {
    array(key, at).map(u32::from_be_bytes)
}

/// The big-endian number of 8 bytes at `at` of a key.
pub(in crate::store) fn long_number(key: &[u8], at: usize) -> Option<u64> {
    array(key, at).map(u64::from_be_bytes)
}

/// The `N` bytes at `at`, or `None` where there are fewer.
pub(in crate::store) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// The key of a number and an 8-byte place below it.
pub(in crate::store) fn key12(number: u32, place: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&number.to_be_bytes());
    key[4..].copy_from_slice(&place.to_be_bytes());
    key
}

/// The names of the tables that every store has, in the order of the fields of [`Tables`].
const NAMES: [&str; 14] = [
    "meta",
    "block",
    "stream",
    "name",
    "stream_id",
    "stream_info",
    "layout",
    "descriptor",
    "hash",
    "device",
    "device_id",
    "cursor",
    "clock",
    "domain",
];

/// The tables that a store has once an owner has opened it that knows of them, and their numbers.
const LATER: [(&str, u8); 2] = [("consumer", 14), ("time", 15)];

const _: () = assert!(NAMES.len() <= LATER[0].1 as usize);
const _: () = assert!(NAMES.len() + LATER.len() <= Tables::COUNT as usize);

fn all<T>(rows: Vec<T>) -> Option<[T; NAMES.len()]> {
    rows.try_into().ok()
}

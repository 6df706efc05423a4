//! SQLite with a row for each event and an index of streams: a write-ahead log that is flushed for each commit.

use std::path::Path;

use rusqlite::{Connection, Params};

use super::places::{Places, streams_in_turn};
use super::{Engine, EngineName, Open};
use crate::sample::{SAMPLE_LEN_MAX, Sample};

pub(crate) struct Sqlite {
    connection: Connection,
    places: Places,
}

impl<E: Sample> Open<E> for Sqlite {
    const NAME: EngineName = EngineName::Sqlite;

    fn open(dir: &Path, _room: u64) -> Self {
        let connection = Connection::open(dir.join("events.sqlite")).expect("the directory is a store's");
        connection.execute_batch(SETTINGS).expect("these are known");
        connection.execute_batch(TABLES).expect("there is room");
        Self { connection, places: Places::new() }
    }
}

impl<E: Sample> Engine<E> for Sqlite {
    fn append(&mut self, stream: u64, events: &[E]) {
        self.commit(events.iter().map(|event| (stream, event)));
    }

    fn append_over_streams(&mut self, events: &[E]) {
        self.commit(streams_in_turn().zip(events));
    }

    /// The last commit flushes what the others wrote before it.
    fn append_relaxed(&mut self, events: &[E]) -> bool {
        let Some((last, others)) = events.split_last() else { return true };
        self.connection.execute_batch("PRAGMA synchronous = NORMAL").expect("it is known");
        others.iter().for_each(|event| self.commit([(0, event)].into_iter()));
        self.connection.execute_batch("PRAGMA synchronous = FULL").expect("it is known");
        self.commit([(0, last)].into_iter());
        true
    }

    fn scan(&mut self) -> u64 {
        self.sum_of_rows::<E>("SELECT payload FROM event ORDER BY global", [])
    }

    fn iterate(&mut self, stream: u64) -> Option<u64> {
        let query = "SELECT payload FROM event WHERE stream = ?1 ORDER BY seq";
        Some(self.sum_of_rows::<E>(query, [stream as i64]))
    }

    fn get_each(&mut self, stream: u64, places: &[u64]) -> Option<u64> {
        let query = "SELECT payload FROM event WHERE stream = ?1 AND seq = ?2";
        Some(self.in_snapshot(|engine| {
            let get = |&seq| engine.sum_of_rows::<E>(query, [stream as i64, seq as i64]);
            places.iter().map(get).fold(0, u64::wrapping_add)
        }))
    }

    fn get_each_global(&mut self, places: &[u64]) -> Option<u64> {
        let query = "SELECT payload FROM event WHERE global = ?1";
        Some(self.in_snapshot(|engine| {
            let get = |&seq| engine.sum_of_rows::<E>(query, [seq as i64]);
            places.iter().map(get).fold(0, u64::wrapping_add)
        }))
    }
}

impl Sqlite {
    fn commit<'e, E: Sample>(&mut self, events: impl Iterator<Item = (u64, &'e E)>) {
        let txn = self.connection.transaction().expect("it is the only one");
        let mut buffer = [0; SAMPLE_LEN_MAX];
        {
            let mut insert = txn.prepare_cached(INSERT).expect("it is SQL");
            for (stream, event) in events {
                let place = self.places.take(stream);
                let payload = event.archive_in(&mut buffer);
                let row = (place.global as i64, stream as i64, place.seq as i64, payload);
                insert.execute(row).expect("there is room");
            }
        }
        txn.commit().expect("the disk takes it");
    }

    /// Runs many queries in one transaction.
    fn in_snapshot<R>(&self, read: impl FnOnce(&Self) -> R) -> R {
        self.connection.execute_batch("BEGIN").expect("there is none yet");
        let result = read(self);
        self.connection.execute_batch("COMMIT").expect("there is one");
        result
    }

    fn sum_of_rows<E: Sample>(&self, query: &str, of: impl Params) -> u64 {
        let mut query = self.connection.prepare_cached(query).expect("it is SQL");
        let mut rows = query.query(of).expect("it is whole");
        let mut sum = 0u64;
        while let Some(row) = rows.next().expect("it is whole") {
            let payload = row.get_ref(0).expect("it has one column").as_blob().expect("it is a blob");
            sum = sum.wrapping_add(E::stored_field(payload));
        }
        sum
    }
}

/// The cache holds the upper pages of any store here, and reads go through a map.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA cache_size = -65536;
    PRAGMA mmap_size = 4294967296;
";

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS event (
        global INTEGER PRIMARY KEY, stream INTEGER NOT NULL, seq INTEGER NOT NULL, payload BLOB NOT NULL
    );
    CREATE UNIQUE INDEX IF NOT EXISTS place ON event (stream, seq);
";

const INSERT: &str = "INSERT INTO event (global, stream, seq, payload) VALUES (?1, ?2, ?3, ?4)";

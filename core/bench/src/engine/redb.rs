//! redb with an entry and an index entry for each event.

use std::path::Path;

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition};

use super::places::{Places, streams_in_turn};
use super::{Engine, EngineName, Open};
use crate::sample::{SAMPLE_LEN_MAX, Sample};

pub(crate) struct Redb {
    database: Database,
    places: Places,
}

/// Both tables, in one snapshot.
struct Snapshot {
    events: ReadOnlyTable<u64, &'static [u8]>,
    index: ReadOnlyTable<(u64, u64), u64>,
}

impl<E: Sample> Open<E> for Redb {
    const NAME: EngineName = EngineName::Redb;

    fn open(dir: &Path, _room: u64) -> Self {
        let database = Database::create(dir.join("events.redb")).expect("the directory is a store's");
        Self { database, places: Places::new() }
    }
}

impl<E: Sample> Engine<E> for Redb {
    fn append(&mut self, stream: u64, events: &[E]) {
        self.commit(events.iter().map(|event| (stream, event)));
    }

    fn append_over_streams(&mut self, events: &[E]) {
        self.commit(streams_in_turn().zip(events));
    }

    fn scan(&mut self) -> u64 {
        let snapshot = self.snapshot();
        let rows = snapshot.events.iter().expect("it is whole");
        rows.fold(0, |sum, row| sum.wrapping_add(E::stored_field(row.expect("it is whole").1.value())))
    }

    fn iterate(&mut self, stream: u64) -> Option<u64> {
        let snapshot = self.snapshot();
        let rows = snapshot.index.range((stream, 0)..=(stream, u64::MAX)).expect("it is whole");
        Some(rows.fold(0, |sum, row| {
            let global = row.expect("it is whole").1.value();
            sum.wrapping_add(snapshot.field_at::<E>(global))
        }))
    }

    fn get_each(&mut self, stream: u64, places: &[u64]) -> Option<u64> {
        let snapshot = self.snapshot();
        let get = |&seq| {
            let global = snapshot.index.get((stream, seq)).expect("it is whole").expect("it is there");
            snapshot.field_at::<E>(global.value())
        };
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }

    fn get_each_global(&mut self, places: &[u64]) -> Option<u64> {
        let snapshot = self.snapshot();
        Some(places.iter().map(|&seq| snapshot.field_at::<E>(seq)).fold(0, u64::wrapping_add))
    }
}

impl Redb {
    fn commit<'e, E: Sample>(&mut self, appended: impl Iterator<Item = (u64, &'e E)>) {
        let txn = self.database.begin_write().expect("it is the only one");
        let mut buffer = [0; SAMPLE_LEN_MAX];
        {
            let mut events = txn.open_table(EVENTS).expect("it is whole");
            let mut index = txn.open_table(INDEX).expect("it is whole");
            for (stream, event) in appended {
                let place = self.places.take(stream);
                events.insert(place.global, event.archive_in(&mut buffer)).expect("there is room");
                index.insert((stream, place.seq), place.global).expect("there is room");
            }
        }
        txn.commit().expect("the disk takes it");
    }

    fn snapshot(&self) -> Snapshot {
        let txn = self.database.begin_read().expect("it is whole");
        let events = txn.open_table(EVENTS).expect("it is there");
        Snapshot { events, index: txn.open_table(INDEX).expect("it is there") }
    }
}

impl Snapshot {
    fn field_at<E: Sample>(&self, global: u64) -> u64 {
        E::stored_field(self.events.get(global).expect("it is whole").expect("it is there").value())
    }
}

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

/// Stream and stream sequence to global sequence.
const INDEX: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("index");

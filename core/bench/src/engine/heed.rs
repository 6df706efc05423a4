//! LMDB with an entry and an index entry for each event, as good as that design gets: appending writes, one buffer,
//! no names in the entries, one transaction for many reads.
#![allow(unsafe_code)]

use std::path::Path;

use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags, RwTxn, WithoutTls};

use super::places::{Place, Places, streams_in_turn};
use super::{Engine, EngineName, MAP_SIZE, Open};
use crate::sample::{SAMPLE_LEN_MAX, Sample};

pub(crate) struct Heed {
    env: Env<WithoutTls>,
    events: Database<'static, U64<BigEndian>, Bytes>,
    /// Stream and stream sequence to global sequence.
    index: Database<'static, Bytes, U64<BigEndian>>,
    places: Places,
    /// The last key of the index.
    last: IndexKey,
}

type IndexKey = [u8; 16];

impl<E: Sample> Open<E> for Heed {
    const NAME: EngineName = EngineName::Heed;

    fn open(dir: &Path, _room: u64) -> Self {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_SIZE).max_dbs(2);
        // SAFETY: nobody else knows of the directory, and no flag is unsafe.
        let env = unsafe { options.open(dir) }.expect("the directory is a store's");
        let databases =
            env.create_databases_and_commit(env.write_txn().expect("it is the only one"), |opener, txn| {
                let events = opener.create_database(txn, Some("events"))?;
                let index = opener.create_database(txn, Some("index"))?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((events, index)))
            });
        let (events, index) = databases.expect("there is room").unwrap_commit();
        Self { env, events, index, places: Places::new(), last: [0; 16] }
    }
}

impl<E: Sample> Engine<E> for Heed {
    fn append(&mut self, stream: u64, events: &[E]) {
        self.commit(events.iter().map(|event| (stream, event)));
    }

    fn append_over_streams(&mut self, events: &[E]) {
        self.commit(streams_in_turn().zip(events));
    }

    fn scan(&mut self) -> u64 {
        let txn = self.env.read_txn().expect("there is a slot");
        let events = self.events.iter(&txn).expect("it is whole");
        events.fold(0, |sum, row| sum.wrapping_add(E::stored_field(row.expect("it is whole").1)))
    }

    fn iterate(&mut self, stream: u64) -> Option<u64> {
        let txn = self.env.read_txn().expect("there is a slot");
        let index = self.index.prefix_iter(&txn, &stream.to_be_bytes()).expect("it is whole");
        Some(index.fold(0, |sum, row| {
            let (_, global) = row.expect("it is whole");
            let event = self.events.get(&txn, &global).expect("it is whole");
            sum.wrapping_add(E::stored_field(event.expect("it is there")))
        }))
    }

    fn get_each(&mut self, stream: u64, places: &[u64]) -> Option<u64> {
        let txn = self.env.read_txn().expect("there is a slot");
        let get = |&seq| {
            let global = self.index.get(&txn, &index_key(stream, seq)).expect("it is whole");
            let event = self.events.get(&txn, &global.expect("it is there")).expect("it is whole");
            E::stored_field(event.expect("it is there"))
        };
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }

    fn get_each_global(&mut self, places: &[u64]) -> Option<u64> {
        let txn = self.env.read_txn().expect("there is a slot");
        let get =
            |seq| E::stored_field(self.events.get(&txn, seq).expect("it is whole").expect("it is there"));
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }
}

impl Heed {
    fn commit<'e, E: Sample>(&mut self, events: impl Iterator<Item = (u64, &'e E)>) {
        let env = self.env.clone();
        let mut txn = env.write_txn().expect("it is the only one");
        let mut buffer = [0; SAMPLE_LEN_MAX];
        for (stream, event) in events {
            let place = self.places.take(stream);
            self.put(&mut txn, place, event.archive_in(&mut buffer));
        }
        txn.commit().expect("the disk takes it");
    }

    fn put(&mut self, txn: &mut RwTxn<'_>, place: Place, event: &[u8]) {
        let Place { global, stream, seq } = place;
        self.events.put_with_flags(txn, PutFlags::APPEND, &global, event).expect("there is room");
        let key = index_key(stream, seq);
        let flags = if key > self.last { PutFlags::APPEND } else { PutFlags::empty() };
        self.index.put_with_flags(txn, flags, &key, &global).expect("there is room");
        self.last = self.last.max(key);
    }
}

fn index_key(stream: u64, seq: u64) -> IndexKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&stream.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

//! LMDB with an entry and an index entry for each event, as good as that design gets: appending writes, one buffer,
//! no names in the entries.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::path::Path;

use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CommitOrAbort, Database, Env, EnvOpenOptions, PutFlags, WithoutTls};

use crate::engine::Engine;
use crate::sample::Sample;

pub(crate) struct HeedPerEvent<E> {
    env: Env<WithoutTls>,
    events: Database<'static, U64<BigEndian>, Bytes>,
    /// Stream id and stream sequence to global sequence.
    index: Database<'static, Bytes, U64<BigEndian>>,
    next: u64,
    event: PhantomData<E>,
}

const ID: u64 = 1;

impl<E: Sample> Engine<E> for HeedPerEvent<E> {
    fn open(dir: &Path) -> Self {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(16 << 30).max_dbs(2);
        // SAFETY: nobody else knows of the directory, and no flag is unsafe.
        let env = unsafe { options.open(dir) }.expect("the directory is empty");
        let databases =
            env.create_databases_and_commit(env.write_txn().expect("it is the first"), |opener, txn| {
                let events = opener.create_database(txn, Some("events"))?;
                let index = opener.create_database(txn, Some("index"))?;
                Ok::<_, heed::Error>(CommitOrAbort::<_, ()>::Commit((events, index)))
            });
        let (events, index) = databases.expect("there is room").unwrap_commit();
        Self { env, events, index, next: 0, event: PhantomData }
    }

    fn append(&mut self, events: &[E]) {
        let mut txn = self.env.write_txn().expect("it is the only one");
        let mut buffer = [0; 128];
        for event in events {
            let len = varve_core::archive_into(event, &mut buffer).expect("it fits");
            let key = index_key(self.next);
            self.events
                .put_with_flags(&mut txn, PutFlags::APPEND, &self.next, &buffer[..len])
                .expect("there is room");
            self.index.put_with_flags(&mut txn, PutFlags::APPEND, &key, &self.next).expect("there is room");
            self.next += 1;
        }
        txn.commit().expect("the disk takes it");
    }

    fn iterate(&mut self) -> u64 {
        let txn = self.env.read_txn().expect("there is a slot");
        let index = self.index.prefix_iter(&txn, &ID.to_be_bytes()).expect("it is whole");
        let digest = |row: heed::Result<(_, u64)>| {
            let (_, global) = row.expect("it is whole");
            let bytes = self.events.get(&txn, &global).expect("it is whole").expect("it is there");
            E::digest(varve_core::access::<E>(bytes).expect("it is whole"))
        };
        index.map(digest).sum()
    }

    fn get(&mut self, seq: u64) -> usize {
        let txn = self.env.read_txn().expect("there is a slot");
        let global = self.index.get(&txn, &index_key(seq)).expect("it is whole").expect("it is there");
        self.events.get(&txn, &global).expect("it is whole").expect("it is there").len()
    }

    fn get_global(&mut self, seq: u64) -> usize {
        let txn = self.env.read_txn().expect("there is a slot");
        self.events.get(&txn, &seq).expect("it is whole").expect("it is there").len()
    }
}

fn index_key(seq: u64) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&ID.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

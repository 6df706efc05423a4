//! A whole store against the attacker.

use std::path::Path;

use rkyv::{Archive, Serialize};

use super::attacker::{all_bytes, attack, open_units};
use super::*;
use crate::store::files::environment::Environment;
use crate::store::files::owner_lock::OwnerLock;
use crate::{Config, StreamId, TAIL_LEN_MIN, Varve};

#[derive(Clone, Archive, Serialize, crate::Event)]
struct Visit {
    who: String,
}

const MARKER: &[u8] = b"Ada Lovelace was here";
const VICTIM: (&str, StreamId) = ("visits", StreamId(2));

fn master() -> MasterKey {
    MasterKey::from_bytes([3; 32])
}

fn open(dir: &Path) -> Varve {
    let encryption = Some(Encryption::new(master()));
    let config = Config { tail_len: TAIL_LEN_MIN, encryption, ..Config::default() };
    Varve::with_config(dir, config).unwrap()
}

/// Whether the attacker reads the victim's events in `bytes`.
fn is_read(bytes: &[u8]) -> bool {
    let keys = attack(bytes, &master());
    let texts = open_units::<Visit>(bytes, &keys, Suite::default(), VICTIM);
    texts.iter().any(|text| text.windows(MARKER.len()).any(|window| window == MARKER))
}

/// A store that holds the victim's events in the tail and in LMDB, freed pages included.
fn store_with_victim(dir: &Path) -> Varve {
    let mut varve = open(dir);
    let visit = Visit { who: String::from_utf8(MARKER.to_vec()).unwrap() };
    let mut visits = varve.stream::<Visit, 64>(VICTIM.0).unwrap();
    for _ in 0..3 {
        visits.append(StreamId(1), &visit).unwrap();
        visits.append_batch(VICTIM.1, &[visit.clone(), visit.clone()]).unwrap();
        varve.fold().unwrap();
    }
    visits.append(VICTIM.1, &visit).unwrap();
    varve
}

#[test]
fn who_has_the_master_key_and_every_byte_reads_a_stream_until_it_is_shredded() {
    let dir = tempfile::tempdir().unwrap();
    let varve = store_with_victim(dir.path());
    assert!(is_read(&all_bytes(dir.path())), "the attack works");
    varve.shred(VICTIM.0, VICTIM.1).unwrap();
    assert!(!is_read(&all_bytes(dir.path())), "with the store open");
    drop(varve);
    assert!(!is_read(&all_bytes(dir.path())), "with the store closed");
    open(dir.path()).fold().unwrap();
    let bytes = all_bytes(dir.path());
    assert!(!is_read(&bytes), "once it was folded");
    assert_eq!(attack(&bytes, &master()).len(), 1, "the other stream's key is there");
}

/// The control: keys as rows of LMDB, which a delete only unlinks, are there for the attacker.
#[test]
fn who_has_every_byte_reads_a_stream_whose_key_was_a_row_that_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let varve = store_with_victim(dir.path());
    let keys = std::fs::read(dir.path().join("keys")).unwrap();
    let rows = dir.path().join("rows");
    std::fs::create_dir(&rows).unwrap();
    put_and_delete(&rows, &keys);
    varve.shred(VICTIM.0, VICTIM.1).unwrap();
    drop(varve);
    let bytes = [all_bytes(&rows), all_bytes(dir.path())].concat();
    assert!(is_read(&bytes));
}

/// Puts a value into an LMDB environment, and deletes it in a transaction of its own.
fn put_and_delete(dir: &Path, value: &[u8]) {
    let owner = OwnerLock::acquire(dir).unwrap();
    let environment = Environment::open(dir, &Config::default(), owner).unwrap();
    let meta = &environment.tables().meta;
    let mut txn = environment.write().unwrap();
    meta.put(&mut txn, b"wrapped keys", value).unwrap();
    txn.commit().unwrap();
    let mut txn = environment.write().unwrap();
    assert!(meta.delete(&mut txn, b"wrapped keys").unwrap());
    txn.commit().unwrap();
}

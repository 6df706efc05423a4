//! The store grows by itself.

use varve_core::{AppendError, Config, Durability, GlobalSequence, StreamId, Varve};

use crate::new_dir;

fn small() -> Config {
    let mut config = Config::default();
    config.durability = Durability::Relaxed;
    config.map_size = Some(1 << 20);
    config
}

#[test]
fn a_small_map_grows_under_an_append_that_needs_more() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), small()).unwrap();
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    for round in 0..4 {
        stream.append_batch(StreamId(1), &vec![round; 500_000]).unwrap();
    }
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(2_000_000));
    let events = stream.reader().iter_stream(StreamId(1), None).unwrap();
    let sum: u64 = events.iter().map(|event| event.unwrap().archived.to_native()).sum();
    assert_eq!(sum, 500_000 * (1 + 2 + 3));
}

#[test]
fn a_map_that_is_looked_at_grows_once_nobody_looks() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), small()).unwrap();
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append(StreamId(1), &1).unwrap();
    let snapshot = varve.snapshot().unwrap();
    let error = stream.append_batch(StreamId(1), &vec![2; 500_000]).unwrap_err();
    assert!(matches!(error, AppendError::MapFull { snapshots: 1, .. }), "{error}");
    assert_eq!(snapshot.next_global_seq().unwrap(), GlobalSequence(1));
    drop(snapshot);
    let appended = stream.append_batch(StreamId(1), &vec![2; 500_000]).unwrap();
    assert_eq!(appended.get(0).unwrap().1, GlobalSequence(1), "the failed append burnt nothing");
}

/// A commit replaces pages and uses old ones again: what it costs does not depend on how many there were.
#[test]
fn small_commits_do_not_make_the_file_grow_beyond_their_events() {
    let dir = new_dir();
    let mut varve = crate::open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    for n in 0..5_000 {
        stream.append(StreamId(n % 10), &n).unwrap();
    }
    let len = std::fs::metadata(dir.path().join("data.mdb")).unwrap().len();
    assert!(len < 5_000 * 400, "{len} bytes for 5,000 blocks of 120 bytes");
}

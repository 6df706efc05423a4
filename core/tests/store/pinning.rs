//! Whoever holds on to a snapshot is told to let go, and can be found.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use varve_core::{
    Config, DeviceId, Event, GlobalSequence, ReadError, Snapshot, StreamId, StreamSequence, Varve,
};

use crate::second_process::{start, tell, wait_for};
use crate::{Door, door, new_dir, open, relaxed};

const ID: StreamId = StreamId(5);

fn limited(dir: &tempfile::TempDir, limit: Duration) -> Varve {
    let mut config: Config = relaxed();
    config.pin_limit = Some(limit);
    Varve::with_config(dir.path(), config).expect("the store opens")
}

/// Each way to read a snapshot, with whether it found that the snapshot is too old.
fn reads(snapshot: &Snapshot) -> Vec<(&'static str, bool)> {
    let is_refused = |error: ReadError| matches!(error, ReadError::PinnedTooLong { limit: Duration::ZERO });
    let mut reads = Vec::new();
    let mut add = |name, result: Result<(), ReadError>| reads.push((name, result.is_err_and(is_refused)));
    let first = GlobalSequence(0);
    add("next_global_seq", snapshot.next_global_seq().map(drop));
    add("iter_from", snapshot.iter_from(first).map(drop));
    add("iter_back", snapshot.iter_back(None).map(drop));
    add("log", snapshot.log().get_bytes(first).map(drop));
    add("stream", snapshot.stream::<Door>("doors", ID).map(drop));
    add("events_of", snapshot.events_of::<Door>(first).try_for_each(|event| event.map(drop)));
    add("iter_streams", snapshot.iter_streams([("doors", ID)], first).map(drop));
    add("iter_name", snapshot.iter_name("doors", first).map(drop));
    add("iter_between", snapshot.iter_between(0..1).map(drop));
    add("first_global_seq", snapshot.first_global_seq().map(drop));
    add("streams", snapshot.streams().map(drop));
    add("devices", snapshot.devices().map(drop));
    add("device", snapshot.device(DeviceId(0)).map(drop));
    add("consumer", snapshot.consumer("upstream").map(drop));
    add("schema", snapshot.schema(Door::DESCRIPTOR_HASH).map(drop));
    reads
}

#[test]
fn a_snapshot_past_the_limit_is_read_no_more() {
    let dir = new_dir();
    open(&dir).stream::<Door, 64>("doors").unwrap().append(ID, &door("Ada")).unwrap();
    let varve = limited(&dir, Duration::from_secs(3_600));
    assert!(reads(&varve.snapshot().unwrap()).iter().all(|(_, is_refused)| !is_refused));
    drop(varve);
    let varve = limited(&dir, Duration::ZERO);
    let snapshot = varve.snapshot().unwrap();
    while varve.pins()[0].age.is_zero() {}
    let allowed: Vec<_> = reads(&snapshot).into_iter().filter(|(_, is_refused)| !is_refused).collect();
    assert_eq!(allowed, []);
}

#[test]
fn what_was_lent_stays_though_the_snapshot_is_too_old() {
    let dir = new_dir();
    open(&dir).stream::<Door, 64>("doors").unwrap().append(ID, &door("Ada")).unwrap();
    let limit = Duration::from_millis(200);
    let varve = limited(&dir, limit);
    let mut reader = varve.stream_reader::<Door>("doors").unwrap();
    let lent = reader.get_archived(ID, StreamSequence(0)).unwrap().unwrap();
    while varve.pins()[0].age <= limit {
        thread::yield_now();
    }
    assert_eq!(lent.who, "Ada");
    drop(lent);
    assert!(
        reader.get_archived(ID, StreamSequence(0)).unwrap().is_some(),
        "another read is another snapshot"
    );
}

#[test]
fn pins_tell_which_thread_holds_on_and_for_how_long() {
    let dir = new_dir();
    let varve = open(&dir);
    assert!(varve.pins().is_empty());
    let snapshot = varve.snapshot().unwrap();
    let (taken, seen) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        let hold = || {
            let _snapshot = varve.snapshot().unwrap();
            taken.wait();
            seen.wait();
        };
        let holder = thread::Builder::new().name("exporter".into()).spawn_scoped(scope, hold).unwrap();
        taken.wait();
        let pins = varve.pins();
        assert_eq!((pins.len(), pins[1].thread.as_deref()), (2, Some("exporter")));
        assert!(pins[0].age >= pins[1].age, "the oldest comes first");
        seen.wait();
        holder.join().unwrap();
        assert_eq!(varve.pins().len(), 1);
    });
    drop(snapshot);
    assert!(varve.pins().is_empty());
}

#[test]
fn who_holds_on_cannot_be_told_without_the_table_of_readers() {
    let dir = new_dir();
    let varve = open(&dir);
    std::fs::remove_file(dir.path().join("lock.mdb")).unwrap();
    let error = varve.process_pins().unwrap_err();
    assert!(matches!(&error, ReadError::Storage(error) if !error.is_disk_full()), "{error}");
}

/// What the second process does: it holds on to a snapshot until its standard input ends.
pub(crate) fn hold_a_snapshot(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    let _snapshot = view.snapshot().unwrap();
    tell("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_killed_process_leaves_its_place_in_the_table_of_readers() {
    let dir = new_dir();
    let mut config: Config = relaxed();
    config.readers_max = 2;
    let varve = Varve::with_config(dir.path(), config).unwrap();
    let mut child = start("hold a snapshot", dir.path());
    wait_for(&mut child, "ready");
    let own = varve.snapshot().unwrap();
    assert!(matches!(varve.snapshot(), Err(ReadError::TooManyReaders)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(varve.snapshot().is_ok());
    drop(own);
}

#[test]
fn snapshots_in_every_place_keep_no_append_from_a_stream_that_is_known() {
    let dir = new_dir();
    let mut config: Config = relaxed();
    config.readers_max = 1;
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    let snapshot = varve.snapshot().unwrap();
    doors.append(ID, &door("Grace")).unwrap();
    doors.append_batch(ID, &[door("Ada"), door("Grace")]).unwrap();
    let error = doors.append(StreamId(ID.0 + 1), &door("Ada")).unwrap_err();
    assert_eq!(error.to_string(), "storage: every reader slot is taken; drop snapshots and iterators");
    drop(snapshot);
    let places = doors.append(StreamId(ID.0 + 1), &door("Ada")).unwrap();
    assert_eq!(places, (StreamSequence(0), GlobalSequence(4)));
}

#[test]
fn the_owner_is_told_which_process_holds_on_and_forgets_one_that_was_killed() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    let mut child = start("hold a snapshot", dir.path());
    wait_for(&mut child, "ready");
    for _ in 0..3 {
        doors.append(ID, &door("Ada")).unwrap();
        varve.fold().unwrap();
    }
    let own = [varve.snapshot().unwrap(), varve.snapshot().unwrap()];
    let pins = varve.process_pins().unwrap();
    assert_eq!((pins.len(), pins[0].process, pins[0].snapshots), (2, child.id(), 1));
    assert!(pins[0].folds_behind >= 3, "{pins:?}");
    assert_eq!((pins[1].process, pins[1].snapshots, pins[1].folds_behind), (std::process::id(), 2, 0));
    drop(own);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(varve.process_pins().unwrap().len(), 1);
    drop((varve, doors));
    assert_eq!(open(&dir).process_pins().unwrap(), []);
}

//! An append that expects a version of its stream is stored at that version, and at no other.

use std::thread;

use varve_core::{
    Append, AppendError, Epoch, Event, ExpectedVersion, GlobalSequence, StreamId, StreamSequence, Varve,
};

use crate::{DEVICE, Door, Reading, binding, device_batch, door, new_dir, open, reading, readings};

const ID: StreamId = StreamId(7);

/// The version that a conflict tells of.
fn actual<T: std::fmt::Debug>(result: Result<T, AppendError>) -> u64 {
    match result {
        Err(AppendError::ConcurrencyConflict { actual, .. }) => actual,
        other => panic!("no conflict: {other:?}"),
    }
}

#[test]
fn an_append_is_stored_at_the_expected_version_alone() {
    use ExpectedVersion::{Any, Exact, NoStream};
    for version in 0..3 {
        for expected in [Any, NoStream, Exact(0), Exact(1), Exact(2), Exact(3), Exact(u64::MAX)] {
            let dir = new_dir();
            let mut varve = open(&dir);
            let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
            let events: Vec<_> = (0..version).map(reading).collect();
            stream.append_batch(ID, &events).unwrap();
            let is_met = match expected {
                Any => true,
                NoStream => version == 0,
                Exact(n) => version == n,
                _ => unreachable!("it is none of those above"),
            };
            let result = stream.append_expecting(ID, expected, &reading(9));
            if is_met {
                assert_eq!(result.unwrap(), (StreamSequence(version), GlobalSequence(version)));
            } else {
                assert_eq!(actual(result), version, "{expected:?}");
            }
            let stored = version + u64::from(is_met);
            assert_eq!(stream.reader().version(ID).unwrap(), stored, "{expected:?}");
            assert_eq!(varve.next_global_seq().unwrap().0, stored, "{expected:?}");
        }
    }
}

#[test]
fn a_conflict_names_the_stream_and_both_versions() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append_batch(ID, &[door("Ada"), door("Grace")]).unwrap();
    let error = doors.append_expecting(ID, ExpectedVersion::Exact(1), &door("Joan")).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "stream `doors` 7 was expected to have version 1, and has version 2");
    let AppendError::ConcurrencyConflict { stream, stream_id, expected, actual } = error else { panic!() };
    assert_eq!((stream.as_str(), stream_id), ("doors", ID));
    assert_eq!((expected, actual), (ExpectedVersion::Exact(1), 2));
}

#[test]
fn what_a_conflict_tells_of_is_durable_and_can_be_read() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    for version in [1, 2] {
        let mut append = varve.begin();
        append.event(&stream, ID, &reading(0)).unwrap();
        append.commit_relaxed().unwrap();
        assert_eq!(stream.reader().version(ID).unwrap(), version - 1, "nobody has waited for it");
        let mut expecting = varve.begin();
        expecting.expect(&stream, ID, ExpectedVersion::NoStream).unwrap();
        let result = match version {
            1 => stream.append_expecting(ID, ExpectedVersion::NoStream, &reading(1)).map(drop),
            _ => expecting.commit_relaxed().map(drop),
        };
        assert_eq!(actual(result), version);
        assert_eq!(stream.reader().version(ID).unwrap(), version);
    }
}

#[test]
fn a_conflict_leaves_no_trace_of_a_new_stream() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("things").unwrap();
    let before = varve.last_commit();
    assert_eq!(actual(doors.append_expecting(ID, ExpectedVersion::Exact(1), &door("Ada"))), 0);
    assert_eq!(varve.last_commit(), before);
    assert!(varve.streams().unwrap().is_empty());
    varve.stream::<Reading, 32>("things").unwrap().append(ID, &reading(1)).unwrap();
}

#[test]
fn a_batch_is_expected_as_a_whole() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    let batch = [reading(0), reading(1), reading(2)];
    let appended = stream.append_batch_expecting(ID, ExpectedVersion::NoStream, &batch).unwrap();
    assert_eq!(appended.len(), 3);
    assert_eq!(actual(stream.append_batch_expecting(ID, ExpectedVersion::Exact(2), &batch)), 3);
    assert_eq!(actual(stream.append_batch_expecting(ID, ExpectedVersion::NoStream, &[])), 3);
    let appended = stream.append_batch_expecting(ID, ExpectedVersion::Exact(3), &batch).unwrap();
    assert_eq!(appended.get(0), Some((StreamSequence(3), GlobalSequence(3))));
}

#[test]
fn streams_of_one_name_and_names_of_one_id_have_versions_of_their_own() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    doors.append_expecting(StreamId(8), ExpectedVersion::NoStream, &door("Ada")).unwrap();
    readings.append_expecting(ID, ExpectedVersion::NoStream, &reading(1)).unwrap();
    doors.append_expecting(ID, ExpectedVersion::Exact(1), &door("Ada")).unwrap();
}

#[test]
fn one_conflict_keeps_every_stream_of_an_append_as_it_was() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    let readings = varve.stream::<Reading, 32>("readings").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    let mut append = varve.begin();
    append.event(&readings, ID, &reading(1)).unwrap();
    append.expect(&doors, ID, ExpectedVersion::NoStream).unwrap();
    append.event(&doors, ID, &door("Grace")).unwrap();
    assert_eq!(actual(append.commit()), 1);
    assert!(!append.is_empty(), "it still holds what it held");
    assert_eq!(readings.reader().version(ID).unwrap(), 0);
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn an_append_counts_what_it_adds_before_it_expects() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    let add = |append: &mut Append, expected| {
        append.expect(&doors, ID, ExpectedVersion::Exact(expected)).unwrap();
        append.event(&doors, ID, &door("Grace")).unwrap();
    };
    let mut append = varve.begin();
    (1..4).for_each(|expected| add(&mut append, expected));
    assert_eq!(append.commit().unwrap().events, 3);
    add(&mut append, 4);
    add(&mut append, 4);
    assert_eq!(actual(append.commit()), 5);
    assert_eq!(doors.reader().version(ID).unwrap(), 4);
}

#[test]
fn a_stream_can_be_expected_without_an_event_of_its_own() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let doors = varve.stream::<Door, 64>("doors").unwrap();
    let readings = varve.stream::<Reading, 32>("readings").unwrap();
    let mut append = varve.begin();
    append.expect(&doors, ID, ExpectedVersion::NoStream).unwrap();
    append.event(&readings, ID, &reading(1)).unwrap();
    append.commit().unwrap();
    assert_eq!(varve.streams().unwrap().len(), 1, "to expect a stream does not make it");
    append.expect(&readings, ID, ExpectedVersion::NoStream).unwrap();
    assert_eq!(actual(append.commit()), 1);
}

/// What an append expected it may have met in a commit that waits for no flush.
#[test]
fn what_an_append_expected_is_durable_once_that_is_committed() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let doors = varve.stream::<Door, 64>("doors").unwrap();
    let mut append = varve.begin();
    append.event(&doors, ID, &door("Ada")).unwrap();
    append.commit_relaxed().unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(0), "it is not durable yet");
    append.expect(&doors, ID, ExpectedVersion::Exact(1)).unwrap();
    append.commit().unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn events_of_devices_count() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let channels = [binding::<Reading>("climate", ID)];
    let batch = readings(0, 5);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    let mut climate = varve.stream::<Reading, 32>("climate").unwrap();
    assert_eq!(actual(climate.append_expecting(ID, ExpectedVersion::NoStream, &reading(5))), 5);
    climate.append_expecting(ID, ExpectedVersion::Exact(5), &reading(5)).unwrap();
}

/// Each thread appends the number of events that it has seen: no two may have seen the same.
#[test]
fn of_threads_that_race_one_wins_each_version() {
    const THREADS: u64 = 4;
    const WINS: u64 = 2_500;
    let dir = new_dir();
    let mut varve = open(&dir);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let mut stream = varve.stream::<u64, 8>("counts").unwrap();
            scope.spawn(move || (0..WINS).for_each(|_| win(&mut stream)));
        }
    });
    let events = counts(&mut varve);
    assert_eq!(events, (0..THREADS * WINS).collect::<Vec<_>>());
}

fn win(stream: &mut varve_core::Stream<u64, 8>) {
    let mut version = stream.reader().version(ID).unwrap();
    loop {
        match stream.append_expecting(ID, ExpectedVersion::Exact(version), &version) {
            Ok((seq, _)) => return assert_eq!(seq.0, version),
            Err(AppendError::ConcurrencyConflict { actual, .. }) => version = actual,
            Err(error) => panic!("{error}"),
        }
    }
}

fn counts(varve: &mut Varve) -> Vec<u64> {
    let events = varve.stream_reader::<u64>("counts").unwrap().iter_stream(ID, None).unwrap();
    events.iter().map(|event| event.unwrap().archived.to_native()).collect()
}

#[test]
fn what_only_a_failed_append_made_is_made_anew() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let stream = varve.stream::<Reading, 32>("readings").unwrap();
    let mut failed = varve.begin();
    failed.event(&stream, StreamId(1), &reading(1)).unwrap();
    failed.expect(&stream, StreamId(1), ExpectedVersion::NoStream).unwrap();
    assert_eq!(actual(failed.commit()), 1);
    for (id, n) in [(2, 0), (1, 1), (2, 2), (1, 3)] {
        let mut append = varve.begin();
        append.event(&stream, StreamId(id), &reading(n)).unwrap();
        append.commit().unwrap();
    }
    for (id, expected) in [(1, [1, 3]), (2, [0, 2])] {
        let events = stream.reader().iter_stream(StreamId(id), None).unwrap();
        let read: Vec<_> = events.iter().map(|event| event.unwrap().bytes.to_vec()).collect();
        assert_eq!(read, expected.map(|n| crate::archived(&reading(n))), "stream {id}");
    }
}

#[test]
fn a_stream_goes_on_where_an_append_past_the_tail_left_it() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    let many: Vec<_> = (0..150_000).map(reading).collect();
    let mut end = 0;
    for events in [&many[..1], &many, &many[..2], &many, &many[..1]] {
        let first = stream.append_batch(ID, events).unwrap().get(0);
        assert_eq!(first, Some((StreamSequence(end), GlobalSequence(end))));
        end += events.len() as u64;
        assert_eq!(stream.reader().version(ID).unwrap(), end);
    }
}

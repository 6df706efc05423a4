//! Backward, the log and its streams are what they are forward, the last event first.

use varve_core::{
    DeviceGap, DeviceSequence, EVENT_LEN_MAX, Epoch, Event, EventView, GlobalSequence, Place, ReadError,
    StreamEvent, StreamId, StreamSequence, TimeColumn, Varve,
};

use crate::damage::{break_block, large_door};
use crate::{
    DEVICE, Door, LANE, Reading, archived, binding, device_batch, door, new_dir, open, reading, sealed,
};

const ID: StreamId = StreamId(5);

#[test]
fn many_blocks_are_read_back_from_any_place() {
    const EVENTS: u64 = 20_000;
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    let events: Vec<_> = (0..EVENTS).map(reading).collect();
    stream.append_batch(ID, &events).unwrap();
    let (reader, snapshot) = (stream.reader(), varve.snapshot().unwrap());
    for before in [0, 1, 3_400, 3_442, 3_443, 3_444, 10_000, EVENTS - 1, EVENTS, EVENTS + 1, u64::MAX] {
        let expected: Vec<_> = (0..before.min(EVENTS)).rev().collect();
        let events = reader.iter_stream_back(ID, Some(StreamSequence(before))).unwrap();
        let events: Vec<_> = events.iter().map(Result::unwrap).map(|event| typed(&event)).collect();
        assert!(events.iter().all(|(seq, uptime)| seq == uptime), "before {before}");
        assert_eq!(events.iter().map(|event| event.0).collect::<Vec<_>>(), expected, "before {before}");
        let global = snapshot.iter_back(Some(GlobalSequence(before))).unwrap();
        let seqs: Vec<_> = global.map(|event| event.unwrap().global_seq.0).collect();
        assert_eq!(seqs, expected, "before {before}");
    }
    let latest = reader.iter_stream_back(ID, None).unwrap();
    assert_eq!((&latest).into_iter().next().map(|event| event.unwrap().stream_seq.0), Some(EVENTS - 1));
    assert_eq!(snapshot.iter_back(None).unwrap().count() as u64, EVENTS);
}

fn typed(event: &StreamEvent<'_, Reading>) -> (u64, u64) {
    (event.stream_seq.0, event.archived.uptime.to_native())
}

/// All that is known of an event.
pub(crate) fn told(event: Result<EventView<'_>, ReadError>) -> String {
    let event = event.unwrap();
    let (time, ingest) = (event.time().unwrap(), event.ingest_time().unwrap());
    format!("{event:?} {time:?} {ingest:?} {:?} {:?}", event.ticks(), event.origin().unwrap())
}

/// Streams of this host and of a device, with ticks and gaps.
pub(crate) fn interleaved_with_a_device(dir: &tempfile::TempDir) -> Varve {
    let mut varve = open(dir);
    let mut doors = varve.stream::<Door, 4_000>("doors").unwrap();
    let channels = [binding::<Reading>("climate", ID), binding::<Door>("doors", ID)];
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    let mut next = 0;
    for n in 0..60 {
        doors.append(StreamId(n % 3), &door(&"x".repeat(n as usize * 60))).unwrap();
        append.event(&doors, ID, &door("Ada")).unwrap();
        let events = [0, 1, 0, 0].map(|channel| match channel {
            0 => (channel, 100 * next + n, archived(&reading(n))),
            _ => (channel, 100 * next + 7, archived(&door("Grace"))),
        });
        let batch = sealed(LANE, TimeColumn::DeltaOfDeltas, &events);
        append.device_batch(device_batch(&channels, next, &batch)).unwrap();
        let (first, ingest_us) = (DeviceSequence(next + 4), 1_000_000 - next);
        let gap = DeviceGap {
            device: DEVICE,
            epoch: Epoch(1),
            lane: LANE,
            first,
            len: n,
            reason: varve_core::GapReason::OutboxFull,
            chain: 1,
            ingest_us,
        };
        append.device_gap(gap).unwrap();
        next += 4 + n;
        if n % 7 == 0 {
            assert_eq!(append.commit().unwrap().refused, []);
        }
    }
    append.commit().unwrap();
    drop(doors);
    varve
}

#[test]
fn an_event_of_interleaved_streams_is_told_alike_in_both_directions() {
    let dir = new_dir();
    let varve = interleaved_with_a_device(&dir);
    let doors = varve.stream_reader::<Door>("doors").unwrap();
    let snapshot = varve.snapshot().unwrap();
    let forward: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(told).collect();
    assert_eq!(forward.len(), 60 * 7);
    for before in [forward.len(), 300, 123, 1] {
        let mut backward: Vec<_> =
            snapshot.iter_back(Some(GlobalSequence(before as u64))).unwrap().map(told).collect();
        backward.reverse();
        assert_eq!(backward, forward[..before], "before {before}");
    }
    let mut events = varve.global_reader().iter_back(None).unwrap().collect_all().unwrap();
    events.reverse();
    assert_eq!(events, varve.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap());
    for id in 0..6 {
        let events = doors.iter_stream(StreamId(id), None).unwrap().collect_bytes().unwrap();
        let back = doors.iter_stream_back(StreamId(id), None).unwrap();
        let mut typed: Vec<_> =
            back.iter().map(Result::unwrap).map(|event| (event.stream_seq, event.bytes.to_vec())).collect();
        let mut bytes = back.collect_bytes().unwrap();
        bytes.reverse();
        typed.reverse();
        assert_eq!((&bytes, &typed), (&events, &events), "stream {id}");
    }
}

#[test]
fn nothing_lies_before_the_first_event() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    let reader = doors.reader();
    assert!(varve.snapshot().unwrap().iter_back(None).unwrap().next().is_none());
    assert!(reader.iter_stream_back(ID, None).unwrap().iter().next().is_none());
    doors.append(ID, &door("Ada")).unwrap();
    assert!(varve.snapshot().unwrap().iter_back(Some(GlobalSequence(0))).unwrap().next().is_none());
    assert!(reader.iter_stream_back(ID, Some(StreamSequence(0))).unwrap().iter().next().is_none());
    assert!(reader.iter_stream_back(StreamId(4), None).unwrap().collect_bytes().unwrap().is_empty());
    let snapshot = varve.snapshot().unwrap();
    let mut events = snapshot.iter_back(None).unwrap();
    assert!(events.next().is_some());
    assert!(events.next().is_none() && events.next().is_none());
}

#[test]
fn what_is_appended_later_is_not_in_the_snapshot() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    let stream = doors.reader().iter_stream_back(ID, None).unwrap();
    let log = varve.global_reader().iter_back(None).unwrap();
    doors.append(ID, &door("Grace")).unwrap();
    assert_eq!(stream.iter().next().unwrap().unwrap().archived.who, "Ada");
    assert_eq!(log.iter().unwrap().count(), 1);
}

#[test]
fn an_event_of_another_layout_is_an_error_that_ends_the_iteration() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("things").unwrap();
    let channels = [binding::<Reading>("things", ID)];
    let batch = crate::readings(0, 2);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.event(&doors, ID, &door("Ada")).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    doors.append(ID, &door("Grace")).unwrap();
    let events = doors.reader().iter_stream_back(ID, None).unwrap();
    let mut iter = events.iter();
    assert_eq!(iter.next().unwrap().unwrap().archived.who, "Grace");
    assert!(matches!(iter.next(), Some(Err(ReadError::LayoutMismatch(_)))));
    assert!(iter.next().is_none());
    assert_eq!(events.collect_bytes().unwrap().len(), 4, "bytes have no type");
}

#[test]
fn what_lies_behind_a_damaged_block_is_read_back_up_to_it() {
    let dir = new_dir();
    {
        let mut varve = open(&dir);
        let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
        (0..4).for_each(|_| assert!(doors.append(ID, &large_door("Ada")).is_ok()));
    }
    break_block(dir.path(), 1);
    let varve = open(&dir);
    let is_block = |error: ReadError| match error {
        ReadError::Corrupt(damage) => damage.place == Place::Block(GlobalSequence(1)),
        _ => false,
    };
    let snapshot = varve.snapshot().unwrap();
    let mut events = snapshot.iter_back(None).unwrap();
    assert_eq!(events.by_ref().take(2).map(|event| event.unwrap().global_seq.0).collect::<Vec<_>>(), [3, 2]);
    assert!(is_block(events.next().unwrap().unwrap_err()));
    assert!(events.next().is_none());
    let events = varve.stream_reader::<Door>("doors").unwrap().iter_stream_back(ID, None).unwrap();
    let mut iter = events.iter();
    assert_eq!(iter.by_ref().take(2).filter(Result::is_ok).count(), 2);
    assert!(is_block(iter.next().unwrap().unwrap_err()));
    assert!(iter.next().is_none());
}

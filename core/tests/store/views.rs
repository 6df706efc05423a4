//! Views of a snapshot lend the same events as its iterators, in whatever order they are asked for.

use rkyv::{Archive, Serialize};
use varve_core::descriptor::LayoutDifference;
use varve_core::{
    AbsenceReason, AppendError, DeviceId, Epoch, Event, GlobalSequence, MERGED_STREAMS_MAX, Place, ReadError,
    RetentionPolicy, Snapshot, StreamId, StreamSequence, TimeColumn, VIEW_STRETCHES_MAX, Varve,
};

use crate::backward::{interleaved_with_a_device, told};
use crate::{
    DEVICE, Door, LANE, Reading, absence, archived, binding, device_batch, door, new_dir, open, reading,
    sealed,
};

const ID: StreamId = StreamId(5);

/// A store of interleaved streams of two types, and of a third one in large blocks.
fn interleaved(dir: &tempfile::TempDir, rounds: u64) -> Varve {
    let mut varve = open(dir);
    let mut doors = varve.stream::<Door, 256>("doors").unwrap();
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    for round in 0..rounds {
        let mut append = varve.begin();
        for n in 0..40 {
            append.event(&doors, StreamId(n % 3), &door(&"x".repeat((round + n) as usize % 90))).unwrap();
            append.event(&readings, StreamId(n % 2), &reading(40 * round + n)).unwrap();
        }
        append.commit().unwrap();
    }
    doors.append(ID, &door("Ada")).unwrap();
    let many: Vec<_> = (0..9_000).map(reading).collect();
    readings.append_batch(ID, &many).unwrap();
    varve
}

fn stream_bytes(snapshot: &Snapshot, name: &str, id: StreamId) -> Vec<Vec<u8>> {
    let events = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap);
    let events = events.filter(|event| (event.stream_name, event.stream_id) == (name, id));
    events.map(|event| event.payload.to_vec()).collect()
}

#[test]
fn a_stream_view_lends_every_event_in_any_order() {
    let dir = new_dir();
    let varve = interleaved(&dir, 60);
    let snapshot = varve.snapshot().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    for id in [0, 1, 5].map(StreamId) {
        let expected = stream_bytes(&snapshot, "readings", id);
        let mut view = snapshot.stream::<Reading>("readings", id).unwrap();
        assert_eq!(view.version(), expected.len() as u64);
        let mut places: Vec<_> = (0..expected.len()).collect();
        for shuffled in [false, true] {
            if shuffled {
                random.shuffle(&mut places);
            }
            for &place in &places {
                let seq = StreamSequence(place as u64);
                assert_eq!(view.get_bytes(seq).unwrap(), Some(&expected[place][..]), "{id} {place}");
                let uptime = view.get(seq).unwrap().unwrap().uptime.to_native();
                assert_eq!(uptime.to_le_bytes(), expected[place][11..], "{id} {place}");
            }
        }
        for past in [expected.len() as u64, expected.len() as u64 + 1, u64::MAX] {
            assert!(view.get(StreamSequence(past)).unwrap().is_none());
            assert!(view.get_bytes(StreamSequence(past)).unwrap().is_none());
        }
        let from = expected.len() / 3;
        let forward = view.iter_from(StreamSequence(from as u64)).map(|event| event.unwrap().bytes);
        assert!(forward.eq(expected[from..].iter().map(Vec::as_slice)));
        let back = view.iter_back(Some(StreamSequence(from as u64))).map(|event| event.unwrap().bytes);
        assert!(back.eq(expected[..from].iter().rev().map(Vec::as_slice)));
        assert_eq!(view.iter_back(None).count(), expected.len());
    }
}

#[test]
fn what_a_view_lends_outlives_it_and_stays_as_it_was() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(ID, &door("Ada")).unwrap();
    let snapshot = varve.snapshot().unwrap();
    let lent = snapshot.stream::<Door>("doors", ID).unwrap().get(StreamSequence(0)).unwrap().unwrap();
    doors.append(ID, &door("Grace")).unwrap();
    assert_eq!(lent.who, "Ada");
    assert_eq!(snapshot.stream::<Door>("doors", ID).unwrap().version(), 1);
    assert!(snapshot.log().get_bytes(GlobalSequence(1)).unwrap().is_none());
    let mut absent = snapshot.stream::<Door>("nobody's", ID).unwrap();
    assert_eq!((absent.version(), absent.get(StreamSequence(0)).unwrap().is_none()), (0, true));
    assert_eq!((absent.iter_from(StreamSequence(0)).count(), absent.iter_back(None).count()), (0, 0));
    assert!(matches!(snapshot.stream::<Door>("", ID), Err(ReadError::StreamName { len: 0 })));
}

#[test]
fn a_log_view_lends_every_event_in_any_order() {
    let dir = new_dir();
    let varve = interleaved(&dir, 60);
    let snapshot = varve.snapshot().unwrap();
    let expected = varve.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap();
    let mut log = snapshot.log();
    let mut places: Vec<_> = (0..expected.len()).collect();
    for shuffled in [false, true] {
        if shuffled {
            fastrand::Rng::with_seed(7).shuffle(&mut places);
        }
        for &place in &places {
            let bytes = log.get_bytes(GlobalSequence(place as u64)).unwrap();
            assert_eq!(bytes, Some(&expected[place].payload[..]), "{place}");
        }
    }
    for past in [expected.len() as u64, u64::MAX] {
        assert!(log.get_bytes(GlobalSequence(past)).unwrap().is_none());
    }
}

#[test]
fn a_log_view_tells_of_an_event_what_an_iterator_tells() {
    let dir = new_dir();
    let varve = interleaved_with_a_device(&dir);
    let snapshot = varve.snapshot().unwrap();
    let expected: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(told).collect();
    let mut log = snapshot.log();
    let mut places: Vec<_> = (0..expected.len()).collect();
    for shuffled in [false, true] {
        if shuffled {
            fastrand::Rng::with_seed(7).shuffle(&mut places);
        }
        for &place in &places {
            let event = log.get(GlobalSequence(place as u64)).unwrap();
            assert_eq!(told(Ok(event.unwrap())), expected[place], "{place}");
        }
    }
    assert!(log.get(GlobalSequence(expected.len() as u64)).unwrap().is_none());
    for (from, expected) in expected.iter().enumerate() {
        let event = snapshot.iter_from(GlobalSequence(from as u64)).unwrap().next().unwrap();
        assert_eq!(told(event), *expected, "from {from}");
    }
}

#[test]
fn an_event_that_is_asked_for_alone_has_its_place_in_its_lane() {
    let dir = new_dir();
    let varve = open(&dir);
    let batch = crate::readings(0, 10);
    let channels = [binding::<Reading>("climate", ID)];
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    let snapshot = varve.snapshot().unwrap();
    for place in 0..10 {
        let event = snapshot.log().get(GlobalSequence(place)).unwrap().unwrap();
        assert_eq!(event.origin().unwrap().unwrap().sequence.0, place);
    }
}

#[test]
fn many_streams_are_merged_in_global_order_from_any_place() {
    let dir = new_dir();
    let varve = interleaved_with_a_device(&dir);
    let snapshot = varve.snapshot().unwrap();
    let climate = ("climate", ID);
    let door = |id| ("doors", StreamId(id));
    let sets = [
        vec![],
        vec![climate],
        vec![climate, door(5), ("varve.gap", StreamId(DEVICE.0 << 8))],
        vec![door(0), door(2), door(0), ("nobody's", ID)],
    ];
    let log = || snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap);
    for set in &sets {
        for from in [0, 1, 7, 100, 210, 211, 419, 420, u64::MAX] {
            let wanted = log().filter(|event| set.contains(&(event.stream_name, event.stream_id)));
            let expected = wanted.filter(|event| event.global_seq.0 >= from).map(|event| told(Ok(event)));
            let merged = snapshot.iter_streams(set.iter().copied(), GlobalSequence(from)).unwrap();
            assert!(merged.map(told).eq(expected), "{set:?} from {from}");
        }
    }
    let expected = log().filter(|event| event.stream_name == "doors").map(|event| told(Ok(event)));
    assert!(snapshot.iter_name("doors", GlobalSequence(0)).unwrap().map(told).eq(expected));
    assert_eq!(snapshot.iter_name("nobody's", GlobalSequence(0)).unwrap().count(), 0);
}

#[test]
fn streams_of_many_blocks_are_merged() {
    let dir = new_dir();
    let varve = interleaved(&dir, 60);
    let snapshot = varve.snapshot().unwrap();
    let set = [("readings", ID), ("readings", StreamId(1)), ("doors", ID)];
    for from in [0, 1_000, 4_800, 4_801, 8_000, 13_000] {
        let events = snapshot.iter_from(GlobalSequence(from)).unwrap().map(Result::unwrap);
        let expected = events.filter(|event| set.contains(&(event.stream_name, event.stream_id)));
        let merged = snapshot.iter_streams(set, GlobalSequence(from)).unwrap().map(Result::unwrap);
        assert!(
            merged.map(|event| event.global_seq).eq(expected.map(|event| event.global_seq)),
            "from {from}"
        );
    }
}

#[test]
fn more_streams_than_can_be_merged_are_refused() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let doors = varve.stream::<Door, 64>("doors").unwrap();
    let mut append = varve.begin();
    let ids = 0..=MERGED_STREAMS_MAX as u64;
    ids.clone().for_each(|id| append.event(&doors, StreamId(id), &door("Ada")).unwrap());
    append.commit().unwrap();
    let snapshot = varve.snapshot().unwrap();
    let merge = |n: usize| {
        let streams = ids.clone().map(|id| ("doors", StreamId(id))).take(n);
        snapshot.iter_streams(streams, GlobalSequence(0)).map(Iterator::count)
    };
    assert_eq!(merge(MERGED_STREAMS_MAX).unwrap(), MERGED_STREAMS_MAX);
    let refused = |error| matches!(error, Err(ReadError::TooManyStreams { max: MERGED_STREAMS_MAX }));
    assert!(refused(merge(MERGED_STREAMS_MAX + 1)));
    assert!(refused(snapshot.iter_name("doors", GlobalSequence(0)).map(Iterator::count)));
}

#[test]
fn events_of_a_type_come_in_global_order_from_any_place() {
    let dir = new_dir();
    let varve = interleaved(&dir, 30);
    let snapshot = varve.snapshot().unwrap();
    let all = varve.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap();
    for from in [0, 1, 2, 79, 80, 1_203, 2_400, 2_401, 2_402, 9_999, all.len() as u64, u64::MAX] {
        let expected =
            all.iter().filter(|event| event.stream_name == "readings" && event.global_seq.0 >= from);
        let told = snapshot.events_of::<Reading>(GlobalSequence(from)).map(|event| {
            let event = event.unwrap();
            assert_eq!(event.archived.uptime.to_native().to_le_bytes(), event.bytes[11..]);
            (event.global_seq, event.stream_name, event.stream_id, event.stream_seq, event.bytes)
        });
        let expected = expected.map(|event| {
            let name = event.stream_name.as_str();
            (event.global_seq, name, event.stream_id, event.stream_seq, &event.payload[..])
        });
        assert!(told.eq(expected), "from {from}");
    }
    assert_eq!(snapshot.events_of::<Door>(GlobalSequence(0)).count(), 30 * 40 + 1);
    assert_eq!(snapshot.events_of::<u64>(GlobalSequence(0)).count(), 0);
}

/// Doors from a device of which the third is none: its `open` is neither true nor false.
fn with_an_event_that_is_none(dir: &tempfile::TempDir, who: &[&str]) -> Varve {
    let varve = open(dir);
    let channels = [binding::<Door>("doors", ID)];
    let mut events: Vec<_> = who.iter().map(|who| (0, 0, archived(&door(who)))).collect();
    let open_at = events[2].2.len() - size_of::<<Door as Archive>::Archived>();
    events[2].2[open_at] = 2;
    let batch = sealed(LANE, TimeColumn::None, &events);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Door::DESCRIPTOR).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    assert_eq!(append.commit().unwrap().refused, []);
    varve
}

fn is_third(error: &ReadError) -> bool {
    matches!(error, ReadError::Corrupt(damage) if damage.place == Place::Event(GlobalSequence(2)))
}

#[test]
fn an_event_that_is_none_is_never_lent_and_hides_no_other() {
    let dir = new_dir();
    let varve = with_an_event_that_is_none(&dir, &["Ada", "Grace", "Eve", "Edith"]);
    let snapshot = varve.snapshot().unwrap();
    for _ in 0..2 {
        let mut view = snapshot.stream::<Door>("doors", ID).unwrap();
        for (seq, who) in [(0, "Ada"), (1, "Grace"), (3, "Edith")] {
            assert_eq!(view.get(StreamSequence(seq)).unwrap().unwrap().who, who);
        }
        assert!(is_third(&view.get(StreamSequence(2)).map(drop).unwrap_err()));
        assert!(view.get_bytes(StreamSequence(2)).unwrap().is_some(), "bytes have no type");
        let mut forward = view.iter_from(StreamSequence(0));
        assert_eq!(forward.by_ref().take(2).filter(Result::is_ok).count(), 2);
        assert!(is_third(&forward.next().unwrap().unwrap_err()) && forward.next().is_none());
        let mut back = view.iter_back(None);
        assert_eq!(back.next().unwrap().unwrap().archived.who, "Edith");
        assert!(is_third(&back.next().unwrap().unwrap_err()) && back.next().is_none());
        let mut typed = snapshot.events_of::<Door>(GlobalSequence(0));
        assert_eq!(typed.by_ref().take(2).filter(Result::is_ok).count(), 2);
        assert!(is_third(&typed.next().unwrap().unwrap_err()) && typed.next().is_none());
        let told: Vec<_> = snapshot.events_of::<Door>(GlobalSequence(0)).map(|event| event.is_ok()).collect();
        assert_eq!(told, [true, true, false], "an error is the last");
        assert_eq!(snapshot.events_of::<Door>(GlobalSequence(3)).filter(Result::is_ok).count(), 1);
    }
}

#[test]
fn of_a_run_that_is_seldom_asked_for_each_event_is_checked_by_itself() {
    let dir = new_dir();
    let varve = with_an_event_that_is_none(&dir, &["Ada"; 200]);
    let snapshot = varve.snapshot().unwrap();
    let mut view = snapshot.stream::<Door>("doors", ID).unwrap();
    for _ in 0..3 {
        for seq in (0..200).map(StreamSequence) {
            match view.get(seq) {
                Ok(door) => assert!(seq.0 != 2 && door.unwrap().who == "Ada", "{seq}"),
                Err(error) => assert!(seq.0 == 2 && is_third(&error), "{seq}: {error}"),
            }
        }
    }
}

#[test]
fn a_view_of_the_log_that_has_begun_anew_lends_what_it_lent() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let readings = varve.stream::<Reading, 32>("readings").unwrap();
    let events = VIEW_STRETCHES_MAX as u64 + 10_000;
    for first in (0..events).step_by(5_000) {
        let mut append = varve.begin();
        for n in first..events.min(first + 5_000) {
            append.event(&readings, StreamId(n % 2), &reading(n)).unwrap();
        }
        append.commit_relaxed().unwrap();
    }
    varve.flush().unwrap();
    let snapshot = varve.snapshot().unwrap();
    let mut log = snapshot.log();
    for place in (0..events).chain((0..events).rev().step_by(997)) {
        let bytes = log.get_bytes(GlobalSequence(place)).unwrap().unwrap();
        assert_eq!(bytes[11..], place.to_le_bytes());
    }
}

#[test]
fn a_reader_goes_from_stream_to_stream() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    for id in [1, 2] {
        readings.append(StreamId(id), &reading(id)).unwrap();
    }
    let mut reader = readings.reader();
    for id in [1, 2, 3, 1] {
        let event = reader.get_archived(StreamId(id), StreamSequence(0)).unwrap();
        assert_eq!(event.map(|event| event.uptime.to_native()), (id < 3).then_some(id));
    }
}

mod v1 {
    use super::*;

    #[derive(Archive, Serialize, Event)]
    #[event(stream = "visits")]
    pub(super) struct Visit {
        pub(super) who: String,
        pub(super) doors: Vec<u16>,
    }
}

mod v2 {
    use super::*;

    #[derive(Archive, Serialize, Event)]
    #[event(stream = "visits")]
    pub(super) struct Visit {
        pub(super) who: String,
        pub(super) doors: Vec<u16>,
        pub(super) badge: Option<String>,
        pub(super) minutes: u32,
    }
}

/// Visits of both versions in one stream, from devices with the old and the new firmware.
fn visits_of_both_versions(dir: &tempfile::TempDir) -> Varve {
    let varve = open(dir);
    let old = |n: u16| archived(&v1::Visit { who: format!("visitor {n}"), doors: (0..n).collect() });
    let new = |n: u16| {
        let badge = n.is_multiple_of(2).then(|| "b".repeat(n.into()));
        archived(&v2::Visit {
            who: format!("visitor {n}"),
            doors: (0..n).collect(),
            badge,
            minutes: n.into(),
        })
    };
    let mut append = varve.begin();
    append.descriptor(v1::Visit::DESCRIPTOR).unwrap();
    append.descriptor(v2::Visit::DESCRIPTOR).unwrap();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.open_epoch(DeviceId(2), Epoch(1)).unwrap();
    let channels = [binding::<v1::Visit>("visits", ID)];
    let batch = sealed(LANE, TimeColumn::None, &[(0, 0, old(0)), (0, 0, old(1))]);
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    let channels = [binding::<v2::Visit>("visits", ID)];
    let events: Vec<_> = (2..6).map(|n| (0, 0, new(n))).collect();
    let batch = sealed(LANE, TimeColumn::None, &events);
    let mut batch = device_batch(&channels, 0, &batch);
    batch.device = DeviceId(2);
    append.device_batch(batch).unwrap();
    assert_eq!(append.commit().unwrap().refused, []);
    varve
}

#[test]
fn the_earlier_version_of_a_type_reads_events_of_the_later_one() {
    let dir = new_dir();
    let varve = visits_of_both_versions(&dir);
    let snapshot = varve.snapshot().unwrap();
    let mut visits = snapshot.stream::<v1::Visit>("visits", ID).unwrap();
    let check = |visit: &<v1::Visit as Archive>::Archived, n: u16| {
        assert_eq!(visit.who, format!("visitor {n}"));
        assert!(visit.doors.iter().map(|door| door.to_native()).eq(0..n));
    };
    (0..6).for_each(|n| check(visits.get(StreamSequence(n.into())).unwrap().unwrap(), n));
    let typed = snapshot.events_of::<v1::Visit>(GlobalSequence(0));
    let events = snapshot.iter_from(GlobalSequence(0)).unwrap();
    let checked = [
        visits
            .iter_from(StreamSequence(0))
            .zip(0..)
            .map(|(event, n)| check(event.unwrap().archived, n))
            .count(),
        visits.iter_back(None).zip((0..6).rev()).map(|(event, n)| check(event.unwrap().archived, n)).count(),
        typed.zip(0..).map(|(event, n)| check(event.unwrap().archived, n)).count(),
        events.zip(0..).map(|(event, n)| check(event.unwrap().archived::<v1::Visit>().unwrap(), n)).count(),
    ];
    assert_eq!(checked, [6; 4]);
    let mut reader = varve.stream_reader::<v1::Visit>("visits").unwrap();
    (0..6).for_each(|n| check(&reader.get_archived(ID, StreamSequence(n.into())).unwrap().unwrap(), n));
}

#[test]
fn the_later_version_refuses_events_of_the_earlier_one_and_names_the_field() {
    let dir = new_dir();
    let varve = visits_of_both_versions(&dir);
    let snapshot = varve.snapshot().unwrap();
    let mut visits = snapshot.stream::<v2::Visit>("visits", ID).unwrap();
    let error = visits.get(StreamSequence(1)).map(drop).unwrap_err();
    let ReadError::LayoutMismatch(mismatch) = &error else { panic!("{error}") };
    assert_eq!(mismatch.difference, Some(LayoutDifference::Missing { field: "badge".into() }));
    assert!(error.to_string().ends_with("the stored events end before field `badge`"), "{error}");
    assert_eq!(visits.get(StreamSequence(4)).unwrap().unwrap().minutes, 4);
    assert!(visits.get_bytes(StreamSequence(1)).unwrap().is_some(), "bytes have no type");
    assert_eq!(visits.iter_from(StreamSequence(2)).filter(Result::is_ok).count(), 4);
    let mut back = visits.iter_back(None);
    assert_eq!(back.by_ref().take(4).filter(Result::is_ok).count(), 4);
    assert!(matches!(back.next(), Some(Err(ReadError::LayoutMismatch(_)))) && back.next().is_none());
    assert_eq!(snapshot.events_of::<v2::Visit>(GlobalSequence(0)).count(), 4);
}

#[test]
fn a_program_goes_over_to_a_later_version_and_not_back() {
    let dir = new_dir();
    let old = |who: &str| v1::Visit { who: who.into(), doors: vec![7] };
    let new = |who: &str| v2::Visit { who: who.into(), doors: vec![7], badge: None, minutes: 5 };
    let mut varve = open(&dir);
    varve.stream::<v1::Visit, 64>("visits").unwrap().append(ID, &old("Ada")).unwrap();
    varve.stream::<v2::Visit, 64>("visits").unwrap().append(ID, &new("Grace")).unwrap();
    let mut earlier = varve.stream::<v1::Visit, 64>("visits").unwrap();
    earlier.append(ID, &old("Edith")).unwrap();
    let read = earlier.reader().iter_stream(ID, None).unwrap();
    let who: Vec<_> = read.iter().map(|event| event.unwrap().archived.who.to_string()).collect();
    assert_eq!(who, ["Ada", "Grace", "Edith"]);
    assert!(matches!(varve.stream::<Door, 64>("visits"), Err(ReadError::LayoutMismatch(_))));

    let mut later = varve.stream::<v2::Visit, 64>("departures").unwrap();
    later.append(ID, &new("Ada")).unwrap();
    let mut earlier = varve.stream::<v1::Visit, 64>("departures").unwrap();
    let read =
        earlier.reader().get_archived(ID, StreamSequence(0)).map(|event| event.unwrap().who.to_string());
    assert_eq!(read.unwrap(), "Ada");
    let refused = earlier.append(ID, &old("Grace")).unwrap_err();
    assert!(matches!(refused, AppendError::LayoutMismatch(_)), "{refused}");
}

#[test]
fn what_is_retired_is_not_merged_and_not_found_by_its_time() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 8_192>("doors").unwrap();
    for n in 0..60 {
        doors.append(StreamId(n % 3), &door(&"x".repeat(4_000))).unwrap();
    }
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(20);
    let first = varve.retain(&policy).unwrap().first;
    assert!((GlobalSequence(1)..=GlobalSequence(40)).contains(&first));
    let snapshot = varve.snapshot().unwrap();
    let left = || first.0..60;
    let set = [("doors", StreamId(0)), ("doors", StreamId(2))];
    let mut merged = snapshot.iter_streams(set, GlobalSequence(3)).unwrap();
    let gone = absence(merged.next().unwrap());
    assert_eq!((gone.reason, gone.log), (AbsenceReason::Retired, Some(GlobalSequence(3)..first)));
    let merged = merged.map(|event| event.unwrap().global_seq.0);
    assert!(merged.eq(left().filter(|place| place % 3 != 1)));
    let mut events = snapshot.events_of::<Door>(GlobalSequence(3));
    assert_eq!(absence(events.next().unwrap()).log, Some(GlobalSequence(3)..first));
    assert!(events.map(|event| event.unwrap().global_seq.0).eq(left()));
    let found = snapshot.iter_between(i64::MIN..i64::MAX).unwrap().map(|event| event.unwrap().global_seq.0);
    assert!(found.eq(left()));
    assert_eq!(snapshot.events_of::<Door>(first).count(), left().count());
    let mut log = snapshot.log();
    assert!(log.get(first).unwrap().is_some());
    for gone in [GlobalSequence(0), GlobalSequence(first.0 - 1)] {
        for gone in [absence(log.get(gone)), absence(log.get_bytes(gone))] {
            assert_eq!((gone.reason, gone.log), (AbsenceReason::Retired, Some(GlobalSequence(0)..first)));
        }
    }
    let mut view = snapshot.stream::<Door>("doors", StreamId(0)).unwrap();
    assert_eq!(absence(view.get(StreamSequence(0))).reason, AbsenceReason::Retired);
    assert!(view.get(StreamSequence(19)).unwrap().is_some());
}

//! Every event has a time: by its device's clock where that can be told, else by the host's.

use std::time::{SystemTime, UNIX_EPOCH};

use varve_core::{
    ClockMapping, DeviceSequence, Epoch, Event, EventTime, GlobalSequence, HostClock, Place, ReadError,
    Snapshot, StreamId, TimeColumn, Varve, restore, salvage,
};

use crate::damage::{break_block, edit};
use crate::{
    DEVICE, Door, LANE, Reading, archived, binding, device_batch, door, new_dir, open, reading, sealed,
};

fn utc_now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

#[test]
fn a_local_event_has_the_time_of_its_append() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let before = utc_now_us();
    varve.stream::<u8, 1>("bytes").unwrap().append(StreamId(0), &1).unwrap();
    let after = utc_now_us();
    let snapshot = varve.snapshot().unwrap();
    let event = snapshot.iter_from(GlobalSequence(0)).unwrap().next().unwrap().unwrap();
    let EventTime { utc_us, uncertainty_us, .. } = event.time().unwrap();
    let slack = uncertainty_us.expect("the clock of a machine that runs tests is set") as i64;
    assert!((before - slack..=after + slack).contains(&utc_us), "{before} {utc_us} {after}");
    assert_eq!(event.ticks(), None);
}

#[test]
fn a_devices_event_has_the_time_of_its_clock() {
    let dir = new_dir();
    let varve = open(&dir);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let batch = |ticks: [u64; 2]| {
        sealed(LANE, TimeColumn::Delta, &ticks.map(|ticks| (0, ticks, archived(&reading(ticks)))))
    };
    let host_us = HostClock.now_us();
    let mapping = |first, ticks, host_us| ClockMapping {
        device: DEVICE,
        epoch: Epoch(1),
        lane: LANE,
        first: DeviceSequence(first),
        ticks,
        tick_hz: 1_000,
        host_us,
        uncertainty_us: 250,
    };
    let (unmapped, mapped, later) = (batch([100, 200]), batch([1_000, 1_500]), batch([2_000, 9_000]));
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    let mut first = device_batch(&channels, 0, &unmapped);
    first.ingest_us = host_us;
    append.device_batch(first).unwrap();
    append.clock(mapping(2, 1_000, host_us)).unwrap();
    append.device_batch(device_batch(&channels, 2, &mapped)).unwrap();
    append.commit().unwrap();
    let mut append = varve.begin();
    append.clock(mapping(4, 2_000, host_us + 5_000_000)).unwrap();
    append.clock(ClockMapping { tick_hz: 0, ..mapping(5, 0, 0) }).unwrap();
    append.device_batch(device_batch(&channels, 4, &later)).unwrap();
    append.commit().unwrap();

    let snapshot = varve.snapshot().unwrap();
    let events: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap).collect();
    let times: Vec<_> = events.iter().map(|event| event.time().unwrap()).collect();
    let since: Vec<_> = times.iter().map(|time| time.utc_us - times[0].utc_us).collect();
    assert_eq!(
        since,
        [0, 0, 0, 500_000, 5_000_000, 12_000_000],
        "before it is mapped, the host's time counts"
    );
    let uncertainty = |n: usize| times[n].uncertainty_us.unwrap();
    assert_eq!(uncertainty(2), uncertainty(0) + 250);
    let ticks: Vec<_> = events.iter().map(|event| event.ticks().unwrap()).collect();
    assert_eq!(ticks, [100, 200, 1_000, 1_500, 2_000, 9_000]);
    let ingest = events[5].ingest_time().unwrap();
    assert_eq!(ingest.utc_us - times[0].utc_us, 1_000_004 - host_us as i64);
}

fn mapping(first: u64, ticks: u64, host_us: u64) -> ClockMapping {
    ClockMapping {
        device: DEVICE,
        epoch: Epoch(1),
        lane: LANE,
        first: DeviceSequence(first),
        ticks,
        tick_hz: 1_000,
        host_us,
        uncertainty_us: 250,
    }
}

#[test]
fn a_mapping_that_comes_early_holds_from_its_event_on_within_a_batch_too() {
    let dir = new_dir();
    let varve = open(&dir);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let ticks = [1_000, 2_000, 3_000, 4_000, 5_000];
    let batch = sealed(LANE, TimeColumn::Delta, &ticks.map(|ticks| (0, ticks, archived(&reading(ticks)))));
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.clock(mapping(2, 3_000, 50_000_000)).unwrap();
    append.clock(mapping(4, 5_000, 70_000_000)).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.device_batch(device_batch(&channels, 5, &batch)).unwrap();
    append.commit().unwrap();
    let since = || {
        let snapshot = varve.snapshot().unwrap();
        let events = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap);
        let times: Vec<_> = events.map(|event| event.time().unwrap().utc_us).collect();
        times.iter().map(|time| time - times[0]).collect::<Vec<_>>()
    };
    let ingest = 1_000_000;
    let by_mapping = [50, 51, 70, 66, 67, 68, 69, 70].map(|seconds: i64| seconds * 1_000_000 - ingest);
    let in_tail = since();
    assert_eq!((&in_tail[..2], &in_tail[2..]), (&[0, 0][..], &by_mapping[..]));
    varve.fold().unwrap();
    assert_eq!(since(), in_tail);
}

#[test]
fn a_mapping_that_comes_late_leaves_the_times_of_what_is_stored() {
    let dir = new_dir();
    let varve = open(&dir);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let batch = sealed(LANE, TimeColumn::Delta, &[(0, 10, archived(&reading(1)))]);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    let mut append = varve.begin();
    append.clock(mapping(0, 10, 77_000_000)).unwrap();
    append.device_batch(device_batch(&channels, 1, &batch)).unwrap();
    append.commit().unwrap();
    let snapshot = varve.snapshot().unwrap();
    let events: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(events[0].time().unwrap(), events[0].ingest_time().unwrap());
    let told_us = events[1].time().unwrap().utc_us - events[1].ingest_time().unwrap().utc_us;
    assert_eq!(told_us, 77_000_000 - 1_000_001);
}

/// Events of this host and of a device whose clock jumps about, in many blocks; some are left in the tail.
fn disordered(dir: &tempfile::TempDir, random: &mut fastrand::Rng) -> Varve {
    let mut varve = open(dir);
    let doors = varve.stream::<Door, 1_000>("doors").unwrap();
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.commit().unwrap();
    let mut next = 0;
    for round in 0..60 {
        let mut append = varve.begin();
        if random.u8(..4) == 0 {
            append.clock(mapping(next, random.u64(..1 << 20), random.u64(..1 << 40))).unwrap();
        }
        for _ in 0..random.u64(..40) {
            append.event(&doors, StreamId(0), &door(&"x".repeat(random.usize(..900)))).unwrap();
        }
        let events: Vec<_> =
            (0..random.u64(1..20)).map(|n| (0, random.u64(..1 << 24), archived(&reading(n)))).collect();
        let batch = sealed(LANE, TimeColumn::DeltaOfDeltas, &events);
        let mut batch = device_batch(&channels, next, &batch);
        batch.ingest_us = random.u64(..1 << 40);
        append.device_batch(batch).unwrap();
        assert_eq!(append.commit().unwrap().refused, []);
        next += events.len() as u64;
        if round % 11 == 10 {
            varve.fold().unwrap();
        }
    }
    varve
}

/// Compares queries by time with what every event tells.
fn check_queries(snapshot: &Snapshot, random: &mut fastrand::Rng) {
    let events = || snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap);
    let times: Vec<_> = events().map(|event| (event.global_seq, event.time().unwrap().utc_us)).collect();
    let of_doors: Vec<_> = events().map(|event| event.stream_name == "doors").collect();
    let mut ranges = vec![i64::MIN..i64::MAX, 0..0, times[5].1..times[5].1 + 1, times[5].1 + 1..times[5].1];
    ranges.extend((0..40).map(|_| {
        let mut at = || times[random.usize(..times.len())].1 + random.i64(-1..2);
        let (from, to) = (at(), at());
        from.min(to)..from.max(to)
    }));
    for range in ranges {
        let expected = times.iter().filter(|(_, utc_us)| range.contains(utc_us)).map(|&(place, _)| place);
        let found = snapshot.iter_between(range.clone()).unwrap().map(|event| event.unwrap().global_seq);
        assert!(found.eq(expected.clone()), "{range:?}");
        let expected = expected.filter(|place| of_doors[place.0 as usize]);
        let doors = snapshot.iter_name("doors", GlobalSequence(0)).unwrap().between(range.clone());
        assert!(doors.map(|event| event.unwrap().global_seq).eq(expected), "doors, {range:?}");
    }
}

/// The tail has a block for each commit.
#[test]
fn a_block_of_a_single_event_is_looked_into() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    for n in 0..4 {
        doors.append(StreamId(n), &door("Ada")).unwrap();
    }
    let snapshot = varve.snapshot().unwrap();
    let found = snapshot.iter_between(i64::MIN..i64::MAX).unwrap().map(|event| event.unwrap().global_seq.0);
    assert_eq!(found.collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn events_between_two_times_are_found_however_disordered_they_are() {
    let dir = new_dir();
    let mut random = fastrand::Rng::with_seed(7);
    let varve = disordered(&dir, &mut random);
    check_queries(&varve.snapshot().unwrap(), &mut random);
    varve.fold().unwrap();
    check_queries(&varve.snapshot().unwrap(), &mut random);
    drop(varve);
    edit(dir.path(), "domain", |_, value| {
        let offset = i64::from_le_bytes(value[16..24].try_into().unwrap()) - 86_400_000_000;
        value[16..24].copy_from_slice(&offset.to_le_bytes());
    });
    check_queries(&open_read_only(&dir), &mut random);
    // A row of an index by time that was lost, or tells of some events alone, costs time, and nothing else.
    let mut rows = 0..;
    edit(dir.path(), "time", |_, value| match rows.next().unwrap() % 3 {
        0 => value.clear(),
        1 => *value = 1u32.to_le_bytes().to_vec(),
        _ => {}
    });
    assert!(rows.start > 4, "there are blocks enough");
    check_queries(&open_read_only(&dir), &mut random);
}

fn open_read_only(dir: &tempfile::TempDir) -> Snapshot {
    Varve::open_read_only(dir.path()).unwrap().snapshot().unwrap()
}

/// Thirty batches, a second apart.
fn one_batch_a_second(dir: &tempfile::TempDir) -> Varve {
    let varve = open(dir);
    let channels = [binding::<Door>("doors", StreamId(1))];
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Door::DESCRIPTOR).unwrap();
    let events: Vec<_> = (0..10).map(|_| (0, 0, archived(&door(&"x".repeat(600))))).collect();
    let batch = sealed(LANE, TimeColumn::None, &events);
    for n in 0..30 {
        let mut batch = device_batch(&channels, 10 * n, &batch);
        batch.ingest_us = 1_000_000 * n;
        append.device_batch(batch).unwrap();
    }
    append.commit().unwrap();
    varve.fold().unwrap();
    varve
}

/// Breaks the first block of a store of thirty batches, and asks for the events of the last one.
fn check_only_the_last_block_is_read(dir: &tempfile::TempDir) {
    break_block(dir.path(), 0);
    let snapshot = open(dir).snapshot().unwrap();
    let mut log = snapshot.log();
    let mut time = |place| log.get(GlobalSequence(place)).unwrap().unwrap().time().unwrap().utc_us;
    let (late, end) = (time(290) - 500_000, time(299) + 500_000);
    let early = late - 29_000_000;
    assert_eq!(snapshot.iter_between(late..end).unwrap().map(Result::unwrap).count(), 10);
    let of_name = snapshot.iter_name("doors", GlobalSequence(0)).unwrap();
    assert_eq!(of_name.between(late..end).map(Result::unwrap).count(), 10);
    let mut events = snapshot.iter_between(early..end).unwrap();
    let error = events.next().unwrap().unwrap_err();
    assert!(matches!(error, ReadError::Corrupt(damage) if damage.place == Place::Block(GlobalSequence(0))));
    assert!(events.next().is_none());
}

#[test]
fn blocks_of_other_times_are_not_looked_into() {
    let dir = new_dir();
    drop(one_batch_a_second(&dir));
    check_only_the_last_block_is_read(&dir);
}

#[test]
fn blocks_that_were_restored_or_salvaged_are_found_by_their_times() {
    let (dir, restored, salvaged) = (new_dir(), new_dir(), new_dir());
    let mut backup = Vec::new();
    one_batch_a_second(&dir).snapshot().unwrap().back_up(&mut backup).unwrap();
    restore(backup.as_slice(), restored.path()).unwrap();
    salvage(dir.path(), salvaged.path()).unwrap();
    for dir in [restored, salvaged] {
        check_only_the_last_block_is_read(&dir);
    }
}

#[test]
fn each_event_of_a_block_is_found_by_its_time_whatever_its_ticks() {
    let dir = new_dir();
    let varve = open(&dir);
    let channels = [binding::<Reading>("climate", StreamId(1))];
    let ticks = [5_000, 9_000, 1_000, 7_000];
    let events = ticks.map(|ticks| (0, ticks, archived(&reading(ticks))));
    let batch = sealed(LANE, TimeColumn::DeltaOfDeltas, &events);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.clock(mapping(0, 0, 77_000_000)).unwrap();
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    for folded in [false, true] {
        if folded {
            varve.fold().unwrap();
        }
        let snapshot = varve.snapshot().unwrap();
        for event in snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap) {
            let utc_us = event.time().unwrap().utc_us;
            let found = snapshot.iter_between(utc_us..utc_us + 1).unwrap();
            let found: Vec<_> = found.map(|event| event.unwrap().global_seq).collect();
            assert_eq!(found, [event.global_seq], "folded: {folded}");
        }
    }
}

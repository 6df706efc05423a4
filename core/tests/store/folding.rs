//! Folds: what is read depends neither on how it was written nor on how much of it is folded, and small commits end in
//! large blocks.

use std::cell::RefCell;
use std::path::Path;

use varve_core::{
    Append, AppendError, ClockMapping, Config, DescriptorHash, DeviceGap, DeviceRecord, DeviceSequence,
    Epoch, Event, GapReason, GlobalSequence, Origin, Stream, StreamId, StreamSequence, TAIL_LEN_MIN,
    TimeColumn, Varve,
};

use crate::damage::edit;
use crate::{
    DEVICE, Door, LANE, Reading, archived, binding, device_batch, door, new_dir, reading, relaxed, scaled,
    sealed,
};

/// Something to be stored.
#[derive(Clone, Debug)]
enum Step {
    Reading(StreamId, u64),
    Door(StreamId, String),
    /// Readings and doors of a device, on two channels, from a place of its lane on.
    Batch {
        first: u64,
        events: Vec<(u8, u64, Vec<u8>)>,
    },
    Gap {
        first: u64,
        len: u64,
    },
    Clock {
        first: u64,
        ticks: u64,
    },
    /// A consumer has seen all but so many events.
    Consumer {
        behind: u64,
    },
}

/// How steps become commits.
#[derive(Clone, Copy, Debug)]
enum Writing {
    /// So many steps a commit.
    By(usize),
    /// Commits of all sizes; between them the store is folded, or closed and opened again.
    Mixed(u64),
}

/// All that a reader can tell of an event, but when it was taken in.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    global: GlobalSequence,
    name: String,
    id: StreamId,
    stream_seq: StreamSequence,
    payload: Vec<u8>,
    descriptor: DescriptorHash,
    origin: Option<Origin>,
    ticks: Option<u64>,
    /// Of a device's event: how long after it was taken in it happened, in µs.
    mapped_us: Option<i64>,
}

/// All that a reader can tell of a store.
#[derive(Clone, Debug, PartialEq)]
struct Whole {
    events: Vec<Seen>,
    devices: Vec<DeviceRecord>,
    consumer: Option<GlobalSequence>,
}

/// What LMDB holds of a closed store.
#[derive(Debug, Default)]
struct Stored {
    /// The domain and the number of events of each block, in order.
    blocks: Vec<(u32, u32)>,
    /// The number of rows of the index of runs.
    runs: usize,
}

#[test]
fn what_is_read_depends_neither_on_the_commits_nor_on_the_folds() {
    for seed in 0..scaled(20) {
        let mut random = fastrand::Rng::with_seed(seed);
        let steps = random_steps(&mut random);
        let dir = new_dir();
        let expected = read(&write(dir.path(), &steps, Writing::By(64)));
        for writing in [Writing::By(1), Writing::By(steps.len()), Writing::Mixed(seed)] {
            let dir = new_dir();
            let varve = write(dir.path(), &steps, writing);
            let times = event_times(&varve);
            assert_same(&read(&varve), &expected, seed, writing);
            varve.fold().unwrap();
            assert_same(&read(&varve), &expected, seed, writing);
            assert!(event_times(&varve) == times, "seed {seed}, {writing:?}: a time moved");
            drop(varve);
            assert_same(&read(&open(dir.path())), &expected, seed, writing);
        }
    }
}

#[test]
fn a_snapshot_stands_still_while_what_it_sees_is_folded_beneath_it() {
    let dir = new_dir();
    let mut varve = open(dir.path());
    let mut doors = varve.stream::<Door, 256>("doors").unwrap();
    let mut held = Vec::new();
    for n in 0..600u64 {
        if n % 50 == 0 {
            held.push((n, varve.snapshot().unwrap()));
        }
        doors.append(StreamId(n % 3), &door(&n.to_string())).unwrap();
    }
    for (len, snapshot) in &held {
        assert_eq!(snapshot.next_global_seq().unwrap(), GlobalSequence(*len));
        let events = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap);
        let doors: Vec<_> =
            events.map(|event| event.archived::<Door>().unwrap().who.as_str().to_owned()).collect();
        assert_eq!(doors, (0..*len).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn small_commits_end_in_large_blocks_with_one_run_a_stream() {
    let dir = new_dir();
    let mut varve = open(dir.path());
    let mut readings = varve.stream::<Reading, 32>("climate").unwrap();
    for n in 0..1_000 {
        let batch: Vec<_> = (0..20).map(|uptime| reading(20 * n + uptime)).collect();
        readings.append_batch(StreamId(n % 4), &batch).unwrap();
    }
    varve.fold().unwrap();
    drop((readings, varve));
    let stored = stored(dir.path());
    assert_eq!(stored.events(), 20_000);
    // 380,000 bytes of events.
    assert!((6..=12).contains(&stored.blocks.len()), "{stored:?}");
    assert_eq!(stored.runs, 4 * stored.blocks.len());
}

#[test]
fn one_commit_too_large_for_the_tail_takes_the_tail_with_it() {
    let dir = new_dir();
    let mut varve = open(dir.path());
    let mut readings = varve.stream::<Reading, 32>("climate").unwrap();
    for n in 0..100 {
        readings.append(StreamId(1), &reading(n)).unwrap();
    }
    let bulk: Vec<_> = (100..50_000).map(reading).collect();
    readings.append_batch(StreamId(1), &bulk).unwrap();
    readings.append(StreamId(1), &reading(50_000)).unwrap();
    check_uptimes(&readings, 50_001);
    drop((readings, varve));
    // The last event is in the tail, which `stored` has folded.
    let stored = stored(dir.path());
    assert_eq!((stored.blocks[0], stored.events()), ((1, 100), 50_001), "the tail came first");
    check_uptimes(&open(dir.path()).stream::<Reading, 32>("climate").unwrap(), 50_001);
}

/// What LMDB takes ahead of the tail is seen there before a record of the tail confirms it.
#[cfg(feature = "notify")]
#[test]
fn nobody_sees_a_large_commit_before_it_is_confirmed() {
    let dir = new_dir();
    let mut config = small();
    config.durability = varve_core::Durability::Durable;
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut readings = varve.stream::<Reading, 32>("climate").unwrap();
    let bulk: Vec<_> = (0..20_000).map(reading).collect();
    let (view, watcher) = (varve.view(), varve.watcher());
    let end = GlobalSequence(scaled(100) * bulk.len() as u64);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut seen = GlobalSequence(0);
            while seen < end {
                seen = view.next_global_seq().unwrap();
                assert!(seen <= watcher.committed_next_global_seq(), "{seen} is seen, and not confirmed");
            }
        });
        while readings.append_batch(StreamId(1), &bulk).unwrap().get(0).unwrap().1.0 + 20_000 < end.0 {}
    });
}

#[test]
fn a_fold_that_finds_no_room_is_repeated_and_loses_nothing() {
    let dir = new_dir();
    let mut config = small();
    config.map_size = Some(1 << 20);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut doors = varve.stream::<Door, 2048>("doors").unwrap();
    let snapshot = varve.snapshot().unwrap();
    let who = "x".repeat(1_500);
    let mut stored = 0u64;
    let error = loop {
        match doors.append(StreamId(0), &door(&who)) {
            Ok((seq, _)) => assert_eq!(seq.0, stored),
            Err(error) => break error,
        }
        stored += 1;
        assert!(stored < 10_000, "the map is never full");
    };
    assert!(matches!(error, AppendError::MapFull { snapshots: 1, .. }), "{error}");
    assert_eq!(doors.reader().version(StreamId(0)).unwrap(), stored, "readers go on");
    assert!(doors.append(StreamId(0), &door(&who)).is_err(), "nothing has changed");
    assert_eq!(snapshot.next_global_seq().unwrap(), GlobalSequence(0));
    drop(snapshot);
    for n in 0..500 {
        assert_eq!(doors.append(StreamId(0), &door(&who)).unwrap().0.0, stored + n);
    }
    let events = doors.reader().iter_stream(StreamId(0), None).unwrap().collect_bytes().unwrap();
    assert_eq!(events.len() as u64, stored + 500);
    assert!(events.iter().all(|(_, bytes)| *bytes == archived(&door(&who))));
}

/// A process may be out of file descriptors just when a fold is done.
#[test]
fn a_fold_that_cannot_be_confirmed_is_not_taken_twice() {
    let dir = new_dir();
    let mut varve = open(dir.path());
    let mut readings = varve.stream::<Reading, 32>("climate").unwrap();
    let (data, hidden) = (dir.path().join("data.mdb"), dir.path().join("hidden"));
    std::fs::rename(&data, &hidden).unwrap();
    // Each fills a sector: two folds begin.
    for n in 0..150 {
        readings.append(StreamId(1), &reading(n)).unwrap();
    }
    std::fs::rename(&hidden, &data).unwrap();
    for n in 150..1_000 {
        readings.append(StreamId(1), &reading(n)).unwrap();
    }
    varve.fold().unwrap();
    check_uptimes(&readings, 1_000);
}

#[test]
fn events_of_two_boots_stand_in_blocks_of_their_own() {
    let dir = new_dir();
    let append = || {
        let mut varve = open(dir.path());
        let mut readings = varve.stream::<Reading, 32>("climate").unwrap();
        for n in 0..10 {
            readings.append(StreamId(1), &reading(n)).unwrap();
        }
        event_times(&varve)
    };
    let before = append();
    edit(dir.path(), "domain", |_, row| row[0] ^= 1);
    let after = append();
    // An owner that opens the store measures UTC anew, which moves all times of its boot together.
    assert!((1..10).all(|n| after[n][1] - after[0][1] == before[n][1] - before[0][1]));
    assert!(after.is_sorted(), "{after:?}");
    let stored = stored(dir.path());
    assert_eq!(stored.blocks, [(1, 10), (2, 10)]);
}

/// A store with the shortest tail, so that folds are frequent.
fn open(dir: &Path) -> Varve {
    Varve::with_config(dir, small()).expect("the store opens")
}

fn small() -> Config {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    config
}

/// Stores the steps in a new store.
fn write(dir: &Path, steps: &[Step], writing: Writing) -> Varve {
    let mut varve = open(dir);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.descriptor(Door::DESCRIPTOR).unwrap();
    append.commit().unwrap();
    drop(append);
    let mut random = fastrand::Rng::with_seed(if let Writing::Mixed(seed) = writing { seed } else { 0 });
    let mut left = steps;
    while !left.is_empty() {
        let n = match writing {
            Writing::By(n) => n,
            Writing::Mixed(_) => [1, 2, 20, 700][random.usize(..4)],
        };
        let (now, later) = left.split_at(n.min(left.len()));
        commit(&mut varve, now);
        left = later;
        if let Writing::Mixed(_) = writing {
            match random.u8(..60) {
                0 => varve.fold().unwrap(),
                1 => {
                    drop(varve);
                    varve = open(dir);
                }
                _ => {}
            }
        }
    }
    varve
}

fn commit(varve: &mut Varve, steps: &[Step]) {
    let readings = varve.stream::<Reading, 32>("climate").unwrap();
    let doors = varve.stream::<Door, 512>("doors").unwrap();
    let (end, mut append) = (varve.next_global_seq().unwrap(), varve.begin());
    let mut added = 0;
    for step in steps {
        added += add(&mut append, &readings, &doors, end.0 + added, step);
    }
    let committed = append.commit().unwrap();
    assert_eq!((committed.first, committed.events), (end, added));
    assert!(committed.refused.is_empty(), "{committed:?}");
}

/// Adds a step to an append, behind the event before `end`, and returns how many events it has.
fn add(
    append: &mut Append,
    readings: &Stream<Reading, 32>,
    doors: &Stream<Door, 512>,
    end: u64,
    step: &Step,
) -> u64 {
    let channels =
        [binding::<Reading>("device.climate", StreamId(7)), binding::<Door>("device.doors", StreamId(7))];
    let (device, epoch, lane, ingest_us) = (DEVICE, Epoch(1), LANE, 5_000);
    match step {
        Step::Reading(id, uptime) => append.event(readings, *id, &reading(*uptime)).unwrap(),
        Step::Door(id, who) => append.event(doors, *id, &door(who)).unwrap(),
        Step::Batch { first, events } => {
            let batch = sealed(LANE, TimeColumn::DeltaOfDeltas, events);
            append.device_batch(device_batch(&channels, *first, &batch)).unwrap();
            return events.len() as u64;
        }
        Step::Gap { first, len } => {
            let (first, reason, chain) = (DeviceSequence(*first), GapReason::OutboxFull, 7);
            append
                .device_gap(DeviceGap { device, epoch, lane, first, len: *len, reason, chain, ingest_us })
                .unwrap();
        }
        Step::Clock { first, ticks } => {
            let (first, host_us) = (DeviceSequence(*first), 1_000_000 + 3 * ticks);
            let mapping = ClockMapping {
                device,
                epoch,
                lane,
                first,
                ticks: *ticks,
                host_us,
                tick_hz: 1_000,
                uncertainty_us: 9,
            };
            append.clock(mapping).unwrap();
            return 0;
        }
        Step::Consumer { behind } => {
            append.consumer("reader", GlobalSequence(end.saturating_sub(*behind))).unwrap();
            return 0;
        }
    }
    1
}

fn random_steps(random: &mut fastrand::Rng) -> Vec<Step> {
    let (mut next, mut ticks) = (0, 0);
    let mut steps = Vec::new();
    for n in 0..1_200 {
        steps.push(match random.u8(..16) {
            0..6 => Step::Reading(StreamId(random.u64(..3)), n),
            6..11 => Step::Door(StreamId(random.u64(..3)), "w".repeat(random.usize(..300))),
            11..13 => {
                let first = next;
                let events = (0..random.u64(1..30)).map(|_| {
                    (next, ticks) = (next + 1, ticks + random.u64(..2_000));
                    match random.bool() {
                        true => (0, ticks, archived(&reading(next))),
                        false => (1, ticks, archived(&door(&"d".repeat(random.usize(..40))))),
                    }
                });
                Step::Batch { events: events.collect(), first }
            }
            13 => {
                let (first, len) = (next, random.u64(1..5));
                next += len;
                Step::Gap { first, len }
            }
            14 => Step::Clock { first: next, ticks },
            _ => Step::Consumer { behind: random.u64(..50) },
        });
    }
    steps
}

fn read(varve: &Varve) -> Whole {
    let snapshot = varve.snapshot().unwrap();
    let seen = |event: Result<varve_core::EventView<'_>, _>| {
        let event = event.unwrap();
        let origin = event.origin().unwrap();
        let mapped_us = || event.time().unwrap().utc_us.wrapping_sub(event.ingest_time().unwrap().utc_us);
        Seen {
            global: event.global_seq,
            name: event.stream_name.into(),
            id: event.stream_id,
            stream_seq: event.stream_seq,
            payload: event.payload.to_vec(),
            descriptor: event.descriptor_hash().unwrap(),
            origin,
            ticks: event.ticks(),
            mapped_us: origin.map(|_| mapped_us()),
        }
    };
    let events: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(seen).collect();
    let mut back: Vec<_> = snapshot.iter_back(None).unwrap().map(seen).collect();
    back.reverse();
    assert!(back == events, "backward");
    check_streams::<Reading>(varve, "climate", &events);
    check_streams::<Reading>(varve, "device.climate", &events);
    check_streams::<Door>(varve, "doors", &events);
    check_streams::<Door>(varve, "device.doors", &events);
    check_gets(varve, &events);
    Whole { events, devices: varve.devices().unwrap(), consumer: varve.consumer("reader").unwrap() }
}

/// The streams of a name hold what the log has of them: forward, backward, from within, one by one.
fn check_streams<T: Event>(varve: &Varve, name: &str, events: &[Seen]) {
    let mut reader = varve.stream_reader::<T>(name).unwrap();
    for id in [0, 1, 2, 7].map(StreamId) {
        let of_stream = events.iter().filter(|event| event.name == name && event.id == id);
        let expected: Vec<_> = of_stream.map(|event| (event.stream_seq, event.payload.clone())).collect();
        assert_eq!(reader.version(id).unwrap(), expected.len() as u64);
        assert!(reader.iter_stream(id, None).unwrap().collect_bytes().unwrap() == expected, "{name} {id}");
        let mut back = reader.iter_stream_back(id, None).unwrap().collect_bytes().unwrap();
        back.reverse();
        assert!(back == expected, "{name} {id} backward");
        for (seq, bytes) in expected.iter().step_by(17) {
            assert_eq!(&*reader.get_bytes(id, *seq).unwrap().unwrap(), &bytes[..]);
        }
        let from = StreamSequence(expected.len() as u64 / 2);
        let rest = reader.iter_stream(id, Some(from)).unwrap().collect_bytes().unwrap();
        assert!(rest == expected[from.0 as usize..], "{name} {id} from {from}");
    }
}

fn check_gets(varve: &Varve, events: &[Seen]) {
    let mut reader = varve.global_reader();
    for event in events.iter().step_by(13) {
        let got = reader.get(event.global).unwrap().unwrap();
        assert_eq!((got.stream_seq, &got.payload), (event.stream_seq, &event.payload));
    }
    assert!(reader.get(GlobalSequence(events.len() as u64)).unwrap().is_none());
}

/// When each event happened and was taken in.
fn event_times(varve: &Varve) -> Vec<[i64; 2]> {
    let snapshot = varve.snapshot().unwrap();
    let events = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap);
    events.map(|event| [event.time(), event.ingest_time()].map(|time| time.unwrap().utc_us)).collect()
}

#[track_caller]
fn assert_same(whole: &Whole, expected: &Whole, seed: u64, writing: Writing) {
    assert_eq!(whole.events.len(), expected.events.len(), "seed {seed}, {writing:?}");
    let events = whole.events.iter().zip(&expected.events);
    events.for_each(|(event, expected)| assert_eq!(event, expected, "seed {seed}, {writing:?}"));
    assert_eq!((&whole.devices, whole.consumer), (&expected.devices, expected.consumer), "seed {seed}");
}

fn check_uptimes(readings: &Stream<Reading, 32>, len: u64) {
    let events = readings.reader().iter_stream(StreamId(1), None).unwrap();
    let uptimes: Vec<_> = events.iter().map(|event| event.unwrap().archived.uptime.to_native()).collect();
    assert!(uptimes.iter().copied().eq(0..len), "{} events", uptimes.len());
}

/// What LMDB holds of a closed store once the whole tail is folded.
fn stored(dir: &Path) -> Stored {
    let stored = RefCell::new(Stored::default());
    let number = |block: &[u8], at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    edit(dir, "block", |_, block| stored.borrow_mut().blocks.push((number(block, 32), number(block, 24))));
    edit(dir, "stream", |_, _| stored.borrow_mut().runs += 1);
    stored.into_inner()
}

impl Stored {
    fn events(&self) -> u64 {
        self.blocks.iter().map(|&(_, events)| u64::from(events)).sum()
    }
}

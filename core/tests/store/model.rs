//! Random operations against the simplest log there is: a list.

use std::collections::HashMap;

use varve_core::{
    Append, DeviceGap, DeviceId, DeviceSequence, Epoch, Event, ExpectedVersion, GapEvent, GapReason,
    GlobalSequence, Lane, StreamId, StreamSequence, TimeColumn, Varve,
};

use crate::{Door, Reading, archived, binding, device_batch, door, new_dir, open, reading, sealed};

/// An event as the list has it: stream name, stream id, bytes.
type Entry = (&'static str, u64, Vec<u8>);

/// The events of each stream: their global sequences and their bytes.
type Streams<'a> = HashMap<(&'a str, u64), Vec<(u64, &'a [u8])>>;

/// The log as a list, and the next sequence of each device and lane.
#[derive(Clone, Default)]
struct Model {
    log: Vec<Entry>,
    lanes: HashMap<(u64, u8), Account>,
}

#[derive(Clone, Copy, Default)]
struct Account {
    next: u64,
    stored: u64,
    lost: u64,
}

const SEEDS: u64 = 40;
const COMMITS: usize = 40;

#[test]
fn random_appends_reads_and_reopenings_agree_with_a_list() {
    for seed in 0..SEEDS {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut model = Model::default();
    prepare(&varve);
    for _ in 0..COMMITS {
        if random.u8(..10) == 0 {
            drop(varve);
            varve = open(&dir);
        }
        let mut append = varve.begin();
        let mut after = model.clone();
        for _ in 0..random.usize(0..12) {
            step(&mut random, &mut varve, &mut append, &mut after);
        }
        if random.u8(..8) == 0 {
            drop(append);
            continue;
        }
        let committed = append.commit().unwrap();
        assert_eq!(committed.first.0, model.log.len() as u64, "seed {seed}");
        assert_eq!(committed.events, (after.log.len() - model.log.len()) as u64, "seed {seed}");
        assert!(committed.refused.is_empty(), "seed {seed}: {:?}", committed.refused);
        model = after;
    }
    check(seed, &mut random, &mut varve, &model);
}

fn prepare(varve: &Varve) {
    let mut append = varve.begin();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.descriptor(Door::DESCRIPTOR).unwrap();
    (1..4).for_each(|device| append.open_epoch(DeviceId(device), Epoch(1)).unwrap());
    append.commit().unwrap();
}

fn step(random: &mut fastrand::Rng, varve: &mut Varve, append: &mut Append, model: &mut Model) {
    let (device, lane) = (random.u64(1..4), random.u8(..2));
    match random.u8(..10) {
        0..3 => {
            let stream = varve.stream::<Door, 4_000>("doors").unwrap();
            let (id, event) = (random.u64(..4), door(&"x".repeat(random.usize(..3_000))));
            let version = model.log.iter().filter(|entry| (entry.0, entry.1) == ("doors", id)).count();
            append.expect(&stream, StreamId(id), ExpectedVersion::Exact(version as u64)).unwrap();
            append.event(&stream, StreamId(id), &event).unwrap();
            model.log.push(("doors", id, archived(&event)));
        }
        3 => push_gap(random, append, model, device, lane),
        _ => push_batch(random, append, model, device, lane),
    }
}

fn push_gap(random: &mut fastrand::Rng, append: &mut Append, model: &mut Model, device: u64, lane: u8) {
    let account = model.lanes.entry((device, lane)).or_default();
    let (first, len, reason) = (account.next, random.u64(1..100_000), GapReason::from(random.u8(..)));
    account.next += len;
    account.lost += len;
    let gap = DeviceGap {
        device: DeviceId(device),
        epoch: Epoch(1),
        lane: Lane(lane),
        first: DeviceSequence(first),
        len,
        reason,
        chain: random.u32(..),
        ingest_us: random.u64(..1 << 40),
    };
    append.device_gap(gap).unwrap();
    let event = GapEvent { device, epoch: 1, lane, reason, end_unknown: false, first, len };
    model.log.push((GapEvent::STREAM, GapEvent::stream_id(DeviceId(device), Lane(lane)).0, archived(&event)));
}

/// A batch that is new, or one that was stored before.
fn push_batch(random: &mut fastrand::Rng, append: &mut Append, model: &mut Model, device: u64, lane: u8) {
    let id = StreamId::of_device(DeviceId(device), lane);
    let channels = [binding::<Reading>("climate", id), binding::<Door>("devices", id)];
    let events: Vec<_> = (0..random.u64(1..60))
        .map(|n| match random.bool() {
            true => (0, n * 10, archived(&reading(random.u64(..)))),
            false => (1, n * 10, archived(&door(&"y".repeat(random.usize(..60))))),
        })
        .collect();
    let time = [TimeColumn::None, TimeColumn::Delta, TimeColumn::DeltaOfDeltas][random.usize(..3)];
    let batch = sealed(Lane(lane), time, &events);
    let account = model.lanes.entry((device, lane)).or_default();
    let is_again = account.next >= events.len() as u64 && random.u8(..5) == 0;
    let first = if is_again { account.next - events.len() as u64 } else { account.next };
    let mut device_batch = device_batch(&channels, first, &batch);
    device_batch.device = DeviceId(device);
    device_batch.ingest_us = random.u64(..1 << 40);
    append.device_batch(device_batch).unwrap();
    if !is_again {
        account.next += events.len() as u64;
        account.stored += events.len() as u64;
        let name = |channel| if channel == 0 { "climate" } else { "devices" };
        model.log.extend(events.into_iter().map(|(channel, _, bytes)| (name(channel), id.0, bytes)));
    }
}

fn check(seed: u64, random: &mut fastrand::Rng, varve: &mut Varve, model: &Model) {
    let from = random.usize(..=model.log.len());
    let stored = varve.global_reader().iter_from(GlobalSequence(from as u64)).unwrap().collect_all().unwrap();
    assert_eq!(stored.len(), model.log.len() - from, "seed {seed}");
    let mut back = varve.global_reader().iter_back(None).unwrap().collect_all().unwrap();
    back.reverse();
    assert_eq!(back[from..], stored, "seed {seed}");
    let mut streams = Streams::new();
    for (global, (name, id, bytes)) in (0..).zip(&model.log) {
        streams.entry((name, *id)).or_default().push((global, bytes));
    }
    for (event, (name, id, bytes)) in stored.iter().zip(&model.log[from..]) {
        assert_eq!(
            (event.stream_name.as_str(), event.stream_id.0, &event.payload),
            (*name, *id, bytes),
            "seed {seed}"
        );
        let place = &streams[&(*name, *id)][event.stream_seq.0 as usize];
        assert_eq!(place.0, event.global_seq.0, "seed {seed}");
    }
    check_streams(seed, random, varve, &streams);
    for (&(device, lane), account) in &model.lanes {
        let record = varve.device(DeviceId(device)).unwrap().unwrap();
        let record = record.lane(Lane(lane)).copied();
        let Some(record) = record else { panic!("seed {seed}: a lane is missing") };
        assert_eq!((record.next.0, record.gap_total), (account.next, account.lost), "seed {seed}");
        assert_eq!(account.stored + record.gap_total, record.next.0, "seed {seed}: the account balances");
    }
}

fn check_streams(seed: u64, random: &mut fastrand::Rng, varve: &mut Varve, streams: &Streams<'_>) {
    for (&(name, id), events) in streams {
        // Bytes are read whatever the type: any that the name takes will do.
        let mut reader = match name {
            "climate" => Reader::Climate(varve.stream_reader(name).unwrap()),
            GapEvent::STREAM => Reader::Gap(varve.stream_reader(name).unwrap()),
            _ => Reader::Door(varve.stream_reader(name).unwrap()),
        };
        let from = random.usize(..=events.len());
        let stored = reader.collect_bytes(StreamId(id), StreamSequence(from as u64));
        let expected: Vec<_> =
            (0..).zip(events).skip(from).map(|(seq, (_, bytes))| (seq, bytes.to_vec())).collect();
        assert_eq!(stored, expected, "seed {seed}, {name} {id}");
        let mut back = reader.collect_bytes_back(StreamId(id));
        back.reverse();
        assert_eq!(back[from..], expected, "seed {seed}, {name} {id}");
        for _ in 0..5 {
            let (global, bytes) = events[random.usize(..events.len())];
            let found = varve.global_reader().get_bytes(GlobalSequence(global)).unwrap().unwrap().to_vec();
            assert_eq!(found, bytes, "seed {seed}");
        }
    }
    let listed: u64 = varve.streams().unwrap().iter().map(|stream| stream.next.0).sum();
    assert_eq!(listed, varve.next_global_seq().unwrap().0, "seed {seed}");
}

enum Reader {
    Climate(varve_core::StreamReader<Reading>),
    Door(varve_core::StreamReader<Door>),
    Gap(varve_core::StreamReader<GapEvent>),
}

impl Reader {
    fn collect_bytes(&mut self, id: StreamId, from: StreamSequence) -> Vec<(u64, Vec<u8>)> {
        let bytes = match self {
            Self::Climate(reader) => reader.iter_stream(id, Some(from)).unwrap().collect_bytes(),
            Self::Door(reader) => reader.iter_stream(id, Some(from)).unwrap().collect_bytes(),
            Self::Gap(reader) => reader.iter_stream(id, Some(from)).unwrap().collect_bytes(),
        };
        bytes.unwrap().into_iter().map(|(seq, bytes)| (seq.0, bytes)).collect()
    }

    fn collect_bytes_back(&self, id: StreamId) -> Vec<(u64, Vec<u8>)> {
        let bytes = match self {
            Self::Climate(reader) => reader.iter_stream_back(id, None).unwrap().collect_bytes(),
            Self::Door(reader) => reader.iter_stream_back(id, None).unwrap().collect_bytes(),
            Self::Gap(reader) => reader.iter_stream_back(id, None).unwrap().collect_bytes(),
        };
        bytes.unwrap().into_iter().map(|(seq, bytes)| (seq.0, bytes)).collect()
    }
}

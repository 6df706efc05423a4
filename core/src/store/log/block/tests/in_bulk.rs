//! Events that come many at once: those of an append, and blocks that are taken over into a larger one.

use super::*;

/// Local events of some streams, archived.
struct Locals {
    ends: Vec<StreamSequence>,
    keys: Vec<(RunKey, usize)>,
    lens: Vec<usize>,
}

/// What comes into a block.
enum Arrival {
    /// Local events that were taken in at once: the number of each one's stream, and its bytes.
    Locals(Vec<(usize, Vec<u8>)>, u64),
    Device(Entry),
}

impl Locals {
    /// Eight runs of six streams: two streams have events of two types.
    fn new(random: &mut fastrand::Rng, sealed: bool) -> Self {
        let key = |run: usize| {
            (
                RunKey {
                    sealed: sealed && run.is_multiple_of(3),
                    ..local(run as u32 % 6 + 1, run as u32 / 6)
                },
                run % 6,
            )
        };
        Self {
            ends: vec![StreamSequence(0); 6],
            keys: (0..8).map(key).collect(),
            lens: (0..8).map(|_| [0, 1, 19, 42, 300, 9_000][random.usize(..6)]).collect(),
        }
    }

    fn arrival(&self, random: &mut fastrand::Rng, ingest_us: u64) -> Arrival {
        let event = |random: &mut fastrand::Rng| {
            let stream = random.usize(..8);
            let len =
                self.lens[stream] + if stream == 1 || random.u8(..100) == 0 { random.usize(..3) } else { 0 };
            (stream, vec![random.u8(..); len])
        };
        Arrival::Locals((0..random.usize(1..90)).map(|_| event(random)).collect(), ingest_us)
    }

    fn runs(&self) -> Vec<LocalRun> {
        self.keys.iter().map(|&(key, end)| LocalRun::new(key, end)).collect()
    }
}

fn device_entry(seq: u64, ingest_us: u64) -> Entry {
    let key = RunKey { device: 1, epoch: Epoch(1), timed: true, ..local(9, 1) };
    Entry { key, stream_seq: seq, device_seq: seq, ticks: Some(seq * 10), ingest_us, bytes: vec![7; 12] }
}

/// Finishes a block, and begins the next.
fn turn(writer: &mut BlockWriter, blocks: &mut Vec<Vec<u8>>) {
    writer.seal(seal).unwrap();
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    blocks.push(bytes);
    writer.begin(GlobalSequence(blocks.len() as u64), 1);
}

#[test]
fn local_events_make_the_blocks_that_they_make_one_by_one() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut locals = Locals::new(&mut random, seed % 2 == 1);
        let (mut seq, mut ingest_us) = (0, 5);
        let arrivals: Vec<_> = (0..60)
            .map(|_| {
                ingest_us += random.u64(..2);
                if random.u8(..3) == 0 {
                    seq += 1;
                    return Arrival::Device(device_entry(seq - 1, ingest_us));
                }
                locals.arrival(&mut random, ingest_us)
            })
            .collect();
        let [one_by_one, at_once] = [false, true].map(|is_at_once| {
            locals.ends.fill(StreamSequence(0));
            let (mut runs, mut blocks, mut writer) = (locals.runs(), Vec::new(), BlockWriter::new());
            writer.begin(GlobalSequence(0), 1);
            for arrival in &arrivals {
                match arrival {
                    Arrival::Device(entry) => {
                        if push(&mut writer, entry).is_err() {
                            turn(&mut writer, &mut blocks);
                            push(&mut writer, entry).unwrap();
                        }
                    }
                    Arrival::Locals(events, ingest_us) if is_at_once => {
                        let all: Vec<_> = events.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
                        let event = |(stream, bytes): &(usize, Vec<u8>)| LocalEvent {
                            stream: *stream as u32,
                            len: bytes.len() as u32,
                        };
                        let events: Vec<_> = events.iter().map(event).collect();
                        let (mut events, mut bytes) = (&events[..], &all[..]);
                        loop {
                            let (pushed, len) =
                                writer.push_local(&mut runs, &mut locals.ends, events, bytes, *ingest_us);
                            (events, bytes) = (&events[pushed..], &bytes[len..]);
                            if events.is_empty() {
                                break;
                            }
                            turn(&mut writer, &mut blocks);
                        }
                        assert!(bytes.is_empty());
                    }
                    Arrival::Locals(events, ingest_us) => {
                        for (stream, bytes) in events {
                            let (key, end) = locals.keys[*stream];
                            let entry = Entry {
                                key,
                                stream_seq: locals.ends[end].0,
                                device_seq: 0,
                                ticks: None,
                                ingest_us: *ingest_us,
                                bytes: bytes.clone(),
                            };
                            if push(&mut writer, &entry).is_err() {
                                turn(&mut writer, &mut blocks);
                                push(&mut writer, &entry).unwrap();
                            }
                            locals.ends[end].0 += 1;
                        }
                    }
                }
            }
            turn(&mut writer, &mut blocks);
            (blocks, locals.ends.clone())
        });
        assert!(one_by_one == at_once, "seed {seed}");
    }
}

/// Local events of some streams, most of one length in each, now and then with a hole before them.
fn mergeable_entries(random: &mut fastrand::Rng, n: usize) -> Vec<Entry> {
    let lens: Vec<usize> = (0..20).map(|_| [1, 19, 42, 300][random.usize(..4)]).collect();
    let (mut seqs, mut ingest_us) = ([0; 20], 1_000);
    let varied = random.usize(..40);
    let entry = |_| {
        let stream = random.usize(..20);
        ingest_us += random.u64(..2) * random.u64(..300);
        seqs[stream] += if random.u8(..200) == 0 { 2 } else { 1 };
        Entry {
            key: local(stream as u32 + 1, u32::from(random.u8(..100) == 0)),
            stream_seq: seqs[stream],
            device_seq: 0,
            ticks: None,
            ingest_us,
            bytes: vec![random.u8(..); lens[stream] + usize::from(stream == varied && random.bool())],
        }
    };
    (0..n).map(entry).collect()
}

/// Takes over a block event by event, and tells whether all had room.
fn take_over_one_by_one(writer: &mut BlockWriter, block: &Block<'_>) -> bool {
    let runs: Vec<_> = (0..block.runs()).map(|index| block.run(index).unwrap()).collect();
    let mut taken = vec![(0, LatestRun::default()); runs.len()];
    for Stretch { run, len, ingest_us } in block.stretches().map(Result::unwrap) {
        let (key, (taken, latest)) = (RunKey::of(&runs[run]), &mut taken[run]);
        for _ in 0..len {
            if *taken == 0 {
                *latest = writer.begin_run_of_source(&key);
            }
            let stream_seq = StreamSequence(runs[run].first().0 + *taken as u64);
            let meta = EventMeta { stream_seq, device_seq: DeviceSequence(0), ticks: 0, ingest_us };
            if !writer.push_archived(&key, latest, &meta, runs[run].event(*taken).unwrap()) {
                return false;
            }
            *taken += 1;
        }
    }
    true
}

#[test]
fn blocks_are_taken_over_whole_as_they_are_event_by_event() {
    let mut merged = 0;
    for seed in 0..80 {
        let mut random = fastrand::Rng::with_seed(seed);
        let entries = mergeable_entries(&mut random, 300);
        let [one_by_one, whole] = [false, true].map(|is_whole| {
            let mut random = fastrand::Rng::with_seed(seed);
            let (mut writer, mut first) = (BlockWriter::new(), 0);
            writer.begin(GlobalSequence(0), 1);
            while first < entries.len() {
                let len = random.usize(1..80).min(entries.len() - first);
                let source = write(first as u64, 1, &entries[first..first + len]);
                let block = Block::new_checked(GlobalSequence(first as u64), &source).unwrap();
                writer.begin_source();
                if is_whole && writer.merge(&block).unwrap() {
                    merged += 1;
                } else {
                    assert!(take_over_one_by_one(&mut writer, &block), "the block is full too soon");
                }
                first += len;
            }
            let mut bytes = Vec::new();
            writer.finish(&mut bytes);
            bytes
        });
        let block = Block::new_checked(GlobalSequence(0), &whole).unwrap();
        assert!(read(&block).unwrap() == entries, "seed {seed}");
        assert!(one_by_one == whole, "seed {seed}");
    }
    assert!(merged > 300, "{merged} blocks were taken over whole");
}

#[test]
fn a_block_is_taken_over_whole_where_it_has_room_and_changes_nothing_where_it_has_none() {
    let mut taken_over = [0; 2];
    for (case, filled) in (BLOCK_LEN_MAX - 6_000..BLOCK_LEN_MAX - 300).step_by(13).enumerate() {
        let mut random = fastrand::Rng::with_seed(case as u64);
        // The order and the times take a part of it that cannot be left out.
        let mut entries = mergeable_entries(&mut random, 120);
        entries.iter_mut().for_each(|entry| {
            entry.key.descriptor = 0;
            entry.ingest_us = if case % 2 == 0 { random.u64(..) } else { 7 };
            entry.bytes.resize(4, 7);
        });
        let source = write(2, 1, &entries);
        let filler = |stream_seq, len| Entry {
            key: local(100 + stream_seq as u32, 1),
            stream_seq,
            device_seq: 0,
            ticks: None,
            ingest_us: 7,
            bytes: vec![7; len],
        };
        let (mut writer, mut bytes) = (BlockWriter::new(), Vec::new());
        writer.begin(GlobalSequence(0), 1);
        let fillers = [filler(0, filled / 2), filler(1, filled - filled / 2)];
        assert_eq!(push_all(&mut writer, &fillers), 2);
        writer.begin_source();
        let block = Block::new_checked(GlobalSequence(2), &source).unwrap();
        let is_taken_over = writer.merge(&block).unwrap();
        taken_over[usize::from(is_taken_over)] += 1;
        writer.finish(&mut bytes);
        let held = Block::new_checked(GlobalSequence(0), &bytes).unwrap();
        let taken = if is_taken_over { &entries[..] } else { &[] };
        assert!(read(&held).unwrap() == [&fillers, taken].concat(), "filled with {filled} bytes");
    }
    assert!(taken_over.iter().all(|&cases| cases > 100), "{taken_over:?}");
}

#[test]
fn what_is_to_be_decided_event_by_event_is_not_taken_over_whole() {
    let plain = |stream_seq, len| Entry {
        key: local(1, 1),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 7,
        bytes: vec![7; len],
    };
    let untimed = RunKey { device: 1, ..local(1, 1) };
    let timed = Entry { key: RunKey { timed: true, ..local(1, 1) }, ticks: Some(3), ..plain(5, 5) };
    let sealed = Entry { key: RunKey { sealed: true, ..local(1, 1) }, ..plain(5, 5) };
    let cases = [
        ("local events of one length", vec![plain(1, 5), plain(2, 5)], true),
        ("events of another length", vec![plain(1, 6)], false),
        ("events of another length, in a run of their own", vec![plain(5, 6)], true),
        ("events of two lengths", vec![plain(1, 5), plain(2, 6)], false),
        ("an event of no length", vec![plain(5, 0)], false),
        ("events of a device with ticks", vec![device_entry(0, 7)], false),
        ("events with ticks", vec![timed], false),
        ("events that are sealed", vec![sealed], false),
        ("events of a device", vec![Entry { key: untimed, ..plain(5, 5) }], false),
        ("one of them among others", vec![plain(1, 5), device_entry(0, 7)], false),
    ];
    for (name, entries, is_taken_over) in cases {
        let mut writer = BlockWriter::new();
        writer.begin(GlobalSequence(0), 1);
        push(&mut writer, &plain(0, 5)).unwrap();
        let mut source = Vec::new();
        let mut source_writer = BlockWriter::new();
        source_writer.begin(GlobalSequence(1), 1);
        push_all(&mut source_writer, &entries);
        source_writer.seal(seal).unwrap();
        source_writer.finish(&mut source);
        writer.begin_source();
        let block = Block::new_checked(GlobalSequence(1), &source).unwrap();
        assert_eq!(writer.merge(&block).unwrap(), is_taken_over, "{name}");
        assert_eq!(writer.len(), 1 + if is_taken_over { entries.len() as u32 } else { 0 }, "{name}");
    }
}

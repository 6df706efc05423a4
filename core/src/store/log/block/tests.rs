//! Blocks against a list of events, against bytes worked out from FORMAT.md alone, and against damage.

mod in_bulk;

use std::collections::HashMap;

use super::sealed_run::{SealedRun, UNIT_FRONT_LEN};
use super::writer::put;
use super::*;
use crate::{ArchiveError, DeviceSequence, Epoch, Lane, StreamSequence};

/// An event as it goes in and must come out.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: RunKey,
    stream_seq: u64,
    device_seq: u64,
    ticks: Option<u64>,
    ingest_us: u64,
    bytes: Vec<u8>,
}

fn local(stream: u32, descriptor: u32) -> RunKey {
    RunKey { stream, descriptor, device: 0, epoch: Epoch(0), lane: Lane(0), timed: false, sealed: false }
}

fn write(first: u64, domain: u32, entries: &[Entry]) -> Vec<u8> {
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(first), domain);
    let pushed = push_all(&mut writer, entries);
    assert_eq!(pushed, entries.len(), "the block is full too soon");
    let mut block = Vec::new();
    writer.finish(&mut block);
    block
}

/// Pushes entries until the block is full and returns how many went in.
fn push_all(writer: &mut BlockWriter, entries: &[Entry]) -> usize {
    for (pushed, entry) in entries.iter().enumerate() {
        match push(writer, entry) {
            Ok(()) => {}
            Err(PushError::Full) => return pushed,
            Err(error) => panic!("{error:?}"),
        }
    }
    entries.len()
}

fn push(writer: &mut BlockWriter, entry: &Entry) -> Result<(), PushError> {
    writer.push(&entry.key, &meta(entry), entry.bytes.len(), |out| {
        out.get_mut(..entry.bytes.len()).ok_or(ArchiveError::TooLarge)?.copy_from_slice(&entry.bytes);
        Ok(entry.bytes.len())
    })
}

fn push_archived(writer: &mut BlockWriter, latest: &mut HashMap<RunKey, LatestRun>, entry: &Entry) -> bool {
    let latest = latest.entry(entry.key).or_default();
    writer.push_archived(&entry.key, latest, &meta(entry), &entry.bytes)
}

fn meta(entry: &Entry) -> EventMeta {
    EventMeta {
        stream_seq: StreamSequence(entry.stream_seq),
        device_seq: DeviceSequence(entry.device_seq),
        ticks: entry.ticks.unwrap_or(0),
        ingest_us: entry.ingest_us,
    }
}

/// Adds events of a run by [`BlockWriter::extend`] until the block is full, and returns how many went in.
fn extend(writer: &mut BlockWriter, entries: &[Entry], len_max: usize) -> usize {
    let mut done = 0;
    while let Some(Entry { key, stream_seq, ingest_us, .. }) = entries.get(done) {
        let (stream_seq, device_seq) = (StreamSequence(*stream_seq), DeviceSequence(0));
        let meta = EventMeta { stream_seq, device_seq, ticks: 0, ingest_us: *ingest_us };
        let archive = |entry: &Entry, out: &mut [u8]| {
            let len = entry.bytes.len();
            out.get_mut(..len).ok_or(ArchiveError::TooLarge)?.copy_from_slice(&entry.bytes);
            Ok(len)
        };
        match writer.extend(key, &meta, len_max, &entries[done..], archive) {
            Ok(added) => done += added,
            Err(error) => {
                assert_eq!(error, PushError::Full);
                break;
            }
        }
    }
    done
}

/// Reads a block in global order. What a walk cannot tell, the place of an event in its lane, is counted from the
/// first of its run.
fn read(block: &Block<'_>) -> Result<Vec<Entry>, Damage> {
    let mut entries = Vec::new();
    let mut ticks =
        (0..block.runs()).map(|run| Ok(block.run(run)?.ticks())).collect::<Result<Vec<_>, Damage>>()?;
    let mut next = vec![0; block.runs()];
    let mut order = block.order();
    while entries.len() < block.len() as usize {
        let (index, n) = block.next_pair(&mut order)?;
        for _ in 0..n.min(block.len()) {
            let run = block.run(index)?;
            let origin = run.origin();
            let bytes = run.event(next[index]).ok_or_else(|| block.damage("an event is missing"))?;
            entries.push(Entry {
                key: RunKey {
                    stream: run.stream(),
                    descriptor: run.descriptor(),
                    device: origin.map_or(0, |origin| origin.device),
                    epoch: origin.map_or(Epoch(0), |origin| origin.epoch),
                    lane: origin.map_or(Lane(0), |origin| origin.lane),
                    timed: run.is_timed(),
                    sealed: run.is_sealed(),
                },
                stream_seq: run.first().0.wrapping_add(next[index] as u64),
                device_seq: origin.map_or(0, |origin| origin.first.0),
                ticks: if run.is_timed() { ticks[index].next() } else { None },
                ingest_us: 0,
                bytes: bytes.to_vec(),
            });
            next[index] += 1;
        }
    }
    let times =
        block.ingest_times().flat_map(|(time, n)| std::iter::repeat_n(time, n.min(block.len()) as usize));
    entries.iter_mut().zip(times).for_each(|(entry, time)| entry.ingest_us = time);
    Ok(entries)
}

fn golden(name: &str) -> Vec<u8> {
    let file = include_str!("../../../../tests/golden/blocks.txt");
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let bytes = line.expect("the file has the block").split(' ').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<_, _>>().expect("it is in hex")
}

fn two_runs() -> Vec<Entry> {
    let device = RunKey {
        stream: 9,
        descriptor: 1,
        device: 4,
        epoch: Epoch(2),
        lane: Lane(1),
        timed: true,
        sealed: false,
    };
    let event = |stream_seq, ticks, ingest_us, bytes: &[u8]| Entry {
        key: device,
        stream_seq,
        device_seq: 70_000,
        ticks: Some(ticks),
        ingest_us,
        bytes: bytes.to_vec(),
    };
    let local = |stream_seq, ingest_us, byte| Entry {
        key: local(8, 2),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us,
        bytes: vec![byte],
    };
    vec![
        event(0, 1000, 5000, b"on"),
        event(1, 1100, 5000, b""),
        local(300, 4990, 0xaa),
        local(301, 6000, 0xbb),
        event(2, 1201, 6000, b"offline"),
    ]
}

fn one_run() -> Vec<Entry> {
    let entry = |stream_seq, bytes: [u8; 2]| Entry {
        key: local(2, 5),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 1000,
        bytes: bytes.to_vec(),
    };
    vec![entry(40, [1, 2]), entry(41, [3, 4]), entry(42, [5, 6])]
}

#[test]
fn blocks_are_byte_for_byte_what_the_format_says() {
    for (name, first, domain, entries) in [("one run", 7, 3, one_run()), ("two runs", 1 << 40, 1, two_runs())]
    {
        assert_eq!(write(first, domain, &entries), golden(name), "{name}");
        let bytes = golden(name);
        let block = Block::new_checked(GlobalSequence(first), &bytes).unwrap();
        assert_eq!((block.first().0, block.domain()), (first, domain));
        assert_eq!(read(&block).unwrap(), entries, "{name}");
    }
}

#[test]
fn every_event_is_found_by_its_place() {
    let bytes = golden("two runs");
    let block = Block::new_checked(GlobalSequence(1 << 40), &bytes).unwrap();
    let positions = [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2)].map(|(run, index)| Position { run, index });
    for (offset, position) in positions.into_iter().enumerate() {
        let global = GlobalSequence((1 << 40) + offset as u64);
        assert_eq!(block.position(global), Ok(position));
        assert_eq!(block.global(position), Ok(global));
    }
    assert!(block.position(GlobalSequence((1 << 40) + 5)).is_err());
    assert!(block.position(GlobalSequence((1 << 40) - 1)).is_err());
}

#[test]
fn random_events_come_back_as_they_went_in() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let entries = match seed % 4 {
            0 => entries_of_one_run(&mut random, 300),
            _ => random_entries(&mut random, 300),
        };
        let mut writer = BlockWriter::new();
        let (mut at, mut first) = (0, random.u64(0..1 << 40));
        while at < entries.len() {
            writer.begin(GlobalSequence(first), 1);
            let pushed = push_all(&mut writer, &entries[at..]);
            assert!(pushed > 0, "seed {seed}: an event did not fit an empty block");
            let mut bytes = Vec::new();
            writer.finish(&mut bytes);
            let block = Block::new_checked(GlobalSequence(first), &bytes).unwrap();
            let mut expected = entries[at..at + pushed].to_vec();
            rebase_device_sequences(&mut expected);
            assert_eq!(read(&block).unwrap(), expected, "seed {seed}");
            at += pushed;
            first += pushed as u64;
        }
    }
}

#[test]
fn events_that_go_in_together_make_the_block_that_they_make_one_by_one() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (len, same) = ([0, 1, 19, 300, 9_000][random.usize(..5)], random.usize(..200));
        let entry = |stream_seq: u64| Entry {
            key: local(1, 1),
            stream_seq,
            device_seq: 0,
            ticks: None,
            ingest_us: 7,
            bytes: vec![
                stream_seq as u8;
                if stream_seq < same as u64 { len } else { len + random.usize(..3) }
            ],
        };
        let entries: Vec<_> = (0..4_000).map(entry).collect();
        let earlier = Entry { key: local(2, 1), ingest_us: 3, ..entries[0].clone() };
        let written = [0, 1].map(|way| {
            let mut writer = BlockWriter::new();
            writer.begin(GlobalSequence(5), 1);
            push(&mut writer, &earlier).unwrap();
            let taken = match way {
                0 => push_all(&mut writer, &entries),
                _ => extend(&mut writer, &entries, len + 2 + random.usize(..100)),
            };
            let mut bytes = Vec::new();
            writer.finish(&mut bytes);
            (taken, bytes)
        });
        assert!(written[0] == written[1], "seed {seed}: {} and {}", written[0].0, written[1].0);
    }
}

#[test]
fn archived_events_make_the_block_that_they_make_otherwise() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut entries = match seed % 4 {
            0 | 1 => random_entries(&mut random, 6_000),
            _ => entries_of_one_run(&mut random, 6_000),
        };
        entries.iter_mut().for_each(|entry| entry.key.sealed = seed % 2 == 1);
        entries.iter_mut().skip(random.usize(..300)).for_each(|entry| entry.stream_seq += 7);
        let closing = random.usize(..2_000);
        let written = [0, 1, 2].map(|way| {
            let (mut writer, mut latest) = (BlockWriter::new(), HashMap::new());
            let block = |entries: &[Entry]| {
                writer.begin(GlobalSequence(5), 1);
                let is_pushed = |&(index, entry): &(usize, &Entry)| {
                    if index == closing {
                        writer.close_runs(0, Epoch(0), Lane(0));
                    }
                    // Of the third way, some come to a run that others have made longer.
                    if way == 1 || way == 2 && index % 3 > 0 {
                        push_archived(&mut writer, &mut latest, entry)
                    } else {
                        push(&mut writer, entry).is_ok()
                    }
                };
                let taken = entries.iter().enumerate().take_while(is_pushed).count();
                writer.seal(seal).unwrap();
                let mut bytes = Vec::new();
                writer.finish(&mut bytes);
                (taken, bytes)
            };
            entries.chunks(3_000).map(block).collect::<Vec<_>>()
        });
        assert!(written[0] == written[1] && written[0] == written[2], "seed {seed}");
    }
}

#[test]
fn a_run_whose_lengths_begin_to_differ_has_room_for_all_its_ends_or_goes_no_further() {
    for (len, same) in [19, 42]
        .into_iter()
        .flat_map(|len| (40_000 / len..66_000 / len).step_by(41).map(move |same| (len, same)))
    {
        let entry = |index: usize| Entry {
            key: local(1, 1),
            stream_seq: index as u64,
            device_seq: 0,
            ticks: None,
            ingest_us: 7,
            bytes: vec![7; if index < same { len } else { len + 1 }],
        };
        let written = [false, true].map(|is_archived| {
            let (mut writer, mut latest) = (BlockWriter::new(), HashMap::new());
            writer.begin(GlobalSequence(5), 1);
            let is_pushed = |entry: &Entry| match is_archived {
                true => push_archived(&mut writer, &mut latest, entry),
                false => push(&mut writer, entry).is_ok(),
            };
            let taken = (0..).map(entry).take_while(is_pushed).count();
            let mut bytes = Vec::new();
            writer.finish(&mut bytes);
            (taken, bytes)
        });
        assert!(written[0] == written[1], "{same} events of {len} bytes");
    }
}

#[test]
fn an_event_of_the_largest_size_fits_an_empty_block_and_fills_it() {
    let entry = |stream_seq, len| Entry {
        key: local(1, 1),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 1,
        bytes: vec![7; len],
    };
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(0), 1);
    assert_eq!(push(&mut writer, &entry(0, EVENT_LEN_MAX)), Ok(()));
    assert_eq!(push(&mut writer, &entry(1, EVENT_LEN_MAX)), Err(PushError::Full));
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    assert_eq!(Block::new_checked(GlobalSequence(0), &bytes).unwrap().len(), 1);
}

#[test]
fn a_closed_run_does_not_grow() {
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(0), 1);
    let entries = two_runs();
    push_all(&mut writer, &entries[..2]);
    writer.close_runs(4, Epoch(2), Lane(1));
    push_all(&mut writer, &entries[2..]);
    let runs: Vec<_> = writer.runs().map(|(stream, first, count)| (stream, first.0, count)).collect();
    assert_eq!(runs, [(9, 0, 2), (8, 300, 2), (9, 2, 1)]);
}

#[test]
fn a_closed_run_does_not_grow_where_its_stream_is_the_one_to_be_guessed() {
    let entry = |stream, stream_seq| Entry {
        key: local(stream, 1),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 1,
        bytes: vec![7],
    };
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(0), 1);
    push_all(&mut writer, &[entry(1, 0), entry(2, 0), entry(1, 1), entry(2, 1)]);
    writer.begin_run_of_source(&local(1, 1));
    push_all(&mut writer, &[entry(1, 2), entry(2, 2), entry(1, 3), entry(2, 9)]);
    let runs: Vec<_> = writer.runs().map(|(stream, first, count)| (stream, first.0, count)).collect();
    assert_eq!(runs, [(1, 0, 2), (2, 0, 3), (1, 2, 2), (2, 9, 1)]);
}

#[test]
fn every_flipped_bit_is_found() {
    let good = golden("two runs");
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let checked = Block::new_checked(GlobalSequence(1 << 40), &bytes);
        assert_eq!(
            checked.err().map(|damage| damage.place),
            Some(Place::Block(GlobalSequence(1 << 40))),
            "bit {bit}"
        );
    }
}

#[test]
fn columns_that_a_run_has_to_have_or_must_not_have_are_told_by_its_header() {
    let mut entries = entries_of_one_run(&mut fastrand::Rng::with_seed(7), 9);
    entries.iter_mut().for_each(|entry| entry.bytes = vec![7; 3]);
    let with = |columns_at: u32, block: &[u8]| {
        let mut block = block.to_vec();
        put(&mut block, field::RUNS + run::field::COLUMNS_AT, &columns_at.to_le_bytes());
        writer::seal(&mut block);
        Block::new_checked(GlobalSequence(5), &block).map(|_| ())
    };
    let bare = write(5, 1, &entries);
    assert_eq!(with(0, &bare), Ok(()));
    assert!(with(bare.len() as u32, &bare).is_err());
    entries[8].bytes.push(7);
    let with_ends = write(5, 1, &entries);
    let ends_at = with_ends.len() - 2 * entries.len();
    assert_eq!(with(ends_at as u32, &with_ends), Ok(()));
    assert!(with(0, &with_ends[..ends_at]).is_err());
}

#[test]
fn a_block_of_another_key_is_damage() {
    assert!(Block::new_checked(GlobalSequence(8), &golden("one run")).is_err());
}

/// With a checksum that holds, only the structure stands between the bytes and the reader.
#[test]
fn no_bytes_make_the_view_panic() {
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = golden(if random.bool() { "one run" } else { "two runs" });
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = if random.bool() { random.u8(..) } else { bytes[at] ^ 1 << random.u8(..8) };
        }
        if random.u8(..8) == 0 {
            bytes.truncate(random.usize(..bytes.len()));
        }
        let first = array(&bytes, field::FIRST).map_or(0, u64::from_le_bytes);
        if bytes.len() >= field::RUNS {
            let len = (bytes.len() as u32).to_le_bytes();
            bytes[field::LEN..][..4].copy_from_slice(&len);
            let crc = crc32c::crc32c(&bytes[field::LEN..]);
            bytes[field::CRC..][..4].copy_from_slice(&crc.to_le_bytes());
        }
        if let Ok(block) = Block::new_checked(GlobalSequence(first), &bytes) {
            let entries = read(&block).expect("a checked block reads to its end");
            assert_eq!(entries.len(), block.len() as usize, "seed {seed}");
        }
        if let Ok(block) = Block::new_trusted(GlobalSequence(first), &bytes) {
            let _ = (block.end(), read_bounded(&block));
        }
    }
}

/// Touches everything that a block which was never checked may offer.
fn read_bounded(block: &Block<'_>) -> Result<(), Damage> {
    let mut order = block.order();
    for _ in 0..1000 {
        let (index, n) = block.next_pair(&mut order)?;
        let run = block.run(index)?;
        let _ = (run.event(0), run.event(n as usize), run.ticks().take(1000).count());
        let position = Position { run: index, index: 0 };
        let _ = (block.global(position), block.position(block.first()));
    }
    Ok(())
}

fn random_entries(random: &mut fastrand::Rng, n: usize) -> Vec<Entry> {
    let lens: Vec<usize> = (0..6).map(|_| [0, 1, 19, 42, 300, 9_000][random.usize(..6)]).collect();
    let (mut seqs, mut device_seqs) = ([0u64; 6], [0u64; 6]);
    let (mut ticks, mut ingest_us) = (random.u64(..), 1_000_000);
    let mut entries = Vec::new();
    for _ in 0..n {
        let stream = random.usize(..6);
        let timed = stream.is_multiple_of(2);
        ticks = ticks.wrapping_add(random.u64(..2_000));
        ingest_us += if random.u8(..4) == 0 { random.u64(..500) } else { 0 };
        let len = lens[stream] + if stream == 3 { random.usize(..5) } else { 0 };
        entries.push(Entry {
            key: RunKey {
                stream: stream as u32 + 1,
                descriptor: 1,
                device: if timed { stream as u32 + 1 } else { 0 },
                epoch: Epoch(timed.into()),
                lane: Lane(0),
                timed,
                sealed: false,
            },
            stream_seq: seqs[stream],
            device_seq: device_seqs[stream],
            ticks: timed.then_some(ticks),
            ingest_us,
            bytes: (0..len).map(|_| random.u8(..)).collect(),
        });
        seqs[stream] += 1;
        device_seqs[stream] += u64::from(timed);
    }
    entries
}

/// Events of one length, and from some on of several.
fn entries_of_one_run(random: &mut fastrand::Rng, n: u64) -> Vec<Entry> {
    let (len, same) = ([0, 1, 19, 42, 300][random.usize(..5)], random.u64(..n));
    let entry = |stream_seq| Entry {
        key: local(1, 1),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 7 + stream_seq / 100,
        bytes: vec![stream_seq as u8; if stream_seq < same { len } else { len + random.usize(..3) }],
    };
    (0..n).map(entry).collect()
}

/// Names in each entry the place of the first of its run, as [`read`] does.
fn rebase_device_sequences(entries: &mut [Entry]) {
    let mut firsts = HashMap::new();
    for entry in entries {
        entry.device_seq = *firsts.entry(entry.key).or_insert(entry.device_seq);
    }
}

/// Stands in for a cipher: flips every bit, and ends with a tag that tells the run.
fn flip(run: &SealedRun, text: &[u8]) -> Vec<u8> {
    let mut flipped: Vec<u8> = text.iter().map(|byte| !byte).collect();
    let first_of_lane = run.origin.map_or(0, |origin| origin.first.0);
    flipped.extend_from_slice(&(run.first.0 ^ first_of_lane).to_le_bytes());
    flipped.extend_from_slice(&run.count.to_le_bytes());
    flipped.extend_from_slice(&run.shape.to_le_bytes());
    flipped
}

fn seal(_: &RunKey, run: &SealedRun, unit: &mut Vec<u8>) -> Result<(), ()> {
    let sealed = flip(run, &unit[UNIT_FRONT_LEN..]);
    unit.truncate(UNIT_FRONT_LEN);
    unit.extend_from_slice(&sealed);
    Ok(())
}

/// The block of the same events with every run plain, once each unit was opened.
fn open(block: &Block<'_>) -> Vec<Entry> {
    let texts: Vec<_> = (0..block.runs())
        .map(|index| {
            let (run, unit) = block.run(index).unwrap().sealed()?;
            let text: Vec<u8> = unit[UNIT_FRONT_LEN..unit.len() - 16].iter().map(|byte| !byte).collect();
            assert_eq!(unit[UNIT_FRONT_LEN..], flip(&run, &text), "a unit is that of its run");
            Some(text)
        })
        .collect();
    let mut writer = BlockWriter::new();
    writer.begin(block.first(), block.domain());
    let mut merged = vec![0; block.runs()];
    for stretch in block.stretches().map(Result::unwrap) {
        let run = block.run(stretch.run).unwrap();
        let run = texts[stretch.run].as_ref().map_or(run, |text| run.opened(text).unwrap());
        let ticks: Vec<u64> =
            if run.is_timed() { run.ticks().take(run.count() as usize).collect() } else { vec![] };
        for _ in 0..stretch.len {
            let index = merged[stretch.run];
            let entry = Entry {
                key: RunKey::of(&run),
                stream_seq: run.first().0 + index as u64,
                device_seq: run.origin().map_or(0, |origin| origin.first.0),
                ticks: ticks.get(index).copied(),
                ingest_us: stretch.ingest_us,
                bytes: run.event(index).unwrap().to_vec(),
            };
            push(&mut writer, &entry).unwrap();
            merged[stretch.run] += 1;
        }
    }
    let mut plain = Vec::new();
    writer.finish(&mut plain);
    read(&Block::new_checked(block.first(), &plain).unwrap()).unwrap()
}

/// Random entries that fit one block, sealed or not.
fn small_entries(seed: u64, n: usize) -> Vec<Entry> {
    let entries = |seed| random_entries(&mut fastrand::Rng::with_seed(seed), n);
    let len = |entries: &[Entry]| entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
    (seed..)
        .map(entries)
        .find(|entries| (5_000..30_000).contains(&len(entries)))
        .expect("most seeds have some")
}

/// Of [`random_entries`], both runs with ticks, with events of several lengths and with neither, and some of them not.
fn is_to_be_sealed(entry: &Entry) -> bool {
    entry.key.stream % 3 != 2
}

/// A block of `entries`, some of whose runs are sealed.
fn write_sealed(first: u64, entries: &[Entry]) -> Vec<u8> {
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(first), 7);
    let sealed = |entry: &Entry| Entry {
        key: RunKey { sealed: is_to_be_sealed(entry), ..entry.key },
        ..entry.clone()
    };
    let entries: Vec<_> = entries.iter().map(sealed).collect();
    assert_eq!(push_all(&mut writer, &entries), entries.len(), "the block is full too soon");
    writer.seal(seal).unwrap();
    let mut block = Vec::new();
    writer.finish(&mut block);
    block
}

#[test]
fn a_sealed_run_hides_its_events_and_columns_and_opens_to_what_went_in() {
    let entries = small_entries(11, 400);
    let bytes = write_sealed(90, &entries);
    let block = Block::new_checked(GlobalSequence(90), &bytes).unwrap();
    let plain = write(90, 7, &entries);
    let plain = Block::new_checked(GlobalSequence(90), &plain).unwrap();
    let has_sealed = |block: &Block<'_>| (0..block.runs()).any(|index| block.run(index).unwrap().is_sealed());
    assert!(has_sealed(&block) && !has_sealed(&plain));
    assert_eq!(open(&block), read(&plain).unwrap());
    for entry in entries.iter().filter(|entry| is_to_be_sealed(entry) && entry.bytes.len() >= 8) {
        assert!(!bytes.windows(entry.bytes.len()).any(|window| window == entry.bytes));
    }
    for run in (0..block.runs()).map(|index| block.run(index).unwrap()).filter(Run::is_sealed) {
        assert_eq!(run.event(0), None, "a sealed run lends nothing");
    }
}

#[test]
fn blocks_join_with_their_units_whole() {
    let entries = small_entries(12, 600);
    let parts: Vec<Vec<u8>> = entries
        .chunks(150)
        .enumerate()
        .map(|(part, entries)| write_sealed(150 * part as u64, entries))
        .collect();
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(0), 7);
    let mut units = Vec::new();
    for (part, bytes) in parts.iter().enumerate() {
        let block = Block::new_checked(GlobalSequence(150 * part as u64), bytes).unwrap();
        units.extend((0..block.runs()).map(|index| block.run(index).unwrap().body().to_vec()));
        assert!(writer.join(&block).unwrap(), "the blocks are small");
    }
    let mut joined = Vec::new();
    writer.finish(&mut joined);
    let joined = Block::new_checked(GlobalSequence(0), &joined).unwrap();
    let moved: Vec<_> = (0..joined.runs()).map(|index| joined.run(index).unwrap().body().to_vec()).collect();
    assert_eq!(moved, units);
    let bytes =
        |entries: Vec<Entry>| entries.into_iter().map(|entry| (entry.ticks, entry.bytes)).collect::<Vec<_>>();
    assert_eq!(bytes(open(&joined)), bytes(entries));
}

#[test]
fn archived_events_have_the_room_that_a_joined_block_leaves() {
    let sealed = write_sealed(1, &small_entries(12, 600));
    let entry = |stream_seq| Entry {
        key: local(9, 1),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 7,
        bytes: vec![7; 300],
    };
    let (mut writer, mut latest) = (BlockWriter::new(), HashMap::new());
    writer.begin(GlobalSequence(0), 7);
    assert!(push_archived(&mut writer, &mut latest, &entry(0)));
    assert!(writer.join(&Block::new_checked(GlobalSequence(1), &sealed).unwrap()).unwrap());
    let pushed = (1..).take_while(|&seq| push_archived(&mut writer, &mut latest, &entry(seq))).count();
    assert_eq!(push(&mut writer, &entry(pushed as u64 + 1)), Err(PushError::Full));
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    assert!(pushed > 0 && bytes.len() > BLOCK_LEN_MAX - 400);
}

#[test]
fn a_block_that_does_not_fit_is_not_joined_and_alone_keeps_its_bytes() {
    let mut writer = BlockWriter::new();
    let large: Vec<Entry> = (0..60)
        .map(|seq| Entry {
            key: local(1, 1),
            stream_seq: seq,
            device_seq: 0,
            ticks: None,
            ingest_us: seq,
            bytes: vec![seq as u8; 1000 + seq as usize],
        })
        .collect();
    let bytes = write_sealed(0, &large);
    let block = Block::new_checked(GlobalSequence(0), &bytes).unwrap();
    let mut alone = Vec::new();
    writer.begin(GlobalSequence(0), 7);
    assert!(writer.join(&block).unwrap());
    writer.finish(&mut alone);
    assert!(alone == bytes, "a block has one form");
    let next = write_sealed(60, &large[..5]);
    assert!(!writer.join(&Block::new_checked(GlobalSequence(60), &next).unwrap()).unwrap());
    writer.finish(&mut alone);
    assert!(alone == [&*bytes, &*bytes].concat(), "what does not fit changes nothing");
}

#[test]
fn a_unit_that_is_cut_short_or_holds_other_events_is_damage() {
    let entries = small_entries(13, 300);
    let bytes = write_sealed(0, &entries);
    let block = Block::new_checked(GlobalSequence(0), &bytes).unwrap();
    let run = (0..block.runs())
        .map(|index| block.run(index).unwrap())
        .find(|run| run.is_timed() && run.is_sealed());
    let run = run.unwrap();
    let (_, unit) = run.sealed().unwrap();
    let text: Vec<u8> = unit[UNIT_FRONT_LEN..unit.len() - 16].iter().map(|byte| !byte).collect();
    assert!(run.opened(&text).is_ok());
    for len in 0..text.len() {
        assert!(run.opened(&text[..len]).is_err(), "{len} bytes of {}", text.len());
    }
    assert!(run.opened(&[&text[..], &[0]].concat()).is_err());
}

#[test]
fn a_block_past_the_end_of_the_number_space_is_refused() {
    let entry = |stream_seq| Entry {
        key: local(1, 1),
        stream_seq,
        device_seq: 0,
        ticks: None,
        ingest_us: 0,
        bytes: vec![7],
    };
    let entries = [entry(0), entry(1)];
    let last = u64::MAX - 2;
    assert!(Block::new_checked(GlobalSequence(last), &write(last, 1, &entries)).is_ok());
    let bytes = write(last + 1, 1, &entries);
    let refused = Block::new_trusted(GlobalSequence(last + 1), &bytes).map(|block| block.len());
    assert_eq!(refused.unwrap_err().reason, "its events exceed the number space");
}

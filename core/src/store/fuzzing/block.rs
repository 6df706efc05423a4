//! A block.

use crate::store::error::Damage;
use crate::store::log::block::{Block, BlockWriter, EventMeta, RunKey, Stretch, quarantined, seal};
use crate::store::log::tables::array;
use crate::{DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};

/// Checks a block at its own key as a reader does, and finds every part of it.
///
/// # Panics
///
/// Where a block that passed its check does not hold together.
pub fn check_block(bytes: &[u8]) -> Result<(), Damage> {
    let block = Block::new_checked(first_of(bytes), bytes)?;
    walk(&block).expect("a checked block holds together");
    if !block.is_quarantined() {
        rejoin(&block);
    }
    Ok(())
}

/// Walks over bytes as over a block that was checked before, which they need not be: damage is an error.
pub fn walk_unchecked_block(bytes: &[u8]) {
    if let Ok(block) = Block::new_trusted(first_of(bytes), bytes) {
        // Whether it holds together is for the check to tell.
        let _ = walk(&block);
    }
}

/// Mends the length and the checksum of a block.
pub fn seal_block(block: &mut Vec<u8>) {
    block.resize(block.len().max(HEADER_LEN), 0);
    seal(block);
}

/// Blocks of one run and of several, with and without each of their columns.
pub fn sample_blocks() -> Vec<Vec<u8>> {
    let local = RunKey {
        stream: 2,
        descriptor: 5,
        device: 0,
        epoch: Epoch(0),
        lane: Lane(0),
        timed: false,
        sealed: false,
    };
    let device = RunKey {
        stream: 9,
        descriptor: 1,
        device: 4,
        epoch: Epoch(2),
        lane: Lane(1),
        timed: true,
        sealed: false,
    };
    let other = RunKey { stream: 3, timed: false, ..device };
    let strided = [(local, 1_000, &b"ab"[..]), (local, 1_000, b"cd"), (local, 1_000, b"ef")];
    let mixed = [
        (device, 5_000, &b"on"[..]),
        (device, 5_000, b""),
        (local, 4_990, b"x"),
        (device, 6_000, b"offline"),
        (other, 6_000, b"same"),
        (other, 6_001, b"size"),
        (local, 6_001, b"y"),
    ];
    vec![
        sample(7, &strided),
        sample(1 << 40, &mixed),
        sample(0, &mixed[..1]),
        sample(0, &mixed.repeat(20)),
        quarantined(GlobalSequence(7), 5, &[]),
    ]
}

/// A block of events of a key, a time and bytes each.
fn sample(first: u64, events: &[(RunKey, u64, &[u8])]) -> Vec<u8> {
    let mut writer = BlockWriter::new();
    writer.begin(GlobalSequence(first), 3);
    for (index, (key, ingest_us, bytes)) in events.iter().enumerate() {
        let before = events[..index].iter().filter(|event| event.0 == *key).count() as u64;
        let meta = EventMeta {
            stream_seq: StreamSequence(40 + before),
            device_seq: DeviceSequence(70_000 + before),
            ticks: 1_000 * before * before,
            ingest_us: *ingest_us,
        };
        let archive = |out: &mut [u8]| {
            out[..bytes.len()].copy_from_slice(bytes);
            Ok(bytes.len())
        };
        writer.push(key, &meta, bytes.len(), archive).expect("a sample is small");
    }
    let mut block = Vec::new();
    writer.finish(&mut block);
    block
}

fn first_of(bytes: &[u8]) -> GlobalSequence {
    GlobalSequence(u64::from_le_bytes(array(bytes, FIRST_AT).unwrap_or_default()))
}

/// Finds every event in global order with its columns, and some events by their places.
fn walk(block: &Block<'_>) -> Result<(), Damage> {
    block.index_rows()?;
    if block.is_quarantined() {
        return Ok(());
    }
    let runs = (0..block.runs()).map(|index| block.run(index)).collect::<Result<Vec<_>, _>>()?;
    let mut ticks = runs.iter().map(|run| run.ticks()).collect::<Vec<_>>();
    let mut seen = vec![0; runs.len()];
    for stretch in block.stretches() {
        let Stretch { run: index, len, .. } = stretch?;
        let run = &runs[index];
        for _ in 0..len {
            if !run.is_sealed() {
                run.event(seen[index]).ok_or_else(|| block.damage("it lacks an event"))?;
            }
            if run.is_timed() && !run.is_sealed() {
                ticks[index].next().ok_or_else(|| block.damage("it lacks ticks"))?;
            }
            seen[index] += 1;
        }
    }
    find(block)
}

/// Takes a block over into another as a fold does: what was sound stays sound, and keeps its events.
fn rejoin(block: &Block<'_>) {
    let mut writer = BlockWriter::new();
    writer.begin(block.first(), block.domain());
    assert_eq!(writer.join(block), Ok(true), "an empty block takes any");
    let mut bytes = Vec::new();
    writer.finish(&mut bytes);
    let joined = Block::new_checked(block.first(), &bytes).expect("what was joined is a block");
    assert_eq!((joined.len(), joined.runs()), (block.len(), block.runs()));
    for index in 0..block.runs() {
        let (Ok(before), Ok(after)) = (block.run(index), joined.run(index)) else { panic!("a run is gone") };
        assert_eq!(
            (before.first(), before.count(), before.origin()),
            (after.first(), after.count(), after.origin())
        );
        assert!((0..before.count() as usize).all(|event| before.event(event) == after.event(event)));
    }
}

/// Goes from a global sequence to a place and back.
fn find(block: &Block<'_>) -> Result<(), Damage> {
    let (first, end) = (block.first().0, block.end()?.0);
    for step in 0..FOUND_MAX.min(end - first) {
        let global = GlobalSequence(first + step * (end - first - 1) / FOUND_MAX.min(end - first));
        let position = block.position(global)?;
        if block.global(position)? != global {
            return Err(block.damage("a place leads elsewhere than back"));
        }
    }
    Ok(())
}

/// How many events of a block are looked up.
const FOUND_MAX: u64 = 64;

const HEADER_LEN: usize = 64;
const FIRST_AT: usize = 16;

//! One round of one engine.

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::engine::Engine;
use crate::sample::Sample;

/// How much is measured, and where.
pub(crate) struct Workload {
    pub(crate) events: u64,
    pub(crate) rounds: u64,
    pub(crate) dir: PathBuf,
}

/// What is measured, in the order of [`Round`]'s figures, with its unit.
pub(crate) const OPERATIONS: [(&str, &str); 7] = [
    ("bulk append, one transaction", "ns/event"),
    ("iterate the stream, checked", "ns/event"),
    ("get by place in the stream", "ns"),
    ("get by place in the log", "ns"),
    ("durable commit of 1 event", "µs"),
    ("durable commit of 64 events", "µs"),
    ("disk, bulk", "B/event"),
];

/// The figures of one round, one for each of [`OPERATIONS`].
pub(crate) type Round = [f64; OPERATIONS.len()];

/// Takes one engine through every operation, in a new directory.
pub(crate) fn measure<E: Sample, S: Engine<E>>(workload: &Workload, events: &[E]) -> Round {
    let dir = tempfile::tempdir_in(&workload.dir).expect("the directory can be written");
    let mut store = S::open(dir.path());
    let each = 1.0 / events.len() as f64;
    let append_ns = time_ns(|| store.append(events)) * each;
    let disk = disk_bytes(dir.path()) as f64 * each;
    let expected = events.len() as u64;
    let iterate_ns = (0..3)
        .map(|_| time_ns(|| assert!(black_box(store.iterate()) >= expected / 2)))
        .fold(f64::MAX, f64::min);
    let gets = random_places(expected);
    let get_ns = time_ns(|| gets.iter().for_each(|&seq| assert!(store.get(seq) > 0))) / GETS as f64;
    let global_ns = time_ns(|| gets.iter().for_each(|&seq| assert!(store.get_global(seq) > 0))) / GETS as f64;
    let mut commit_us = |n: usize| {
        let commits = events.chunks(n).take(COMMITS);
        let count = commits.len() as f64;
        time_ns(|| commits.for_each(|events| store.append(events))) / count / 1_000.0
    };
    let (one_us, many_us) = (commit_us(1), commit_us(64));
    [append_ns, iterate_ns * each, get_ns, global_ns, one_us, many_us, disk]
}

const GETS: usize = 100_000;
const COMMITS: usize = 200;

fn time_ns(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_nanos() as f64
}

/// Places that jump about, the same for every engine.
fn random_places(events: u64) -> Vec<u64> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % events
    };
    (0..GETS).map(|_| next()).collect()
}

/// What the files take on the disk, holes apart.
fn disk_bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(dir).expect("it was written just now").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

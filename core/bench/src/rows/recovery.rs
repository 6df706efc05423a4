//! A large store whose owner was killed in the midst of appending: how long opening it takes, and how much memory.

mod errand;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Advice, fadvise};
use varve_core::{StreamId, Varve};

use super::Row;
use crate::aim::Aim;
use crate::engine::EngineName;
use crate::sample::{SAMPLE_LEN_MAX, Sample, SampleName, Sensor};
use crate::session::Session;
pub(crate) use errand::Errand;
use errand::Opened;

static OPEN: Row = Row::new(
    "open-after-crash",
    "open a store of 1 GB (--large: 10 GB) after a crash, not cached",
    "ms",
    &[Aim::AtMost(1_000.0)],
);

static OPEN_MEMORY: Row = Row::new("open-memory", "memory of its own that opening it takes", "KiB", &[]);

static READ_MEMORY: Row = Row::new(
    "read-memory",
    "memory of its own that reading from every block takes",
    "B/block",
    &[Aim::AtMost(64.0)],
);

pub(super) static ROWS: [&Row; 3] = [&OPEN, &OPEN_MEMORY, &READ_MEMORY];

/// With one type of events, and Varve alone: the peers' stores would take long to fill, and have no tail.
pub(super) fn measure<E: Sample>(session: &mut Session) {
    if E::NAME != SampleName::Sensor {
        return;
    }
    let payload = if session.arguments.large { 10 << 30 } else { 1 << 30 };
    let dir = session.new_dir();
    let mut events = fill(dir.path(), payload);
    for round in 1..=session.arguments.rounds {
        eprintln!("{}: round {round}", OPEN.title);
        crash(dir.path());
        evict(dir.path());
        let opened = open(dir.path());
        assert!(opened.events >= events + Errand::COMMITS, "what was acknowledged is there");
        events = opened.events;
        session.add(&OPEN, E::NAME, EngineName::Varve, opened.open_ns / 1e6);
        session.add(&OPEN_MEMORY, E::NAME, EngineName::Varve, opened.open_memory / 1024.0);
        session.add(&READ_MEMORY, E::NAME, EngineName::Varve, opened.read_memory / opened.blocks);
    }
}

/// Appends so many bytes of events; returns how many there are.
fn fill(dir: &Path, payload: u64) -> u64 {
    let events: Vec<_> = (0..FILL_EVENTS).map(Sensor::generate).collect();
    let appends = payload / (events.len() * Sensor::LEN) as u64;
    eprintln!("{}: filling", OPEN.title);
    let mut varve = Varve::new(dir).expect("the directory is empty");
    let mut stream = varve.stream::<Sensor, SAMPLE_LEN_MAX>("events").expect("the name is new");
    for _ in 0..appends {
        stream.append_batch(StreamId(0), &events).expect("there is room");
    }
    appends * FILL_EVENTS
}

/// Has another process own the store and append, and kills it.
fn crash(dir: &Path) {
    let (mut child, line) = send("append", dir);
    assert!(!line.is_empty(), "the owner appends");
    child.kill().expect("it is running");
    child.wait().expect("it was killed");
}

/// Has another process open the store and read.
fn open(dir: &Path) -> Opened {
    let (mut child, line) = send("open", dir);
    assert!(child.wait().expect("it ends").success(), "the store is whole");
    Opened::parse(&line).expect("it reports what it saw")
}

/// Starts another process of this program, and waits for its first line.
fn send(errand: &str, dir: &Path) -> (Child, String) {
    let program = std::env::current_exe().expect("it is running");
    let mut child = Command::new(program)
        .args([errand.as_ref(), dir.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it is a program");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("it is a pipe");
    BufReader::new(stdout).read_line(&mut line).expect("it is text");
    (child, line)
}

/// Has the system forget what it caches of the store's files, so that they are read from the disk.
fn evict(dir: &Path) {
    for entry in fs::read_dir(dir).expect("it is there").flatten() {
        let file = File::open(entry.path()).expect("it is there");
        file.sync_all().expect("the disk takes it");
        fadvise(&file, 0, None, Advice::DontNeed).expect("it is a file");
    }
}

/// The events of one append.
const FILL_EVENTS: u64 = 1_000_000;

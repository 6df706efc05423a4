//! What durable commits cost the device: flushes, and pages that the flushes send to it.
//!
//! Calls are counted inside the process, below every engine, in a store that is opened for it, filled, and closed, so
//! that folds and checkpoints count. What the file system adds is not in it: its journal, and one commit of that journal
//! for each flush of a file that has grown.

use varve_disk_shim::{Counts, Watch};

use super::Row;
use super::commits::Commit;
use crate::aim::Aim;
use crate::engine::Contender;
use crate::sample::Sample;
use crate::session::Session;

static FLUSHES_ONE: Row = flushes("flushes-1", "flushes per durable commit of 1 event");
static FLUSHES_MANY: Row = flushes("flushes-64", "flushes per durable commit of 64 events");
static FLUSHES_OVER_STREAMS: Row = flushes("flushes-streams", "flushes per durable commit over 100 streams");
static BYTES_ONE: Row = bytes("bytes-1", "bytes to the device ÷ payload, commits of 1 event", &[]);
static BYTES_MANY: Row =
    bytes("bytes-64", "bytes to the device ÷ payload, commits of 64 events", &[Aim::AtMost(5.5)]);
static BYTES_OVER_STREAMS: Row =
    bytes("bytes-streams", "bytes to the device ÷ payload, commits over 100 streams", &[]);

pub(super) static ROWS: [&Row; 6] =
    [&FLUSHES_ONE, &FLUSHES_MANY, &FLUSHES_OVER_STREAMS, &BYTES_ONE, &BYTES_MANY, &BYTES_OVER_STREAMS];

/// Counting needs no rounds: it comes out the same.
pub(super) fn measure<E: Sample>(session: &mut Session) {
    let kinds = [
        (Commit::One, &FLUSHES_ONE, &BYTES_ONE),
        (Commit::Many, &FLUSHES_MANY, &BYTES_MANY),
        (Commit::OverStreams, &FLUSHES_OVER_STREAMS, &BYTES_OVER_STREAMS),
    ];
    for (commit, flushes, bytes) in kinds {
        if !session.wants(flushes) && !session.wants(bytes) {
            continue;
        }
        for contender in session.writers::<E>() {
            eprintln!("{}, {}: {}", bytes.title, E::NAME, contender.name);
            let payload = COMMITS as f64 * (commit.events::<E>().len() * E::LEN) as f64;
            let counts = count(session, &contender, commit);
            session.add(flushes, E::NAME, contender.name, counts.flushes as f64 / COMMITS as f64);
            session.add(bytes, E::NAME, contender.name, counts.device_bytes as f64 / payload);
        }
    }
}

fn count<E: Sample>(session: &Session, contender: &Contender<E>, commit: Commit) -> Counts {
    let dir = session.new_dir_in_memory();
    let watch = Watch::new(dir.path()).expect("the directory is there");
    let events = commit.events::<E>();
    let room = (COMMITS + 1) * (events.len() * E::LEN) as u64;
    let mut engine = (contender.open)(dir.path(), room);
    commit.make(&mut *engine, &events);
    let before = watch.total();
    for _ in 0..COMMITS {
        commit.make(&mut *engine, &events);
    }
    drop(engine);
    drop((contender.open)(dir.path(), room));
    let after = watch.total();
    Counts {
        flushes: after.flushes - before.flushes,
        device_bytes: after.device_bytes - before.device_bytes,
        ..after
    }
}

const fn flushes(key: &'static str, title: &'static str) -> Row {
    Row::new(key, title, "", &[Aim::AtMost(FLUSHES_MAX)])
}

const fn bytes(key: &'static str, title: &'static str, aims: &'static [Aim]) -> Row {
    Row::new(key, title, "×", aims)
}

/// How many commits are counted: the tail goes round more than once.
const COMMITS: u64 = 2_048;

/// One for each commit, and what opening, folding and closing take.
const FLUSHES_MAX: f64 = 1.05;

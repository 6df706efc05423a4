//! Many events in one transaction.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Row;
use crate::aim::Aim;
use crate::engine::{Contender, EngineName};
use crate::sample::Sample;
use crate::session::{Session, timed};

/// Where an engine can, it has set room aside, so that its file does not grow.
static APPEND: Row = Row::new(
    "bulk-append",
    "bulk append, one transaction",
    "ns/event",
    &[
        Aim::Better { than: EngineName::Varvedb, sensor: 17.0, order: 8.0 },
        Aim::Within { floor: EngineName::FlatFile, factor: 1.7 },
    ],
);

/// No engine has set any room aside: each waits for the file system to find some.
static GROWING: Row =
    Row::new("bulk-growing", "bulk append, one transaction, into files that grow", "ns/event", &[]);

static DISK: Row = Row::new("bulk-disk", "disk that it takes ÷ payload", "×", &[Aim::AtMost(1.06)]);

static EMPTY: Row = Row::new("empty-disk", "disk that a new store takes", "KiB", &[]);

pub(super) static ROWS: [&Row; 4] = [&APPEND, &GROWING, &DISK, &EMPTY];

pub(super) fn measure<E: Sample>(session: &mut Session) {
    let events = session.events::<E>();
    session.rounds::<E, _>("bulk append", &mut session.writers::<E>(), |session, contender| {
        visit(session, contender, &events);
    });
}

/// What is timed is not the first append of its engine in this process: the memory that one needs was used before, as it is
/// where a program appends again and again.
fn visit<E: Sample>(session: &mut Session, contender: &Contender<E>, events: &[E]) {
    let (dir, payload) = (session.new_dir(), (events.len() * E::LEN) as u64);
    drop((contender.open)(dir.path(), 0));
    let empty = disk_bytes(dir.path());
    append(session, contender, dir.path(), 0, events);
    if contender.name.is_store() {
        let grown = disk_bytes(dir.path()) - empty;
        session.add(&DISK, E::NAME, contender.name, grown as f64 / payload as f64);
        session.add(&EMPTY, E::NAME, contender.name, empty as f64 / 1024.0);
    }
    let growing = append(session, contender, session.new_dir().path(), 0, events);
    session.add(&GROWING, E::NAME, contender.name, growing);
    let ns = match contender.name.sets_room_aside() {
        true => append(session, contender, session.new_dir().path(), payload, events),
        false => growing,
    };
    session.add(&APPEND, E::NAME, contender.name, ns);
}

/// Appends the events to an empty store with `room` set aside for that many bytes; returns the time for each, in
/// nanoseconds.
fn append<E: Sample>(
    session: &Session,
    contender: &Contender<E>,
    dir: &Path,
    room: u64,
    events: &[E],
) -> f64 {
    let mut engine = (contender.open)(dir, room);
    session.settle();
    let (ns, ()) = timed(|| engine.append(0, events));
    assert_eq!(engine.scan(), E::sum(events), "{:?} lost events", contender.name);
    ns / events.len() as f64
}

/// What the files take on the disk, holes apart.
fn disk_bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).expect("it was written just now").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * BLOCK_LEN).sum()
}

/// The unit of [`MetadataExt::blocks`].
const BLOCK_LEN: u64 = 512;

//! Small commits, each on the disk when it returns.

use std::time::{Duration, Instant};

use super::Row;
use crate::aim::Aim;
use crate::engine::{Contender, Engine, EngineName};
use crate::sample::Sample;
use crate::session::{Contends, Session, timed};

static ONE: Row = Row::new(
    "commit-1",
    "durable commit of 1 event",
    "µs",
    &[
        Aim::Better { than: EngineName::Varvedb, sensor: 1.9, order: 1.9 },
        Aim::Within { floor: EngineName::FlatFile, factor: 1.15 },
    ],
);

static MANY: Row = Row::new(
    "commit-64",
    "durable commit of 64 events",
    "µs",
    &[
        Aim::Better { than: EngineName::Varvedb, sensor: 2.9, order: 3.4 },
        Aim::Within { floor: EngineName::FlatFile, factor: 1.15 },
    ],
);

static OVER_STREAMS: Row = Row::new(
    "commit-streams",
    "durable commit of 256 events over 100 streams",
    "µs",
    &[
        Aim::Better { than: EngineName::Varvedb, sensor: 150.0, order: 150.0 },
        Aim::Better { than: EngineName::Heed, sensor: 3.5, order: 3.5 },
        Aim::Within { floor: EngineName::FlatFile, factor: 1.2 },
    ],
);

static RELAXED: Row =
    Row::new("commit-relaxed", "commit of 1 event that survives the process, flushed every 512", "µs", &[]);

pub(super) static ROWS: [&Row; 4] = [&ONE, &MANY, &OVER_STREAMS, &RELAXED];

/// What one commit takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    One,
    Many,
    OverStreams,
}

/// A store that takes part in every round, and what it was given so far.
struct Committing<E: Sample> {
    name: EngineName,
    engine: Box<dyn Engine<E>>,
    expected: u64,
    _dir: tempfile::TempDir,
}

pub(super) fn measure<E: Sample>(session: &mut Session) {
    for (row, commit) in [(&ONE, Commit::One), (&MANY, Commit::Many), (&OVER_STREAMS, Commit::OverStreams)] {
        if session.wants(row) {
            measure_commit::<E>(session, row, commit);
        }
    }
    if session.wants(&RELAXED) {
        measure_relaxed::<E>(session);
    }
}

/// Every engine takes the same commits in turn, its folds and checkpoints among them.
fn measure_commit<E: Sample>(session: &mut Session, row: &'static Row, commit: Commit) {
    let events = commit.events::<E>();
    let visits = session.arguments.rounds + 1;
    let room = visits * COMMITS_MAX * (events.len() * E::LEN) as u64;
    let open = |contender: &Contender<E>| Committing::open(session, contender, room);
    let mut engines: Vec<_> = session.writers::<E>().iter().map(open).collect();
    engines.iter_mut().for_each(|engine| engine.commit(commit, &events));
    session.rounds::<E, _>(row.title, &mut engines, |session, engine| {
        let (start, mut commits) = (Instant::now(), 0);
        while commits < COMMITS_MAX && start.elapsed() < VISIT_TIME_MAX {
            engine.commit(commit, &events);
            commits += 1;
        }
        let us = start.elapsed().as_secs_f64() * 1e6;
        session.add(row, E::NAME, engine.name, us / commits as f64);
    });
    for mut engine in engines {
        assert_eq!(engine.engine.scan(), engine.expected, "{:?} lost events", engine.name);
    }
}

fn measure_relaxed<E: Sample>(session: &mut Session) {
    let events: Vec<E> = (1..=COMMITS_MAX).map(E::generate).collect();
    let mut contenders = session.writers::<E>();
    session.rounds::<E, _>(RELAXED.title, &mut contenders, |session, contender| {
        let dir = session.new_dir();
        let mut engine = (contender.open)(dir.path(), (events.len() * E::LEN) as u64);
        session.settle();
        let (ns, is_able) = timed(|| engine.append_relaxed(&events));
        if is_able {
            assert_eq!(engine.scan(), E::sum(&events), "{:?} lost events", contender.name);
            session.add(&RELAXED, E::NAME, contender.name, ns / 1_000.0 / events.len() as f64);
        }
    });
}

impl Commit {
    /// The events of one commit.
    pub(super) fn events<E: Sample>(self) -> Vec<E> {
        let len = match self {
            Self::One => 1,
            Self::Many => 64,
            Self::OverStreams => 256,
        };
        (1..=len).map(E::generate).collect()
    }

    /// Makes the commit.
    pub(super) fn make<E: Sample>(self, engine: &mut dyn Engine<E>, events: &[E]) {
        match self {
            Self::One | Self::Many => engine.append(0, events),
            Self::OverStreams => engine.append_over_streams(events),
        }
    }
}

impl<E: Sample> Committing<E> {
    fn open(session: &Session, contender: &Contender<E>, room: u64) -> Self {
        let dir = session.new_dir();
        Self { name: contender.name, engine: (contender.open)(dir.path(), room), expected: 0, _dir: dir }
    }

    fn commit(&mut self, commit: Commit, events: &[E]) {
        commit.make(&mut *self.engine, events);
        self.expected = self.expected.wrapping_add(E::sum(events));
    }
}

impl<E: Sample> Contends for Committing<E> {
    fn name(&self) -> EngineName {
        self.name
    }
}

/// How many commits a visit makes, unless an engine is slow: with a sector each they fill a segment of the tail.
const COMMITS_MAX: u64 = 512;

/// How long a visit begins further commits.
const VISIT_TIME_MAX: Duration = Duration::from_secs(2);

//! Reads of a stream that was appended in bulk.

use super::Row;
use super::filled::Filled;
use crate::aim::Aim;
use crate::engine::EngineName;
use crate::sample::Sample;
use crate::session::{Contends, Session, timed};

static GET_GLOBAL: Row = Row::new(
    "get-global",
    "get by global sequence, one after the other in a snapshot",
    "ns",
    &[Aim::Better { than: EngineName::Varvedb, sensor: 75.0, order: 33.0 }],
);

static GET_GLOBAL_RANDOM: Row =
    Row::new("get-global-random", "get by global sequence, at random in a snapshot", "ns", &[]);

static ITERATE: Row = Row::new(
    "iterate",
    "iterate one stream",
    "ns/event",
    &[
        Aim::Better { than: EngineName::Varvedb, sensor: 90.0, order: 33.0 },
        Aim::Within { floor: EngineName::Memory, factor: 1.2 },
    ],
);

static GET: Row = Row::new(
    "get-random",
    "get by stream sequence, at random",
    "ns",
    &[Aim::Better { than: EngineName::Varvedb, sensor: 30.0, order: 17.0 }],
);

static SCAN: Row = Row::new(
    "scan",
    "scan all, summing a field",
    "ns/event",
    &[
        Aim::Better { than: EngineName::Varvedb, sensor: 23.0, order: 9.5 },
        Aim::Within { floor: EngineName::Memory, factor: 1.1 },
    ],
);

static FIRST_ITERATE: Row =
    Row::new("first-iterate", "iterate one stream, first touch of each block", "ns/event", &[]);

static FIRST_GET: Row = Row::new("first-get", "get by stream sequence, first touch of its block", "ns", &[]);

pub(super) static ROWS: [&Row; 7] =
    [&GET_GLOBAL, &GET_GLOBAL_RANDOM, &ITERATE, &GET, &SCAN, &FIRST_ITERATE, &FIRST_GET];

/// What is read in every visit, and what it comes to.
struct Reading {
    all: Vec<u64>,
    random: Vec<u64>,
    /// One place for each stretch of [`FIRST_STRIDE`] events.
    first: Vec<u64>,
}

pub(super) fn measure<E: Sample>(session: &mut Session) {
    let events = session.events::<E>();
    let fill = |contender| Filled::new(contender, session.new_dir(), |engine| engine.append(0, &events));
    let mut filled: Vec<_> = session.readers::<E>().into_iter().map(fill).collect();
    let reading = Reading::new(events.len() as u64);
    session.rounds::<E, _>("reads", &mut filled, |session, filled| {
        reading.touch_first(session, filled, &events);
        reading.read(session, filled, &events);
    });
}

impl Reading {
    fn new(events: u64) -> Self {
        let first = (0..events).step_by(FIRST_STRIDE).collect();
        Self { all: (0..events).collect(), random: random_places(events), first }
    }

    /// Opens the store anew for each row, since what was checked once is not checked again.
    fn touch_first<E: Sample>(&self, session: &mut Session, filled: &Filled<E>, events: &[E]) {
        let name = filled.name();
        if name == EngineName::Memory {
            return;
        }
        let mut engine = filled.open();
        let (ns, sum) = timed(|| engine.get_each(0, &self.first));
        assert_eq!(sum, Some(sum_at(events, &self.first)), "{name:?} reads something else");
        session.add(&FIRST_GET, E::NAME, name, ns / self.first.len() as f64);
        drop(engine);
        let mut engine = filled.open();
        let (ns, sum) = timed(|| engine.iterate(0));
        assert_eq!(sum, Some(engine.sum_of(events)), "{name:?} reads something else");
        session.add(&FIRST_ITERATE, E::NAME, name, ns / events.len() as f64);
    }

    /// Reads all once before any time is taken.
    fn read<E: Sample>(&self, session: &mut Session, filled: &Filled<E>, events: &[E]) {
        let (name, mut engine) = (filled.name(), filled.open());
        let (all, random) = (engine.sum_of(events), sum_at(events, &self.random));
        assert_eq!(engine.scan(), all, "{name:?} reads something else");
        let mut add = |row, count: usize, expected: u64, (ns, sum): (f64, Option<u64>)| {
            if let Some(sum) = sum {
                assert_eq!(sum, expected, "{name:?} reads something else");
                session.add(row, E::NAME, name, ns / count as f64);
            }
        };
        add(&SCAN, events.len(), all, timed(|| Some(engine.scan())));
        add(&ITERATE, events.len(), all, timed(|| engine.iterate(0)));
        add(&GET_GLOBAL, events.len(), all, timed(|| engine.get_each_global(&self.all)));
        add(&GET_GLOBAL_RANDOM, GETS, random, timed(|| engine.get_each_global(&self.random)));
        add(&GET, GETS, random, timed(|| engine.get_each(0, &self.random)));
    }
}

fn sum_at<E: Sample>(events: &[E], places: &[u64]) -> u64 {
    places.iter().fold(0, |sum, &place| sum.wrapping_add(events[place as usize].field()))
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

/// How many single events are asked for at random.
const GETS: usize = 100_000;

/// More events than a block of the smallest holds.
const FIRST_STRIDE: usize = 4_096;

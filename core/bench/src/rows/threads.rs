//! Durable appends of single events by many threads at once, against one.

use std::time::{Duration, Instant};

use super::Row;
use crate::aim::Aim;
use crate::engine::{Contender, Engine, Handle};
use crate::sample::Sample;
use crate::session::{Session, timed};

static ONE: Row = Row::new("threads-1", "durable single appends, 1 thread", "µs/event", &[]);

static MANY: Row = Row::new("threads-8", "durable single appends, 8 threads", "µs/event", &[]);

static GAIN: Row =
    Row::new("threads-gain", "rate of 8 threads ÷ rate of one", "×", &[Aim::AtLeast(5.0)]).higher_is_better();

pub(super) static ROWS: [&Row; 3] = [&ONE, &MANY, &GAIN];

pub(super) fn measure<E: Sample>(session: &mut Session) {
    session.rounds::<E, _>("threads", &mut session.stores::<E>(), visit);
}

fn visit<E: Sample>(session: &mut Session, contender: &mut Contender<E>) {
    let dir = session.new_dir();
    let mut engine = (contender.open)(dir.path(), 0);
    engine.append(0, &[E::generate(1)]);
    let (one_us, one) = append(&mut *engine, 1);
    let (many_us, many) = append(&mut *engine, THREADS);
    let expected = (1 + one + many).wrapping_mul(E::generate(1).field());
    assert_eq!(engine.scan(), expected, "{:?} lost events", contender.name);
    session.add(&ONE, E::NAME, contender.name, one_us);
    session.add(&MANY, E::NAME, contender.name, many_us);
    session.add(&GAIN, E::NAME, contender.name, one_us / many_us);
}

/// Appends from several threads for a while; returns the time for each event, and how many there were.
fn append<E: Sample>(engine: &mut dyn Engine<E>, threads: usize) -> (f64, u64) {
    let deadline = Instant::now() + VISIT_TIME;
    let run = |mut handle: Handle<'_, E>| {
        let (event, mut events) = (E::generate(1), 0);
        while Instant::now() < deadline {
            handle(&event);
            events += 1;
        }
        events
    };
    let handles = engine.handles(threads);
    let (ns, events) = timed(|| {
        std::thread::scope(|scope| {
            let threads: Vec<_> = handles.into_iter().map(|handle| scope.spawn(|| run(handle))).collect();
            threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum::<u64>()
        })
    });
    (ns / 1_000.0 / events as f64, events)
}

const THREADS: usize = 8;

/// How long the threads append.
const VISIT_TIME: Duration = Duration::from_millis(500);

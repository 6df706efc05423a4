//! One stream of many that were written in small commits, taking turns.

use super::Row;
use super::filled::Filled;
use crate::aim::Aim;
use crate::engine::{Engine, EngineName, STREAMS};
use crate::sample::Sample;
use crate::session::{Contends, Session, timed};

static ITERATE: Row = Row::new(
    "interleaved",
    "iterate one of 100 interleaved streams, folded",
    "ns/event",
    &[Aim::Better { than: EngineName::Varvedb, sensor: 14.0, order: 14.0 }],
);

pub(super) static ROWS: [&Row; 1] = [&ITERATE];

pub(super) fn measure<E: Sample>(session: &mut Session) {
    let events = session.events::<E>();
    let fill = |contender| {
        Filled::new(contender, session.new_dir_in_memory(), |engine| {
            events.chunks(COMMIT_EVENTS).for_each(|events| engine.append_over_streams(events));
        })
    };
    let mut filled: Vec<_> = session.stores::<E>().into_iter().map(fill).collect();
    let streams: Vec<_> = (0..STREAMS).step_by(STREAM_STRIDE).map(|id| Stream::of(id, &events)).collect();
    session.rounds::<E, _>(ITERATE.title, &mut filled, |session, filled| {
        let mut engine = filled.open();
        let read = |(ns, events), stream: &Stream| (ns + stream.iterate(&mut *engine), events + stream.len);
        let (ns, events) = streams.iter().fold((0.0, 0), read);
        session.add(&ITERATE, E::NAME, filled.name(), ns / events as f64);
    });
}

/// A stream, and what reading it comes to.
struct Stream {
    id: u64,
    len: u64,
    sum: u64,
}

impl Stream {
    fn of<E: Sample>(id: u64, events: &[E]) -> Self {
        let mut stream = Self { id, len: 0, sum: 0 };
        for event in events
            .chunks(COMMIT_EVENTS)
            .flat_map(|commit| commit.iter().skip(id as usize).step_by(STREAMS as usize))
        {
            stream.len += 1;
            stream.sum = stream.sum.wrapping_add(event.field());
        }
        stream
    }

    /// Reads it once, and once more with the time taken, in nanoseconds.
    fn iterate<E: Sample>(&self, engine: &mut dyn Engine<E>) -> f64 {
        assert_eq!(engine.iterate(self.id), Some(self.sum), "it reads something else");
        let (ns, sum) = timed(|| engine.iterate(self.id));
        assert_eq!(sum, Some(self.sum), "it reads something else");
        ns
    }
}

/// The events of one commit.
const COMMIT_EVENTS: usize = 256;

/// Every so many streams, one is read.
const STREAM_STRIDE: usize = 10;

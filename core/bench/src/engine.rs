//! What is measured: Varve, its peers, and two floors that no store can be below.

mod flat_file;
mod heed;
mod memory;
mod places;
mod redb;
mod sqlite;
mod varve;
mod varvedb;

use std::fmt;
use std::path::Path;
use std::slice;
use std::sync::{Arc, Mutex};

use clap::ValueEnum;

use crate::sample::Sample;
use flat_file::FlatFile;
use heed::Heed;
use memory::Memory;
use redb::Redb;
use sqlite::Sqlite;
use varve::Varve;
use varvedb::Varvedb;

/// A store of events of one type, under one name. Loops stand behind these methods, so that an engine is called once
/// for all that is timed.
pub(crate) trait Engine<E: Sample>: Send {
    /// Appends events to a stream in one transaction, which is on the disk when this returns.
    fn append(&mut self, stream: u64, events: &[E]);

    /// Appends each event to the stream of its turn, of [`STREAMS`], in as few transactions as the engine allows. All
    /// is on the disk when this returns.
    fn append_over_streams(&mut self, events: &[E]);

    /// Appends each event to stream 0 in a commit of its own that survives the end of the process, and is on the disk only
    /// when this returns. Whether the engine has such commits.
    fn append_relaxed(&mut self, _events: &[E]) -> bool {
        false
    }

    /// Handles that append single events to stream 0 from threads of their own, durably. An engine without such
    /// handles is taken in turn.
    fn handles<'a>(&'a mut self, count: usize) -> Vec<Handle<'a, E>> {
        let engine = Arc::new(Mutex::new(self));
        let handle = |_| -> Handle<'a, E> {
            let engine = engine.clone();
            Box::new(move |event| {
                engine.lock().expect("no other thread panics").append(0, slice::from_ref(event));
            })
        };
        (0..count).map(handle).collect()
    }

    /// Reads the whole log in order, and adds up [`Sample::field`].
    fn scan(&mut self) -> u64;

    /// Reads a stream in order, and adds up the field.
    fn iterate(&mut self, _stream: u64) -> Option<u64> {
        None
    }

    /// Reads the events at these places of a stream one by one, in one snapshot where the engine has such, and adds
    /// up the field.
    fn get_each(&mut self, _stream: u64, _places: &[u64]) -> Option<u64> {
        None
    }

    /// The same with places in the log.
    fn get_each_global(&mut self, _places: &[u64]) -> Option<u64> {
        None
    }

    /// What reading these events comes to.
    fn sum_of(&self, events: &[E]) -> u64 {
        E::sum(events)
    }
}

/// Appends one event.
pub(crate) type Handle<'a, E> = Box<dyn FnMut(&E) + Send + 'a>;

/// An engine that can be opened.
pub(crate) trait Open<E: Sample>: Engine<E> + Sized + 'static {
    /// Which it is.
    const NAME: EngineName;

    /// Opens the store in a directory: a new one to append to, or one that was closed, to read it. All appends
    /// together come to at most `room` bytes of events, which an engine may set aside.
    fn open(dir: &Path, room: u64) -> Self;
}

/// One of the engines that are compared.
pub(crate) struct Contender<E: Sample> {
    pub(crate) name: EngineName,
    pub(crate) open: fn(&Path, u64) -> Box<dyn Engine<E>>,
}

/// The engines, in the order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    Varve,
    Varvedb,
    Heed,
    Redb,
    Sqlite,
    FlatFile,
    Memory,
}

/// Every engine.
pub(crate) fn contenders<E: Sample>() -> Vec<Contender<E>> {
    vec![
        contender::<E, Varve<E>>(),
        contender::<E, Varvedb<E>>(),
        contender::<E, Heed>(),
        contender::<E, Redb>(),
        contender::<E, Sqlite>(),
        contender::<E, FlatFile>(),
        contender::<E, Memory>(),
    ]
}

fn contender<E: Sample, S: Open<E>>() -> Contender<E> {
    Contender { name: S::NAME, open: |dir, room| Box::new(S::open(dir, room)) }
}

impl EngineName {
    /// Whether it sets aside the room that it is told of.
    pub(crate) fn sets_room_aside(self) -> bool {
        matches!(self, Self::Varve | Self::FlatFile)
    }

    /// Whether it is a store, and not a floor.
    pub(crate) fn is_store(self) -> bool {
        !matches!(self, Self::FlatFile | Self::Memory)
    }

    /// Its name in one word.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Varve => "varve",
            Self::Varvedb => "varvedb",
            Self::Heed => "heed",
            Self::Redb => "redb",
            Self::Sqlite => "sqlite",
            Self::FlatFile => "flat-file",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Varve => "varve",
            Self::Varvedb => "varvedb 0.4.2",
            Self::Heed => "heed, an entry an event",
            Self::Redb => "redb",
            Self::Sqlite => "SQLite",
            Self::FlatFile => "flat file",
            Self::Memory => "memory",
        })
    }
}

/// How many streams there are where there are many.
pub(crate) const STREAMS: u64 = 100;

/// The address space for the peers that ask for it beforehand.
const MAP_SIZE: usize = 64 << 30;

/// The name of the events, where an engine takes one.
const NAME: &str = "events";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Order, Sensor};

    #[test]
    fn every_engine_reads_what_it_was_given_after_it_was_closed() {
        check_all::<Sensor>();
        check_all::<Order>();
    }

    fn check_all<E: Sample>() {
        for contender in contenders::<E>() {
            let dir = tempfile::tempdir().unwrap();
            let events: Vec<_> = (0..300).map(E::generate).collect();
            let room = (events.len() * E::LEN) as u64;
            let mut engine = (contender.open)(dir.path(), room);
            engine.append_over_streams(&events[..256]);
            engine.append(0, &events[256..]);
            check(&mut *engine, &events, contender.name);
            drop(engine);
            if contender.name.is_store() {
                check(&mut *(contender.open)(dir.path(), room), &events, contender.name);
            }
        }
    }

    fn check<E: Sample>(engine: &mut dyn Engine<E>, events: &[E], name: EngineName) {
        assert_eq!(engine.scan(), engine.sum_of(events), "{name:?}");
        if !name.is_store() {
            return;
        }
        let in_turn = |stream: u64| events[..256].iter().skip(stream as usize).step_by(STREAMS as usize);
        let stream_7: Vec<_> = in_turn(7).cloned().collect();
        let stream_0: Vec<_> = in_turn(0).chain(&events[256..]).cloned().collect();
        for (stream, of_stream) in [(0, stream_0), (7, stream_7)] {
            assert_eq!(engine.iterate(stream), Some(E::sum(&of_stream)), "{name:?}");
            let last = of_stream.len() - 1;
            let ends = of_stream[0].field() + of_stream[last].field();
            assert_eq!(engine.get_each(stream, &[last as u64, 0]), Some(ends), "{name:?}");
        }
        let last = events.len() as u64 - 1;
        assert_eq!(engine.get_each_global(&[last]), Some(events[last as usize].field()), "{name:?}");
    }

    #[test]
    fn handles_append_from_threads_of_their_own() {
        for contender in contenders::<Sensor>().into_iter().filter(|contender| contender.name.is_store()) {
            let dir = tempfile::tempdir().unwrap();
            let mut engine = (contender.open)(dir.path(), 0);
            std::thread::scope(|scope| {
                for mut handle in engine.handles(3) {
                    scope.spawn(move || (0..5).for_each(|n| handle(&Sensor::generate(n))));
                }
            });
            assert_eq!(engine.scan(), 3 * (1 + 2 + 3 + 4), "{:?}", contender.name);
        }
    }
}

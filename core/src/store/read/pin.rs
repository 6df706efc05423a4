//! Who keeps pages of the store from being used again.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::store::files::reader_table::Reader;

/// A snapshot that is open in this process, or a guard, an iterator, an append that reads one. As long as it is, no page
/// that it sees is used again, and the map stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pin {
    /// The name of the thread that took it; `None` where the thread has none.
    pub thread: Option<String>,
    /// For how long it has been open.
    pub age: Duration,
}

/// What a process keeps from being used again, this one or another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessPins {
    /// Its number, as the system gives it.
    pub process: u32,
    /// How many snapshots it has open.
    pub snapshots: u32,
    /// How often LMDB was written to since the oldest of them was taken: by folds, for the most part.
    pub folds_behind: u64,
}

impl ProcessPins {
    /// The readers by their processes, the one that is behind most first; the last transaction was `last`.
    pub(in crate::store) fn of(readers: &[Reader], last: u64) -> Vec<Self> {
        let mut pins: Vec<Self> = Vec::new();
        for reader in readers {
            let folds_behind = last.saturating_sub(reader.transaction);
            match pins.iter_mut().find(|pins| pins.process == reader.process) {
                Some(pins) => {
                    pins.snapshots += 1;
                    pins.folds_behind = pins.folds_behind.max(folds_behind);
                }
                None => pins.push(Self { process: reader.process, snapshots: 1, folds_behind }),
            }
        }
        pins.sort_by_key(|pins| std::cmp::Reverse(pins.folds_behind));
        pins
    }
}

/// The pins of a process.
#[derive(Debug, Default)]
pub(in crate::store) struct OpenPins {
    /// Each at the place that it was given; a place that is free is given again.
    pins: Vec<Option<OpenPin>>,
    len: usize,
}

#[derive(Debug)]
struct OpenPin {
    thread: Thread,
    since: Instant,
}

impl OpenPins {
    /// How many there are.
    pub(in crate::store) fn len(&self) -> usize {
        self.len
    }

    /// Adds one of this thread, and returns its place.
    pub(in crate::store) fn add(&mut self, since: Instant) -> usize {
        let pin = Some(OpenPin { thread: thread::current(), since });
        self.len += 1;
        match self.pins.iter().position(Option::is_none) {
            Some(place) => {
                self.pins[place] = pin;
                place
            }
            None => {
                self.pins.push(pin);
                self.pins.len() - 1
            }
        }
    }

    /// Removes the one at `place`.
    pub(in crate::store) fn remove(&mut self, place: usize) {
        self.pins[place] = None;
        self.len -= 1;
    }

    /// All of them, the oldest first.
    pub(in crate::store) fn list(&self) -> Vec<Pin> {
        let pins = self.pins.iter().flatten();
        let mut pins: Vec<_> = pins
            .map(|pin| Pin { thread: pin.thread.name().map(Into::into), age: pin.since.elapsed() })
            .collect();
        pins.sort_by_key(|pin| std::cmp::Reverse(pin.age));
        pins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_again_once_it_is_free() {
        let mut pins = OpenPins::default();
        let now = Instant::now();
        assert_eq!((pins.add(now), pins.add(now), pins.len()), (0, 1, 2));
        pins.remove(0);
        assert_eq!((pins.len(), pins.add(now), pins.add(now), pins.len()), (1, 0, 2, 3));
    }

    #[test]
    fn the_oldest_comes_first() {
        let mut pins = OpenPins::default();
        let since = Instant::now();
        pins.add(since + Duration::from_secs(1));
        thread::scope(|scope| {
            let add = || pins.add(since);
            thread::Builder::new().name("older".into()).spawn_scoped(scope, add).unwrap();
        });
        let list = pins.list();
        assert_eq!((list.len(), list[0].thread.as_deref()), (2, Some("older")));
        assert!(list[0].age >= list[1].age);
    }

    #[test]
    fn the_process_that_is_behind_most_comes_first_with_all_that_it_has_open() {
        let reader = |process, transaction| Reader { process, transaction };
        let pins = ProcessPins::of(&[reader(1, 9), reader(2, 8), reader(2, 3), reader(3, 10)], 9);
        let told: Vec<_> =
            pins.iter().map(|pins| (pins.process, pins.snapshots, pins.folds_behind)).collect();
        assert_eq!(told, [(2, 2, 6), (1, 1, 0), (3, 1, 0)]);
    }
}

//! Who keeps pages of the store from being used again.

use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// A snapshot that is open in this process, or a guard, an iterator, an append that reads one. As long as it is, no page
/// that it sees is used again, and the map stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The name of the thread that took it; `None` where the thread has none.
    pub thread: Option<String>,
    /// For how long it has been open.
    pub age: Duration,
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
}

//! What a workload notes among the operations on its files, and how far its commits have come by that.

use std::collections::BTreeSet;

use crate::history::Progress;

/// A note among the operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The store was opened and holds that many commits. Whoever has seen them relies on them.
    Settled(usize),
    /// A reader saw that many.
    Seen(usize),
    /// The commit of that token begins.
    Begun(usize),
    /// It was acknowledged.
    Acknowledged(usize),
}

impl Mark {
    /// The mark as the recording has it.
    pub(crate) fn number(self) -> u64 {
        let (kind, value) = match self {
            Self::Settled(held) => (0, held),
            Self::Begun(token) => (1, token),
            Self::Acknowledged(token) => (2, token),
            Self::Seen(held) => (3, held),
        };
        value as u64 * KINDS + kind
    }

    /// The mark of a number.
    pub(crate) fn of(number: u64) -> Self {
        let value = (number / KINDS) as usize;
        match number % KINDS {
            0 => Self::Settled(value),
            1 => Self::Begun(value),
            2 => Self::Acknowledged(value),
            _ => Self::Seen(value),
        }
    }
}

/// Which commits of a life were begun and acknowledged so far. Threads that commit at once begin in one order, and are
/// stored in another: a token tells a commit before its place is known.
pub(crate) struct Tally<'l> {
    /// The place in the history of the commit of each token.
    places: &'l [usize],
    settled: Progress,
    begun: BTreeSet<usize>,
    acknowledged: usize,
}

impl<'l> Tally<'l> {
    /// Begins with what was certain and possible before.
    pub(crate) fn new(places: &'l [usize], settled: Progress) -> Self {
        Self { places, settled, begun: BTreeSet::new(), acknowledged: 0 }
    }

    /// Takes up the next mark. Tells whether the history is since that of this life.
    pub(crate) fn note(&mut self, mark: Mark) -> bool {
        match mark {
            Mark::Settled(held) => *self = Self::new(self.places, Progress::settled(held)),
            Mark::Seen(held) => *self = Self::new(self.places, self.progress().seen(held)),
            Mark::Begun(token) => drop(self.begun.insert(self.places[token])),
            Mark::Acknowledged(token) => self.acknowledged = self.acknowledged.max(self.places[token] + 1),
        }
        matches!(mark, Mark::Settled(_))
    }

    /// How many commits are certain: those up to the last that was acknowledged, since the log has no gaps; and how many
    /// there can be: those before the first that has not begun.
    ///
    /// # Panics
    ///
    /// Where a commit is certain that has not begun.
    pub(crate) fn progress(&self) -> Progress {
        let next = (self.settled.begun..).find(|place| !self.begun.contains(place));
        let begun = next.expect("there is no end of places");
        let acknowledged = self.acknowledged.max(self.settled.acknowledged);
        assert!(acknowledged <= begun, "commit {acknowledged} is certain, and {begun} has not begun");
        Progress { acknowledged, begun, owned: self.acknowledged.max(self.settled.owned) }
    }
}

/// How many kinds of marks there are.
const KINDS: u64 = 4;

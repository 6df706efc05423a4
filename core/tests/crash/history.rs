//! The commits of a store, in order, and which of them it has to hold.

use crate::contents::{Contents, Event, LaneEnd};

/// One commit: what is asked of the store, and what it adds to its contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    pub(crate) steps: Vec<Step>,
    pub(crate) events: Vec<Event>,
    pub(crate) lanes: Vec<((u64, u8), LaneEnd)>,
    pub(crate) consumers: Vec<(&'static str, u64)>,
}

/// A part of a commit.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Local readings with these serial numbers.
    Readings { id: u64, serials: Vec<u64> },
    /// Local notes.
    Notes { id: u64, notes: Vec<(u64, String)> },
    /// A sealed batch of a device.
    Batch { device: u64, first: u64, chain: u32, batch: Vec<u8> },
    /// Events of a device that will never come.
    Gap { device: u64, first: u64, len: u64, chain: u32 },
    /// A consumer's cursor.
    Consumer { name: &'static str, next: u64 },
}

/// The commits that were begun, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    commits: Vec<Commit>,
    contents: Contents,
}

/// How many commits were acknowledged, and how many begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) acknowledged: usize,
    pub(crate) begun: usize,
}

impl History {
    /// What the store holds after every commit.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// Whether no commit was begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// Adds a commit that begins now.
    pub(crate) fn begin(&mut self, commit: Commit) -> &Commit {
        self.contents.apply(&commit);
        self.commits.push(commit);
        &self.commits[self.commits.len() - 1]
    }

    /// Forgets the commits from the `len`-th on: the store does not have them.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.commits.len() {
            self.commits.truncate(len);
            self.contents = Contents::after(&self.commits);
        }
    }

    /// How many commits a store holds: all that were acknowledged, and after them as many as it likes of those that were
    /// begun. Says what is wrong where it is none of these.
    pub(crate) fn settle(&self, found: &Contents, progress: Progress) -> Result<usize, String> {
        let mut expected = Contents::after(&self.commits[..progress.acknowledged]);
        let acknowledged = expected.clone();
        for held in progress.acknowledged..=progress.begun {
            if held > progress.acknowledged {
                expected.apply(&self.commits[held - 1]);
            }
            if expected == *found {
                return Ok(held);
            }
        }
        let difference = found.difference(&acknowledged);
        Err(format!("{progress:?}, and the store holds none of what that allows: {difference}"))
    }
}

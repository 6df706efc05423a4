//! The commits of a store, in order, and which of them it has to hold.

use std::path::Path;
use std::sync::Arc;

use varve_core::{Damage, OpenError, Place, Varve};

use crate::config;
use crate::contents::{Contents, Event, LaneEnd};
use crate::keys::wrapped_keys;
use crate::watermark::Watermark;

/// One commit: what is asked of the store, and what it does to its contents.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commit {
    pub(crate) steps: Vec<Step>,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) lanes: Vec<((u64, u8), LaneEnd)>,
    pub(crate) consumers: Vec<(&'static str, u64)>,
    /// The stream whose readings it shreds.
    pub(crate) shredded: Option<u64>,
    /// Where the log begins since.
    pub(crate) first: Option<u64>,
    /// The number of the master key that opens the store since.
    pub(crate) master: Option<u8>,
    /// Wrapped keys that stood in the store's files before, and of which nothing may be left.
    pub(crate) destroyed: Vec<Vec<u8>>,
}

/// A part of a commit. What looks after a store is the only step of its commit.
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
    /// The tail moves into LMDB.
    Fold,
    /// Events before the last so many may go.
    Retain { events_max: u64 },
    /// The key of a stream of readings is destroyed.
    #[cfg(feature = "encryption")]
    Shred { id: u64 },
    /// The store gets another master key.
    #[cfg(feature = "encryption")]
    Rotate { master: u8 },
}

/// The commits that were begun, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// Whether the store retires events by itself.
    retires: bool,
    commits: Vec<Arc<Commit>>,
    contents: Contents,
}

/// How many commits were acknowledged, or seen, and how many begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) acknowledged: usize,
    pub(crate) begun: usize,
    /// How many of the first an owner has acknowledged, or found: the keys that they destroyed are gone. A reader sees
    /// that a key does not count any more while it is yet to be wiped.
    pub(crate) owned: usize,
}

impl History {
    /// That of a store which retires events by itself, or does not.
    pub(crate) fn new(retires: bool) -> Self {
        Self { retires, ..Self::default() }
    }

    /// Whether the store retires events by itself.
    pub(crate) fn retires(&self) -> bool {
        self.retires
    }

    /// What the store holds after every commit.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// How many commits there are.
    pub(crate) fn len(&self) -> usize {
        self.commits.len()
    }

    /// Adds a commit that begins now.
    pub(crate) fn begin(&mut self, commit: Commit) -> Arc<Commit> {
        let commit = Arc::new(commit);
        self.contents.apply(&commit);
        self.commits.push(commit.clone());
        commit
    }

    /// Forgets the commits from the `len`-th on: the store does not have them.
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.commits.len() {
            self.commits.truncate(len);
            self.contents = Contents::after(&self.commits);
        }
    }

    /// The last commit has left the log to begin at `first`.
    pub(crate) fn learn_first(&mut self, first: u64) {
        let last = self.commits.last_mut().expect("it was begun");
        Arc::make_mut(last).first = Some(first);
        self.contents.retire(first);
    }

    /// Opens the store, which may have any master key that the progress allows, and takes up what it holds: see
    /// [`History::take_up`]. What is retired then stays so.
    pub(crate) fn open(&mut self, dir: &Path, progress: Progress) -> Result<Varve, String> {
        let keys = wrapped_keys(dir);
        let open = |master| Varve::with_config(dir, config(master, self.retires));
        let (varve, master) =
            self.with_master(progress, open).map_err(|error| format!("it does not open: {error}"))?;
        let found = Contents::read(&varve, master)?;
        self.take_up(&found, progress)?;
        let kept = wrapped_keys(dir);
        let destroyed: Vec<_> = keys.into_iter().filter(|key| !kept.contains(key)).collect();
        if found.first > self.contents.first || !destroyed.is_empty() {
            self.begin(Commit { first: Some(found.first), destroyed, ..Commit::default() });
        }
        Ok(varve)
    }

    /// Reads the store as a process that does not own it: as far as an owner told that it is durable, where one did since
    /// the machine was started. Nothing where an owner has to put it right first.
    pub(crate) fn look(&self, dir: &Path, progress: Progress) -> Result<Option<Contents>, String> {
        let told = Watermark::since_boot(dir);
        let open = |master| Varve::open_read_only_with_config(dir, config(master, false));
        let found = match self.with_master(progress, open) {
            Ok((view, master)) => Contents::read(&view, master)?,
            Err(OpenError::Unrecovered { .. }) => return Ok(None),
            Err(error) => return Err(format!("it cannot be looked at: {error}")),
        };
        match told {
            Some(told) if told.next != found.events.len() as u64 => {
                Err(format!("{} events were told of, and {} are seen", told.next, found.events.len()))
            }
            _ => Ok(Some(found)),
        }
    }

    /// Opens the store, of whose tail a part is damaged. Tells whether it is refused with the place.
    ///
    /// # Errors
    ///
    /// What is wrong where it opens, and lacks what it has to hold; and where it is refused for something else.
    pub(crate) fn is_refused(&self, dir: &Path, progress: Progress) -> Result<bool, String> {
        let open = |master| Varve::with_config(dir, config(master, self.retires));
        match self.with_master(progress, open) {
            Ok((varve, master)) => self.settle(&Contents::read(&varve, master)?, progress).map(|_| false),
            Err(OpenError::Corrupt(Damage { place: Place::Tail { .. }, .. })) => Ok(true),
            Err(error) => Err(format!("it does not open: {error}")),
        }
    }

    /// Runs `open` with one master key after the other, the last first, until one is right.
    fn with_master<S>(
        &self,
        progress: Progress,
        open: impl Fn(u8) -> Result<S, OpenError>,
    ) -> Result<(S, u8), OpenError> {
        let (certain, possible) = self.commits[..progress.begun].split_at(progress.acknowledged);
        let master = certain.iter().rev().find_map(|commit| commit.master).unwrap_or_default();
        for later in possible.iter().rev().filter_map(|commit| commit.master) {
            match open(later) {
                Err(error) if is_wrong_master(&error) => {}
                opened => return opened.map(|store| (store, later)),
            }
        }
        open(master).map(|store| (store, master))
    }

    /// Takes up what a store holds: all commits that were acknowledged, and after them as many as it likes of those that
    /// were begun. The others are forgotten. Whoever has seen it relies on it, but for what is retired: that comes back where a power cut takes
    /// back the fold that has done it, unless an owner has opened the store since. Returns how many commits there are now.
    ///
    /// # Errors
    ///
    /// What is wrong where it holds none of these.
    pub(crate) fn take_up(&mut self, found: &Contents, progress: Progress) -> Result<usize, String> {
        let held = self.settle(found, progress)?;
        self.truncate(held);
        Ok(held)
    }

    /// The last wrapped keys of which nothing is left.
    pub(crate) fn destroyed(&self, progress: Progress) -> impl Iterator<Item = &[u8]> {
        let certain = self.commits[..progress.owned].iter().rev();
        certain.flat_map(|commit| &commit.destroyed).map(Vec::as_slice).take(DESTROYED_MAX)
    }

    /// How many commits there are in what a store holds: see [`History::take_up`].
    pub(crate) fn settle(&self, found: &Contents, progress: Progress) -> Result<usize, String> {
        let mut expected = Contents::after(&self.commits[..progress.acknowledged]);
        let mut differences = Vec::new();
        for held in progress.acknowledged..=progress.begun {
            if held > progress.acknowledged {
                expected.apply(&self.commits[held - 1]);
            }
            match expected.check(found) {
                Ok(()) => return Ok(held),
                Err(difference) => differences.push(difference),
            }
        }
        Err(format!("{progress:?}, and the store holds none of what that allows: {}", differences[0]))
    }
}

impl Progress {
    /// All of so many commits are certain.
    pub(crate) fn settled(held: usize) -> Self {
        Self { acknowledged: held, begun: held, owned: held }
    }

    /// They are, since a reader has seen them. An owner may find more, which no flush is known to have reached.
    pub(crate) fn seen(self, held: usize) -> Self {
        Self { acknowledged: held, owned: self.owned.min(held), ..self }
    }
}

#[cfg(feature = "encryption")]
fn is_wrong_master(error: &OpenError) -> bool {
    matches!(error, OpenError::Keys(varve_core::KeysError::WrongMasterKey))
}

#[cfg(not(feature = "encryption"))]
fn is_wrong_master(_: &OpenError) -> bool {
    false
}

/// How many of the keys that were destroyed are looked for: each costs a search through all files.
const DESTROYED_MAX: usize = 4;

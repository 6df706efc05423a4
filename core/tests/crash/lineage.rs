//! A store through several lives, each of which ends in a kill or a power cut, on one disk.

use std::path::Path;

use fastrand::Rng;
use varve_core::{OpenError, Varve};
use varve_disk_shim::{Disk, Operation, Watch};

use crate::boot::start_anew;
use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::{config, new_dir, open};

/// A disk, and what the store on it has to hold.
pub(crate) struct Lineage {
    random: Rng,
    disk: Disk,
    history: History,
    progress: Progress,
}

/// What a workload notes among the operations on its files.
enum Mark {
    /// The store was opened and holds that many commits. Whoever has seen them relies on them.
    Settled(usize),
    /// The next commit begins.
    Begun,
    /// It was acknowledged.
    Acknowledged,
}

/// The operations of one life.
struct Life {
    operations: Vec<Operation>,
    /// What the store had to hold before it was opened.
    before: (History, Progress),
}

impl Lineage {
    /// A lineage on an empty disk.
    pub(crate) fn new(seed: u64, disk: Disk) -> Self {
        Self {
            random: Rng::with_seed(seed),
            disk,
            history: History::default(),
            progress: Progress::default(),
        }
    }

    /// Lives on, and gives `check` what power cuts at random moments leave, together with what it has to hold.
    ///
    /// # Errors
    ///
    /// What is wrong with the store, where it cannot go on.
    pub(crate) fn live(&mut self, mut check: impl FnMut(&Disk, &History, Progress)) -> Result<(), String> {
        let life = self.work()?;
        let moments = self.moments(&life);
        let last = *moments.last().expect("there are some");
        self.disk.begin_recording();
        let mut history = &life.before.0;
        self.progress = life.before.1;
        for (at, operation) in life.operations.iter().enumerate().take(last + 1) {
            self.disk.apply(operation);
            if let Operation::Mark(mark) = operation {
                if let Mark::Settled(_) = Mark::of(*mark) {
                    history = &self.history;
                }
                self.progress.note(Mark::of(*mark));
            }
            for _ in moments.iter().filter(|&&moment| moment == at) {
                check(&self.disk.power_cut(&mut self.random), history, self.progress);
            }
        }
        self.history = history.clone();
        self.history.truncate(self.progress.begun);
        if self.random.bool() {
            self.disk = self.disk.power_cut(&mut self.random);
            start_anew(&mut self.disk);
        }
        Ok(())
    }

    /// Opens the store and commits; what the disk holds at the end is left behind.
    fn work(&mut self) -> Result<Life, String> {
        let dir = new_dir();
        self.disk.restore(dir.path()).map_err(|error| error.to_string())?;
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        let before = (self.history.clone(), self.progress);
        self.commit_some(&watch, dir.path())?;
        let life = Life { operations: watch.take_operations(), before };
        life.check_recording(self.disk.clone(), dir.path())?;
        Ok(life)
    }

    fn commit_some(&mut self, watch: &Watch, dir: &Path) -> Result<(), String> {
        if self.random.bool() && !self.history.is_empty() {
            self.look(watch, dir)?;
        }
        let mut varve = open(dir)?;
        self.settle(watch, &Contents::read(&varve)?)?;
        for _ in 0..self.random.usize(COMMITS) {
            if self.random.u8(..30) == 0 {
                drop(varve);
                varve = open(dir)?;
            }
            let commit = Commit::draw(&mut self.random, self.history.contents());
            watch.mark(Mark::Begun.number());
            let commit = self.history.begin(commit);
            commit.perform(&mut varve).map_err(|error| format!("a commit failed: {error}"))?;
            watch.mark(Mark::Acknowledged.number());
        }
        Ok(())
    }

    /// Reads the store before anybody owns it again, unless an owner has to put it right first.
    fn look(&mut self, watch: &Watch, dir: &Path) -> Result<(), String> {
        match Varve::open_read_only_with_config(dir, config()) {
            Ok(view) => self.settle(watch, &Contents::read(&view)?),
            Err(OpenError::Unrecovered { .. }) => Ok(()),
            Err(error) => Err(format!("it cannot be looked at: {error}")),
        }
    }

    /// Whoever has seen what the store holds relies on it.
    fn settle(&mut self, watch: &Watch, found: &Contents) -> Result<(), String> {
        let held = self.history.settle(found, self.progress)?;
        self.history.truncate(held);
        self.progress = Progress { acknowledged: held, begun: held };
        watch.mark(Mark::Settled(held).number());
        Ok(())
    }

    /// The operations after which the power is cut, in order. Some are early, while the store recovers.
    fn moments(&mut self, life: &Life) -> Vec<usize> {
        let len = life.operations.len();
        let mut moments: Vec<usize> = (0..IMAGES_PER_LIFE)
            .map(|_| {
                if self.random.u8(..4) == 0 {
                    self.random.usize(..life.recovery_len())
                } else {
                    self.random.usize(..len)
                }
            })
            .collect();
        moments.sort_unstable();
        moments
    }
}

impl Life {
    /// How many operations there are until the store is open.
    fn recovery_len(&self) -> usize {
        let is_settled = |operation: &Operation| matches!(operation, Operation::Mark(_));
        1 + self.operations.iter().position(is_settled).expect("the store was opened")
    }

    /// Tells whether the shim saw everything: it rebuilds the files, and no commit was acknowledged without a flush.
    fn check_recording(&self, mut disk: Disk, dir: &Path) -> Result<(), String> {
        disk.begin_recording();
        let mut has_flushed = false;
        for operation in &self.operations {
            disk.apply(operation);
            match operation {
                Operation::Flush { .. } => has_flushed = true,
                Operation::Mark(mark) => match Mark::of(*mark) {
                    Mark::Begun => has_flushed = false,
                    Mark::Acknowledged if !has_flushed => return Err("a commit was not flushed".into()),
                    _ => {}
                },
                _ => {}
            }
        }
        let rebuilt = |(name, bytes): (&Path, &[u8])| match std::fs::read(dir.join(name)) {
            _ if name == Path::new(MAPPED) => true,
            Ok(found) => found == bytes,
            Err(_) => false,
        };
        if disk.files().all(rebuilt) {
            Ok(())
        } else {
            Err("the recording does not rebuild the files".into())
        }
    }
}

impl Progress {
    fn note(&mut self, mark: Mark) {
        match mark {
            Mark::Settled(held) => *self = Self { acknowledged: held, begun: held },
            Mark::Begun => self.begun += 1,
            Mark::Acknowledged => self.acknowledged = self.begun,
        }
    }
}

impl Mark {
    fn number(&self) -> u64 {
        match self {
            Self::Begun => 0,
            Self::Acknowledged => 1,
            Self::Settled(held) => 2 + *held as u64,
        }
    }

    fn of(number: u64) -> Self {
        match number {
            0 => Self::Begun,
            1 => Self::Acknowledged,
            held => Self::Settled(held as usize - 2),
        }
    }
}

/// How many lives a lineage has.
pub(crate) const LIVES: usize = 3;

/// How many power cuts there are in each.
pub(crate) const IMAGES_PER_LIFE: usize = 10;

/// How many commits a life has: a third of the shortest tail holds about 65.
const COMMITS: std::ops::Range<usize> = 1..120;

/// LMDB's table of readers: it writes it through the map, and makes it anew when it opens the store alone.
const MAPPED: &str = "lock.mdb";

//! A store through several lives, each of which ends in a kill or a power cut, on one disk.

use std::collections::HashMap;
use std::mem;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use varve_core::{AppendError, Varve};
use varve_disk_shim::{Call, Disk, Failure, Fault, Lasting, Operation, Watch};

use crate::boot::start_anew;
use crate::burst::Burst;
use crate::history::{Commit, History, Progress};
use crate::marks::{Mark, Tally};
use crate::new_dir;

/// A disk, and what the store on it has to hold.
pub(crate) struct Lineage {
    random: Rng,
    disk: Disk,
    history: History,
    progress: Progress,
    /// The place in the history of each commit of this life, by its token.
    places: Vec<usize>,
    /// The tokens of the commits that are of most interest.
    notable: Vec<usize>,
}

/// The operations of one life.
struct Life {
    operations: Vec<Operation>,
    places: Vec<usize>,
    notable: Vec<usize>,
    /// What the store had to hold before it was opened.
    before: (History, Progress),
}

impl Lineage {
    /// A lineage on an empty disk. Every other store retires old events by itself.
    pub(crate) fn new(seed: u64, disk: Disk) -> Self {
        Self {
            random: Rng::with_seed(seed),
            disk,
            history: History::new(seed % 2 == 1),
            progress: Progress::default(),
            places: Vec::new(),
            notable: Vec::new(),
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
        let mut tally = Tally::new(&life.places, life.before.1);
        for (at, operation) in life.operations.iter().enumerate().take(last + 1) {
            self.disk.apply(operation);
            if let Operation::Mark(mark) = operation
                && tally.note(Mark::of(*mark))
            {
                history = &self.history;
            }
            for _ in moments.iter().filter(|&&moment| moment == at) {
                check(&self.disk.power_cut(&mut self.random), history, tally.progress());
            }
        }
        self.progress = tally.progress();
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
        let (places, notable) = (mem::take(&mut self.places), mem::take(&mut self.notable));
        let life = Life { operations: watch.take_operations(), places, notable, before };
        life.check_recording(self.disk.clone(), dir.path())?;
        Ok(life)
    }

    fn commit_some(&mut self, watch: &Watch, dir: &Path) -> Result<(), String> {
        if self.random.bool() && self.progress.acknowledged > 0 {
            self.look(watch, dir)?;
        }
        let mut varve = self.open(watch, dir)?;
        if self.random.bool() {
            watch.slow_down(Path::new("data.mdb"), FOLD_FLUSH);
        }
        // Before the first fold no generation is there twice.
        if self.history.len() == 0 && self.random.bool() {
            self.fill(watch, &mut varve)?;
        }
        for _ in 0..self.random.usize(COMMITS) {
            match self.random.u8(..120) {
                0..4 => {
                    drop(varve);
                    varve = self.open(watch, dir)?;
                }
                4..10 => {
                    self.notable.push(self.places.len());
                    let commit = Commit::draw_upkeep(&mut self.random, self.history.contents(), dir);
                    self.commit(watch, &mut varve, commit)?;
                }
                10..12 => self.burst(watch, &mut varve)?,
                12 => self.fill(watch, &mut varve)?,
                _ => {
                    let commit = Commit::draw(&mut self.random, self.history.contents());
                    self.commit(watch, &mut varve, commit)?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, watch: &Watch, dir: &Path) -> Result<Varve, String> {
        let varve = self.history.open(dir, self.progress)?;
        self.settle(watch, self.history.len());
        Ok(varve)
    }

    fn commit(&mut self, watch: &Watch, varve: &mut Varve, commit: Commit) -> Result<(), String> {
        self.try_commit(watch, varve, commit, |error| Err(format!("a commit failed: {error}")))
    }

    /// Commits; where that fails, asks whether it is to be tried again.
    fn try_commit(
        &mut self,
        watch: &Watch,
        varve: &mut Varve,
        commit: Commit,
        mut on_failure: impl FnMut(AppendError) -> Result<(), String>,
    ) -> Result<(), String> {
        let token = self.places.len();
        self.places.push(self.history.len());
        watch.mark(Mark::Begun(token).number());
        let commit = self.history.begin(commit);
        let first = loop {
            match commit.perform(varve) {
                Ok(first) => break first,
                Err(error) => on_failure(error)?,
            }
        };
        if let Some(first) = first {
            self.history.learn_first(first);
        }
        watch.mark(Mark::Acknowledged(token).number());
        self.progress = Progress::settled(self.history.len());
        Ok(())
    }

    /// Several threads commit at once.
    fn burst(&mut self, watch: &Watch, varve: &mut Varve) -> Result<(), String> {
        let burst = Burst::draw(&mut self.random, self.places.len());
        if self.random.bool() {
            watch.slow_down(Path::new("tail"), COMMIT_FLUSH);
        }
        let stored = burst.perform(varve, watch).map_err(|error| format!("a commit failed: {error}"))?;
        self.places.resize(self.places.len() + stored.len(), 0);
        for (token, commit) in stored {
            self.notable.push(token);
            self.places[token] = self.history.len();
            self.history.begin(commit);
        }
        self.progress = Progress::settled(self.history.len());
        Ok(())
    }

    /// Commits while LMDB finds no room, so that no fold ends: until all of the tail is full and a commit is refused, which is
    /// taken once there is room; or until LMDB has room a little earlier, and takes a large commit together with the tail.
    fn fill(&mut self, watch: &Watch, varve: &mut Varve) -> Result<(), String> {
        let (call, file) = (Some(Call::Write), Some(DATA_FILE));
        watch.fail(Fault { call, file, after: 0, failure: Failure::Full, lasting: Lasting::FromThenOn });
        let relieved_after = self.random.usize(FILLING_COMMITS_MAX / 3..2 * FILLING_COMMITS_MAX);
        let mut is_full = false;
        for _ in 0..FILLING_COMMITS_MAX.min(relieved_after) {
            let commit = Commit::draw_large(&mut self.random);
            self.notable.push(self.places.len());
            self.try_commit(watch, varve, commit, |error| match error {
                AppendError::DiskFull if !is_full => {
                    is_full = true;
                    watch.heal();
                    Ok(())
                }
                error => Err(format!("a commit failed on a full disk: {error}")),
            })?;
            if is_full {
                // As likely as all the others together.
                self.notable.extend([self.places.len() - 1; FILLING_COMMITS_MAX]);
                return Ok(());
            }
        }
        watch.heal();
        if relieved_after > FILLING_COMMITS_MAX {
            return Err("the tail is never full".into());
        }
        self.notable.push(self.places.len());
        let commit = Commit::draw_bulk(&mut self.random);
        self.commit(watch, varve, commit)
    }

    /// Reads the store before anybody owns it again, unless an owner has to put it right first.
    fn look(&mut self, watch: &Watch, dir: &Path) -> Result<(), String> {
        if let Some(found) = self.history.look(dir, self.progress)? {
            let held = self.history.settle(&found, self.progress)?;
            self.progress = self.progress.seen(held);
            watch.mark(Mark::Seen(held).number());
        }
        Ok(())
    }

    /// Whoever has seen what the store holds relies on it.
    fn settle(&mut self, watch: &Watch, held: usize) {
        self.progress = Progress::settled(held);
        watch.mark(Mark::Settled(held).number());
    }

    /// The operations after which the power is cut, in order: while the store recovers, during a commit of interest, and any.
    fn moments(&mut self, life: &Life) -> Vec<usize> {
        let mut moments: Vec<usize> = (0..IMAGES_PER_LIFE)
            .map(|_| match (self.random.u8(..4), self.random.choice(&life.notable)) {
                (0, _) => self.random.usize(..life.recovery_len()),
                (1, Some(&token)) if self.random.bool() => self.random.usize(life.span(token)),
                // The last writes of a commit, on which it depends whether it was made.
                (1, Some(&token)) => life.span(token).end - 1 - self.random.usize(..LAST_OPERATIONS),
                _ => self.random.usize(..life.operations.len()),
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

    /// The operations from when a commit began until it was acknowledged.
    fn span(&self, token: usize) -> Range<usize> {
        let place = |mark: Mark| {
            let is_it = |operation: &Operation| *operation == Operation::Mark(mark.number());
            self.operations.iter().position(is_it).expect("every commit was begun and acknowledged")
        };
        place(Mark::Begun(token))..place(Mark::Acknowledged(token)) + 1
    }

    /// Tells whether the shim saw everything: it rebuilds the files, and no commit was acknowledged without a flush.
    fn check_recording(&self, mut disk: Disk, dir: &Path) -> Result<(), String> {
        disk.begin_recording();
        let (mut flushes, mut begun) = (0, HashMap::new());
        for operation in &self.operations {
            disk.apply(operation);
            match operation {
                Operation::Flush { .. } => flushes += 1,
                Operation::Mark(mark) => match Mark::of(*mark) {
                    Mark::Begun(token) => drop(begun.insert(token, flushes)),
                    Mark::Acknowledged(token) if begun[&token] == flushes => {
                        return Err("a commit was not flushed".into());
                    }
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

/// How many lives a lineage has.
pub(crate) const LIVES: usize = 3;

/// How many power cuts there are in each.
pub(crate) const IMAGES_PER_LIFE: usize = 5;

/// How many commits a life has: a third of the shortest tail holds about 65.
const COMMITS: Range<usize> = 1..120;

/// How many operations end a commit: a write and a flush of the tail, the watermark, and the marks.
const LAST_OPERATIONS: usize = 4;

/// How many commits a tail that is not folded has room for: each takes a fifth of a third of the shortest at least.
const FILLING_COMMITS_MAX: usize = 20;

/// How much longer a flush of LMDB takes where it is slow: other commits go on during a fold.
const FOLD_FLUSH: Duration = Duration::from_millis(2);

/// How much longer a flush of the tail takes where it is slow: threads gather meanwhile.
const COMMIT_FLUSH: Duration = Duration::from_micros(200);

const DATA_FILE: &str = "data.mdb";

/// LMDB's table of readers: it writes it through the map, and makes it anew when it opens the store alone.
const MAPPED: &str = "lock.mdb";

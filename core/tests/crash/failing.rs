//! A disk of which the n-th call fails, whatever call that is.

use std::path::Path;

use fastrand::Rng;
use varve_core::{AppendError, Varve};
use varve_disk_shim::{Call, Disk, Failure, Fault, Lasting, Watch};

use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::{is_supported, new_dir, open, power_cuts, scale};

#[test]
fn no_failing_call_costs_what_was_acknowledged() {
    if !is_supported() {
        return;
    }
    for call in [Call::Open, Call::Read, Call::Write, Call::Truncate, Call::Flush, Call::Rename, Call::Remove]
    {
        for failure in [Failure::Device, Failure::Full, Failure::Short] {
            if failure == Failure::Short && call != Call::Write {
                continue;
            }
            for lasting in [Lasting::Once, Lasting::FromThenOn] {
                fail_each(Fault { call: Some(call), after: 0, failure, lasting });
            }
        }
    }
}

/// Fails the first call of the kind, then the second, and so on, until the workload makes no more.
fn fail_each(fault: Fault) {
    for seed in 0..scale() {
        for after in 0.. {
            let fault = Fault { after, ..fault };
            match Trial::new(seed).run(fault) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => panic!("seed {seed}, {fault:?}: {reason}"),
            }
        }
    }
}

/// A workload on a disk that fails once in a while.
struct Trial {
    random: Rng,
    history: History,
    progress: Progress,
    failures: usize,
}

impl Trial {
    fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            history: History::default(),
            progress: Progress::default(),
            failures: 0,
        }
    }

    /// Tells whether the fault was met.
    fn run(mut self, fault: Fault) -> Result<bool, String> {
        let dir = new_dir();
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        watch.fail(fault);
        let mut open_store = None;
        for _ in 0..COMMITS {
            if self.failures == FAILURES {
                watch.heal();
            }
            let varve = match open_store.take() {
                Some(varve) => Some(varve),
                None => self.reopen(dir.path(), &watch)?,
            };
            open_store = match varve {
                Some(varve) => self.commit(varve, &watch)?,
                None => None,
            };
        }
        drop(open_store);
        let met = watch.struck() > 0 || self.failures > 0;
        watch.heal();
        let varve = open(dir.path())?;
        self.settle(&varve)?;
        drop(varve);
        // What a failed flush has dropped is still read, but a power cut takes it.
        let mut disk = Disk::new();
        watch.take_operations().iter().for_each(|operation| disk.apply(operation));
        power_cuts::check(disk.power_cut(&mut self.random), &self.history, self.progress)?;
        Ok(met)
    }

    /// Opens the store; `None` where the fault kept it from opening.
    fn reopen(&mut self, dir: &Path, watch: &Watch) -> Result<Option<Varve>, String> {
        let struck = watch.struck();
        match open(dir) {
            Ok(varve) => match self.settle(&varve) {
                Err(_) if watch.struck() > struck => Ok(None),
                settled => settled.map(|()| Some(varve)),
            },
            Err(_) if watch.struck() > struck => {
                self.failures += 1;
                Ok(None)
            }
            Err(reason) => Err(reason),
        }
    }

    fn settle(&mut self, varve: &Varve) -> Result<(), String> {
        let held = self.history.settle(&Contents::read(varve)?, self.progress)?;
        self.history.truncate(held);
        self.progress = Progress { acknowledged: held, begun: held };
        Ok(())
    }

    /// Commits; where that fails, readers go on, and the same handle takes the same commit again or says why it does
    /// not. Gives back the store where it can be used further.
    fn commit(&mut self, mut varve: Varve, watch: &Watch) -> Result<Option<Varve>, String> {
        let before = self.history.contents().clone();
        let commit = Commit::draw(&mut self.random, &before);
        let commit = self.history.begin(commit).clone();
        self.progress.begun += 1;
        for _ in 0..ATTEMPTS {
            let struck = watch.struck();
            match commit.perform(&mut varve) {
                Ok(()) => {
                    self.progress.acknowledged = self.progress.begun;
                    return Ok(Some(varve));
                }
                Err(AppendError::Poisoned) if self.failures > 0 => {}
                Err(AppendError::Storage(_)) if watch.struck() > struck => self.failures += 1,
                Err(error) => return Err(format!("a commit failed: {error}")),
            }
            let found = Contents::read(&varve)?;
            if found != before {
                return Err(format!("a commit failed, and yet {}", found.difference(&before)));
            }
        }
        Ok(None)
    }
}

/// How many commits a trial has.
const COMMITS: usize = 30;

/// How often one commit is tried before the store is closed.
const ATTEMPTS: usize = 2;

/// After how many failures a disk that fails from then on is healed.
const FAILURES: usize = 4;

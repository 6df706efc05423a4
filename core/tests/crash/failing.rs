//! A disk of which the n-th call fails, whatever call that is.

mod left;
mod making;
mod opening;

use std::path::Path;

use fastrand::Rng;
#[cfg(feature = "notify")]
use varve_core::OpenError;
use varve_core::{AppendError, ReadError, Varve};
use varve_disk_shim::{Call, Disk, Failure, Fault, Lasting, Watch};

use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::{NOTE_LEN_MAX, NOTES, Note, config, is_supported, is_whole, new_dir, power_cuts, scale};

#[test]
fn no_failing_call_costs_what_was_acknowledged() {
    if !is_supported() {
        return;
    }
    let trials_max = if is_whole() { u64::MAX } else { TRIALS * scale() };
    let never_made = fail_each_call("commits", trials_max, |fault| Trial::new(fault).run());
    assert_eq!(never_made, [Call::List, Call::Spawn]);
}

/// An owner folds by itself what no thread can be had for. Who only reads could not be woken without one, and hears of it
/// before there is anything to wait for.
#[test]
fn a_store_that_gets_no_thread_takes_as_much_as_ever() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let (call, failure) = (Some(Call::Spawn), Failure::Exhausted);
    watch.fail(Fault { call, file: None, after: 1, failure, lasting: Lasting::FromThenOn });
    let mut varve = Varve::with_config(dir.path(), config(0, false)).unwrap();
    let (mut random, mut contents) = (Rng::with_seed(0), Contents::default());
    while watch.struck() < FOLDS {
        let commit = Commit::draw(&mut random, &contents);
        commit.perform(&mut varve).unwrap();
        contents.apply(&commit);
    }
    contents.check(&Contents::read(&varve, 0).unwrap()).unwrap();
    drop(varve);
    #[cfg(feature = "notify")]
    assert!(matches!(Varve::open_read_only(dir.path()), Err(OpenError::Storage(_))));
    watch.heal();
    let view = Varve::open_read_only_with_config(dir.path(), config(0, false)).unwrap();
    contents.check(&Contents::read(&view, 0).unwrap()).unwrap();
}

/// LMDB lets go of its map before it maps more. Where the system then gives it none, nothing can be read, and nobody may try.
#[test]
fn a_map_that_cannot_grow_ends_no_process() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let mut small = config(0, false);
    small.map_size = Some(1);
    let open = || Varve::with_config(dir.path(), small.clone()).unwrap();
    let watch = Watch::new(dir.path()).unwrap();
    let mut varve = open();
    let (mut random, mut contents, mut failures) = (Rng::with_seed(0), Contents::default(), 0);
    for _ in 0..BULKS {
        let commit = Commit::draw_bulk(&mut random);
        let (call, failure) = (Some(Call::Map), Failure::Exhausted);
        watch.fail(Fault { call, file: None, after: 0, failure, lasting: Lasting::Once });
        let performed = commit.perform(&mut varve);
        if watch.heal() == 0 {
            performed.unwrap();
            contents.apply(&commit);
            continue;
        }
        failures += 1;
        assert!(matches!(performed, Err(AppendError::Storage(_))), "{performed:?}");
        assert!(matches!(varve.snapshot(), Err(ReadError::Storage(_))));
        assert!(matches!(varve.process_pins(), Err(ReadError::Storage(_))));
        assert!(varve.stream::<Note, NOTE_LEN_MAX>(NOTES).is_err());
        drop(varve);
        varve = open();
        contents.check(&Contents::read(&varve, 0).unwrap()).unwrap();
    }
    assert!(failures >= MAP_FAILURES_MIN, "the map was to grow {failures} times");
}

/// Fails the calls that a trial makes, each in a trial of its own: of the calls of a kind as many as `trials_max`, evenly
/// spread, and fewer where all later ones fail too. A trial tells how many calls it made that could have failed. Returns the
/// kinds of calls that it never makes.
fn fail_each_call(what: &str, trials_max: u64, trial: impl Fn(Fault) -> Result<u64, String>) -> Vec<Call> {
    let mut never_made = Vec::new();
    for (call, failures) in CALLS {
        let mut calls_met = 0;
        for (&failure, lasting) in
            failures.iter().flat_map(|failure| LASTINGS.map(|lasting| (failure, lasting)))
        {
            let run = |after| {
                let fault = Fault { call: Some(call), file: None, after, failure, lasting };
                trial(fault).unwrap_or_else(|reason| panic!("{what}: {fault:?}: {reason}"))
            };
            let calls = run(u64::MAX);
            calls_met = calls_met.max(calls);
            let trials_max = match lasting {
                Lasting::Once => trials_max,
                Lasting::FromThenOn => trials_max.div_ceil(LASTING_SHARE),
            };
            let step = calls.div_ceil(trials_max).max(1);
            (0..calls).step_by(step as usize).for_each(|after| {
                run(after);
            });
        }
        if calls_met == 0 {
            never_made.push(call);
        }
    }
    never_made
}

/// A workload on a disk that fails.
struct Trial {
    fault: Fault,
    random: Rng,
    history: History,
    progress: Progress,
    /// How many calls of the store failed: with the first of them the disk began to.
    failures: usize,
}

impl Trial {
    fn new(fault: Fault) -> Self {
        let (history, progress) = (History::default(), Progress::default());
        Self { fault, random: Rng::with_seed(fault.after), history, progress, failures: 0 }
    }

    /// Tells how many calls there were that could have failed.
    fn run(mut self) -> Result<u64, String> {
        let dir = new_dir();
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        watch.fail(self.fault);
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
                Some(varve) => self.commit(varve, dir.path(), &watch)?,
                None => None,
            };
        }
        drop(open_store);
        let met = watch.met();
        watch.heal();
        drop(self.open(dir.path())?);
        // What a failed flush has dropped is read all the same, but a power cut takes it.
        let mut disk = Disk::new();
        watch.take_operations().iter().for_each(|operation| disk.apply(operation));
        let image = disk.power_cut(&mut self.random);
        power_cuts::check(&image, &self.history, self.progress, &mut self.random)?;
        Ok(met)
    }

    /// Opens the store; `None` where the fault kept it from opening, or from being read.
    fn reopen(&mut self, dir: &Path, watch: &Watch) -> Result<Option<Varve>, String> {
        let struck = watch.struck();
        match self.open(dir) {
            Err(_) if watch.struck() > struck => {
                self.failures += 1;
                Ok(None)
            }
            opened => opened.map(Some),
        }
    }

    fn open(&mut self, dir: &Path) -> Result<Varve, String> {
        let varve = self.history.open(dir, self.progress)?;
        self.progress = Progress::settled(self.history.len());
        Ok(varve)
    }

    /// Commits. Where that fails, readers go on, and the same handle takes the same commit once more or says that it takes
    /// none. Gives the store back where it can be used further.
    fn commit(&mut self, mut varve: Varve, dir: &Path, watch: &Watch) -> Result<Option<Varve>, String> {
        let before = self.history.contents().clone();
        let commit = self.history.begin(Commit::draw_any(&mut self.random, &before, dir));
        self.progress.begun += 1;
        let mut last_error = None;
        for _ in 0..ATTEMPTS {
            let error = match commit.perform(&mut varve) {
                Ok(first) => {
                    first.into_iter().for_each(|first| self.history.learn_first(first));
                    self.progress = Progress::settled(self.progress.begun);
                    return Ok(Some(varve));
                }
                Err(error) => error,
            };
            self.expect_failure(&error, watch)?;
            let is_poisoned = matches!(error, AppendError::Poisoned);
            if is_poisoned && matches!(last_error, Some(AppendError::DiskFull)) {
                return Err("room was asked for, and yet the store takes no more".into());
            }
            let error = last_error.insert(error);
            match Contents::read(&varve, before.master) {
                Ok(found) if before.check(&found).is_ok() => {}
                Ok(_) if matches!(error, AppendError::DiskFull) && !commit.changes_keys() => {
                    return Err("room was asked for, and yet the commit is there".into());
                }
                // Done without an event that could be seen, but not confirmed: it must not be done twice.
                Ok(found) if commit.events.is_empty() && found == *self.history.contents() => {
                    match commit.perform(&mut varve) {
                        Err(AppendError::Poisoned) => return Ok(None),
                        // Another change of the keys to the same end.
                        Ok(_) if commit.changes_keys() => {
                            self.progress = Progress::settled(self.progress.begun);
                            return Ok(Some(varve));
                        }
                        Err(error) if commit.changes_keys() => self.expect_failure(&error, watch)?,
                        _ => return Err("a commit failed, and is there, and could be repeated".into()),
                    }
                }
                Ok(found) => return Err(format!("a commit failed, and yet {}", found.difference(&before))),
                // Nobody sees a large commit that is not confirmed, and nothing follows it.
                Err(_) if matches!(varve.snapshot(), Err(ReadError::Unconfirmed)) => {
                    return match varve.begin().commit() {
                        Err(AppendError::Poisoned) => Ok(None),
                        _ => Err("a commit follows one that is not confirmed".into()),
                    };
                }
                // LMDB reads no more once it could not write where it begins to read. The store says so.
                Err(_) if self.fault.call == Some(Call::Write) && !matches!(error, AppendError::DiskFull) => {
                    return Ok(None);
                }
                // What became of the keys is known once the store is opened again.
                Err(_) if !commit.destroyed.is_empty() => return Ok(None),
                Err(reason) => return Err(reason),
            }
        }
        Ok(None)
    }

    /// A commit fails for what failed below it, and has the right name for that.
    fn expect_failure(&mut self, error: &AppendError, watch: &Watch) -> Result<(), String> {
        let is_met = watch.struck() > 0 || self.failures > 0;
        let is_named = match error {
            AppendError::Poisoned => true,
            AppendError::DiskFull => self.fault.failure == Failure::Full,
            // What a full disk leaves unsettled is none to wait for.
            AppendError::Storage(error) => !error.is_disk_full(),
            _ => false,
        };
        self.failures += 1;
        if is_met && is_named { Ok(()) } else { Err(format!("a commit failed: {error}")) }
    }
}

/// The calls that fail, and how.
const CALLS: [(Call, &[Failure]); 15] = [
    (Call::Open, &[Failure::Device, Failure::Full, Failure::Exhausted, Failure::Denied]),
    (Call::Read, &[Failure::Device, Failure::Full]),
    (Call::Seek, &[Failure::Device]),
    (Call::Write, &[Failure::Device, Failure::Full, Failure::Short]),
    (Call::Truncate, &[Failure::Device, Failure::Full]),
    (Call::Flush, &[Failure::Device, Failure::Full]),
    (Call::Rename, &[Failure::Device, Failure::Full]),
    (Call::Remove, &[Failure::Device, Failure::Full]),
    (Call::MakeDirectory, &[Failure::Device, Failure::Full, Failure::Denied]),
    (Call::List, &[Failure::Device]),
    (Call::Stat, &[Failure::Device, Failure::Denied]),
    (Call::FileSystem, &[Failure::Device, Failure::Denied]),
    (Call::Map, &[Failure::Exhausted, Failure::Denied]),
    (Call::Lock, &[Failure::Device, Failure::Exhausted]),
    (Call::Spawn, &[Failure::Exhausted]),
];

/// One in so many of the calls that fail begins a failure that lasts.
const LASTING_SHARE: u64 = 4;

const LASTINGS: [Lasting; 2] = [Lasting::Once, Lasting::FromThenOn];

/// How many appends that do not fit the tail make the smallest map grow.
const BULKS: usize = 20;

/// How often it is kept from growing at least: each time it was twice as large.
const MAP_FAILURES_MIN: usize = 3;

/// How many folds get no thread.
const FOLDS: u64 = 3;

/// How many trials a plain run makes of each fault.
const TRIALS: u64 = 12;

/// How many commits a trial has: enough for two that outgrow the tail or fill a third of it.
const COMMITS: usize = 30;

/// How often one commit is tried before the store is closed.
const ATTEMPTS: usize = 2;

/// After how many failures a disk that fails from then on works again.
const FAILURES: usize = 4;

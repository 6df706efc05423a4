//! A store that is opened while the disk fails: it opens, or it does not, and holds what it held.

use std::path::Path;

use fastrand::Rng;
use varve_core::{OpenError, Varve, VarveView};
use varve_disk_shim::{Call, Failure, Fault, Lasting, Watch};

use super::fail_each_call;
use super::left::{End, Left};
use crate::contents::Contents;
use crate::history::Progress;
use crate::{config, is_supported, is_whole, new_dir, power_cuts, scale};

#[test]
fn no_call_that_fails_costs_what_an_owner_left_that_closed_the_store() {
    fail_each_call_while_opening(End::Closed);
}

#[test]
fn no_call_that_fails_costs_what_an_owner_left_that_was_killed() {
    fail_each_call_while_opening(End::Killed);
}

#[test]
fn no_call_that_fails_costs_what_a_power_cut_left() {
    fail_each_call_while_opening(End::PowerCut);
}

/// What cannot be looked at may be there.
#[test]
fn no_file_that_cannot_be_told_of_is_made_anew() {
    if !is_supported() {
        return;
    }
    let left = Left::make(End::Closed);
    for file in FILES {
        let mut calls = 0;
        for call in [Call::Stat, Call::Open] {
            let (failure, lasting) = (Failure::Device, Lasting::Once);
            let run = |after| {
                let fault = Fault { call: Some(call), file: Some(file), after, failure, lasting };
                left.open_failing(fault).unwrap_or_else(|reason| panic!("{fault:?}: {reason}"))
            };
            let met = run(u64::MAX);
            (0..met).for_each(|after| {
                run(after);
            });
            calls += met;
        }
        let is_there = left.disk.files().any(|(name, _)| name == Path::new(file));
        assert!(calls > 0 || !is_there, "nobody asks for {file}");
    }
}

fn fail_each_call_while_opening(end: End) {
    if !is_supported() {
        return;
    }
    let left = Left::make(end);
    let trials_max = if is_whole() { TRIALS_WHOLE } else { TRIALS * scale() };
    let never_made = fail_each_call(&format!("{end:?}"), trials_max, |fault| left.open_failing(fault));
    assert!(never_made.iter().all(|call| RARE.contains(call)), "{end:?}: {never_made:?}");
}

impl Left {
    /// Opens it while a call fails, for reading and as its owner, and afterwards. Tells how many calls there were that could
    /// have failed.
    fn open_failing(&self, fault: Fault) -> Result<u64, String> {
        let dir = new_dir();
        self.disk.restore(dir.path()).map_err(|error| error.to_string())?;
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        let (mut history, progress) = (self.history.clone(), Progress::settled(self.history.len()));
        let config = config(history.contents().master, history.retires());
        watch.fail(fault);
        match Varve::open_read_only_with_config(dir.path(), config.clone()) {
            Err(OpenError::Unrecovered { .. }) => {}
            opened => self.check_opened(opened.as_ref(), &watch)?,
        }
        self.check_opened(Varve::with_config(dir.path(), config).as_deref(), &watch)?;
        let met = watch.met();
        watch.heal();
        history.open(dir.path(), progress)?;
        if !fault.call.is_some_and(changes_the_disk) {
            return Ok(met);
        }
        let mut disk = self.disk.clone();
        disk.begin_recording();
        watch.take_operations().iter().for_each(|operation| disk.apply(operation));
        let mut random = Rng::with_seed(fault.after);
        let progress = Progress::settled(history.len());
        power_cuts::check(&disk.power_cut(&mut random), &history, progress, &mut random)?;
        Ok(met)
    }

    /// What opens shows everything, at the latest once no call fails any more.
    fn check_opened(&self, opened: Result<&VarveView, &OpenError>, watch: &Watch) -> Result<(), String> {
        let view = match opened {
            Err(_) if watch.struck() > 0 => return Ok(()),
            opened => opened.map_err(|error| error.to_string())?,
        };
        let read = || Contents::read(view, self.history.contents().master);
        let found = match read() {
            Err(_) if watch.struck() > 0 => {
                watch.heal();
                read()?
            }
            found => found?,
        };
        self.history.settle(&found, Progress::settled(self.history.len())).map(|_| ())
    }
}

/// Whether a disk on which such a call failed may hold something else than one on which none did.
fn changes_the_disk(call: Call) -> bool {
    matches!(call, Call::Write | Call::Truncate | Call::Flush | Call::Rename | Call::Remove)
}

/// The files that a store cannot do without.
const FILES: [&str; 3] = ["data.mdb", "tail", "keys"];

/// Calls that not every opening makes.
const RARE: [Call; 5] = [Call::Truncate, Call::Rename, Call::Remove, Call::List, Call::Spawn];

/// How many trials a plain run makes of each fault, and a whole one: that is every call, but for those that read.
const TRIALS: u64 = 3;
const TRIALS_WHOLE: u64 = 250;

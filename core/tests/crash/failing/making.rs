//! A backup, a restore and a salvage while the disk fails: what they make is there whole, or it can be made once more.

use std::fs;
use std::path::Path;

use varve_core::{GlobalSequence, Place, ReadError, SalvageError, Varve, VarveView, restore, salvage};
use varve_disk_shim::{Call, Failure, Fault, Lasting, Watch};

use super::fail_each_call;
use super::left::{End, Left};
use crate::contents::Contents;
use crate::history::Progress;
use crate::{config, is_supported, is_whole, new_dir, scale};

#[test]
fn a_backup_is_whole_whichever_call_fails() {
    fail_each_call_while(Making::BackUp, &[Call::Remove, Call::MakeDirectory, Call::List]);
}

#[test]
fn a_restored_store_is_whole_whichever_call_fails() {
    fail_each_call_while(Making::Restore, &[Call::Spawn]);
}

#[test]
fn a_salvage_tells_what_a_call_that_failed_cost() {
    fail_each_call_while(Making::Salvage, &[]);
}

#[test]
fn a_salvage_that_cannot_be_verified_tells_what_it_saved() {
    if !is_supported() {
        return;
    }
    let (source, parent) = (Source::new(), new_dir());
    let (dir, made) = (parent.path().join(SOURCE), parent.path().join(MADE));
    source.left.disk.restore(&dir).unwrap();
    let watch = Watch::new(parent.path()).unwrap();
    // It has this name once it is made.
    let file = Some("made/data.mdb");
    let (call, failure, lasting) = (Some(Call::Read), Failure::Device, Lasting::FromThenOn);
    watch.fail(Fault { call, file, after: 0, failure, lasting });
    let Err(SalvageError::Unverified { report, .. }) = salvage(&dir, &made) else {
        panic!("it was verified");
    };
    assert_eq!((report.events > 0, report.lost_events), (true, 0));
    watch.heal();
    source.check(&made).unwrap();
}

fn fail_each_call_while(making: Making, never_made: &[Call]) {
    if !is_supported() {
        return;
    }
    let source = Source::new();
    let trials_max = if is_whole() { TRIALS_WHOLE } else { TRIALS * scale() };
    let mut found =
        fail_each_call(&format!("{making:?}"), trials_max, |fault| source.make_failing(making, fault));
    // A view has a thread where there are watchers.
    found.retain(|&call| call != Call::Spawn || cfg!(feature = "notify"));
    assert!(found.iter().all(|call| never_made.contains(call)), "{making:?} never makes {found:?}");
}

/// What is made of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Making {
    BackUp,
    Restore,
    Salvage,
}

/// What a failing disk cost a salvage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Loss {
    events: u64,
    /// Whether rows are lost, of which some were made up: what was sealed by a lost name cannot be opened by another.
    rows: bool,
}

/// A store and its backup.
struct Source {
    left: Left,
    backup: Vec<u8>,
    /// The file of keys, of which neither a backup nor a salvage has anything.
    keys: Option<Vec<u8>>,
}

impl Source {
    fn new() -> Self {
        let (left, parent) = (Left::make(End::Closed), new_dir());
        let (dir, file) = (parent.path().join(SOURCE), parent.path().join(MADE));
        left.disk.restore(&dir).unwrap();
        let mut source = Self { left, backup: Vec::new(), keys: fs::read(dir.join(KEYS)).ok() };
        source.make(Making::BackUp, &dir, &file).unwrap();
        source.backup = fs::read(file).unwrap();
        source
    }

    /// Makes it while a call fails, and once more where it is not there then. Tells how many calls there were that could have
    /// failed.
    fn make_failing(&self, making: Making, fault: Fault) -> Result<u64, String> {
        let parent = new_dir();
        let (source, made) = (parent.path().join(SOURCE), parent.path().join(MADE));
        self.left.disk.restore(&source).map_err(|error| error.to_string())?;
        let watch = Watch::new(parent.path()).map_err(|error| error.to_string())?;
        watch.fail(fault);
        let result = self.make(making, &source, &made);
        let (met, struck) = (watch.met(), watch.heal());
        match result {
            Ok(loss) if loss == Loss::default() => {}
            Ok(loss) if struck > 0 => return self.check_salvaged(&made, loss).map(|()| met),
            Ok(loss) => return Err(format!("{loss:?}, and nothing failed")),
            Err(reason) if struck == 0 => return Err(reason),
            Err(_) if made.exists() => {}
            Err(_) => {
                let again = |reason| format!("and once more: {reason}");
                self.make(making, &source, &made).map_err(again)?;
            }
        }
        let names = fs::read_dir(parent.path()).map_err(|error| error.to_string())?.count();
        if names != [SOURCE, MADE].len() {
            return Err("something is left beside it".into());
        }
        match making {
            Making::BackUp if fs::read(&made).ok().as_ref() == Some(&self.backup) => Ok(met),
            Making::BackUp => Err("it is another backup".into()),
            Making::Restore | Making::Salvage => self.check(&made).map(|()| met),
        }
    }

    fn make(&self, making: Making, source: &Path, made: &Path) -> Result<Loss, String> {
        match making {
            Making::BackUp => {
                let view = self.view(source)?;
                let snapshot = view.snapshot().map_err(|error| error.to_string())?;
                snapshot.back_up_to(made).map_err(|error| error.to_string())?;
                Ok(Loss::default())
            }
            Making::Restore => {
                restore(self.backup.as_slice(), made).map_err(|error| error.to_string())?;
                Ok(Loss::default())
            }
            Making::Salvage => {
                let report = match salvage(source, made) {
                    Err(SalvageError::Unverified { report, .. }) => *report,
                    salvaged => salvaged.map_err(|error| error.to_string())?,
                };
                Ok(Loss { events: report.lost_events, rows: report.rows_made_up > 0 })
            }
        }
    }

    /// Checks that a store holds all that its source does.
    fn check(&self, made: &Path) -> Result<(), String> {
        self.put_keys(made)?;
        let mut history = self.left.history.clone();
        let varve = history.open(made, Progress::settled(history.len()))?;
        history.contents().check(&Contents::read(&varve, history.contents().master)?)
    }

    /// Checks that a store holds all that its source does, but for what a salvage said is lost.
    fn check_salvaged(&self, made: &Path, loss: Loss) -> Result<(), String> {
        self.put_keys(made)?;
        let (view, mut absent) = (self.view(made)?, 0);
        for (at, expected) in (0..).map(GlobalSequence).zip(&self.left.history.contents().events) {
            let Some(expected) = expected else { continue };
            match view.global_reader().get(at) {
                Ok(Some(found)) if found.payload == expected.event.bytes => {}
                Ok(None) | Err(ReadError::Absent(_)) => absent += 1,
                Err(ReadError::Corrupt(damage)) if loss.rows && matches!(damage.place, Place::Event(_)) => {}
                found => return Err(format!("event {at} is {found:?}, after {loss:?}")),
            }
        }
        if absent <= loss.events { Ok(()) } else { Err(format!("{absent} events are lost, not {loss:?}")) }
    }

    fn view(&self, dir: &Path) -> Result<VarveView, String> {
        let config = config(self.left.history.contents().master, false);
        Varve::open_read_only_with_config(dir, config).map_err(|error| error.to_string())
    }

    fn put_keys(&self, made: &Path) -> Result<(), String> {
        let Some(keys) = &self.keys else { return Ok(()) };
        fs::write(made.join(KEYS), keys).map_err(|error| error.to_string())
    }
}

const SOURCE: &str = "source";
const MADE: &str = "made";
const KEYS: &str = "keys";

/// How many trials a plain run makes of each fault, and a whole one: that is nearly every call, but for those that read.
const TRIALS: u64 = 3;
const TRIALS_WHOLE: u64 = 250;

//! A disk that is full at every step of a store's growth, and has room again later.

use std::path::Path;

use fastrand::Rng;
use varve_core::{AppendError, OpenError, Varve};
use varve_disk_shim::Watch;

use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::{config, is_supported, new_dir, scale};

#[test]
fn a_full_disk_refuses_commits_until_there_is_room() {
    if !is_supported() {
        return;
    }
    for seed in 0..scale() {
        let (made, grown) = Filling::new(seed).growth();
        let rooms = (0..made).step_by(MAKING_STEP).chain((made..grown + STEP as u64).step_by(STEP));
        // The first time whole pages, then what breaks off within one.
        let offset = Rng::with_seed(seed).u64(..STEP as u64) * u64::from(seed > 0);
        for room in rooms.map(|room| room + offset) {
            if let Err(reason) = Filling::new(seed).run(room) {
                panic!("seed {seed}, with room for {room} bytes: {reason}");
            }
        }
    }
}

/// A workload on a disk with little room.
struct Filling {
    random: Rng,
    history: History,
    progress: Progress,
}

impl Filling {
    fn new(seed: u64) -> Self {
        Self { random: Rng::with_seed(seed), history: History::default(), progress: Progress::default() }
    }

    /// By how many bytes the files grow where there is room: until the store is made, and in the end.
    fn growth(mut self) -> (u64, u64) {
        let dir = new_dir();
        let watch = Watch::new(dir.path()).expect("the directory is there");
        let mut varve = Varve::with_config(dir.path(), config()).expect("there is room");
        let made = watch.grown();
        for _ in 0..COMMITS {
            let commit = Commit::draw(&mut self.random, self.history.contents());
            self.history.begin(commit).perform(&mut varve).expect("there is room");
        }
        drop(varve);
        (made, watch.grown())
    }

    fn run(mut self, room: u64) -> Result<(), String> {
        let dir = new_dir();
        let watch = Watch::new(dir.path()).map_err(|error| error.to_string())?;
        watch.set_room(Some(room));
        let mut varve = match Varve::with_config(dir.path(), config()) {
            Ok(varve) => varve,
            Err(error) => {
                expect_full(is_full_open(&error), &error)?;
                watch.set_room(None);
                self.reopen(dir.path())?
            }
        };
        let mut refused = 0;
        for _ in 0..COMMITS {
            let commit = Commit::draw(&mut self.random, self.history.contents());
            let before = self.history.contents().clone();
            let commit = self.history.begin(commit).clone();
            self.progress.begun += 1;
            while let Err(error) = commit.perform(&mut varve) {
                expect_full(is_full(&error), &error)?;
                let found = Contents::read(&varve)?;
                if found != before {
                    return Err(format!("a commit was refused, and yet {}", found.difference(&before)));
                }
                refused += 1;
                match refused {
                    1 => {}
                    2 => watch.set_room(None),
                    _ => return Err("there is room again, and commits are refused still".into()),
                }
            }
            self.progress.acknowledged = self.progress.begun;
        }
        drop(varve);
        watch.set_room(None);
        self.reopen(dir.path()).map(drop)
    }

    fn reopen(&mut self, dir: &Path) -> Result<Varve, String> {
        let varve = crate::open(dir)?;
        self.history.settle(&Contents::read(&varve)?, self.progress)?;
        Ok(varve)
    }
}

fn is_full(error: &AppendError) -> bool {
    matches!(error, AppendError::DiskFull)
}

fn is_full_open(error: &OpenError) -> bool {
    match error {
        OpenError::Io { error, .. } => error.kind() == std::io::ErrorKind::StorageFull,
        OpenError::Storage(error) => error.is_disk_full(),
        _ => false,
    }
}

fn expect_full(is_full: bool, error: &impl std::fmt::Display) -> Result<(), String> {
    if is_full { Ok(()) } else { Err(format!("a full disk is called: {error}")) }
}

/// How many commits there are: some of them fold the tail, and one or two outgrow it.
const COMMITS: usize = 100;

/// By how much the room differs from one run to the next, in bytes.
const STEP: usize = 4096;

/// The same, for as long as the store is made: mostly zeros are written then.
const MAKING_STEP: usize = 16 * STEP;

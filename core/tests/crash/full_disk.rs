//! A disk that is full at every step of a store's growth, and has room again later.

use std::cmp::Ordering;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use varve_core::{AppendError, OpenError, Varve};
use varve_disk_shim::{Disk, Watch};

use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::{config, is_supported, is_whole, new_dir, power_cuts, scale};

#[test]
fn a_full_disk_refuses_commits_until_there_is_room() {
    if !is_supported() {
        return;
    }
    let mut random = Rng::with_seed(1);
    let (made, grown) = Filling::new().growth();
    for growth in [0..made, made..grown + STEP] {
        let steps = (growth.end - growth.start) / STEP;
        let mut refused = 0;
        let stride = if is_whole() { STEP } else { steps.div_ceil(RUNS * scale()).max(1) * STEP };
        // Room for whole pages, and for what breaks off within one.
        for room in growth.step_by(stride as usize).flat_map(|room| [room, room + random.u64(1..STEP)]) {
            match Filling::new().run(room) {
                Ok(times) => refused += times,
                Err(reason) => panic!("with room for {room} bytes: {reason}"),
            }
        }
        assert!(refused > 0, "the disk was never full");
    }
}

#[test]
fn room_that_is_not_there_is_not_set_aside() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).expect("the directory is there");
    drop(Varve::with_config(dir.path(), config(0, false)).expect("there is room"));
    let data_len = || fs::metadata(dir.path().join("data.mdb")).expect("it is there").len();
    let before = data_len();
    let mut greedy = config(0, false);
    greedy.preallocate = before + (8 << 20);
    watch.set_room(Some(watch.grown() + (4 << 20)));
    let error = Varve::with_config(dir.path(), greedy.clone()).expect_err("there is half of the room");
    assert!(is_full_open(&error), "{error}");
    assert_eq!(data_len(), before, "what was written of it is given back");
    drop(Varve::with_config(dir.path(), config(0, false)).expect("there is room for the store"));
    watch.set_room(None);
    drop(Varve::with_config(dir.path(), greedy.clone()).expect("there is room"));
    assert_eq!(data_len(), greedy.preallocate);
}

/// A workload on a disk with little room.
struct Filling {
    random: Rng,
    history: History,
    progress: Progress,
}

impl Filling {
    fn new() -> Self {
        Self { random: Rng::with_seed(1), history: History::default(), progress: Progress::default() }
    }

    /// By how many bytes the files grow where there is room: until the store is made, and in the end.
    fn growth(mut self) -> (u64, u64) {
        let dir = new_dir();
        let watch = Watch::new(dir.path()).expect("the directory is there");
        let mut varve = Varve::with_config(dir.path(), config(0, false)).expect("there is room");
        let made = watch.grown();
        for _ in 0..COMMITS {
            let commit = Commit::draw_any(&mut self.random, self.history.contents(), dir.path());
            let first = self.history.begin(commit).perform(&mut varve).expect("there is room");
            first.into_iter().for_each(|first| self.history.learn_first(first));
        }
        drop(varve);
        (made, watch.grown())
    }

    /// Tells how often the full disk was met.
    fn run(mut self, room: u64) -> Result<usize, String> {
        let dir = new_dir();
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        watch.set_room(Some(room));
        let mut refused = 0;
        let mut varve = match Varve::with_config(dir.path(), config(0, false)) {
            Ok(varve) => varve,
            Err(error) => {
                expect_full(is_full_open(&error), &error)?;
                self.cut_power(&watch)?;
                watch.set_room(None);
                refused = FREED_AFTER;
                self.reopen(dir.path())?
            }
        };
        for _ in 0..COMMITS {
            let before = self.history.contents().clone();
            let commit = self.history.begin(Commit::draw_any(&mut self.random, &before, dir.path()));
            self.progress.begun += 1;
            let first = loop {
                let error = match commit.perform(&mut varve) {
                    Ok(first) => break first,
                    Err(error) => error,
                };
                expect_full(is_full(&error), &error)?;
                let found = Contents::read(&varve, before.master)?;
                before
                    .check(&found)
                    .map_err(|difference| format!("a commit was refused, and yet {difference}"))?;
                refused += 1;
                match refused.cmp(&FREED_AFTER) {
                    Ordering::Less => self.cut_power(&watch)?,
                    Ordering::Equal => watch.set_room(None),
                    Ordering::Greater => return Err("there is room, and yet a commit is refused".into()),
                }
            };
            first.into_iter().for_each(|first| self.history.learn_first(first));
            self.progress = Progress::settled(self.progress.begun);
        }
        drop(varve);
        watch.set_room(None);
        self.reopen(dir.path())?;
        Ok(refused)
    }

    /// Checks what a power cut leaves of all that was done until the disk was full. To be called once.
    fn cut_power(&mut self, watch: &Watch) -> Result<(), String> {
        let mut disk = Disk::new();
        watch.take_operations().iter().for_each(|operation| disk.apply(operation));
        let image = disk.power_cut(&mut self.random);
        power_cuts::check(&image, &self.history, self.progress, &mut self.random)
    }

    fn reopen(&mut self, dir: &Path) -> Result<Varve, String> {
        let varve = self.history.open(dir, self.progress)?;
        self.progress = Progress::settled(self.history.len());
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

/// After how many refusals there is room again.
const FREED_AFTER: usize = 2;

/// How much more room one run has than the one before, in bytes: a page.
const STEP: u64 = 4096;

/// At how many steps a plain test fills the disk while the store is made, and at as many while it grows.
const RUNS: u64 = 10;

//! Power cuts while a store is restored from a backup: there is then the whole store, or none.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use varve_core::restore;
use varve_disk_shim::{Disk, Watch};

use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::{is_supported, new_dir, scale, variable};

#[test]
fn a_store_is_restored_whole_or_not_at_all() {
    if !is_supported() {
        return;
    }
    let seeds = match variable("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..RESTORES * scale(),
    };
    let mut restored = 0;
    for seed in seeds.clone() {
        match Backup::make(seed).and_then(|backup| backup.restore_with_power_cuts(&mut Rng::with_seed(seed)))
        {
            Ok(whole) => restored += whole,
            Err(reason) => panic!("VARVE_TEST_SEED={seed}: {reason}"),
        }
    }
    let cuts = (seeds.end - seeds.start) * CUTS;
    assert!((1..cuts).contains(&restored), "{restored} of {cuts} power cuts left a store");
}

/// A backup, and what it holds.
struct Backup {
    bytes: Vec<u8>,
    history: History,
    /// The file of keys, of which a backup has nothing.
    keys: Option<Vec<u8>>,
}

impl Backup {
    fn make(seed: u64) -> Result<Self, String> {
        let (dir, mut random) = (new_dir(), Rng::with_seed(seed));
        let mut history = History::new(seed % 2 == 1);
        let mut varve = history.open(dir.path(), Progress::default())?;
        for _ in 0..random.usize(COMMITS) {
            let commit = match random.u8(..20) {
                0 => Commit::draw_upkeep(&mut random, history.contents(), dir.path()),
                _ => Commit::draw(&mut random, history.contents()),
            };
            let first = history.begin(commit).perform(&mut varve).map_err(|error| error.to_string())?;
            first.into_iter().for_each(|first| history.learn_first(first));
        }
        let mut bytes = Vec::new();
        let snapshot = varve.snapshot().map_err(|error| error.to_string())?;
        snapshot.back_up(&mut bytes).map_err(|error| error.to_string())?;
        Ok(Self { bytes, history, keys: fs::read(dir.path().join(KEYS)).ok() })
    }

    /// Restores it, and cuts the power at random moments and at the end. Returns how often there was a store then.
    fn restore_with_power_cuts(&self, random: &mut Rng) -> Result<u64, String> {
        let parent = new_dir();
        let watch = Watch::recording(parent.path()).map_err(|error| error.to_string())?;
        restore(self.bytes.as_slice(), parent.path().join(STORE)).map_err(|error| error.to_string())?;
        let operations = watch.take_operations();
        let mut moments: Vec<_> = (1..CUTS).map(|_| random.usize(..operations.len())).collect();
        moments.push(operations.len());
        moments.sort_unstable();
        let (mut disk, mut applied, mut stores) = (Disk::new(), 0, 0);
        for moment in moments {
            operations[applied..moment].iter().for_each(|operation| disk.apply(operation));
            applied = moment;
            let is_there = self.check(&disk.power_cut(random))?;
            if !is_there && moment == operations.len() {
                return Err("the store was restored, and is not there".into());
            }
            stores += u64::from(is_there);
        }
        Ok(stores)
    }

    /// Tells whether there is a store, which then is the one that was backed up.
    fn check(&self, image: &Disk) -> Result<bool, String> {
        let parent = new_dir();
        image.restore(parent.path()).map_err(|error| error.to_string())?;
        let dir = parent.path().join(STORE);
        if !dir.exists() {
            return Ok(false);
        }
        if let Some(keys) = &self.keys {
            fs::write(dir.join(KEYS), keys).map_err(|error| error.to_string())?;
        }
        self.go_on(&dir).map(|()| true)
    }

    /// Opens what was restored, and commits.
    fn go_on(&self, dir: &Path) -> Result<(), String> {
        let mut history = self.history.clone();
        let progress = Progress::settled(history.len());
        let mut varve = history.open(dir, progress)?;
        let commit = Commit::draw(&mut Rng::with_seed(history.len() as u64), history.contents());
        history.begin(commit).perform(&mut varve).map_err(|error| error.to_string())?;
        history.contents().check(&Contents::read(&varve, history.contents().master)?)
    }
}

const STORE: &str = "store";
const KEYS: &str = "keys";

/// How many backups a plain run restores.
const RESTORES: u64 = 10;

/// How often the power is cut while each is restored, the end included.
const CUTS: u64 = 10;

/// How many commits a store has before it is backed up.
const COMMITS: std::ops::Range<usize> = 1..80;

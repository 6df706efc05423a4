//! Power cuts at random moments: whatever the disk kept of what was not flushed, the store holds what it acknowledged.

use fastrand::Rng;
use varve_disk_shim::Disk;

use crate::boot::start_anew;
use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::lineage::{IMAGES_PER_LIFE, LIVES};
use crate::surveyor::{DiskKind, survey};
use crate::{is_supported, new_dir, open, scale, variable};

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    if !is_supported() {
        return;
    }
    let seeds = match variable("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(IMAGES * scale()).div_ceil((LIVES * IMAGES_PER_LIFE) as u64),
    };
    let expected = (seeds.end - seeds.start) as usize * LIVES * IMAGES_PER_LIFE;
    let survey = survey(DiskKind::Honest, seeds);
    assert!(survey.bad.is_empty(), "{} images are bad:\n{}", survey.bad.len(), survey.bad.join("\n"));
    assert_eq!(survey.good, expected);
}

/// The control: the same check finds what a disk loses that only says it has flushed.
#[test]
fn a_disk_that_ignores_flushes_is_caught() {
    if !is_supported() {
        return;
    }
    let survey = survey(DiskKind::IgnoringFlushes, 0..10);
    assert!(survey.bad.len() > 20, "only {survey:?}");
}

/// Opens what a power cut has left, after another start of the machine, and goes on with it.
pub(crate) fn check(image: &Disk, history: &History, progress: Progress) -> Result<(), String> {
    let dir = restored(image)?;
    let dir = dir.path();
    let mut varve = open(dir)?;
    let mut contents = Contents::read(&varve)?;
    history.settle(&contents, progress)?;
    let commit = Commit::draw(&mut Rng::with_seed(progress.begun as u64), &contents);
    commit.perform(&mut varve).map_err(|error| format!("it takes no commit: {error}"))?;
    contents.apply(&commit);
    expect(&Contents::read(&varve)?, &contents, "after a commit")?;
    drop(varve);
    let varve = open(dir)?;
    expect(&Contents::read(&varve)?, &contents, "opened once more")
}

/// The files that [`check`] opens.
pub(crate) fn restored(image: &Disk) -> Result<tempfile::TempDir, String> {
    let (mut image, dir) = (image.clone(), new_dir());
    start_anew(&mut image);
    image.restore(dir.path()).map_err(|error| error.to_string())?;
    Ok(dir)
}

fn expect(found: &Contents, expected: &Contents, when: &str) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{when}, {}", found.difference(expected))) }
}

/// How many images a plain run checks.
const IMAGES: u64 = 1000;

//! Power cuts at random moments: whatever the disk kept of what was not flushed, the store holds what it acknowledged.

use std::path::Path;

use fastrand::Rng;
use varve_disk_shim::{Disk, Operation, Watch};

use crate::boot::start_anew;
use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::lineage::{IMAGES_PER_LIFE, LIVES};
use crate::marks::{Mark, Tally};
use crate::surveyor::{DiskKind, survey};
use crate::{is_supported, new_dir, scale, variable};

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_acknowledged() {
    if !is_supported() {
        return;
    }
    let images_per_lineage = LIVES * IMAGES_PER_LIFE * IMAGES_PER_CHECK;
    let seeds = match variable("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(IMAGES * scale()).div_ceil(images_per_lineage as u64),
    };
    let expected = (seeds.end - seeds.start) as usize * LIVES * IMAGES_PER_LIFE;
    let survey = survey(DiskKind::Honest, seeds);
    assert!(survey.bad.is_empty(), "{} images are bad:\n{}", survey.bad.len(), survey.bad.join("\n"));
    assert_eq!(survey.good, expected);
    let is_survey = variable("VARVE_TEST_SEED").is_none();
    assert!(
        !is_survey || survey.refused > expected / REFUSED_SHARE_MIN,
        "only {} were damaged",
        survey.refused
    );
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

/// Opens what a power cut has left, after another start of the machine, and goes on with it. The power is cut once more
/// meanwhile, in the recovery as likely as not; and what that leaves must do as well.
pub(crate) fn check(
    image: &Disk,
    history: &History,
    progress: Progress,
    random: &mut Rng,
) -> Result<(), String> {
    let mut disk = image.clone();
    start_anew(&mut disk);
    let mut after = history.clone();
    let Served { operations, place } = serve(&disk, &mut after, progress, draw_any)?;
    disk.begin_recording();
    let places = [place];
    let (mut history, mut tally) = (history, Tally::new(&places, progress));
    for operation in &operations[..moment(&operations, random)] {
        disk.apply(operation);
        if let Operation::Mark(mark) = operation
            && tally.note(Mark::of(*mark))
        {
            history = &after;
        }
    }
    let (mut cut, mut history) = (disk.power_cut(random), history.clone());
    start_anew(&mut cut);
    let again = |reason| format!("and once more with {:?}: {reason}", tally.progress());
    serve(&cut, &mut history, tally.progress(), draw_any).map(drop).map_err(again)
}

/// What was done to an image until it was closed.
pub(crate) struct Served {
    pub(crate) operations: Vec<Operation>,
    /// The place of the commit in the history.
    pub(crate) place: usize,
}

/// Opens an image, makes the commit that `draw` gives, and opens it once more.
pub(crate) fn serve(
    image: &Disk,
    history: &mut History,
    progress: Progress,
    draw: impl FnOnce(&mut Rng, &Contents, &Path) -> Commit,
) -> Result<Served, String> {
    if history.destroyed(progress).any(|destroyed| image.holds(destroyed)) {
        return Err("a key that was destroyed is there".into());
    }
    let dir = new_dir();
    let dir = dir.path();
    image.restore(dir).map_err(|error| error.to_string())?;
    let watch = Watch::recording(dir).map_err(|error| error.to_string())?;
    let mut random = Rng::with_seed(history.len() as u64);
    let mut progress = progress;
    // Before the first commit there may be no store.
    if progress.acknowledged > 0
        && random.bool()
        && let Some(found) = history.look(dir, progress)?
    {
        let held = history.settle(&found, progress)?;
        progress = progress.seen(held);
        watch.mark(Mark::Seen(held).number());
    }
    let mut varve = history.open(dir, progress)?;
    let place = history.len();
    watch.mark(Mark::Settled(place).number());
    let commit = draw(&mut random, history.contents(), dir);
    watch.mark(Mark::Begun(0).number());
    let first = history.begin(commit).perform(&mut varve);
    if let Some(first) = first.map_err(|error| format!("it takes no commit: {error}"))? {
        history.learn_first(first);
    }
    watch.mark(Mark::Acknowledged(0).number());
    drop(varve);
    let operations = watch.take_operations();
    let again = |reason| format!("opened once more: {reason}");
    history.open(dir, Progress::settled(history.len())).map_err(again)?;
    Ok(Served { operations, place })
}

/// Draws a commit to the store in `dir`, or as often as one in four what looks after it.
fn draw_any(random: &mut Rng, contents: &Contents, dir: &Path) -> Commit {
    match random.u8(..4) {
        0 => Commit::draw_upkeep(random, contents, dir),
        _ => Commit::draw(random, contents),
    }
}

/// After how many operations the power is cut: of those until the store is open, or of all.
fn moment(operations: &[Operation], random: &mut Rng) -> usize {
    let is_settled = |operation: &Operation| matches!(operation, Operation::Mark(_));
    let recovery = operations.iter().position(is_settled).expect("the store was opened");
    if random.bool() { random.usize(..=recovery) } else { random.usize(..=operations.len()) }
}

/// How many images a plain run checks.
const IMAGES: u64 = 1000;

/// Of one in so many images at least, damage is told besides.
const REFUSED_SHARE_MIN: usize = 40;

/// What a power cut leaves, and what another one leaves of that.
const IMAGES_PER_CHECK: usize = 2;

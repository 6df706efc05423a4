//! Ends at the steps of what a store does: by a power cut of which the disk keeps nothing but what was flushed, perhaps
//! with the last write torn, and by a kill. What the next process finds after a kill, or commits, it relies on: another
//! such power cut must leave it.

use std::path::Path;

use fastrand::Rng;
use varve_core::AppendError;
use varve_disk_shim::{Call, Disk, Failure, Fault, Lasting, Operation, Watch};

use crate::boot::start_anew;
use crate::contents::Contents;
use crate::history::{Commit, History, Progress};
use crate::marks::{Mark, Tally};
use crate::power_cuts::{Served, serve};
use crate::{is_supported, new_dir, scale, variable};

#[test]
fn what_was_certain_at_any_step_is_there_after_it() {
    if !is_supported() {
        return;
    }
    let seeds = match variable("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..ACTIONS.len() as u64 * (1 + scale() / ROUNDS_SHARE),
    };
    for seed in seeds {
        let action = ACTIONS[seed as usize % ACTIONS.len()];
        let mut random = Rng::with_seed(seed);
        let ended = Scene::play(action, &mut random).and_then(|mut scene| scene.end_at_steps(&mut random));
        ended.unwrap_or_else(|reason| {
            panic!("VARVE_TEST_SCALE={} VARVE_TEST_SEED={seed}: {action:?}: {reason}", scale())
        });
    }
}

/// What an owner does when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// It makes the store.
    Found,
    /// It opens the store, and commits what fits the tail.
    Commit,
    /// What does not.
    CommitMuch,
    /// What looks after a store.
    LookAfter,
    /// It goes on with a tail that was full, and could not be folded as the disk was full: with what fits the tail.
    GoOnFull,
    /// With what does not.
    GoOnFullWithMuch,
    /// It opens a store whose last owner ended over a flush that failed, and commits.
    GoOnUnflushed,
}

/// What a store was, and what was done to it.
struct Scene {
    disk: Disk,
    history: History,
    progress: Progress,
    operations: Vec<Operation>,
    /// The history with what was done, and the place in it of each commit.
    after: History,
    places: Vec<usize>,
    /// At how many of the last operations it ends.
    steps: usize,
}

impl Scene {
    fn play(action: Action, random: &mut Rng) -> Result<Self, String> {
        match action {
            Action::Found => {
                Self::serve(Disk::new(), History::new(random.bool()), Progress::default(), action)
            }
            Action::Commit | Action::CommitMuch | Action::LookAfter => Self::furnish(random, action),
            Action::GoOnFull => Self::go_on_full(random, Commit::draw_large),
            Action::GoOnFullWithMuch => Self::go_on_full(random, Commit::draw_bulk),
            Action::GoOnUnflushed => Self::go_on_unflushed(random),
        }
    }

    /// A store with a few commits, to which the action is done after it was opened again.
    fn furnish(random: &mut Rng, action: Action) -> Result<Self, String> {
        let (dir, mut disk, mut history) = (new_dir(), Disk::new(), History::new(random.bool()));
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        let mut varve = history.open(dir.path(), Progress::default())?;
        for _ in 0..random.usize(COMMITS) {
            let commit = history.begin(Commit::draw(random, history.contents()));
            commit.perform(&mut varve).map_err(|error| error.to_string())?;
        }
        drop(varve);
        watch.take_operations().iter().for_each(|operation| disk.apply(operation));
        let progress = Progress::settled(history.len());
        Self::serve(disk, history, progress, action)
    }

    fn serve(disk: Disk, history: History, progress: Progress, action: Action) -> Result<Self, String> {
        let mut after = history.clone();
        let Served { operations, place } = serve(&disk, &mut after, progress, action.draw())?;
        let steps = operations.len();
        Ok(Self { disk, history, progress, operations, after, places: vec![place], steps })
    }

    /// A store whose disk was full until its whole tail was; then there is room, and what `draw` gives is committed.
    fn go_on_full(random: &mut Rng, draw: fn(&mut Rng) -> Commit) -> Result<Self, String> {
        let (dir, mut after) = (new_dir(), History::new(false));
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        let mut varve = after.open(dir.path(), Progress::default())?;
        watch.mark(Mark::Settled(0).number());
        let (call, file) = (Some(Call::Write), Some("data.mdb"));
        watch.fail(Fault { call, file, after: 0, failure: Failure::Full, lasting: Lasting::FromThenOn });
        let mut token = 0;
        let refused = loop {
            watch.mark(Mark::Begun(token).number());
            match after.begin(Commit::draw_large(random)).perform(&mut varve) {
                Ok(_) if token == FILLING_COMMITS_MAX => return Err("the tail is never full".into()),
                Ok(_) => watch.mark(Mark::Acknowledged(token).number()),
                Err(refused) => break refused,
            }
            token += 1;
        };
        if !matches!(refused, AppendError::DiskFull) {
            return Err(format!("a commit failed on a full disk: {refused}"));
        }
        watch.heal();
        // In the place of the one that was refused.
        after.truncate(token);
        let mut operations = watch.take_operations();
        let full = operations.len();
        let done = after.begin(draw(random)).perform(&mut varve);
        done.map_err(|error| format!("there is room, and a commit failed: {error}"))?;
        watch.mark(Mark::Acknowledged(token).number());
        operations.extend(watch.take_operations());
        Ok(Self {
            disk: Disk::new(),
            history: History::new(false),
            progress: Progress::default(),
            steps: operations.len() - full,
            operations,
            after,
            places: (0..=token).collect(),
        })
    }

    /// A store of which a flush has dropped what it was to send: that is read all the same, and a power cut takes it.
    fn go_on_unflushed(random: &mut Rng) -> Result<Self, String> {
        let (dir, mut disk, mut history) = (new_dir(), Disk::new(), History::new(false));
        let watch = Watch::recording(dir.path()).map_err(|error| error.to_string())?;
        let mut varve = history.open(dir.path(), Progress::default())?;
        let (call, file) = (Some(Call::Flush), Some(if random.bool() { "data.mdb" } else { "tail" }));
        let after = random.u64(..FLUSHES_MAX);
        watch.fail(Fault { call, file, after, failure: Failure::Device, lasting: Lasting::Once });
        let mut shown = 0;
        while watch.struck() == 0 {
            shown = varve.next_global_seq().map_err(|error| error.to_string())?.0;
            let commit = match random.bool() {
                true => Commit::draw_bulk(random),
                false => Commit::draw(random, history.contents()),
            };
            if history.begin(commit).perform(&mut varve).is_ok() == (watch.struck() > 0) {
                return Err("a commit fails where a flush does, and nowhere else".into());
            }
        }
        if varve.next_global_seq().is_ok_and(|next| next.0 > shown) {
            return Err("what is not durable is shown".into());
        }
        drop(varve);
        watch.heal();
        watch.take_operations().iter().for_each(|operation| disk.apply(operation));
        let acknowledged = history.len() - 1;
        let progress = Progress { acknowledged, begun: history.len(), owned: acknowledged };
        Self::serve(disk, history, progress, Action::GoOnUnflushed)
    }

    /// Ends at the last steps, the very last among them: by a power cut, and by a kill.
    fn end_at_steps(&mut self, random: &mut Rng) -> Result<(), String> {
        let Self { disk, history, progress, operations, after, places, steps } = self;
        let (mut history, mut tally) = (&*history, Tally::new(places, *progress));
        disk.begin_recording();
        let (stride, skipped) = (STRIDE.div_ceil(scale() as usize), random.usize(..STRIDE));
        for (at, operation) in (1..).zip(operations.iter()) {
            disk.apply(operation);
            if is_taken_up(&mut tally, operation) {
                history = after;
            }
            let is_step = at % stride == skipped % stride || at == operations.len();
            if at + *steps > operations.len() && is_step {
                let step = |reason| format!("ended after {at} of {} steps: {reason}", operations.len());
                check_certain(disk, history, tally.progress(), random).map_err(step)?;
                go_on(disk, history, tally.progress(), random).map_err(step)?;
            }
        }
        Ok(())
    }
}

impl Action {
    fn draw(self) -> impl FnOnce(&mut Rng, &Contents, &Path) -> Commit {
        move |random, contents, dir| match self {
            Self::CommitMuch | Self::GoOnFullWithMuch => Commit::draw_bulk(random),
            Self::LookAfter => Commit::draw_upkeep(random, contents, dir),
            Self::Found | Self::Commit | Self::GoOnFull | Self::GoOnUnflushed => {
                Commit::draw(random, contents)
            }
        }
    }
}

/// Lets another process serve what a kill has left, and cuts the power whenever somebody relies on what there is.
fn go_on(killed: &Disk, history: &History, progress: Progress, random: &mut Rng) -> Result<(), String> {
    let (mut disk, mut history, mut after) = (killed.clone(), history, history.clone());
    let Served { operations, place } = serve(&disk, &mut after, progress, Action::Commit.draw())?;
    let places = [place];
    let mut tally = Tally::new(&places, progress);
    disk.begin_recording();
    for operation in &operations {
        disk.apply(operation);
        if is_taken_up(&mut tally, operation) {
            history = &after;
        }
        if matches!(operation, Operation::Mark(_)) {
            let late = |reason| format!("then the power cut with {:?}: {reason}", tally.progress());
            check_certain(&disk, history, tally.progress(), random).map_err(late)?;
        }
    }
    Ok(())
}

/// Cuts the power, and opens what certainly is on the disk; then the same with the last write torn.
fn check_certain(disk: &Disk, history: &History, progress: Progress, random: &mut Rng) -> Result<(), String> {
    for mut cut in [disk.certain(), disk.certain_but_torn(random)] {
        start_anew(&mut cut);
        serve(&cut, &mut history.clone(), progress, Action::Commit.draw())?;
    }
    Ok(())
}

/// Takes up a mark. Tells whether the history is since that of the process which made it.
fn is_taken_up(tally: &mut Tally<'_>, operation: &Operation) -> bool {
    matches!(operation, Operation::Mark(mark) if tally.note(Mark::of(*mark)))
}

const ACTIONS: [Action; 7] = [
    Action::Found,
    Action::Commit,
    Action::CommitMuch,
    Action::LookAfter,
    Action::GoOnFull,
    Action::GoOnFullWithMuch,
    Action::GoOnUnflushed,
];

/// How many times the usual number of cases there are for one more round of all actions.
const ROUNDS_SHARE: u64 = 5;

/// At which of the steps a plain run ends: at one in so many, and the last.
const STRIDE: usize = 3;

/// How many commits a store has before.
const COMMITS: std::ops::Range<usize> = 1..20;

/// How many flushes of a file succeed before one fails, at most.
const FLUSHES_MAX: u64 = 10;

/// How many commits a tail that is not folded has room for: each takes a fifth of a third of the shortest at least.
const FILLING_COMMITS_MAX: usize = 20;

//! Processes that check images one after the other: a damaged map may take a process down, and that is a finding too.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::{Child, Command, Stdio};
use std::thread;

use fastrand::Rng;
use varve_disk_shim::Disk;

use crate::damage::check_damaged;
use crate::lineage::{LIVES, Lineage};
use crate::{new_dir, power_cuts, variable};

/// Of which disk the images are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DiskKind {
    Honest,
    IgnoringFlushes,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// How many power cuts the store has withstood, each with another one after it.
    pub(crate) good: usize,
    /// How often damage to what was durable was told after one.
    pub(crate) refused: usize,
    /// What was wrong, with the seed of its lineage.
    pub(crate) bad: Vec<String>,
}

/// Checks the images of the lineages of these seeds, on all cores.
pub(crate) fn survey(kind: DiskKind, seeds: std::ops::Range<u64>) -> Survey {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let mut survey = Survey::default();
    thread::scope(|scope| {
        let surveys: Vec<_> = (0..workers as u64)
            .map(|worker| {
                scope.spawn({
                    let seeds = (seeds.start + worker..seeds.end).step_by(workers);
                    move || survey_some(kind, seeds.collect())
                })
            })
            .collect();
        for some in surveys {
            let Survey { good, refused, bad } = some.join().expect("a surveyor reports what goes wrong");
            survey.good += good;
            survey.refused += refused;
            survey.bad.extend(bad);
        }
    });
    survey
}

/// Lets one process after the other check, as each goes on after the lineage that took the one before down.
fn survey_some(kind: DiskKind, mut seeds: Vec<u64>) -> Survey {
    let mut survey = Survey::default();
    while !seeds.is_empty() {
        let mut child = start(kind, &seeds);
        let mut current = seeds[0];
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        for line in lines.map_while(Result::ok) {
            match line.split_once(' ') {
                Some((BEGINS, seed)) => current = seed.parse().expect("it is a seed"),
                Some((GOOD, _)) => survey.good += 1,
                Some((REFUSED, _)) => survey.refused += 1,
                Some((BAD, reason)) => survey.bad.push(format!("seed {current}: {reason}")),
                _ => {}
            }
        }
        let status = child.wait().expect("it was started");
        if status.success() {
            break;
        }
        survey.bad.push(format!("seed {current}: the process ended with {status}"));
        seeds.retain(|&seed| seed > current);
    }
    survey
}

/// Runs this very program again.
fn start(kind: DiskKind, seeds: &[u64]) -> Child {
    let seeds: Vec<_> = seeds.iter().map(u64::to_string).collect();
    Command::new(env::current_exe().expect("this program has a path"))
        .args(["--exact", "surveyor::surveyor", "--nocapture"])
        .env(SEEDS, seeds.join(" "))
        .env(KIND, if kind == DiskKind::Honest { "honest" } else { "ignoring" })
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program can be run")
}

/// What such a process does; in a plain run of the tests, nothing.
#[test]
fn surveyor() {
    let (Ok(seeds), Ok(kind)) = (env::var(SEEDS), env::var(KIND)) else { return };
    for seed in seeds.split(' ').map(|seed| seed.parse().expect("it is a seed")) {
        say(BEGINS, &format!("{seed}"));
        let disk = if kind == "honest" { Disk::new() } else { Disk::ignoring_flushes() };
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| survey_lineage(seed, disk)));
        if outcome.is_err() {
            say(BAD, "it panicked");
        }
    }
}

fn survey_lineage(seed: u64, disk: Disk) {
    let mut lineage = Lineage::new(seed, disk);
    let mut random = Rng::with_seed(seed);
    for life in 0..LIVES {
        let lived = lineage.live(|image, history, progress| {
            match power_cuts::check(image, history, progress, &mut random) {
                Ok(()) => say(GOOD, "image"),
                Err(reason) => say(BAD, &format!("life {life}, {progress:?}: {reason}{}", kept(image))),
            }
            if random.u8(..DAMAGED_SHARE) > 0 {
                return;
            }
            match check_damaged(image, history, progress, &mut random) {
                Ok(is_refused) if is_refused => say(REFUSED, "image"),
                Ok(_) => {}
                Err(reason) => say(BAD, &format!("life {life}, {progress:?}: {reason}")),
            }
        });
        if let Err(reason) = lived {
            return say(BAD, &format!("life {life}: {reason}"));
        }
    }
}

/// Keeps a bad image where its lineage runs alone, to be looked at.
fn kept(image: &Disk) -> String {
    if variable("VARVE_TEST_SEED").is_none() {
        return String::new();
    }
    let dir = new_dir().keep();
    match image.restore(&dir) {
        Ok(()) => format!(" (kept in {})", dir.display()),
        Err(error) => format!(" (not kept: {error})"),
    }
}

/// Tells the parent, on a line of its own whatever the test harness has written before.
fn say(what: &str, more: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{what} {}", more.replace('\n', " ")).expect("the parent listens");
}

const SEEDS: &str = "VARVE_CRASH_SEEDS";
const KIND: &str = "VARVE_CRASH_DISK";
const BEGINS: &str = "begins";
const GOOD: &str = "good";
const REFUSED: &str = "refused";
const BAD: &str = "bad";

/// One in so many images is damaged besides.
const DAMAGED_SHARE: u8 = 4;

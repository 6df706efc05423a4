//! Which seeds a run of the tests explores.

use std::env;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use varve_hw_tests::simulation::{Coverage, Failure, Violation};

/// Runs the seeds that the environment asks for, on all cores: 100 times `VARVE_TEST_SCALE`, or only `VARVE_TEST_SEED`.
///
/// # Panics
///
/// Where a run fails, with its seed.
pub(crate) fn explore(run: impl Fn(u64) -> Result<Coverage, Box<Failure>> + Sync) -> Coverage {
    let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number(SEED_VARIABLE) {
        Some(seed) => seed..seed + 1,
        None => 0..SEEDS * number("VARVE_TEST_SCALE").unwrap_or(1),
    };
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Coverage::default());
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end) {
            let coverage = run_or_name(seed, &run);
            total.lock().expect("no run holds it").add(&coverage);
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().unwrap_or_else(|panic| {
                next.store(seeds.end, Ordering::Relaxed);
                resume_unwind(panic)
            });
        }
    });
    total.into_inner().expect("no run holds it")
}

/// Whether only one seed was asked for.
pub(crate) fn is_single() -> bool {
    env::var_os(SEED_VARIABLE).is_some()
}

fn run_or_name(seed: u64, run: &impl Fn(u64) -> Result<Coverage, Box<Failure>>) -> Coverage {
    let again = format!("run it again with {SEED_VARIABLE}={seed}");
    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
        Ok(Ok(coverage)) => coverage,
        Ok(Err(failure)) => panic!("{failure}\n{again}"),
        Err(panic) => {
            eprintln!("{again}");
            resume_unwind(panic)
        }
    }
}

/// Runs a broken world until the judge says what is broken: within `seeds` seeds.
pub(crate) fn find(
    seeds: u64,
    run: impl Fn(u64) -> Result<Coverage, Box<Failure>>,
    is_expected: impl Fn(&Violation) -> bool,
) {
    let failures = (0..seeds).filter_map(|seed| run(seed).err());
    let mut others = Vec::new();
    for failure in failures {
        if is_expected(&failure.violation) {
            eprintln!("found by seed {}: {}", failure.scenario.seed, failure.violation);
            return;
        }
        others.push(failure.violation);
    }
    panic!("not found within {seeds} seeds, but {others:?}");
}

const SEED_VARIABLE: &str = "VARVE_TEST_SEED";

/// How many seeds a plain run explores.
const SEEDS: u64 = 100;

//! How many random cases a test runs, each from a seed that its failure prints.

/// Runs `check` on `count` cases, times `VARVE_TEST_SCALE`; `VARVE_TEST_SEED` runs the one case of that seed.
/// Returns how many it ran.
pub(crate) fn run(count: u64, check: impl Fn(&mut fastrand::Rng)) -> u64 {
    let variable = |name| std::env::var(name).ok().map(|value: String| value.parse::<u64>().expect(name));
    let seeds = match variable("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count * variable("VARVE_TEST_SCALE").unwrap_or(1),
    };
    for seed in seeds.clone() {
        let _case = Case(seed);
        check(&mut fastrand::Rng::with_seed(seed));
    }
    seeds.end - seeds.start
}

/// Prints its seed where the check panics.
struct Case(u64);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with VARVE_TEST_SEED={}", self.0);
        }
    }
}

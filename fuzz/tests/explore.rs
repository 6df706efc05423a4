//! Every target on its corpus, and on mutations of what is known, from a seed that a failure prints.

use std::path::PathBuf;
use std::{env, fs};

use varve_fuzz::{INPUT_LEN_MAX, Mutation, TARGETS, Target, Verdict};

/// How many mutations of each target a plain run explores.
const MUTATIONS: u64 = 5_000;

#[test]
fn every_target_bears_its_corpus() {
    for target in TARGETS {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for (path, input) in corpus {
            let _culprit = Culprit::of(target, format!("input {}", path.display()), &input);
            (target.run)(&input);
        }
    }
}

#[test]
fn every_target_accepts_what_honest_writers_make() {
    for target in TARGETS {
        for (index, seed) in (target.seeds)().iter().enumerate() {
            assert!(seed.len() <= INPUT_LEN_MAX);
            let _culprit = Culprit::of(target, format!("honest input {index}"), seed);
            assert_eq!((target.run)(seed), Verdict::Accepted, "{}, honest input {index}", target.name);
        }
    }
}

#[test]
fn every_target_bears_mutations_of_what_is_known() {
    let seeds = match number("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..MUTATIONS * number("VARVE_TEST_SCALE").unwrap_or(1) / INPUTS_PER_SEED,
    };
    for target in TARGETS {
        let honest = (target.seeds)();
        let mut known = honest.clone();
        known.extend(corpus(target).into_iter().map(|(_, input)| input));
        let (mut accepted, mut refused) = (0, 0);
        for seed in seeds.clone() {
            let mut mutation = Mutation::with_seed(seed);
            for index in 0..INPUTS_PER_SEED {
                // What is nearly honest reaches further than what is nearly an oddity; both are wanted.
                let input = mutation.next_of(if index % 2 == 0 { &honest } else { &known });
                let _culprit = Culprit::of(target, format!("VARVE_TEST_SEED={seed}"), &input);
                match (target.run)(&input) {
                    Verdict::Accepted => accepted += 1,
                    Verdict::Refused => refused += 1,
                }
            }
        }
        let is_whole = seeds.end - seeds.start > 1;
        assert!(!is_whole || accepted > 0 && refused > 0, "{}: only one verdict", target.name);
        eprintln!("{}: {accepted} accepted, {refused} refused", target.name);
    }
}

/// The inputs of `corpus/`, by their names.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = fs::read_dir(&folder).expect("every target has a folder in the corpus");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it is listed").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).expect("it is read"))).collect()
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().expect(variable))
}

/// Tells which input a target panicked on, and keeps it.
struct Culprit<'a> {
    target: &'a Target,
    origin: String,
    input: &'a [u8],
}

impl<'a> Culprit<'a> {
    fn of(target: &'a Target, origin: String, input: &'a [u8]) -> Self {
        Self { target, origin, input }
    }
}

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let path = env::temp_dir().join(format!("varve-fuzz-{}", self.target.name));
            let kept = fs::write(&path, self.input).map(|()| format!(", kept as {}", path.display()));
            eprintln!("{}: {}{}", self.target.name, self.origin, kept.unwrap_or_default());
        }
    }
}

/// How many inputs one seed makes.
const INPUTS_PER_SEED: u64 = 50;

//! A second process, which reads beside the owner of whichever store it is told of.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Lines, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use varve_core::{Config, ReadError, Snapshot, TAIL_LEN_MIN, Varve, VarveView};

use super::check::Slots;
use super::oracle::Oracle;
use crate::second_process::{start, tell};
use crate::{new_dir_in_memory, relaxed};

/// The process. It keeps the last store open, with all that it has copied of the tail.
pub(super) struct Beside {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) path: PathBuf,
    pub(super) is_sealed: bool,
    pub(super) master: u8,
}

/// What is seen of a log, in few words.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    first: u64,
    next: u64,
    digest: u64,
}

impl Opening {
    /// A tail that is short, and the keys.
    pub(super) fn config(&self) -> Config {
        let mut config = relaxed();
        config.tail_len = TAIL_LEN_MIN;
        #[cfg(feature = "encryption")]
        if self.is_sealed {
            let mut encryption = varve_core::Encryption::new(self.master_key());
            encryption.streams = varve_core::SealedStreams::Named(vec!["doors".into()]);
            config.encryption = Some(encryption);
        }
        config
    }

    #[cfg(feature = "encryption")]
    pub(super) fn master_key(&self) -> varve_core::MasterKey {
        varve_core::MasterKey::from_bytes([self.master; 32])
    }
}

impl Beside {
    pub(super) fn start() -> Self {
        let mut process = start("tell what is seen", new_dir_in_memory().path());
        let input = process.stdin.take().expect("it is piped");
        let output = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        Self { process, input, output }
    }

    /// What the process sees of a store now.
    pub(super) fn look(&mut self, Opening { path, is_sealed, master }: &Opening) -> Seen {
        writeln!(self.input, "{is_sealed} {master} {}", path.display()).expect("it listens");
        // The first line begins with what the test harness says.
        let told =
            self.output.find_map(|line| line.expect("it is text").split("seen ").nth(1).map(Seen::parse));
        told.expect("it tells what it sees")
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Seen {
    /// What is to be seen.
    pub(super) fn of(oracle: &Oracle) -> Self {
        let kept: Slots<'_> = oracle.kept().iter().map(|entry| oracle.slot(entry)).collect();
        Self::new(oracle.first, oracle.next(), &kept)
    }

    fn of_snapshot(snapshot: &Snapshot) -> Result<Self, ReadError> {
        let first = snapshot.first_global_seq()?;
        let events: Vec<_> = snapshot.iter_from(first)?.collect();
        let slots = super::check::slots(first.0, &events);
        Ok(Self::new(first.0, snapshot.next_global_seq()?.0, &slots))
    }

    fn new(first: u64, next: u64, slots: &Slots<'_>) -> Self {
        let mut digest = DefaultHasher::new();
        slots.hash(&mut digest);
        Self { first, next, digest: digest.finish() }
    }

    fn parse(text: &str) -> Self {
        let mut words = text.split(' ').map(|word| word.parse().expect("a number"));
        let mut word = || words.next().expect("three numbers");
        Self { first: word(), next: word(), digest: word() }
    }
}

/// What the second process does, for each line of its input.
pub(crate) fn tell_what_is_seen() {
    let mut open: Option<(Opening, VarveView)> = None;
    for line in stdin().lines().map(Result::unwrap) {
        let words: Vec<_> = line.splitn(3, ' ').collect();
        let [is_sealed, master, path] = words[..] else { panic!("{line} is no opening") };
        let opening = Opening {
            path: Path::new(path).into(),
            is_sealed: is_sealed.parse().unwrap(),
            master: master.parse().unwrap(),
        };
        if open.as_ref().is_none_or(|(before, _)| *before != opening) {
            drop(open.take());
            let view = Varve::open_read_only_with_config(&opening.path, opening.config()).unwrap();
            open = Some((opening, view));
        }
        let Seen { first, next, digest } = look(&open.as_ref().expect("it was opened just now").1);
        tell(&format!("seen {first} {next} {digest}"));
    }
}

fn look(view: &VarveView) -> Seen {
    let start = Instant::now();
    loop {
        match view.snapshot().and_then(|snapshot| Seen::of_snapshot(&snapshot)) {
            // The owner was faster, or is held up.
            Err(ReadError::Overtaken) if start.elapsed() < PATIENCE => {}
            seen => return seen.unwrap(),
        }
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

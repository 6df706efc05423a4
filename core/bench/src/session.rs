//! One run of the bench: what was asked for, and the figures so far.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use crate::arguments::Arguments;
use crate::engine::{self, Contender, EngineName};
use crate::figures::Figures;
use crate::rows::Row;
use crate::sample::{Sample, SampleName};

pub(crate) struct Session {
    pub(crate) arguments: Arguments,
    pub(crate) figures: Figures,
}

impl Session {
    pub(crate) fn new(arguments: Arguments) -> Self {
        Self { arguments, figures: Figures::default() }
    }

    /// Whether a row is asked for.
    pub(crate) fn wants(&self, row: &Row) -> bool {
        let words = &self.arguments.rows;
        words.is_empty() || words.iter().any(|word| row.key.contains(word.as_str()))
    }

    /// Adds a figure of a row that is asked for.
    pub(crate) fn add(&mut self, row: &'static Row, sample: SampleName, engine: EngineName, figure: f64) {
        if self.wants(row) {
            self.figures.add(row, sample, engine, figure);
        }
    }

    /// An empty directory on the disk that is measured.
    pub(crate) fn new_dir(&self) -> TempDir {
        new_dir_in(&self.arguments.dir)
    }

    /// An empty directory in memory where there is such a file system, for stores that are only read: how fast they
    /// were written does not count.
    pub(crate) fn new_dir_in_memory(&self) -> TempDir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { new_dir_in(memory) } else { self.new_dir() }
    }

    /// Waits until the disk that is measured has taken all that was written to its file system: what one engine left to be
    /// written back is not to be counted as another's time.
    pub(crate) fn settle(&self) {
        let dir = File::open(&self.arguments.dir).expect("the directory can be read");
        rustix::fs::syncfs(dir).expect("the disk takes it");
    }

    /// As many events as were asked for.
    pub(crate) fn events<E: Sample>(&self) -> Vec<E> {
        (0..self.arguments.events).map(E::generate).collect()
    }

    /// The engines that keep what they are given, of those that are asked for.
    pub(crate) fn writers<E: Sample>(&self) -> Vec<Contender<E>> {
        self.contenders(|name| name != EngineName::Memory)
    }

    /// Those that can be asked for events, and the memory.
    pub(crate) fn readers<E: Sample>(&self) -> Vec<Contender<E>> {
        self.contenders(|name| name != EngineName::FlatFile)
    }

    /// The stores among them.
    pub(crate) fn stores<E: Sample>(&self) -> Vec<Contender<E>> {
        self.contenders(EngineName::is_store)
    }

    /// Takes all contenders through each round, each round in another order, so that a busy moment of the machine meets
    /// all of them and none is always the first. The disk is [settled](Session::settle) before each visit.
    pub(crate) fn rounds<E: Sample, C: Contends>(
        &mut self,
        what: &str,
        contenders: &mut [C],
        mut visit: impl FnMut(&mut Self, &mut C),
    ) {
        for round in 1..=self.arguments.rounds {
            for contender in &mut *contenders {
                eprintln!("{what}, {}: round {round}, {}", E::NAME, contender.name());
                self.settle();
                visit(self, contender);
            }
            contenders.rotate_left(1);
        }
    }

    fn contenders<E: Sample>(&self, is_of: impl Fn(EngineName) -> bool) -> Vec<Contender<E>> {
        let asked = &self.arguments.engines;
        let mut contenders = engine::contenders();
        contenders.retain(|Contender { name, .. }: &Contender<E>| {
            is_of(*name) && (asked.is_empty() || asked.contains(name))
        });
        contenders
    }
}

/// Takes part in rounds.
pub(crate) trait Contends {
    fn name(&self) -> EngineName;
}

impl<E: Sample> Contends for Contender<E> {
    fn name(&self) -> EngineName {
        self.name
    }
}

/// How long something takes, in nanoseconds, and what it yields.
pub(crate) fn timed<R>(run: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = run();
    (start.elapsed().as_nanos() as f64, result)
}

fn new_dir_in(dir: &Path) -> TempDir {
    tempfile::tempdir_in(dir).expect("the directory can be written")
}

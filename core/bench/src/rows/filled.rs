//! A store that was filled and closed, to be read.

use tempfile::TempDir;

use crate::engine::{Contender, Engine, EngineName};
use crate::sample::Sample;
use crate::session::Contends;

/// A store that was filled and closed, to be read.
pub(super) struct Filled<E: Sample> {
    contender: Contender<E>,
    dir: TempDir,
}

impl<E: Sample> Filled<E> {
    /// Fills a new store in an empty directory.
    pub(super) fn new(contender: Contender<E>, dir: TempDir, fill: impl FnOnce(&mut dyn Engine<E>)) -> Self {
        eprintln!("filling {} with events: {}", contender.name, E::NAME);
        fill(&mut *(contender.open)(dir.path(), 0));
        Self { contender, dir }
    }

    /// Opens the store: what was read of it before is forgotten.
    pub(super) fn open(&self) -> Box<dyn Engine<E>> {
        (self.contender.open)(self.dir.path(), 0)
    }
}

impl<E: Sample> Contends for Filled<E> {
    fn name(&self) -> EngineName {
        self.contender.name
    }
}

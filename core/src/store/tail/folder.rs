//! Folds: what moves sealed generations of the tail into LMDB, in the background.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use heed::{MdbError, RwTxn};

use crate::GlobalSequence;
use crate::store::error::AppendError;
use crate::store::files::environment::Environment;
use crate::store::log::block::BlockWriter;
use crate::store::tail::{Folded, SEGMENTS, Tail, TailView, fold};

/// Folds the tail, for the thread that holds the writer's lock.
///
/// A segment of the journal is used again only once a fold *after* the one that took its generation is durable: should
/// a power cut tear LMDB's newest meta page, the one before it counts, and the tail still holds what follows.
#[derive(Debug)]
pub(in crate::store) struct Folder {
    environment: Arc<Environment>,
    tail: Arc<Tail>,
    running: Option<JoinHandle<Result<u64, FoldError>>>,
    /// The first generation that the last durable fold took: those before may be overwritten.
    kept_from: u64,
    is_poisoned: bool,
}

/// Why a fold did not end well.
#[derive(Debug)]
pub(in crate::store) enum FoldError {
    /// The disk is as it was: the fold is repeated with the next.
    Append(AppendError),
    /// What was written could not be flushed, or not be looked at afterwards: the disk may hold anything of it.
    Flush(std::io::Error),
}

impl Folder {
    /// A folder for a tail that holds nothing yet, while LMDB holds durably all before, and the note says so.
    pub(in crate::store) fn new(environment: Arc<Environment>, tail: Arc<Tail>) -> Self {
        let kept_from = tail.generation();
        Self { environment, tail, running: None, kept_from, is_poisoned: false }
    }

    /// Keeps everything from being written any more: LMDB holds what nobody may rely on.
    pub(in crate::store) fn poison(&mut self) {
        self.is_poisoned = true;
    }

    /// Whether what the disk holds is unknown, since a fold failed, or the confirmation of a large commit.
    pub(in crate::store) fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Sees to it that the current generation may be written to its segment.
    pub(in crate::store) fn make_room(&mut self) -> Result<(), AppendError> {
        if !self.has_room() {
            self.join();
        }
        // A fold takes all that is sealed, so that after it the next one takes nothing, and frees everything before.
        for _ in 0..2 {
            if self.has_room() {
                return Ok(());
            }
            self.fold_now()?;
        }
        assert!(self.has_room(), "after two folds nothing old is kept");
        Ok(())
    }

    /// Seals the current generation and begins to fold it, while the next one takes the commits.
    pub(in crate::store) fn turn(&mut self) -> Result<(), AppendError> {
        self.tail.wait(self.tail.last_written())?;
        self.tail.seal();
        self.join();
        let (environment, tail) = (self.environment.clone(), self.tail.clone());
        let thread = thread::Builder::new().name("varve-fold".into());
        match thread.spawn(move || fold_sealed(&environment, &tail)) {
            Ok(running) => self.running = Some(running),
            Err(_) => self.fold_now()?,
        }
        Ok(())
    }

    /// Begins an LMDB transaction that has taken the whole tail, to go on writing in it.
    pub(in crate::store) fn begin_direct<'e>(
        &mut self,
        environment: &'e Environment,
    ) -> Result<RwTxn<'e>, AppendError> {
        self.tail.wait(self.tail.last_written())?;
        self.tail.seal();
        self.join();
        let mut txn = environment.write()?;
        let (view, folded) = self.tail.sealed();
        let mut block = BlockWriter::new();
        fold(&mut txn, environment.tables(), view.records(), folded, &mut block)?;
        environment.retire(&mut txn, view.len())?;
        Ok(txn)
    }

    /// Makes a transaction durable that [`Folder::begin_direct`] began and that is committed, and forgets what it took. The
    /// log goes on at `next`.
    pub(in crate::store) fn end_direct(&mut self, next: GlobalSequence) -> Result<(), AppendError> {
        self.environment.flush()?;
        let (view, folded) = self.tail.sealed();
        self.kept_from = view.first_generation().unwrap_or(folded.generation + 1);
        self.tail.skip_to(next);
        self.tail.forget(folded.generation, self.environment.meta_checksum()?);
        Ok(())
    }

    fn fold_now(&mut self) -> Result<(), AppendError> {
        let folded = fold_sealed(&self.environment, &self.tail);
        self.settle(folded)
    }

    /// Waits for the fold in the background. One that failed is repeated with the next: what it was to take stays in
    /// the tail.
    fn join(&mut self) {
        if let Some(running) = self.running.take() {
            let folded = running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let _ = self.settle(folded);
        }
    }

    fn settle(&mut self, folded: Result<u64, FoldError>) -> Result<(), AppendError> {
        match folded {
            Ok(first) => {
                self.kept_from = first;
                Ok(())
            }
            Err(FoldError::Append(error)) => Err(error),
            Err(FoldError::Flush(error)) => {
                self.is_poisoned = true;
                Err(AppendError::from(error).unsettled())
            }
        }
    }

    fn has_room(&self) -> bool {
        overwrites_nothing_kept(self.tail.generation(), self.kept_from)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.join();
    }
}

impl<E: Into<AppendError>> From<E> for FoldError {
    fn from(error: E) -> Self {
        Self::Append(error.into())
    }
}

/// Moves all sealed generations into LMDB, and returns the number of the first one; where there is none, that of the
/// current one. Where the map is full it grows.
fn fold_sealed(environment: &Environment, tail: &Tail) -> Result<u64, FoldError> {
    let (view, folded) = tail.sealed();
    loop {
        match fold_once(environment, &view, folded) {
            Err(AppendError::Storage(error)) if is_map_full(&error.0) => environment.grow()?,
            done => break done?,
        }
    }
    let checksum =
        environment.flush().and_then(|()| environment.meta_checksum()).map_err(FoldError::Flush)?;
    tail.forget(folded.generation, checksum);
    Ok(view.first_generation().unwrap_or(folded.generation + 1))
}

fn fold_once(environment: &Environment, view: &TailView, folded: Folded) -> Result<(), AppendError> {
    let mut txn = environment.write()?;
    let mut block = BlockWriter::new();
    fold(&mut txn, environment.tables(), view.records(), folded, &mut block)?;
    environment.retire(&mut txn, view.len())?;
    Ok(environment.commit(txn)?)
}

/// Whether the segment of `generation` is that of none from `kept_from` on.
fn overwrites_nothing_kept(generation: u64, kept_from: u64) -> bool {
    generation < kept_from + SEGMENTS
}

pub(in crate::store) fn is_map_full(error: &heed::Error) -> bool {
    matches!(error, heed::Error::Mdb(MdbError::MapFull))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_takes_the_segment_of_none_that_is_kept() {
        for kept_from in 1..9 {
            for generation in kept_from..kept_from + 2 * SEGMENTS {
                let is_free = (kept_from..generation).all(|kept| kept % SEGMENTS != generation % SEGMENTS);
                assert_eq!(
                    overwrites_nothing_kept(generation, kept_from),
                    is_free,
                    "{generation}, {kept_from}"
                );
            }
        }
    }
}

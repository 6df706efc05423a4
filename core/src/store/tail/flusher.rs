//! Group commit: one flush makes durable whatever was written before it began.

use std::sync::PoisonError;

use crate::store::sync::{Condvar, Mutex, MutexGuard};

/// Which commits are written, and which are durable. Commits have numbers, each the one before plus 1.
#[derive(Debug)]
pub(in crate::store) struct Flusher {
    state: Mutex<State>,
    flushed: Condvar,
}

#[derive(Debug)]
struct State {
    written: u64,
    durable: u64,
    /// Whether a thread flushes: the others wait for it.
    is_flushing: bool,
    has_failed: bool,
}

/// A flush failed, now or before: what the disk holds of the commits that are not durable is unknown.
#[derive(Debug)]
pub(in crate::store) struct FlushFailed;

impl Flusher {
    /// Everything up to the commit `durable` is durable.
    pub(in crate::store) fn new(durable: u64) -> Self {
        let state = State { written: durable, durable, is_flushing: false, has_failed: false };
        Self { state: Mutex::new(state), flushed: Condvar::new() }
    }

    /// Notes that everything up to `commit` is written.
    pub(in crate::store) fn written(&self, commit: u64) {
        self.lock().written = commit;
    }

    /// The last commit that is durable.
    pub(in crate::store) fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// Whether a flush failed: nothing will be durable any more.
    pub(in crate::store) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Returns once `commit` is durable. Where no other thread flushes, this one does: `flush` makes durable all
    /// that is written, up to the commit that it is told, and shows it to readers; whether it succeeded it returns.
    pub(in crate::store) fn wait(
        &self,
        commit: u64,
        mut flush: impl FnMut(u64) -> bool,
    ) -> Result<(), FlushFailed> {
        let mut state = self.lock();
        loop {
            if state.durable >= commit {
                return Ok(());
            }
            if state.has_failed {
                return Err(FlushFailed);
            }
            if state.is_flushing {
                state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.is_flushing = true;
            let target = state.written;
            drop(state);
            let mut turn = Turn { flusher: self, flushed: None };
            turn.flushed = flush(target).then_some(target);
            drop(turn);
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of the one thread that flushes. However it ends, by a panic too, the others hear of it.
struct Turn<'f> {
    flusher: &'f Flusher,
    /// The last commit that it made durable; `None` where the flush failed.
    flushed: Option<u64>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.flusher.lock();
        state.is_flushing = false;
        match self.flushed {
            Some(commit) => state.durable = commit,
            None => state.has_failed = true,
        }
        drop(state);
        self.flusher.flushed.notify_all();
    }
}

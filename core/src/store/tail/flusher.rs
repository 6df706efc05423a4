//! Group commit: one flush makes durable whatever was written before it began.
//!
//! Threads that commit again and again would fall into two groups, each of which writes while the other's flush is under
//! way, and every flush would serve a part of them. So a flush is put off a little for those that took part in the last
//! one and are on their way to the next: whoever comes last flushes for all, without a switch to another thread. A thread
//! that commits alone waits for nobody.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::store::sync::{Condvar, Mutex, MutexGuard, linger};

/// Which commits are written, and which are durable. Commits have numbers, each the one before plus 1.
#[derive(Debug)]
pub(in crate::store) struct Flusher {
    state: Mutex<State>,
    /// Told of the end of each flush.
    flushed: Condvar,
}

#[derive(Debug)]
struct State {
    durable: u64,
    /// Whether a thread flushes: the others wait for it.
    is_flushing: bool,
    /// Whether a thread puts off its flush for the others: it flushes when its patience is over, if none of them did.
    is_put_off: bool,
    has_failed: bool,
    /// The last commit of the flush that is under way, or was last.
    target: u64,
    /// How many threads that flush serves.
    served: usize,
    /// How many threads wait for a flush that has not begun.
    gathered: usize,
    /// How many threads were served by the last flush, or waited for the next when it ended.
    expected: usize,
    /// How long the next flush may be put off for them.
    patience: Duration,
}

/// A flush failed, now or before: what the disk holds of the commits that are not durable is unknown.
#[derive(Debug)]
pub(in crate::store) struct FlushFailed;

impl Flusher {
    /// Everything up to the commit `durable` is durable.
    pub(in crate::store) fn new(durable: u64) -> Self {
        let state = State {
            durable,
            is_flushing: false,
            is_put_off: false,
            has_failed: false,
            target: durable,
            served: 0,
            gathered: 0,
            expected: 0,
            patience: Duration::ZERO,
        };
        Self { state: Mutex::new(state), flushed: Condvar::new() }
    }

    /// The last commit that is durable.
    pub(in crate::store) fn durable(&self) -> u64 {
        self.lock().durable
    }

    /// Whether a flush failed: nothing will be durable any more.
    pub(in crate::store) fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Returns once `commit`, which is written, is durable. Where no other thread flushes, this one does: `begin` tells the
    /// last commit that is written, `flush` makes durable all up to there, and shows it to readers; whether it succeeded
    /// it returns.
    pub(in crate::store) fn wait(
        &self,
        commit: u64,
        begin: impl Fn() -> u64,
        mut flush: impl FnMut(u64) -> bool,
    ) -> Result<(), FlushFailed> {
        let mut state = self.lock();
        state.arrive(commit);
        let mut is_patient = true;
        loop {
            if state.durable >= commit {
                return Ok(());
            }
            if state.has_failed {
                return Err(FlushFailed);
            }
            if state.is_flushing || (state.is_put_off && !state.is_complete()) {
                state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if is_patient && !state.is_complete() {
                state = self.put_off(state, commit);
                is_patient = false;
            } else {
                let target = begin();
                assert!(target >= commit, "a flush makes durable what its thread waits for");
                state.begin_flush(target);
                drop(state);
                let mut turn = Turn { flusher: self, since: Instant::now(), flushed: None };
                turn.flushed = flush(target).then_some(target);
                drop(turn);
                state = self.lock();
            }
        }
    }

    /// Leaves it to the thread that completes those that are expected to flush for all, while there is patience. Meanwhile it
    /// does not sleep: its timer would go off during the flush, and have the end of that looked after late.
    fn put_off<'s>(&'s self, mut state: MutexGuard<'s, State>, commit: u64) -> MutexGuard<'s, State> {
        state.is_put_off = true;
        let patience = state.patience;
        let mut state = linger(&self.state, state, patience, |state| state.target >= commit);
        if state.target < commit {
            state.is_put_off = false;
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts a thread that comes to wait for `commit`.
    fn arrive(&mut self, commit: u64) {
        if commit > self.target {
            self.gathered += 1;
        } else if commit > self.durable {
            self.served += 1;
        }
    }

    /// Whether as many threads wait for the next flush as are to be expected.
    fn is_complete(&self) -> bool {
        self.gathered >= self.expected
    }

    /// Notes that the flush of all up to the commit `target` begins.
    fn begin_flush(&mut self, target: u64) {
        (self.is_flushing, self.is_put_off) = (true, false);
        self.target = target;
        self.served = std::mem::take(&mut self.gathered);
    }
}

/// The turn of the one thread that flushes. However it ends, by a panic too, the others hear of it.
struct Turn<'f> {
    flusher: &'f Flusher,
    since: Instant,
    /// The last commit that it made durable; `None` where the flush failed.
    flushed: Option<u64>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.flusher.lock();
        state.is_flushing = false;
        state.expected = state.served + state.gathered;
        state.patience = self.since.elapsed().min(PATIENCE_MAX);
        match self.flushed {
            Some(commit) => state.durable = commit,
            None => state.has_failed = true,
        }
        drop(state);
        self.flusher.flushed.notify_all();
    }
}

/// A flush is put off for as long as the last one took, and never longer than this: several times what a few threads need
/// to come to the next.
const PATIENCE_MAX: Duration = Duration::from_micros(500);

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    fn flusher(expected: usize, patience: Duration) -> Flusher {
        let flusher = Flusher::new(0);
        flusher.lock().expected = expected;
        flusher.lock().patience = patience;
        flusher
    }

    /// More than any test takes.
    const FOR_EVER: Duration = Duration::from_secs(1_000);

    #[test]
    fn who_comes_last_of_those_that_took_part_in_the_last_flush_flushes_for_all() {
        let (flusher, flushes) = (flusher(2, FOR_EVER), Mutex::new(Vec::new()));
        let commit = |commit| {
            let flush = |target| {
                flushes.lock().unwrap().push((commit, target));
                true
            };
            flusher.wait(commit, || commit, flush).unwrap();
        };
        thread::scope(|scope| {
            scope.spawn(|| commit(1));
            while flusher.lock().gathered < 1 {
                thread::yield_now();
            }
            commit(2);
        });
        assert_eq!(*flushes.lock().unwrap(), [(2, 2)]);
        let state = flusher.lock();
        assert_eq!(state.expected, 2);
        assert!(state.patience <= PATIENCE_MAX);
    }

    #[test]
    #[should_panic = "a flush makes durable what its thread waits for"]
    fn nobody_waits_for_what_is_yet_to_be_written() {
        let _ = Flusher::new(0).wait(1, || 0, |_| true);
    }

    #[test]
    fn who_commits_alone_waits_for_nobody() {
        let flusher = flusher(1, FOR_EVER);
        for commit in 1..=3 {
            flusher.wait(commit, || commit, |target| target == commit).unwrap();
            assert_eq!(flusher.lock().expected, 1);
            flusher.lock().patience = FOR_EVER;
        }
    }

    #[test]
    fn nobody_is_waited_for_longer_than_the_bound() {
        let flusher = flusher(2, Duration::from_millis(1));
        flusher.wait(1, || 1, |_| true).unwrap();
        assert_eq!(flusher.lock().expected, 1, "the other did not come");
    }

    #[test]
    fn who_put_a_flush_off_hears_of_its_failure_and_flushes_nothing() {
        let flusher = flusher(2, FOR_EVER);
        thread::scope(|scope| {
            let first = scope.spawn(|| flusher.wait(1, || 2, |_| panic!("it flushes no more")));
            while flusher.lock().gathered < 1 {
                thread::yield_now();
            }
            flusher.wait(2, || 2, |_| false).unwrap_err();
            first.join().unwrap().unwrap_err();
        });
    }
}

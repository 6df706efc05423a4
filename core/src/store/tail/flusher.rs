//! Group commit: one flush makes durable whatever was written before it began.
//!
//! Threads that commit again and again would fall into two groups, each of which writes while the other's flush is under
//! way, and every flush would serve a part of them. So a flush is put off a little for those that took part in the last
//! one and are on their way to the next:
//!
//! - Whoever comes first puts it off, and flushes for all once they are there. Mostly that thread made the last flush, too,
//!   on the processor that the disk's interrupts come to: where the flush ends, no other processor has to be told.
//! - Whoever comes last attends the flush: it stays awake meanwhile, and wakes the others at its end. A processor that
//!   sleeps needs longer to begin than several commits take, and the thread that flushed commits again while the others
//!   are woken.
//!
//! A thread that commits alone waits for nobody, two have nobody to wake, and nobody attends a long flush. Who puts a
//! flush off or attends it lets other threads run again and again. Where those do not soon sleep, but keep the processors
//! busy, all would wait for a thread that waits for its turn: the next flushes are not put off then.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::store::sync::{Condvar, Mutex, MutexGuard, linger};

/// Which commits are written, and which are durable. Commits have numbers, each the one before plus 1.
#[derive(Debug)]
pub(in crate::store) struct Flusher {
    state: Mutex<State>,
    /// Told of the end of each flush.
    flushed: Condvar,
    /// How long a thread that lets others run waits for its next turn at most, where the processors have time for it.
    turn_max: Duration,
}

#[derive(Debug)]
struct State {
    durable: u64,
    /// Whether a thread flushes: the others wait for it.
    is_flushing: bool,
    /// Whether a thread puts off its flush for the others.
    is_put_off: bool,
    /// Whether a thread attends the flush, and tells the others of its end.
    is_attended: bool,
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
    /// Whether the last flush was so short that the next one is worth attending.
    is_brief: bool,
    /// How many of the next flushes are not put off, because the processors were busy with something else.
    hasty: u32,
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
            is_attended: false,
            has_failed: false,
            target: durable,
            served: 0,
            gathered: 0,
            expected: 0,
            patience: Duration::ZERO,
            is_brief: false,
            hasty: 0,
        };
        Self { state: Mutex::new(state), flushed: Condvar::new(), turn_max: TURN_MAX }
    }

    /// As [`Flusher::new`], after a brief flush that served `threads`.
    #[cfg(loom)]
    pub(in crate::store) fn expecting(threads: usize) -> Self {
        let flusher = Self::new(0);
        let mut state = flusher.lock();
        (state.expected, state.is_brief) = (threads, true);
        drop(state);
        flusher
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
        let (mut is_attendant, mut is_patient) = (state.needs_attendant(), true);
        loop {
            if state.durable >= commit {
                return Ok(());
            }
            if state.has_failed {
                return Err(FlushFailed);
            }
            if is_attendant {
                state = self.attend(state, commit);
                is_attendant = false;
            } else if state.is_flushing || state.is_put_off {
                state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if is_patient && !state.is_complete() {
                state = self.put_off(state);
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

    /// Lets the others come, while there is patience. Meanwhile it does not sleep: its timer would go off during the flush, and
    /// have the end of that looked after late.
    fn put_off<'s>(&'s self, mut state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        state.is_put_off = true;
        let patience = state.patience;
        let (mut state, is_crowded) = linger(&self.state, state, patience, self.turn_max, State::is_complete);
        state.is_put_off = false;
        state.note_crowd(is_crowded);
        state
    }

    /// Stays awake until it is known what became of `commit`, and tells the others; where that takes too long, the thread
    /// that flushes tells them.
    fn attend<'s>(&'s self, mut state: MutexGuard<'s, State>, commit: u64) -> MutexGuard<'s, State> {
        state.is_attended = true;
        let (mut state, is_crowded) =
            linger(&self.state, state, PATIENCE_MAX, self.turn_max, |state| state.is_settled(commit));
        state.is_attended = false;
        state.note_crowd(is_crowded);
        if !state.is_settled(commit) {
            return state;
        }
        drop(state);
        self.flushed.notify_all();
        self.lock()
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

    /// Whether as many threads wait for the next flush as are to be expected, or nobody is waited for.
    fn is_complete(&self) -> bool {
        self.gathered >= self.expected || self.hasty > 0
    }

    /// Has the next flushes not put off, where a thread that lets others run had to wait long for its turn.
    fn note_crowd(&mut self, is_crowded: bool) {
        if is_crowded {
            self.hasty = HASTY_FLUSHES;
        }
    }

    /// Whether a thread that has come last is to attend the flush: others sleep, and it will not take long.
    fn needs_attendant(&self) -> bool {
        let is_last = self.is_put_off && self.is_complete();
        is_last && !self.is_attended && self.gathered > 2 && self.is_brief
    }

    /// Whether it is known what became of `commit`.
    fn is_settled(&self, commit: u64) -> bool {
        self.durable >= commit || self.has_failed
    }

    /// Notes that the flush of all up to the commit `target` begins.
    fn begin_flush(&mut self, target: u64) {
        self.is_flushing = true;
        self.hasty = self.hasty.saturating_sub(1);
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
        let time = self.since.elapsed();
        (state.patience, state.is_brief) = (time.min(PATIENCE_MAX), time < PATIENCE_MAX);
        match self.flushed {
            Some(commit) => state.durable = commit,
            None => state.has_failed = true,
        }
        let is_attended = state.is_attended;
        drop(state);
        if !is_attended {
            self.flusher.flushed.notify_all();
        }
    }
}

/// A flush is put off for as long as the last one took, and never longer than this: several times what a few threads need
/// to come to the next. It is attended no longer, either: to a long flush the waking adds little.
const PATIENCE_MAX: Duration = Duration::from_micros(500);

/// See [`Flusher::turn_max`]. Threads that soon sleep again run for less: those that commit do so for some ten microseconds.
/// Others run for several milliseconds at a time.
const TURN_MAX: Duration = Duration::from_millis(2);

/// After how many flushes it is tried again whether the processors have time for a thread that does not sleep. A trial that
/// fails costs as much as several flushes.
const HASTY_FLUSHES: u32 = 100;

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Mutex;
    use std::thread;

    use super::*;

    fn flusher(expected: usize, patience: Duration) -> Flusher {
        let mut flusher = Flusher::new(0);
        flusher.turn_max = FOR_EVER;
        flusher.lock().expected = expected;
        flusher.lock().patience = patience;
        flusher
    }

    /// More than any test takes.
    const FOR_EVER: Duration = Duration::from_secs(1_000);

    /// Has threads come for the commits 1 to `last`, one after the other, so that the first puts off the flush, which it
    /// makes by `flush` once all are there. Returns what each of them hears.
    fn come_in_turn(
        flusher: &Flusher,
        last: u64,
        flush: impl Fn() -> bool + Sync,
    ) -> Vec<Result<(), FlushFailed>> {
        let flush = &flush;
        thread::scope(|scope| {
            let come = |commit| {
                let thread = scope.spawn(move || {
                    flusher.wait(
                        commit,
                        || last,
                        |_| {
                            assert_eq!(commit, 1, "the thread that put the flush off flushes");
                            flush()
                        },
                    )
                });
                while commit < last && flusher.lock().gathered < commit as usize {
                    thread::yield_now();
                }
                thread
            };
            let threads: Vec<_> = (1..=last).map(come).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    #[test]
    fn who_comes_first_of_those_that_took_part_in_the_last_flush_flushes_for_all() {
        let (flusher, flushes) = (flusher(3, FOR_EVER), Mutex::new(0));
        let heard = come_in_turn(&flusher, 3, || {
            *flushes.lock().unwrap() += 1;
            true
        });
        assert!(heard.iter().all(Result::is_ok));
        assert_eq!(*flushes.lock().unwrap(), 1);
        let state = flusher.lock();
        assert_eq!((state.expected, state.is_put_off, state.is_attended), (3, false, false));
        assert!(state.patience <= PATIENCE_MAX);
    }

    /// Waits until `is_met` by the flusher's state.
    fn until(flusher: &Flusher, is_met: impl Fn(&State) -> bool) {
        while !is_met(&flusher.lock()) {
            thread::yield_now();
        }
    }

    #[test]
    fn who_attends_a_flush_wakes_the_others() {
        for is_success in [true, false] {
            let flusher = flusher(4, FOR_EVER);
            flusher.lock().is_brief = true;
            let heard = come_in_turn(&flusher, 4, || {
                // It may have given up by now on a busy machine: then it was there.
                until(&flusher, |state| state.gathered == 0);
                is_success
            });
            assert!(heard.iter().all(|heard| heard.is_ok() == is_success), "{heard:?}");
            assert!(!flusher.lock().is_attended);
        }
    }

    #[test]
    fn a_flush_that_takes_long_is_attended_no_more() {
        for is_success in [true, false] {
            let flusher = flusher(4, FOR_EVER);
            flusher.lock().is_brief = true;
            let heard = come_in_turn(&flusher, 4, || {
                thread::sleep(2 * PATIENCE_MAX);
                until(&flusher, |state| !state.is_attended);
                is_success
            });
            assert!(heard.iter().all(|heard| heard.is_ok() == is_success), "{heard:?}");
            assert!(!flusher.lock().is_brief);
        }
    }

    #[test]
    fn only_who_comes_last_of_many_attends_a_flush_that_is_put_off_and_short() {
        let state = |gathered, is_put_off, is_attended, is_brief| {
            let flusher = flusher(3, FOR_EVER);
            let mut state = flusher.lock();
            (state.gathered, state.is_put_off) = (gathered, is_put_off);
            (state.is_attended, state.is_brief) = (is_attended, is_brief);
            state.needs_attendant()
        };
        assert!(state(3, true, false, true));
        assert!(state(4, true, false, true));
        assert!(!state(2, true, false, true), "more are to come");
        assert!(!state(3, false, false, true), "it flushes itself");
        assert!(!state(3, true, true, true), "another does");
        assert!(!state(3, true, false, false), "it takes long");
        let pair = flusher(2, FOR_EVER);
        let mut pair = pair.lock();
        (pair.gathered, pair.is_put_off, pair.is_brief) = (2, true, true);
        assert!(!pair.needs_attendant(), "nobody is to be woken");
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
    fn a_flush_is_not_put_off_while_the_processors_are_busy() {
        let flusher = flusher(2, FOR_EVER);
        flusher.lock().hasty = 1;
        flusher.wait(1, || 1, |_| true).unwrap();
        assert_eq!(flusher.lock().hasty, 0);
        flusher.wait(2, || 2, |_| true).unwrap();
        assert_eq!(flusher.lock().hasty, 0);
    }

    #[test]
    fn who_puts_a_flush_off_and_has_its_turn_late_waits_no_longer() {
        let mut flusher = flusher(2, FOR_EVER);
        flusher.turn_max = Duration::ZERO;
        flusher.wait(1, || 1, |_| true).unwrap();
        let state = flusher.lock();
        assert_eq!((state.hasty, state.is_put_off), (HASTY_FLUSHES - 1, false));
    }

    #[test]
    fn who_attends_a_flush_and_has_its_turn_late_gives_up() {
        let mut flusher = flusher(4, FOR_EVER);
        flusher.turn_max = Duration::ZERO;
        let state = flusher.attend(flusher.lock(), 1);
        assert_eq!((state.hasty, state.is_attended), (HASTY_FLUSHES, false));
    }

    #[test]
    fn nobody_is_waited_for_longer_than_the_bound() {
        let flusher = flusher(2, Duration::from_millis(1));
        flusher.wait(1, || 1, |_| true).unwrap();
        assert_eq!(flusher.lock().expected, 1, "the other did not come");
    }

    #[test]
    fn who_waits_for_a_flush_that_is_put_off_hears_of_its_failure_and_flushes_nothing() {
        let flusher = flusher(2, FOR_EVER);
        let heard = come_in_turn(&flusher, 2, || false);
        assert!(heard.iter().all(Result::is_err));
    }
}

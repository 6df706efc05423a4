//! Many threads commit, and share flushes: who returns is durable, and readers see what is durable alone.

use std::sync::Arc;

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;

use super::flusher::{FlushFailed, Flusher};
use super::model;

/// A tail on a disk that counts.
struct Tail {
    flusher: Flusher,
    /// The last commit that is written; who holds it is the writer.
    written: Mutex<u64>,
    /// The last commit that the disk has flushed.
    durable: AtomicU64,
    /// The last commit that readers see.
    shown: AtomicU64,
    is_flushing: AtomicBool,
    flushes: AtomicU64,
    /// The flush that fails, from 0.
    failing: Option<u64>,
}

impl Tail {
    fn new(failing: Option<u64>) -> Arc<Self> {
        Self::with(Flusher::new(0), failing)
    }

    fn with(flusher: Flusher, failing: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            flusher,
            written: Mutex::new(0),
            durable: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            is_flushing: AtomicBool::new(false),
            flushes: AtomicU64::new(0),
            failing,
        })
    }

    /// Writes a record, as the store's writer does.
    fn write(&self) -> u64 {
        let mut written = self.written.lock().unwrap();
        *written += 1;
        *written
    }

    /// Writes a record, then waits until it is durable.
    fn commit(&self) -> Result<u64, FlushFailed> {
        let commit = self.write();
        self.flusher.wait(commit, || self.last_written(), |target| self.flush(target))?;
        assert!(self.durable.load(Ordering::SeqCst) >= commit, "it returned before it was durable");
        assert!(self.shown.load(Ordering::SeqCst) >= commit, "it returned before a reader sees it");
        Ok(commit)
    }

    /// Waits until all that is written is durable, as the store does before it is closed.
    fn flush_all(&self) {
        let commit = self.last_written();
        self.flusher.wait(commit, || self.last_written(), |target| self.flush(target)).unwrap();
        assert!(self.durable.load(Ordering::SeqCst) >= commit, "it returned before all was durable");
    }

    fn last_written(&self) -> u64 {
        *self.written.lock().unwrap()
    }

    fn flush(&self, target: u64) -> bool {
        assert!(!self.is_flushing.swap(true, Ordering::SeqCst), "one thread flushes at a time");
        let is_failing = self.failing == Some(self.flushes.fetch_add(1, Ordering::SeqCst));
        if !is_failing {
            self.durable.store(target, Ordering::SeqCst);
            self.shown.store(target, Ordering::SeqCst);
        }
        self.is_flushing.store(false, Ordering::SeqCst);
        !is_failing
    }
}

#[test]
fn who_returns_is_durable_and_nobody_waits_for_ever() {
    check(None, 0, |tail, outcomes| {
        let mut commits: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
        commits.sort_unstable();
        assert_eq!(commits, [1, 2, 3]);
        assert_eq!(tail.flusher.durable(), 3);
        assert!(tail.flushes.load(Ordering::SeqCst) <= 3, "a flush serves one commit at least");
    });
}

/// Whoever comes last may attend the flush, and wake the one that sleeps, or give up too soon.
#[test]
fn a_flush_that_is_attended_wakes_everyone() {
    check(None, COMMITTERS, |tail, outcomes| {
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(tail.flusher.durable(), 3);
    });
    check(Some(0), COMMITTERS, |tail, outcomes| {
        assert!(outcomes.iter().all(Result::is_err));
        assert!(tail.flusher.has_failed());
    });
}

#[test]
fn after_a_failed_flush_only_what_was_durable_before_returns() {
    for failing in 0..2 {
        check(Some(failing), 0, move |tail, outcomes| {
            let durable = tail.durable.load(Ordering::SeqCst);
            let returned = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            assert!(returned as u64 <= durable);
            let flushes = tail.flushes.load(Ordering::SeqCst);
            assert!(flushes <= failing + 1, "nothing is flushed after a flush that failed");
            assert_eq!(tail.flusher.has_failed(), flushes == failing + 1);
            assert_eq!(tail.flusher.has_failed(), returned < COMMITTERS);
        });
    }
}

#[test]
fn who_waits_for_all_makes_durable_what_nobody_waited_for() {
    model(|| {
        let tail = Tail::new(None);
        let writer = thread::spawn({
            let tail = tail.clone();
            move || {
                tail.write();
                tail.write();
            }
        });
        tail.flush_all();
        writer.join().unwrap();
        tail.flush_all();
        assert_eq!(tail.flusher.durable(), 2);
        assert!(tail.flushes.load(Ordering::SeqCst) <= 2, "a flush serves one commit at least");
    });
}

#[test]
fn a_reader_never_sees_what_is_not_durable() {
    model(|| {
        let tail = Tail::new(None);
        let committer = spawn(&tail);
        let shown = tail.shown.load(Ordering::SeqCst);
        assert!(shown <= tail.durable.load(Ordering::SeqCst));
        tail.commit().unwrap();
        committer.join().unwrap().unwrap();
    });
}

/// Lets three threads commit once each, after a flush that served `expected`, and hands over how it came out.
fn check(
    failing: Option<u64>,
    expected: usize,
    check: impl Fn(&Tail, Vec<Result<u64, FlushFailed>>) + Send + Sync + 'static,
) {
    model(move || {
        let tail = Tail::with(Flusher::expecting(expected), failing);
        let committers: Vec<_> = (1..COMMITTERS).map(|_| spawn(&tail)).collect();
        let mut outcomes = vec![tail.commit()];
        outcomes.extend(committers.into_iter().map(|committer| committer.join().unwrap()));
        check(&tail, outcomes);
    });
}

fn spawn(tail: &Arc<Tail>) -> thread::JoinHandle<Result<u64, FlushFailed>> {
    let tail = tail.clone();
    thread::spawn(move || tail.commit())
}

const COMMITTERS: usize = 3;

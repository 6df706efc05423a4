//! Whoever waits for an event wakes when it can be read, and then reads it.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;

use super::model;
use super::watcher::{Watermark, WriteWatcher};
use crate::GlobalSequence;

/// A log of two events, and how far it can be read.
struct Log {
    events: [AtomicU64; 2],
    watermark: Arc<Watermark>,
}

impl Log {
    fn new() -> Arc<Self> {
        let watermark = Arc::new(Watermark::new(GlobalSequence(0)));
        Arc::new(Self { events: [AtomicU64::new(0), AtomicU64::new(0)], watermark })
    }

    fn watcher(&self) -> WriteWatcher {
        WriteWatcher::new(self.watermark.clone())
    }

    fn append(&self, index: u64) {
        self.events[index as usize].store(EVENT + index, Ordering::Relaxed);
        self.watermark.advance(index + 1);
        self.watermark.wake();
    }

    /// Reads an event that can be read. The watermark alone makes it visible.
    fn check(&self, index: u64) {
        assert_eq!(self.events[index as usize].load(Ordering::Relaxed), EVENT + index);
    }
}

#[test]
fn a_thread_that_waits_never_misses_the_last_advance() {
    model(|| {
        let log = Log::new();
        let follower = thread::spawn({
            let log = log.clone();
            move || follow(&log)
        });
        (0..2).for_each(|index| log.append(index));
        follower.join().unwrap();
    });
}

#[test]
fn a_task_that_waits_never_misses_the_last_advance() {
    model(|| {
        let log = Log::new();
        let follower = thread::spawn({
            let log = log.clone();
            move || {
                let watcher = log.watcher();
                for index in 0..2 {
                    loom::future::block_on(watcher.wait_for_global_seq(GlobalSequence(index)));
                    log.check(index);
                }
            }
        });
        (0..2).for_each(|index| log.append(index));
        follower.join().unwrap();
    });
}

#[test]
fn one_advance_wakes_all_who_wait() {
    model(|| {
        let log = Log::new();
        let waiting = |index| {
            let log = log.clone();
            move || {
                log.watcher().wait_for_global_seq_blocking(GlobalSequence(index));
                log.check(index);
            }
        };
        let followers = [thread::spawn(waiting(0)), thread::spawn(waiting(0))];
        log.append(0);
        followers.into_iter().for_each(|follower| follower.join().unwrap());
        assert_eq!(log.watcher().committed_next_global_seq(), GlobalSequence(1));
    });
}

fn follow(log: &Log) {
    let watcher = log.watcher();
    for index in 0..2 {
        watcher.wait_for_global_seq_blocking(GlobalSequence(index));
        log.check(index);
    }
}

/// What the first event holds.
const EVENT: u64 = 7;

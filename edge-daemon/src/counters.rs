//! What the daemon counts while it runs, for whoever watches.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread raises and others read. It orders nothing.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`.
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number as it is now.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one port has seen since the daemon started, over all of its sessions.
#[derive(Debug, Default)]
pub(crate) struct PortCounters {
    /// Bytes that came.
    pub(crate) bytes_received: Counter,
    /// Bytes that went.
    pub(crate) bytes_sent: Counter,
    /// Frames that came whole.
    pub(crate) frames: Counter,
    /// Frames that came broken, or were no frames of this protocol.
    pub(crate) frames_malformed: Counter,
    /// Events of batches that had come before and were refused.
    pub(crate) duplicates: Counter,
    /// Events that are durable.
    pub(crate) events: Counter,
    /// Events that will never come, in gaps that are durable.
    pub(crate) gap_events: Counter,
    /// Sessions that began.
    pub(crate) sessions: Counter,
}

/// What the writer has done.
#[derive(Debug, Default)]
pub(crate) struct WriterCounters {
    /// Commits, each with one flush.
    pub(crate) commits: Counter,
    /// Time that commits took, in microseconds.
    pub(crate) commit_us: Counter,
}

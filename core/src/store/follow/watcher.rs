//! Waiting for events, on any async runtime.

use std::sync::Arc;

use event_listener::{Event, Listener};

use crate::GlobalSequence;
use crate::store::sync::{AtomicU64, Ordering};

/// Waits for events to be committed, by whichever process. It does not keep the store open: once every other handle is
/// dropped, it waits for ever. [`VarveView::subscribe`](crate::VarveView::subscribe) reads as well.
///
/// ```
/// use varve_core::{GlobalSequence, ReadError, Varve};
///
/// async fn follow(varve: &Varve) -> Result<(), ReadError> {
///     let watcher = varve.watcher();
///     let mut cursor = GlobalSequence(0);
///     loop {
///         let events = varve.global_reader().iter_from(cursor)?.collect_all()?;
///         if events.is_empty() {
///             cursor = watcher.wait_for_global_seq(cursor).await;
///         }
///         for event in events {
///             println!("{event:?}");
///             cursor = GlobalSequence(event.global_seq.0 + 1);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct WriteWatcher {
    watermark: Arc<Watermark>,
}

impl WriteWatcher {
    pub(in crate::store) fn new(watermark: Arc<Watermark>) -> Self {
        Self { watermark }
    }

    /// Returns `from` once the event at `from` can be read: at once where it can be read already.
    ///
    /// So a loop that reads from a cursor, and waits for the cursor where it finds nothing, sees every event.
    pub async fn wait_for_global_seq(&self, from: GlobalSequence) -> GlobalSequence {
        while !self.is_readable(from) {
            let listener = self.watermark.advanced.listen();
            if self.is_readable(from) {
                break;
            }
            listener.await;
        }
        from
    }

    /// As [`WriteWatcher::wait_for_global_seq`], blocking the thread.
    pub fn wait_for_global_seq_blocking(&self, from: GlobalSequence) -> GlobalSequence {
        while !self.is_readable(from) {
            let listener = self.watermark.advanced.listen();
            if self.is_readable(from) {
                break;
            }
            listener.wait();
        }
        from
    }

    /// The place of the next event to be committed.
    pub fn committed_next_global_seq(&self) -> GlobalSequence {
        GlobalSequence(self.watermark.next.load(Ordering::Acquire))
    }

    fn is_readable(&self, from: GlobalSequence) -> bool {
        from < self.committed_next_global_seq()
    }
}

/// How far the log can be read.
#[derive(Debug)]
pub(in crate::store) struct Watermark {
    next: AtomicU64,
    /// Where it was when all who waited were woken.
    woken: AtomicU64,
    advanced: Event,
}

impl Watermark {
    /// A watermark at `next`, the place of the next event.
    pub(in crate::store) fn new(next: GlobalSequence) -> Self {
        Self { next: AtomicU64::new(next.0), woken: AtomicU64::new(next.0), advanced: Event::new() }
    }

    /// Moves to `next`, after the commit that makes everything before readable. Who waits is yet to be woken.
    pub(in crate::store) fn advance(&self, next: u64) {
        self.next.store(next, Ordering::Release);
    }

    /// Wakes all who wait, where it has moved. A waker may read the store: whoever calls this holds none of its locks.
    pub(in crate::store) fn wake(&self) {
        let next = self.next.load(Ordering::Acquire);
        if self.woken.swap(next, Ordering::AcqRel) != next {
            self.advanced.notify(usize::MAX);
        }
    }
}

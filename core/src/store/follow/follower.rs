//! Follows the commits of an owner in another process, so that watchers of this one wake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::store::files::environment::Environment;
use crate::store::follow::watcher::Watermark;
use crate::store::log::rows::Rows;
use crate::store::tail::Mirror;

/// A thread that moves a store's watermark. It ends before this is gone, and with it its hold on the environment: who
/// drops the last handle of a store may open it again at once.
#[derive(Debug)]
pub(in crate::store) struct Follower {
    is_done: Arc<AtomicBool>,
    /// `None` once it is joined.
    thread: Option<JoinHandle<()>>,
}

/// What the thread looks at, and what it moves.
struct Watch {
    mirror: Arc<Mirror>,
    environment: Arc<Environment>,
    watermark: Arc<Watermark>,
    is_done: Arc<AtomicBool>,
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Panics
    ///
    /// Where the system refuses a thread.
    pub(in crate::store) fn new(
        mirror: Arc<Mirror>,
        environment: Arc<Environment>,
        watermark: Arc<Watermark>,
    ) -> Self {
        let is_done = Arc::new(AtomicBool::new(false));
        let watch = Watch { mirror, environment, watermark, is_done: is_done.clone() };
        let thread = thread::Builder::new().name("varve-follower".into());
        let thread = thread.spawn(move || watch.run()).expect("the system grants a thread");
        Self { is_done, thread: Some(thread) }
    }
}

impl Drop for Follower {
    /// Waits for the thread: for a moment, or for as long as it tries to read beside a busy owner, a second.
    fn drop(&mut self) {
        self.is_done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Had it panicked, it would have let go all the same.
            let _ = thread.join();
        }
    }
}

impl Watch {
    fn run(&self) {
        let mut seen = None;
        while !self.is_done.load(Ordering::Acquire) {
            let last_commit = Some(self.mirror.last_commit().unwrap_or(u64::MAX));
            if seen != last_commit && self.advance() {
                seen = last_commit;
            }
            thread::park_timeout(POLL_INTERVAL);
        }
    }

    /// Moves the watermark to the end of the log. Where it cannot be read just now, the next round tries again.
    fn advance(&self) -> bool {
        let Ok((read, tail)) = self.mirror.read(&self.environment) else { return false };
        let rows = Rows::new(self.environment.tables(), read.txn(), Some(&tail), None);
        let next = rows.log_end();
        next.is_ok_and(|next| {
            self.watermark.advance(next.0);
            true
        })
    }
}

/// How often it looks: what a reader beside the owner lags behind at most, about.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

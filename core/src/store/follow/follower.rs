//! Follows the commits of an owner in another process, so that watchers of this one wake.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::store::files::environment::Environment;
use crate::store::follow::watcher::Watermark;
use crate::store::log::rows::Rows;
use crate::store::tail::Mirror;

/// A thread that moves a store's watermark, and sleeps until somebody wants it to: once a store is open, whoever is to be
/// woken can rely on it. It ends before this is gone, and with it its hold on the environment: who drops the last handle of a
/// store may open it again at once.
#[derive(Debug)]
pub(in crate::store) struct Follower {
    orders: Arc<Orders>,
    /// `None` once it is joined.
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
#[derive(Debug, Default)]
struct Orders {
    is_wanted: AtomicBool,
    is_done: AtomicBool,
}

/// What the thread looks at, and what it moves.
struct Watch {
    mirror: Arc<Mirror>,
    environment: Arc<Environment>,
    watermark: Arc<Watermark>,
    orders: Arc<Orders>,
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Where the system refuses a thread.
    pub(in crate::store) fn new(
        mirror: Arc<Mirror>,
        environment: Arc<Environment>,
        watermark: Arc<Watermark>,
    ) -> io::Result<Self> {
        let orders = Arc::new(Orders::default());
        let watch = Watch { mirror, environment, watermark, orders: orders.clone() };
        let thread = thread::Builder::new().name("varve-follower".into());
        let thread = thread.spawn(move || watch.run())?;
        Ok(Self { orders, thread: Some(thread) })
    }

    /// Has the thread follow from now on.
    pub(in crate::store) fn follow(&self) {
        if !self.orders.is_wanted.swap(true, Ordering::AcqRel)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Drop for Follower {
    /// Waits for the thread: for a moment, or for as long as it tries to read beside a busy owner, a second.
    fn drop(&mut self) {
        self.orders.is_done.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        // Whom it wakes may drop the last handle on the thread itself, which then ends by itself.
        if thread.thread().id() != thread::current().id() {
            // Had it panicked, it would have let go all the same.
            let _ = thread.join();
        }
    }
}

impl Watch {
    fn run(&self) {
        let mut seen = None;
        while !self.orders.is_done.load(Ordering::Acquire) {
            if !self.orders.is_wanted.load(Ordering::Acquire) {
                thread::park();
                continue;
            }
            let last_commit = Some(self.mirror.last_commit().unwrap_or(u64::MAX));
            if seen != last_commit && self.advance() {
                self.watermark.wake();
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::{Mutex, mpsc};
    use std::task::{Context, Wake};

    use super::*;
    use crate::store::follow::watcher::WriteWatcher;
    use crate::{Config, GlobalSequence, StreamId, Varve};

    /// Drops the follower when it is woken, and tells that it did.
    struct Dropper {
        follower: Mutex<Option<Follower>>,
        dropped: mpsc::Sender<()>,
    }

    impl Wake for Dropper {
        fn wake(self: Arc<Self>) {
            drop(self.follower.lock().unwrap().take());
            self.dropped.send(()).unwrap();
        }
    }

    #[test]
    fn whoever_is_woken_may_drop_the_last_handle() {
        let dir = tempfile::tempdir().unwrap();
        let mut numbers = Varve::new(dir.path()).unwrap().stream::<u16, 2>("numbers").unwrap();
        numbers.append(StreamId(0), &1).unwrap();
        drop(numbers);
        let environment = Arc::new(Environment::open_read_only(dir.path(), &Config::default()).unwrap());
        let mirror = Arc::new(Mirror::open(dir.path(), &environment).unwrap());
        let watermark = Arc::new(Watermark::new(GlobalSequence(0)));
        let (dropped, told) = mpsc::channel();
        let dropper = Arc::new(Dropper { follower: Mutex::default(), dropped });
        let watcher = WriteWatcher::new(watermark.clone());
        let mut wait = pin!(watcher.wait_for_global_seq(GlobalSequence(0)));
        assert!(wait.as_mut().poll(&mut Context::from_waker(&dropper.clone().into())).is_pending());
        let mut follower = dropper.follower.lock().unwrap();
        follower.insert(Follower::new(mirror, environment, watermark).unwrap()).follow();
        drop(follower);
        told.recv_timeout(Duration::from_secs(20)).expect("the thread drops what holds it");
    }
}

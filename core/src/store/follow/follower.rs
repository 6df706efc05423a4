//! Follows the commits of an owner in another process, so that watchers of this one wake.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::store::read::snapshot::Snapshot;
use crate::store::read::view::Store;

/// Starts a thread that moves the store's watermark until the store is closed.
///
/// # Panics
///
/// Where the system refuses a thread.
pub(in crate::store) fn follow(store: &Arc<Store>) {
    let store = Arc::downgrade(store);
    let thread = thread::Builder::new().name("varve-follower".into());
    thread.spawn(move || run(&store)).expect("the system grants a thread");
}

fn run(store: &Weak<Store>) {
    let mut seen = None;
    while let Some(store) = store.upgrade() {
        let last_commit = Some(store.last_commit());
        if seen != last_commit && advance(&store) {
            seen = last_commit;
        }
        drop(store);
        thread::sleep(POLL_INTERVAL);
    }
}

/// Moves the watermark to the end of the log. Where it cannot be read just now, the next round tries again.
fn advance(store: &Arc<Store>) -> bool {
    let next = Snapshot::new(store.clone()).and_then(|snapshot| snapshot.next_global_seq());
    next.is_ok_and(|next| {
        store.watermark.advance(next.0);
        true
    })
}

/// How often it looks: what a reader beside the owner lags behind at most, about.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

//! The part of the store that is under test, at the paths that its files expect.

mod sync {
    //! Loom's in the place of what `core/src/store/sync.rs` names.
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};

    use std::time::Duration;

    /// The time is over once the others could run: loom has no clock, and whoever lingers must do well with little time.
    pub(super) fn linger<'m, T>(
        mutex: &'m Mutex<T>,
        guard: MutexGuard<'m, T>,
        _: Duration,
        _: Duration,
        is_over: impl Fn(&T) -> bool,
    ) -> (MutexGuard<'m, T>, bool) {
        if is_over(&guard) {
            return (guard, false);
        }
        drop(guard);
        (mutex.lock().unwrap(), false)
    }
}

#[path = "../../src/store/tail/flusher.rs"]
mod flusher;
#[path = "../../src/store/follow/watcher.rs"]
mod watcher;

mod following;
mod group_commit;

/// Runs `body` in every order of its threads' steps that takes a few preemptions: what goes wrong does so with few.
fn model(body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(body);
}

/// The most times that a thread is interrupted where it could have gone on.
const PREEMPTIONS_MAX: usize = 2;

//! What threads meet at. `core/loom` puts loom's in their place, and tries every order of what threads do.

use std::sync::PoisonError;
#[cfg(feature = "notify")]
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Lets other threads run, again and again, until `is_over` or the time is. It is for times in which a thread that sleeps has
/// hardly woken. Where it has to wait longer than `turn_max` for its next turn to run it ends, too, and returns `true`
/// beside the guard.
pub(super) fn linger<'m, T>(
    mutex: &'m Mutex<T>,
    mut guard: MutexGuard<'m, T>,
    time: Duration,
    turn_max: Duration,
    is_over: impl Fn(&T) -> bool,
) -> (MutexGuard<'m, T>, bool) {
    let since = Instant::now();
    let (mut lingered, mut is_crowded) = (Duration::ZERO, false);
    while !is_over(&guard) && lingered < time && !is_crowded {
        drop(guard);
        thread::yield_now();
        guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
        let so_far = since.elapsed();
        is_crowded = so_far - lingered > turn_max;
        lingered = so_far;
    }
    (guard, is_crowded)
}

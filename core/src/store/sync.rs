//! What threads meet at. `core/loom` puts loom's in their place, and tries every order of what threads do.

use std::sync::PoisonError;
#[cfg(feature = "notify")]
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Lets other threads run, again and again, until `is_over` or the time is. It is for times in which a thread that sleeps
/// has hardly woken.
pub(super) fn linger<'m, T>(
    mutex: &'m Mutex<T>,
    mut guard: MutexGuard<'m, T>,
    time: Duration,
    is_over: impl Fn(&T) -> bool,
) -> MutexGuard<'m, T> {
    let since = Instant::now();
    while !is_over(&guard) && since.elapsed() < time {
        drop(guard);
        thread::yield_now();
        guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
    }
    guard
}

//! What threads meet at. `core/loom` puts loom's in their place, and tries every order of what threads do.

use std::sync::PoisonError;
#[cfg(feature = "notify")]
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Waits until the condition is told of, or the time is over.
pub(super) fn wait_timeout<'m, T>(
    condvar: &Condvar,
    guard: MutexGuard<'m, T>,
    time: Duration,
) -> MutexGuard<'m, T> {
    let (guard, _) = condvar.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner);
    guard
}

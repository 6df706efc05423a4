//! How long a flush takes at the least.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Lets each flush of the process take `time` at the least, watched or not, and so each write through a descriptor that
/// flushes what it writes: a fast disk, or memory, then stands in for a slower one. The time is kept to within what the
/// system takes to wake a thread.
pub fn set_flush_time(time: Duration) {
    FLUSH_NANOS.store(time.as_nanos().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// What was set; nothing to begin with.
pub(crate) fn flush_time() -> Duration {
    Duration::from_nanos(FLUSH_NANOS.load(Ordering::Relaxed))
}

static FLUSH_NANOS: AtomicU64 = AtomicU64::new(0);

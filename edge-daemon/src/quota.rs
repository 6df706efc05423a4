//! How much of what a port has taken in may wait for the writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most requests of one port that wait to be committed.
pub(crate) const REQUESTS_MAX: usize = 4096;

/// The most bytes of batches of one port that wait to be committed: more than half a second at 3 Mbaud.
pub(crate) const BYTES_MAX: usize = 192 * 1024;

/// What the requests of one port that wait take together.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// One request's part of its port's quota, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    quota: Arc<Quota>,
    bytes: usize,
}

impl Quota {
    /// How many more requests may wait.
    pub(crate) fn requests_left(&self) -> usize {
        REQUESTS_MAX.saturating_sub(self.requests.load(Ordering::Acquire))
    }

    /// How many more bytes of batches may wait.
    pub(crate) fn bytes_left(&self) -> usize {
        BYTES_MAX.saturating_sub(self.bytes.load(Ordering::Acquire))
    }

    /// Takes room for a request of `bytes` bytes. Whoever takes it has looked whether there is.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Room {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Room { quota: self.clone(), bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.quota.requests.fetch_sub(1, Ordering::AcqRel);
        self.quota.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_held_until_it_is_dropped() {
        let quota: Arc<Quota> = Arc::default();
        let (batch, _gap) = (quota.take(100), quota.take(0));
        assert_eq!((quota.requests_left(), quota.bytes_left()), (REQUESTS_MAX - 2, BYTES_MAX - 100));
        drop(batch);
        assert_eq!((quota.requests_left(), quota.bytes_left()), (REQUESTS_MAX - 1, BYTES_MAX));
    }
}

//! What threads meet at. `core/loom` puts loom's in their place, and tries every order of what threads do.

#[cfg(feature = "notify")]
pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

//! Following the log: who waits for events, who handles each of them, and how far consumers have come.

pub(super) mod consumer;
pub(super) mod event_handler;
#[cfg(feature = "notify")]
pub(super) mod follower;
pub(super) mod poison_event;
pub(super) mod processor;
#[cfg(feature = "notify")]
pub(super) mod subscription;
#[cfg(feature = "notify")]
pub(super) mod watcher;

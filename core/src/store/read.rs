//! Reads: views and snapshots, iterators and lookups over both tiers, all of them borrowing what is stored.

pub(super) mod absence;
pub(super) mod block_walk;
pub(super) mod directory;
pub(super) mod event_view;
pub(super) mod events_between;
pub(super) mod events_of;
pub(super) mod global_reader;
pub(super) mod log_view;
pub(super) mod merged_streams;
pub(super) mod pin;
pub(super) mod pinned;
pub(super) mod readability;
pub(super) mod schema_cache;
pub(super) mod snapshot;
pub(super) mod stream_reader;
pub(super) mod time_filter;
pub(super) mod typed_run;
pub(super) mod validated;
pub(super) mod verified;
pub(super) mod view;

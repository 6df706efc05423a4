//! Reads: views and snapshots, iterators and lookups over both tiers, all of them borrowing what is stored.
//!
//! Nothing that was not checked is lent, and nothing is checked twice without need:
//!
//! | what | checked | when | remembered |
//! |---|---|---|---|
//! | a block of LMDB | its checksum, and that each part lies where it must | before anything of it is read | for the process, up to 8,192 blocks |
//! | a run | that its descriptor promises the type asked for | before an event of it is lent as one | by the reader |
//! | an event | that its bytes are of the type | before it is lent as one | for the process by runs, up to 16,384 |
//!
//! Who goes through a run has all its events checked first. Of a run that single events are got of each is checked by
//! itself, until it is clear that the run is asked for often. Who asks for bytes has no events checked. Blocks of the tail
//! were checked with their records.

pub(super) mod absence;
pub(super) mod block_seek;
pub(super) mod block_walk;
pub(super) mod directory;
pub(super) mod event_view;
pub(super) mod events_between;
pub(super) mod events_of;
pub(super) mod global_reader;
pub(super) mod located_run;
pub(super) mod log_view;
pub(super) mod merged_streams;
pub(super) mod pin;
pub(super) mod pinned;
pub(super) mod readability;
pub(super) mod runs_ahead;
pub(super) mod schema_cache;
pub(super) mod snapshot;
pub(super) mod stream_end;
pub(super) mod stream_reader;
pub(super) mod time_filter;
pub(super) mod typed_run;
pub(super) mod validated;
pub(super) mod verified;
pub(super) mod view;

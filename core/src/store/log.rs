//! The log as it is stored: blocks of events, and the rows that index, name, time and account for them.

pub(super) mod block;
pub(super) mod block_cursor;
pub(super) mod block_rows;
pub(super) mod catalog;
pub(super) mod clock;
pub(super) mod device;
pub(super) mod format;
pub(super) mod gap_event;
pub(super) mod rows;
pub(super) mod run_index;
pub(super) mod tables;
pub(super) mod time_index;

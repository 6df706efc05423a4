//! Appends: what is to be stored is collected, checked against what is there, and committed as one record of the tail.

pub(super) mod append;
pub(super) mod delta;
mod draft;
pub(super) mod event_type;
pub(super) mod expected_version;
mod heap;
pub(super) mod known_streams;
mod local_streams;
mod routes;
pub(super) mod stream;
pub(super) mod transaction;
pub(super) mod writer;

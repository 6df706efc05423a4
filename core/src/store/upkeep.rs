//! The life of a store: what it may keep and how much room it takes, copies of it, and what is done about damage.

pub(super) mod backup;
pub(super) mod quota;
pub(super) mod restore;
pub(super) mod retention;
pub(super) mod salvage;
pub(super) mod store_builder;
pub(super) mod verify;

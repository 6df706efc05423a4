//! The files of a store: its directory, LMDB's environment in it, and what LMDB leaves unguarded.

pub(super) mod data_file;
pub(super) mod environment;
pub(super) mod file_system;
pub(super) mod founding;
pub(super) mod full_disk;
pub(super) mod owner_lock;
pub(super) mod preallocation;
pub(super) mod presence;
pub(super) mod random;
pub(super) mod reader_table;

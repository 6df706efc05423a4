//! Opening a store to read it, and saying in one line why that cannot be.

use std::path::Path;

use varve_core::{OpenError, ReadError, Varve, VarveView};

use crate::failure::Failure;

/// Opens the store in `dir` for reading, beside its owner or without one.
///
/// # Errors
/// There is no store, or this release cannot read it.
pub(crate) fn open_read_only(dir: &Path) -> Result<VarveView, Failure> {
    Varve::open_read_only(dir).map_err(|error| cannot_open(dir, &error))
}

/// Why the store in `dir` cannot be opened, and what to do.
pub(crate) fn cannot_open(dir: &Path, error: &OpenError) -> Failure {
    let remedy = match error {
        OpenError::Owned { .. } | OpenError::OpenHere { .. } => "end that process, or give another directory",
        OpenError::NewerFormat { .. } => "install that release of varved",
        OpenError::OtherWordSize { .. } => "read it on such a machine",
        OpenError::NotAStore { .. } => "check the path; `varved run --store DIR` makes a store",
        OpenError::Io { .. } => "check the path and its permissions",
        OpenError::Corrupt(_) => "keep the directory as it is, and restore a backup to another one",
        _ => "check the disk and its permissions",
    };
    Failure::new(format!("store {} cannot be opened: {error}", dir.display()), remedy)
}

/// Why the store in `dir` cannot be read on, and what to do.
pub(crate) fn cannot_read(dir: &Path, error: &ReadError) -> Failure {
    let remedy = match error {
        ReadError::Corrupt(_) => "keep the directory as it is, and restore a backup to another one",
        ReadError::TooManyReaders => "end some of the processes that read it",
        _ => "try again",
    };
    Failure::new(format!("store {} cannot be read: {error}", dir.display()), remedy)
}

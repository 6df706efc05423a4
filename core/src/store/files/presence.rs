//! What stands at a path. A disk that cannot tell is an error: it may hold what a new file would take the place of.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether an open file is the one that stands at `path`: it may have been moved since, or removed.
pub(in crate::store) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) => file.metadata().map(|here| (here.dev(), here.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether anything stands at `path`.
pub(in crate::store) fn is_there(path: &Path) -> io::Result<bool> {
    match path.try_exists() {
        // What would be its directory is a file.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(false),
        told => told,
    }
}

/// What was not there is as good as removed.
pub(in crate::store) fn tolerate_missing(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

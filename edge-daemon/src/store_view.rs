//! Opening a store to read it, and saying in one line why that cannot be.

use std::io;
use std::path::Path;

use varve_core::{KeysError, MasterKey, OpenError, ReadError, Varve, VarveView};

use crate::failure::Failure;
use crate::master_key::{GIVE_ONE, config_of};

/// Opens the store in `dir` for reading, beside its owner or without one. Without its master key what is sealed stays so.
///
/// # Errors
/// There is no store, or this release cannot read it, or the key is not its own.
pub(crate) fn open_read_only(dir: &Path, key: Option<MasterKey>) -> Result<VarveView, Failure> {
    Varve::open_read_only_with_config(dir, config_of(key)).map_err(|error| cannot_open(dir, &error))
}

/// Why the store in `dir` cannot be opened, and what to do.
pub(crate) fn cannot_open(dir: &Path, error: &OpenError) -> Failure {
    let remedy = match error {
        OpenError::Owned { .. } | OpenError::OpenHere { .. } => "end that process, or give another directory",
        OpenError::NewerFormat { .. } | OpenError::Keys(KeysError::NewerFormat { .. }) => {
            "install a newer release of varved"
        }
        OpenError::OtherWordSize { .. } => "`varved backup` it there, and `varved restore` the backup here",
        OpenError::NetworkFileSystem { .. } => "give a directory on a disk of this machine",
        OpenError::NotAStore { .. } => "check the path; `varved run --store DIR` makes a store",
        OpenError::Unrecovered { .. } => {
            "start `varved run` on it, or give it a moment if it has just started"
        }
        OpenError::Io { error, .. } if is_full(error.kind()) => MAKE_ROOM,
        OpenError::Io { .. } => "check the path and its permissions",
        OpenError::Storage(error) if error.is_disk_full() => MAKE_ROOM,
        OpenError::Encrypted { .. } => GIVE_ONE,
        OpenError::Keys(KeysError::WrongMasterKey) => "give the one that they were wrapped by last",
        OpenError::Keys(KeysError::Missing { .. } | KeysError::OtherStore { .. }) => {
            "put a copy of its file `keys` there: nothing else opens what is sealed"
        }
        OpenError::Corrupt(_) => SALVAGE,
        _ => "check the disk and its permissions",
    };
    // The error names the directory as well, and says what a program would do.
    let (dir, error) = (dir.display(), error.to_string());
    let what = error.strip_prefix(&format!("{dir}: ")).unwrap_or(&error);
    let what = what.split_once("; ").map_or(what, |(what, _)| what);
    Failure::new(format!("store {dir} cannot be opened: {what}"), remedy)
}

const fn is_full(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Why the store in `dir` cannot be read on, and what to do.
pub(crate) fn cannot_read(dir: &Path, error: &ReadError) -> Failure {
    let remedy = match error {
        ReadError::Corrupt(_) => SALVAGE,
        ReadError::TooManyReaders => "end some of the processes that read it",
        _ => "try again",
    };
    Failure::new(format!("store {} cannot be read: {error}", dir.display()), remedy)
}

/// What to do where an owner cannot write anew what the last one left in the tail.
const MAKE_ROOM: &str = "make room on its disk";

/// What to do with a damaged store.
pub(crate) const SALVAGE: &str =
    "keep the directory as it is; `varved salvage` makes a new store of what is whole in it";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_cannot_be_opened_is_one_line_that_says_what_to_do() {
        let check = |error: OpenError, expected: &str| {
            let line = cannot_open(Path::new("/data"), &error).to_string();
            assert!(line.starts_with("store /data cannot be opened: ") && line.ends_with(expected), "{line}");
            assert_eq!(line.lines().count(), 1);
        };
        check(
            OpenError::NewerFormat { found: 9, supported: 0 },
            "this release reads up to 0; install a newer release of varved",
        );
        check(
            OpenError::Owned { path: "/data".into() },
            "opened: another process or handle owns this store; end that process, or give another directory",
        );
        let error = io::ErrorKind::StorageFull.into();
        check(OpenError::Io { path: "/data/tail".into(), error }, "make room on its disk");
        let missing = OpenError::Keys(KeysError::Missing { path: "/data/keys".into() });
        check(
            missing,
            "/data/keys: the store's keys are gone; put a copy of its file `keys` there: nothing else opens what is sealed",
        );
        check(OpenError::OtherWordSize { found: 32, expected: 64 }, "`varved restore` the backup here");
    }
}

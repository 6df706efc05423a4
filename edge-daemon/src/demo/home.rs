//! Where a demo's store is.

use std::fmt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::usage::disk_bytes;
use crate::failure::Failure;
use crate::store_view::open_read_only;

/// The directory of a demo's store.
#[derive(Debug)]
pub(crate) enum Home {
    /// Deleted with the demo.
    Temporary(TempDir),
    /// Kept for whoever named it.
    Kept(PathBuf),
}

impl Home {
    /// The directory `kept`, or else a temporary one.
    ///
    /// # Errors
    /// There is a store in it already, or the system gives no temporary directory.
    pub(crate) fn new(kept: Option<&Path>) -> Result<Self, Failure> {
        let Some(dir) = kept else {
            let dir = tempfile::Builder::new().prefix("varved-demo-").tempdir();
            return dir
                .map(Self::Temporary)
                .map_err(|error| Failure::of_system("no temporary directory", &error));
        };
        match open_read_only(dir, None) {
            Ok(_) => Err(Failure::new(
                format!("there is a store in {} already", dir.display()),
                "give --store another directory: the account is of one run",
            )),
            Err(_) => Ok(Self::Kept(dir.to_path_buf())),
        }
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    /// What the store takes on the disk.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn disk_bytes(&self) -> Result<u64, Failure> {
        disk_bytes(self.path())
            .map_err(|error| Failure::of_system("the store's files cannot be read", &error))
    }
}

/// A line on how to look at the store, where it is kept.
impl fmt::Display for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Temporary(_) => Ok(()),
            Self::Kept(dir) => write!(f, "\nTo look at the events: varved tail --store {}", dir.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_holds_a_store_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::new(Some(dir.path())).unwrap();
        assert_eq!(home.path(), dir.path());
        drop(varve_core::Varve::new(dir.path()).unwrap());
        assert!(Home::new(Some(dir.path())).unwrap_err().to_string().contains("already"));
    }
}

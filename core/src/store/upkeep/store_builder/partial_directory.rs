//! The directory in which a store is made, beside its place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::io_error;
use crate::store::error::OpenError;
use crate::store::files::environment::sync_directory;
use crate::store::files::file_system::refuse_network;
use crate::store::files::owner_lock::{self, OwnerLock};
use crate::store::files::presence::tolerate_missing;

/// Removed when it is dropped, unless it was moved to its place. It is marked until then: whoever owns it while it is marked
/// may take it for what a killed process left.
pub(super) struct PartialDirectory {
    path: PathBuf,
    /// Whether what is at the path, if anything, is another one by now.
    is_moved: bool,
}

impl PartialDirectory {
    /// Makes the directory in which the store of `dir` is made, and owns it. What a killed process left there is removed.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotEmpty`] where it holds anything else; [`OpenError::Owned`] where another store is being made in it.
    pub(super) fn make(dir: &Path) -> Result<(Self, OwnerLock), OpenError> {
        dir.parent().map_or(Ok(()), refuse_network)?;
        let mut path = dir.to_path_buf().into_os_string();
        path.push(SUFFIX);
        let path = PathBuf::from(path);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => refuse_foreign(&path)?,
            made => made.map_err(io_error(&path))?,
        }
        let owner = OwnerLock::acquire(&path)?;
        let partial = Self { path, is_moved: false };
        match clear(&partial.path).and_then(|()| File::create(partial.path.join(MARK))) {
            Ok(_) => Ok((partial, owner)),
            Err(error) => {
                // It is to be owned again to be removed.
                drop(owner);
                Err(io_error(&partial.path)(error))
            }
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it, which is still owned and holds a whole store with names that are durable, to where nothing is, or an empty
    /// directory.
    pub(super) fn move_to(&mut self, dir: &Path) -> Result<(), OpenError> {
        fs::rename(&self.path, dir).map_err(io_error(dir))?;
        self.is_moved = true;
        // Where it is now, the mark says nothing.
        fs::remove_file(dir.join(MARK)).map_err(io_error(dir))?;
        sync_directory(dir)
    }

    /// Removes it. Whatever part of it stays, should that fail, the next one to be made there takes over.
    fn discard(&self) -> Result<(), OpenError> {
        let _owner = OwnerLock::acquire(&self.path)?;
        refuse_foreign(&self.path)?;
        let removed = clear(&self.path).and_then(|()| {
            [MARK, owner_lock::FILE_NAME]
                .iter()
                .try_for_each(|name| tolerate_missing(fs::remove_file(self.path.join(name))))?;
            fs::remove_dir(&self.path)
        });
        removed.map_err(io_error(&self.path))
    }
}

impl Drop for PartialDirectory {
    fn drop(&mut self) {
        if !self.is_moved {
            // What cannot be removed is left under a name that no store has.
            let _ = self.discard();
        }
    }
}

/// Refuses a directory that a store in the making did not leave: that one is marked before it holds more than its lock.
fn refuse_foreign(path: &Path) -> Result<(), OpenError> {
    let mut is_bare = true;
    for entry in fs::read_dir(path).map_err(io_error(path))? {
        let name = entry.map_err(io_error(path))?.file_name();
        if name == MARK {
            return Ok(());
        }
        is_bare &= name == owner_lock::FILE_NAME;
    }
    if is_bare { Ok(()) } else { Err(OpenError::NotEmpty { path: path.to_path_buf() }) }
}

/// Removes all but the lock, which this process holds, and the mark, without which nobody would dare to.
fn clear(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if name != owner_lock::FILE_NAME && name != MARK {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What a store in the making is called beside its place.
const SUFFIX: &str = ".partial";

/// The file that says that the store is yet to be finished.
const MARK: &str = "unfinished";

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else_is() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, path) = (parent.path().join("store"), parent.path().join("store.partial"));
        for left in [&["owner.lock"][..], &[], &["unfinished", "data.mdb", "owner.lock"]] {
            fs::create_dir(&path).unwrap();
            left.iter().for_each(|name| fs::write(path.join(name), "left").unwrap());
            if left.len() > 1 {
                fs::create_dir(path.join("making")).unwrap();
                fs::write(path.join("making/data.mdb"), "left").unwrap();
            }
            let (partial, owner) = PartialDirectory::make(&dir).unwrap();
            assert_eq!(names(&path), ["owner.lock", "unfinished"]);
            drop((owner, partial));
            assert_eq!(names(parent.path()), [""; 0]);
        }
        fs::create_dir(&path).unwrap();
        fs::write(path.join("data.mdb"), "whole").unwrap();
        let refused = PartialDirectory::make(&dir).map(drop);
        assert!(matches!(refused, Err(OpenError::NotEmpty { path: at }) if at == path));
        assert_eq!(names(&path), ["data.mdb"]);
    }

    #[test]
    fn what_somebody_put_in_its_place_is_not_removed() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("store.partial");
        let (partial, owner) = PartialDirectory::make(&parent.path().join("store")).unwrap();
        drop(owner);
        fs::remove_file(path.join("unfinished")).unwrap();
        fs::write(path.join("a letter"), "dear").unwrap();
        drop(partial);
        assert_eq!(names(&path), ["a letter", "owner.lock"]);
    }

    #[test]
    fn one_process_at_a_time_makes_a_store_and_nobody_takes_over_what_was_moved() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, path) = (parent.path().join("store"), parent.path().join("store.partial"));
        let (mut partial, owner) = PartialDirectory::make(&dir).unwrap();
        fs::write(path.join("data.mdb"), "half").unwrap();
        assert!(matches!(PartialDirectory::make(&dir).map(drop), Err(OpenError::Owned { .. })));
        assert_eq!(names(&path), ["data.mdb", "owner.lock", "unfinished"]);
        partial.move_to(&dir).unwrap();
        assert!(matches!(OwnerLock::acquire(&dir), Err(OpenError::Owned { .. })), "it is not closed");
        assert_eq!(names(&dir), ["data.mdb", "owner.lock"]);
        drop(owner);
        let (next, owner) = PartialDirectory::make(&dir).unwrap();
        drop(partial);
        assert_eq!(names(&path), ["owner.lock", "unfinished"], "it is no longer this one's");
        drop((owner, next));
        assert_eq!(names(parent.path()), ["store"]);
    }
}

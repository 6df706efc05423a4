//! The lock that makes one process, and one handle in it, the owner of a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::store::error::OpenError;
use crate::store::files::presence::is_at;

/// Held by the owner of a store for as long as it may write.
///
/// The lock belongs to the file behind the path, so that no second path (a link, say) evades it, and the system
/// frees it when the process ends, however it ends.
#[derive(Debug)]
pub(in crate::store) struct OwnerLock {
    file: File,
}

impl OwnerLock {
    /// Becomes the owner of `dir`, or tells that another one is.
    pub(in crate::store) fn acquire(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(FILE_NAME);
        let io = |error| OpenError::Io { path: path.clone(), error };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        let (mut owned, mut read) = (0, 0);
        while owned < OWNED_ATTEMPTS_MAX && read < READ_ATTEMPTS_MAX {
            let tried = file.try_lock().map(|()| None).or_else(|error| match error {
                TryLockError::WouldBlock => is_owned(&file).map(Some),
                TryLockError::Error(error) => Err(error),
            });
            match tried.map_err(io)? {
                None if is_at(&file, &path).map_err(io)? => return Ok(Self { file }),
                // Whoever owned it was making what is removed again, and the lock with it.
                None => break,
                Some(true) => owned += 1,
                Some(false) => read += 1,
            }
            thread::sleep(ATTEMPT_INTERVAL);
        }
        Err(OpenError::Owned { path: dir.to_path_buf() })
    }

    /// Keeps `dir` from being owned, for as long as the lock is held; `None` where somebody owns it.
    pub(in crate::store) fn keep_free(dir: &Path) -> Result<Option<SharedLock>, OpenError> {
        let path = dir.join(FILE_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            // Nobody ever owned it: there is nothing that an owner could have left.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(SharedLock { file: None }));
            }
            Err(error) => return Err(OpenError::Io { path, error }),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(SharedLock { file: Some(file) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
        }
    }
}

/// Held by a process that reads a store which nobody may own meanwhile. Others may hold one too.
#[derive(Debug)]
pub(in crate::store) struct SharedLock {
    file: Option<File>,
}

/// Whether an owner holds the lock, and not only readers do.
fn is_owned(file: &File) -> io::Result<bool> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Releases a lock by saying so. Closing the file would not do: a process that this one is about to start has it open too,
/// until it becomes another program, and the lock is held for as long.
fn release(file: &File) {
    // It is released by the closing at the latest.
    let _ = file.unlock();
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        release(&self.file);
    }
}

impl Drop for SharedLock {
    fn drop(&mut self) {
        self.file.iter().for_each(release);
    }
}

/// Its name in the directory.
pub(in crate::store) const FILE_NAME: &str = "owner.lock";

const ATTEMPT_INTERVAL: Duration = Duration::from_millis(10);

/// How often an owner is met: it may be about to end.
const OWNED_ATTEMPTS_MAX: u32 = 50;

/// How often readers are. Who reads a store without an owner keeps it so while it looks at the tail and flushes it.
const READ_ATTEMPTS_MAX: u32 = 3_000;

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn readers_are_waited_for_longer_than_owners() {
        let dir = tempfile::tempdir().unwrap();
        let owner = OwnerLock::acquire(dir.path()).unwrap();
        assert!(matches!(OwnerLock::acquire(dir.path()), Err(OpenError::Owned { .. })));
        drop(owner);
        let reader = OwnerLock::keep_free(dir.path()).unwrap();
        thread::scope(|scope| {
            let owner = scope.spawn(|| OwnerLock::acquire(dir.path()));
            thread::sleep(ATTEMPT_INTERVAL * (OWNED_ATTEMPTS_MAX + 20));
            drop(reader);
            owner.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_lock_that_was_removed_makes_nobody_an_owner() {
        let dir = tempfile::tempdir().unwrap();
        let owner = OwnerLock::acquire(dir.path()).unwrap();
        thread::scope(|scope| {
            let late = scope.spawn(|| OwnerLock::acquire(dir.path()));
            thread::sleep(ATTEMPT_INTERVAL * 10);
            std::fs::remove_file(dir.path().join(FILE_NAME)).unwrap();
            drop(owner);
            assert!(matches!(late.join().unwrap(), Err(OpenError::Owned { .. })));
        });
        OwnerLock::acquire(dir.path()).unwrap();
    }

    #[test]
    fn a_process_that_was_started_meanwhile_keeps_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let inherit = |file: &File| {
            let stdin = Stdio::from(file.try_clone().unwrap());
            Command::new("sleep").arg("60").stdin(stdin).spawn().unwrap()
        };
        let owner = OwnerLock::acquire(dir.path()).unwrap();
        let mut child = inherit(&owner.file);
        assert!(OwnerLock::keep_free(dir.path()).unwrap().is_none());
        drop(owner);
        let reader = OwnerLock::keep_free(dir.path()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let reader = reader.expect("nobody owns it");

        let mut child = inherit(reader.file.as_ref().unwrap());
        drop(reader);
        let owner = OwnerLock::acquire(dir.path());
        child.kill().unwrap();
        child.wait().unwrap();
        owner.unwrap();
    }
}

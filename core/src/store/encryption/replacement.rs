//! Puts a whole new file of keys in the place of the old one, and leaves nothing of the old.
//!
//! The new file is complete, and its name durable, before the first byte of the old one is destroyed. The old one is
//! overwritten where it lies before its name is taken, since a file system only forgets where a removed file was. A
//! crash anywhere leaves one of the two whole; [`settle`] finishes what was begun, or takes it back.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::error::KeysError;
use super::key_file::{DAMAGED_MAX, ENTRY_LEN, HEADER_LEN, Header, PAGE_LEN, entries_of};
use super::keyring::{KEYS_MAX, SPARE_PAGES_MAX};
use crate::store::error::{Damage, Place};
use crate::store::sealing::{KEYS_FILE, NEW_KEYS_FILE};

/// The replacement of a store's file of keys, step by step.
pub(super) struct Replacement<'a> {
    dir: &'a Path,
    bytes: &'a [u8],
    next: Option<Step>,
}

/// A step. Whatever fails or ends between two of them, the file of keys can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    WriteNew,
    SyncNew,
    SyncNewName,
    WipeOld,
    SyncOld,
    Rename,
    SyncName,
}

impl<'a> Replacement<'a> {
    /// The replacement of the keys in `dir`, if there are any, by the file `bytes`.
    pub(super) fn new(dir: &'a Path, bytes: &'a [u8]) -> Self {
        Self { dir, bytes, next: Some(Step::WriteNew) }
    }

    /// Takes every step. Where one fails, nothing is lost, and [`settle`] finds a whole file.
    pub(super) fn run(&mut self) -> Result<(), KeysError> {
        while self.step()? {}
        Ok(())
    }

    /// Takes the next step; `false` after the last.
    pub(super) fn step(&mut self) -> Result<bool, KeysError> {
        let Some(step) = self.next else { return Ok(false) };
        step.take(self.dir, self.bytes)?;
        self.next = step.next();
        Ok(true)
    }

    /// Whether the old file may no longer be what it was.
    pub(super) fn has_touched_old(&self) -> bool {
        !matches!(self.next, Some(Step::WriteNew | Step::SyncNew | Step::SyncNewName))
    }
}

impl Step {
    fn next(self) -> Option<Self> {
        match self {
            Self::WriteNew => Some(Self::SyncNew),
            Self::SyncNew => Some(Self::SyncNewName),
            Self::SyncNewName => Some(Self::WipeOld),
            Self::WipeOld => Some(Self::SyncOld),
            Self::SyncOld => Some(Self::Rename),
            Self::Rename => Some(Self::SyncName),
            Self::SyncName => None,
        }
    }

    fn take(self, dir: &Path, bytes: &[u8]) -> Result<(), KeysError> {
        let (old, new) = (dir.join(KEYS_FILE), dir.join(NEW_KEYS_FILE));
        match self {
            Self::WriteNew => at(&new, |path| {
                let mut options = OpenOptions::new();
                let mut file = options.write(true).create_new(true).mode(OWNER_ONLY).open(path)?;
                file.write_all(bytes)
            }),
            Self::SyncNew => at(&new, sync),
            Self::SyncNewName | Self::SyncName => at(dir, sync),
            Self::WipeOld if exists(&old)? => at(&old, overwrite),
            Self::SyncOld if exists(&old)? => at(&old, sync),
            Self::WipeOld | Self::SyncOld => Ok(()),
            Self::Rename => at(&new, |path| fs::rename(path, &old)),
        }
    }
}

/// Ends a replacement that was cut short: takes it back where it has not touched the old file, and otherwise finishes it.
///
/// # Errors
///
/// [`KeysError::Corrupt`] where neither file is whole; both are left as they are.
pub(super) fn settle(dir: &Path) -> Result<(), KeysError> {
    let (old, new) = (dir.join(KEYS_FILE), dir.join(NEW_KEYS_FILE));
    if !exists(&new)? {
        return Ok(());
    }
    if is_old_given_up(dir)? {
        let bytes = at(&new, |path| read(&File::open(path)?))?;
        return Replacement { dir, bytes: &bytes, next: Some(Step::SyncNew) }.run();
    }
    if exists(&old)? {
        // An entry of the old file may have been torn long before; its head may not.
        let bytes = at(&old, |path| read(&File::open(path)?))?;
        Header::parse(&bytes)?.check_entries(&bytes)?;
    }
    discard(dir)
}

/// Whether a replacement has come so far that the new file counts: it is whole, and the old one is no longer.
fn is_old_given_up(dir: &Path) -> Result<bool, KeysError> {
    let holds = |name, check: fn(&[u8]) -> bool| {
        let path = dir.join(name);
        Ok::<_, KeysError>(exists(&path)? && check(&at(&path, |path| read(&File::open(path)?))?))
    };
    Ok(!holds(KEYS_FILE, is_intact)? && holds(NEW_KEYS_FILE, is_whole)?)
}

/// Hands over the file of keys, or the one that is about to take its place, whichever counts at the moment, and for good: that
/// the old one was given up is flushed before anybody goes by it. With it come its bytes, as they were before it was
/// given up itself.
pub(super) fn read_beside_owner<R>(
    dir: &Path,
    take: impl Fn(File, &[u8]) -> Result<R, KeysError>,
) -> Result<R, KeysError> {
    let read_once = || {
        let is_given_up = is_old_given_up(dir)?;
        let old = dir.join(KEYS_FILE);
        if is_given_up && exists(&old)? {
            // Its owner may have been killed before it was.
            at(&old, sync)?;
        }
        let path = if is_given_up { dir.join(NEW_KEYS_FILE) } else { old };
        let file = at(&path, |path| File::open(path))?;
        let bytes = at(&path, |_| read(&file))?;
        if !at(&path, |_| begins_with(&file, &bytes[..bytes.len().min(HEADER_LEN)]))? {
            return Err(Damage { place: Place::Keys(0), reason: "it was replaced while it was read" }.into());
        }
        take(file, &bytes)
    };
    for _ in 1..READ_ATTEMPTS_MAX {
        match read_once() {
            // The owner may be between two steps.
            Err(KeysError::Corrupt(_) | KeysError::Io { .. }) => thread::sleep(READ_INTERVAL),
            read => return read,
        }
    }
    read_once()
}

/// Takes back a replacement that has not touched the old file: what it wrote is overwritten as well, since it holds the
/// keys of streams that may yet be shredded. A name that a power cut brings back is that of zeros, and goes again.
pub(super) fn discard(dir: &Path) -> Result<(), KeysError> {
    let new = dir.join(NEW_KEYS_FILE);
    if !exists(&new)? {
        return Ok(());
    }
    at(&new, overwrite)?;
    at(&new, sync)?;
    at(&new, |path| fs::remove_file(path))
}

/// The content of a file of keys, which is no longer than the largest.
pub(super) fn read(file: &File) -> io::Result<Vec<u8>> {
    read_from(file, 0)
}

/// The same from a place on.
pub(super) fn read_from(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len().min(FILE_LEN_MAX).saturating_sub(offset);
    let mut bytes = vec![0; len as usize];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}

/// Whether a file still begins with the header that was read. A file is wiped from its header on: where that is as it was, so
/// was whatever was read of the file before.
pub(super) fn begins_with(file: &File, header: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; header.len()];
    file.read_exact_at(&mut found, 0)?;
    Ok(found == header)
}

/// Whether a file holds all that was written when it was made.
fn is_whole(bytes: &[u8]) -> bool {
    Header::parse(bytes).is_ok_and(|header| header.check_entries(bytes).is_ok())
}

/// Whether it also holds all that was added since.
fn is_intact(bytes: &[u8]) -> bool {
    is_whole(bytes) && entries_of(&bytes[HEADER_LEN..]).all(|(_, entry)| entry.is_some())
}

/// Overwrites a file with zeros, where it lies, from its header on.
fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let len = file.metadata()?.len();
    io::copy(&mut io::repeat(0).take(len), &mut file)?;
    Ok(())
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn exists(path: &Path) -> Result<bool, KeysError> {
    at(path, Path::try_exists)
}

/// Names the file that an operation failed at.
pub(super) fn at<R>(path: &Path, operation: impl FnOnce(&Path) -> io::Result<R>) -> Result<R, KeysError> {
    operation(path).map_err(|error| KeysError::Io { path: PathBuf::from(path), error })
}

/// Nobody but the owner of the store's files reads them.
const OWNER_ONLY: u32 = 0o600;

/// How often a reader looks for a whole file while the owner replaces it, and how long it waits between.
const READ_ATTEMPTS_MAX: u32 = 50;
const READ_INTERVAL: Duration = Duration::from_millis(10);

/// The longest file of keys in bytes: it is written anew before half of it is room that was left.
const FILE_LEN_MAX: u64 = (4 * KEYS_MAX * ENTRY_LEN) as u64;

const _: () =
    assert!(FILE_LEN_MAX > 2 * ((KEYS_MAX + DAMAGED_MAX) * ENTRY_LEN + SPARE_PAGES_MAX * PAGE_LEN) as u64);

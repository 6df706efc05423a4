//! The file of a backup: it gets its name once it is whole and durable.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::container::MAGIC;
use crate::store::files::presence::is_at;

/// A backup in the making. It stands beside its place under the same name with `.partial` added, locked for as long as
/// its process writes it; dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub(super) struct BackupFile {
    /// The first field, since it is removed while the lock is held.
    partial: PartialFile,
    out: BufWriter<File>,
    path: PathBuf,
}

/// Removed when it is dropped, unless it was moved to its place.
#[derive(Debug)]
struct PartialFile(Option<PathBuf>);

impl BackupFile {
    /// Begins the backup that is to be at `path`, over what is left of one whose process was killed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] where something is at `path`, or what stands beside it is no backup;
    /// [`ErrorKind::ResourceBusy`] where another one is being written there.
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        refuse_taken(path)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(PARTIAL_SUFFIX);
        let partial = PathBuf::from(partial);
        let file = open_locked(&partial)?;
        if !is_left_over(&file)? {
            return Err(io::Error::new(ErrorKind::AlreadyExists, FOREIGN));
        }
        file.set_len(0)?;
        Ok(Self { partial: PartialFile(Some(partial)), out: BufWriter::new(file), path: path.into() })
    }

    /// Where the backup is written to.
    pub(super) fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Makes the backup durable, and then gives it its name.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        self.out.get_ref().sync_all()?;
        self.partial.move_to(&self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl PartialFile {
    /// Moves it to where nothing is.
    fn move_to(&mut self, path: &Path) -> io::Result<()> {
        let Some(partial) = &self.0 else { return Ok(()) };
        match renameat_with(CWD, partial, CWD, path, RenameFlags::NOREPLACE) {
            // Some file systems only ever replace.
            Err(Errno::INVAL | Errno::NOSYS) => {
                refuse_taken(path)?;
                fs::rename(partial, path)?;
            }
            moved => moved?,
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.0 {
            // What cannot be removed is written over by the next backup to the same place.
            let _ = fs::remove_file(partial);
        }
    }
}

/// Opens the file, making it where it is missing, and locks it. Its owner alone may read it, as the store's own files.
fn open_locked(partial: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(partial)?;
    match file.try_lock() {
        // Who held the lock may have moved the file to its place, and it is a whole backup now.
        Ok(()) if is_at(&file, partial)? => Ok(file),
        Ok(()) | Err(TryLockError::WouldBlock) => Err(io::Error::new(ErrorKind::ResourceBusy, BUSY)),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a file is empty, or what a backup left that was not finished, and nothing that anyone else may miss.
fn is_left_over(mut file: &File) -> io::Result<bool> {
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut front = Vec::with_capacity(MAGIC.len());
    file.take(MAGIC.len() as u64).read_to_end(&mut front)?;
    file.rewind()?;
    Ok(MAGIC.starts_with(&front))
}

fn refuse_taken(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(io::Error::new(ErrorKind::AlreadyExists, TAKEN)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a backup in the making is called beside its place.
const PARTIAL_SUFFIX: &str = ".partial";

const TAKEN: &str = "something is there already";
const BUSY: &str = "another backup is being written there";
const FOREIGN: &str = "what stands beside it, with .partial added to its name, is no backup";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn a_backup_has_its_name_when_it_is_finished_and_leaves_nothing_when_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let mut begun = BackupFile::begin(&path).unwrap();
        begun.out().write_all(b"VRVA and more").unwrap();
        assert_eq!(names(dir.path()), ["backup.partial"]);
        drop(begun);
        assert_eq!(names(dir.path()), [""; 0]);

        let mut begun = BackupFile::begin(&path).unwrap();
        begun.out().write_all(b"VRVA and more").unwrap();
        begun.finish().unwrap();
        assert_eq!(names(dir.path()), ["backup"]);
        assert_eq!(fs::read(&path).unwrap(), b"VRVA and more");
        assert_eq!(BackupFile::begin(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"VRVA and more");
    }

    #[test]
    fn one_backup_at_a_time_is_written_to_a_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let mut first = BackupFile::begin(&path).unwrap();
        first.out().write_all(b"VRVA").unwrap();
        assert_eq!(BackupFile::begin(&path).unwrap_err().kind(), ErrorKind::ResourceBusy);
        first.finish().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read(path).unwrap(), b"VRVA");
    }

    #[test]
    fn what_a_killed_backup_left_is_written_over_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("backup"), dir.path().join("backup.partial"));
        for left in [&b""[..], b"VR", b"VRVA and much more than follows"] {
            fs::write(&partial, left).unwrap();
            let mut begun = BackupFile::begin(&path).unwrap();
            begun.out().write_all(b"VRVA").unwrap();
            begun.finish().unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"VRVA");
            fs::remove_file(&path).unwrap();
        }
        fs::write(&partial, "VRV letter").unwrap();
        assert_eq!(BackupFile::begin(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&partial).unwrap(), b"VRV letter");
        fs::remove_file(&partial).unwrap();
        std::os::unix::fs::symlink(&path, &partial).unwrap();
        BackupFile::begin(&path).unwrap_err();
        assert_eq!(names(dir.path()), ["backup.partial"]);
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        let begun = BackupFile::begin(&path).unwrap();
        fs::write(&path, "dear").unwrap();
        assert_eq!(begun.finish().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"dear");
        assert_eq!(names(dir.path()), ["backup"]);
    }

    /// As one meets it who waited for the lock while the holder finished.
    #[test]
    fn a_file_that_was_moved_to_its_place_is_no_longer_the_partial_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("backup"), dir.path().join("backup.partial"));
        let file = File::create_new(&partial).unwrap();
        assert!(is_at(&file, &partial).unwrap());
        fs::rename(&partial, &path).unwrap();
        assert!(!is_at(&file, &partial).unwrap());
        fs::write(&partial, "").unwrap();
        assert!(!is_at(&file, &partial).unwrap());
    }
}

//! What a program did to the files of a directory, one step at a time.

use std::ops::Range;
use std::path::PathBuf;

/// Which file: it stays the same when the file is renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// One step, as the system took it. Names are relative to the watched directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A file that was there before the recording is used for the first time.
    Find {
        /// The file.
        file: FileId,
        /// Its name.
        name: PathBuf,
    },
    /// A file was made.
    Create {
        /// The file.
        file: FileId,
        /// Its name.
        name: PathBuf,
    },
    /// Bytes were written.
    Write {
        /// The file.
        file: FileId,
        /// Where the bytes begin.
        at: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A file was cut or extended with zeros.
    Truncate {
        /// The file.
        file: FileId,
        /// Its length since.
        len: u64,
    },
    /// A flush ended well.
    Flush {
        /// The file.
        file: FileId,
        /// Which bytes of it: all of them, or those of one write through `O_SYNC` or `O_DSYNC`.
        range: Range<u64>,
        /// How many operations the watch had recorded when it began: what came later may still be on its way.
        covers: usize,
    },
    /// A flush failed: what it was to send is no longer sent by a later one, though the program still reads it. So
    /// does Linux.
    FailedFlush {
        /// The file.
        file: FileId,
        /// Which bytes of it.
        range: Range<u64>,
    },
    /// A file got another name, or a directory with all that it holds; who had that name before has lost it.
    Rename {
        /// The name before.
        from: PathBuf,
        /// The name since.
        to: PathBuf,
    },
    /// A name was removed.
    Remove {
        /// The name.
        name: PathBuf,
    },
    /// A flush of a directory ended well: what was done to the names in it is on the disk.
    FlushDirectory {
        /// The directory; the watched one itself is empty.
        name: PathBuf,
        /// How many operations the watch had recorded when it began.
        covers: usize,
    },
    /// The program noted something: that a commit begins, or was acknowledged.
    Mark(u64),
}

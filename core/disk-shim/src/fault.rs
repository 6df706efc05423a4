//! Which calls are to fail, and how.

use std::path::Path;

/// The kinds of calls that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `open`, `openat`, `opendir`, of a file or of a directory.
    Open,
    /// `read`, `pread`.
    Read,
    /// `lseek`.
    Seek,
    /// `write`, `pwrite`, `writev`, `pwritev`.
    Write,
    /// `ftruncate`.
    Truncate,
    /// `fsync`, `fdatasync`, of a file or of a directory.
    Flush,
    /// `rename`, `renameat2`.
    Rename,
    /// `unlink`, `unlinkat`, `rmdir`.
    Remove,
    /// `mkdir`.
    MakeDirectory,
    /// `readdir`: the next name in a directory.
    List,
    /// `statx`, which Rust makes for `stat` and `fstat` too, of a file or of a directory.
    Stat,
    /// `statfs`, `fstatfs`, `fstatvfs`: what the file system says of itself.
    FileSystem,
    /// `mmap` of a file.
    Map,
    /// `flock`, and the locks of `fcntl`; never one that lets go.
    Lock,
    /// `pthread_create` by the thread that began the watch, whatever the new one is for. It has no file's name.
    Spawn,
}

/// A call that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Of which kind; `None`: of any.
    pub call: Option<Call>,
    /// On the file of which name, relative to the watched directory; `None`: on any.
    pub file: Option<&'static str>,
    /// How many such calls succeed before.
    pub after: u64,
    /// How it fails.
    pub failure: Failure,
    /// Whether later such calls fail too.
    pub lasting: Lasting,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The device failed: `EIO`. A flush that fails like this has dropped what it was to send, as Linux does.
    Device,
    /// No space is left: `ENOSPC`.
    Full,
    /// A write takes half of the bytes and says so; any other call fails as with [`Failure::Device`].
    Short,
    /// The process has as much as it may: of open files, `EMFILE`; of locks, `ENOLCK`; of threads, `EAGAIN`; of memory,
    /// for any other call, `ENOMEM`.
    Exhausted,
    /// The process may not: `EACCES`.
    Denied,
}

/// For how long calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// One call.
    Once,
    /// Every call from then on, until the watch is told otherwise.
    FromThenOn,
}

/// A fault and the calls that it has met.
#[derive(Debug)]
pub(crate) struct ArmedFault {
    fault: Fault,
    met: u64,
    struck: u64,
}

impl ArmedFault {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { fault, met: 0, struck: 0 }
    }

    /// How many calls there were that could have failed.
    pub(crate) fn met(&self) -> u64 {
        self.met
    }

    /// How many calls it made fail.
    pub(crate) fn struck(&self) -> u64 {
        self.struck
    }

    /// How a call on the file `name` is to fail, if it is.
    pub(crate) fn strike(&mut self, call: Call, name: &Path) -> Option<Failure> {
        let is_other_call = self.fault.call.is_some_and(|kind| kind != call);
        if is_other_call || self.fault.file.is_some_and(|file| Path::new(file) != name) {
            return None;
        }
        let strikes = match self.fault.lasting {
            Lasting::Once => self.met == self.fault.after,
            Lasting::FromThenOn => self.met >= self.fault.after,
        };
        self.met += 1;
        self.struck += u64::from(strikes);
        strikes.then_some(self.fault.failure)
    }
}

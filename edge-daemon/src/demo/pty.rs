//! A pseudo-terminal: the line between a simulated device and the daemon.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// The device's end of a pseudo-terminal. The daemon opens the other end by its path, as it opens any port.
///
/// This end never holds the other one open, so a daemon that comes, goes, or is killed looks to the device like a
/// plug that is pulled and put back.
#[derive(Debug)]
pub(crate) struct Pty {
    device: OwnedFd,
    port: PathBuf,
}

/// What a [`Pty`] is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// There are bytes to read.
    pub(crate) readable: bool,
    /// There is room to write.
    pub(crate) writable: bool,
    /// Nobody has the port open; reads and writes fail until somebody has.
    pub(crate) unplugged: bool,
}

impl Pty {
    /// Opens a new pseudo-terminal; reads and writes never block.
    pub(crate) fn open() -> io::Result<Self> {
        let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&device)?;
        unlockpt(&device)?;
        fcntl_setfl(&device, fcntl_getfl(&device)? | OFlags::NONBLOCK)?;
        let port = PathBuf::from(OsString::from_vec(ptsname(&device, Vec::new())?.into_bytes()));
        Ok(Self { device, port })
    }

    /// The path that the daemon opens.
    pub(crate) fn port(&self) -> &Path {
        &self.port
    }

    /// Waits up to `timeout_ms` for bytes to read, and for room to write if `to_write`.
    pub(crate) fn wait(&self, to_write: bool, timeout_ms: u32) -> io::Result<Readiness> {
        let interest = if to_write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut fds = [PollFd::new(&self.device, interest)];
        let timeout = Timespec {
            tv_sec: i64::from(timeout_ms / 1000),
            tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = fds[0].revents();
        Ok(Readiness {
            readable: ready.contains(PollFlags::IN),
            writable: ready.contains(PollFlags::OUT),
            unplugged: ready.contains(PollFlags::HUP),
        })
    }

    /// Reads what is there: 0 bytes when nothing is, or when nobody has the port open.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        nothing_while_unplugged(rustix::io::read(self.fd(), buf))
    }

    /// Writes what there is room for: 0 bytes when there is none, or when nobody has the port open.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        nothing_while_unplugged(rustix::io::write(self.fd(), bytes))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

fn nothing_while_unplugged(result: rustix::io::Result<usize>) -> io::Result<usize> {
    use rustix::io::Errno;
    match result {
        Ok(len) => Ok(len),
        Err(Errno::AGAIN | Errno::INTR | Errno::IO) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

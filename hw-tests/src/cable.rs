//! A serial line between an emulator and a pseudo-terminal.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_setfl},
    pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};

/// A line that never waits, like a real one. What is sent while the other end does not read is lost once its
/// buffer is full; QEMU by itself would stop the device's time instead.
pub struct Cable {
    port: Port,
}

impl Cable {
    /// Joins the device's end of the line to a new pseudo-terminal. The line lives until the device hangs up.
    pub fn plug(device: UnixStream) -> io::Result<Self> {
        device.set_nonblocking(true)?;
        Self::join(File::from(OwnedFd::from(device)))
    }

    /// Joins two new pseudo-terminals, the second of them for a device that opens a port as well. The line lives
    /// until either is dropped.
    pub fn between_ports() -> io::Result<(Self, Port)> {
        let (port, device) = Port::open()?;
        Ok((Self::join(device)?, port))
    }

    fn join(device: File) -> io::Result<Self> {
        let (port, host) = Port::open()?;
        let line = Line { device, host };
        thread::Builder::new().name("cable".into()).spawn(move || line.carry_all())?;
        Ok(Self { port })
    }

    /// The pseudo-terminal that a daemon opens.
    pub fn port(&self) -> &Path {
        self.port.path()
    }
}

/// A pseudo-terminal in raw mode. It stays while no program has it open, until it is dropped.
pub struct Port {
    path: PathBuf,
    _held_open: OwnedFd,
}

impl Port {
    /// A new one, with the end of it that a cable reads and writes.
    fn open() -> io::Result<(Self, File)> {
        let line = openpt(FLAGS)?;
        grantpt(&line)?;
        unlockpt(&line)?;
        fcntl_setfl(&line, OFlags::NONBLOCK)?;
        let path = PathBuf::from(OsStr::from_bytes(ptsname(&line, Vec::new())?.to_bytes()));
        let held_open = ioctl_tiocgptpeer(&line, FLAGS)?;
        let mut settings = tcgetattr(&held_open)?;
        settings.make_raw();
        tcsetattr(&held_open, OptionalActions::Now, &settings)?;
        Ok((Self { path, _held_open: held_open }, File::from(line)))
    }

    /// What a program opens.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The two ends of a cable, neither of which is waited for, in the thread that carries between them.
struct Line {
    device: File,
    host: File,
}

impl Line {
    /// Carries until either end is gone: the emulator ended, or the test dropped the cable.
    fn carry_all(self) -> io::Result<()> {
        let (device, host) = (&self.device, &self.host);
        loop {
            poll(&mut [PollFd::new(device, PollFlags::IN), PollFd::new(host, PollFlags::IN)], None)?;
            carry(device, host)?;
            carry(host, device)?;
        }
    }
}

/// Carries what there is. What the other end does not take is lost.
fn carry(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut bytes = [0; CHUNK_LEN];
    let len = match from.read(&mut bytes) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        len => len?,
    };
    match to.write(&bytes[..len]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        taken => taken.map(drop),
    }
}

const FLAGS: OpenptFlags = OpenptFlags::RDWR.union(OpenptFlags::NOCTTY).union(OpenptFlags::CLOEXEC);

const CHUNK_LEN: usize = 1024;

//! Standard output of commands that print lines for another program.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;

/// Lines on their way to standard output. Whoever reads them may stop at any time: that is no failure.
#[derive(Debug)]
pub(crate) struct Lines {
    out: BufWriter<StdoutLock<'static>>,
}

/// What became of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// More are welcome.
    Open,
    /// Nobody reads any more.
    Closed,
}

impl Lines {
    /// Standard output.
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(io::stdout().lock()) }
    }

    /// Writes a line, without its end.
    pub(crate) fn write(&mut self, line: &[u8]) -> Result<Delivery, Failure> {
        delivery(self.out.write_all(line).and_then(|()| self.out.write_all(b"\n")))
    }

    /// Writes lines with their ends.
    pub(crate) fn write_all(&mut self, lines: &[u8]) -> Result<Delivery, Failure> {
        delivery(self.out.write_all(lines))
    }

    /// Passes on what was written.
    pub(crate) fn flush(&mut self) -> Result<Delivery, Failure> {
        delivery(self.out.flush())
    }

    /// Waits for so long, or until nobody reads any more.
    pub(crate) fn wait(&self, time: Duration) -> Delivery {
        let stdout = rustix::stdio::stdout();
        let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
        let timeout = Timespec::try_from(time).ok();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(1..) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => Delivery::Closed,
            _ => Delivery::Open,
        }
    }
}

fn delivery(outcome: io::Result<()>) -> Result<Delivery, Failure> {
    match outcome {
        Ok(()) => Ok(Delivery::Open),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Delivery::Closed),
        Err(error) => Err(Failure::of_stdout(&error)),
    }
}

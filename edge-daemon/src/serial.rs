//! A serial port, open.

use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_serial::{ClearBuffer, FlowControl, SerialPort, SerialStream};

/// An open serial port in raw mode, 8N1, that no other program can open.
#[derive(Debug)]
pub(crate) struct Serial(SerialStream);

/// What a port did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// So many bytes came, at least one.
    Read(usize),
    /// So many bytes went, at least one.
    Wrote(usize),
}

impl Serial {
    /// Opens the port at `path`, and forgets what came before.
    ///
    /// No flow control by bytes: a frame may hold any byte but 0.
    ///
    /// # Errors
    /// There is no such port, another program has it, or it is no port at all.
    pub(crate) fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let builder = tokio_serial::new(path.to_string_lossy(), baud).flow_control(FlowControl::None);
        let stream = SerialStream::open(&builder)?;
        stream.clear(ClearBuffer::Input)?;
        Ok(Self(stream))
    }

    /// Waits until bytes came into `input`, or some of `output` went; not for one that is empty. Nothing is lost when
    /// the future is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`]: the port is gone. What else the system says also ends its use.
    pub(crate) async fn transfer(&mut self, input: &mut [u8], output: &[u8]) -> io::Result<Transfer> {
        poll_fn(|cx| {
            if !input.is_empty()
                && let Poll::Ready(read) = self.poll_read(cx, input)
            {
                return Poll::Ready(read);
            }
            if output.is_empty() { Poll::Pending } else { self.poll_write(cx, output) }
        })
        .await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut [u8]) -> Poll<io::Result<Transfer>> {
        let mut input = ReadBuf::new(input);
        Pin::new(&mut self.0)
            .poll_read(cx, &mut input)
            .map(|outcome| outcome.and_then(|()| some(input.filled().len())).map(Transfer::Read))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, output: &[u8]) -> Poll<io::Result<Transfer>> {
        Pin::new(&mut self.0)
            .poll_write(cx, output)
            .map(|outcome| outcome.and_then(some).map(Transfer::Wrote))
    }
}

impl Drop for Serial {
    fn drop(&mut self) {
        // What a device does not take holds up whoever closes its port, by default for half a minute.
        let _ = self.0.clear(ClearBuffer::Output);
    }
}

/// A port that is ready and yet carries nothing was unplugged.
fn some(len: usize) -> io::Result<usize> {
    if len == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(len) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::Pty;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn every_byte_passes_both_ways_unchanged() {
        let all: Vec<u8> = (0..=255).collect();
        let pty = Pty::open().unwrap();
        runtime().block_on(async {
            let mut serial = Serial::open(pty.port(), 3_000_000).unwrap();
            assert_eq!(pty.write(&all).unwrap(), 256);
            let mut input = [0; 512];
            assert_eq!(serial.transfer(&mut input, &[]).await.unwrap(), Transfer::Read(256));
            assert_eq!(input[..256], all);
            assert_eq!(serial.transfer(&mut input, &all).await.unwrap(), Transfer::Wrote(256));
            assert!(pty.wait(false, 1_000).unwrap().readable);
            assert_eq!(pty.read(&mut input).unwrap(), 256);
            assert_eq!(input[..256], all);
        });
    }

    #[test]
    fn what_came_before_the_port_was_opened_is_forgotten() {
        let pty = Pty::open().unwrap();
        runtime().block_on(async {
            drop(Serial::open(pty.port(), 9_600).unwrap());
            let _ = pty.write(b"stale\n");
            let mut serial = Serial::open(pty.port(), 9_600).unwrap();
            pty.write(b"fresh").unwrap();
            let mut input = [0; 16];
            assert_eq!(serial.transfer(&mut input, &[]).await.unwrap(), Transfer::Read(5));
            assert_eq!(&input[..5], b"fresh");
        });
    }

    #[test]
    fn a_port_that_goes_is_an_end_of_file() {
        let pty = Pty::open().unwrap();
        runtime().block_on(async {
            let mut serial = Serial::open(pty.port(), 9_600).unwrap();
            drop(pty);
            let error = serial.transfer(&mut [0; 16], &[]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn a_port_that_is_not_there_says_so() {
        let outcome = runtime().block_on(async { Serial::open(Path::new("/dev/varve-no-such-port"), 9_600) });
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

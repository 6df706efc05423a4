//! One port: opened, served, and opened again when it went and came.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::backoff::Backoff;
use crate::counters::PortCounters;
use crate::output::Output;
use crate::port_line::PortLine;
use crate::rate_limit::RateLimit;
use crate::seed::random_seed;
use crate::serial::{Serial, Transfer};
use crate::session::PortSession;

/// One port and the task that serves it. It never waits for the disk.
#[derive(Debug)]
pub(crate) struct Port {
    path: PathBuf,
    baud: u32,
    line: PortLine,
    counters: Arc<PortCounters>,
    complaints: RateLimit,
}

/// Becomes true when the daemon is to stop.
pub(crate) type Stop = watch::Receiver<bool>;

/// What one read takes at most: what a tty holds.
pub(crate) const INPUT_LEN: usize = 4096;

impl Port {
    /// The port at `path`, whose admitted batches go down `line` to the writer.
    pub(crate) const fn new(path: PathBuf, baud: u32, line: PortLine, counters: Arc<PortCounters>) -> Self {
        Self { path, baud, line, counters, complaints: RateLimit::new(COMPLAINT_PERIOD) }
    }

    /// Serves the port, which is open already where there is a `serial`, until `stop`.
    pub(crate) async fn serve(mut self, serial: Option<Serial>, mut stop: Stop) {
        let mut open = serial;
        let mut backoff = Backoff::new(REOPEN_DELAY_MIN, REOPEN_DELAY_MAX);
        loop {
            if let Some(serial) = open.take() {
                let opened = Instant::now();
                let Some(error) = self.serve_open(serial, &mut stop).await else { return };
                warn!(port = %self.path.display(), %error, "the port is gone; waiting for it to come back");
                // One that comes and goes at once is as bad as one that stays away.
                if opened.elapsed() >= REOPEN_DELAY_MAX {
                    backoff.reset();
                }
            }
            tokio::select! {
                _ = stop.wait_for(|&stop| stop) => return,
                serial = self.reopen(backoff.delay()) => open = serial,
            }
        }
    }

    /// Tries to open the port after `delay`, off the thread of the other ports: a device that hangs holds up whoever opens
    /// it for seconds.
    async fn reopen(&mut self, delay: Duration) -> Option<Serial> {
        sleep(delay).await;
        let (path, baud) = (self.path.clone(), self.baud);
        let opened = spawn_blocking(move || Serial::open(&path, baud)).await;
        match opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())) {
            Ok(serial) => {
                info!(port = %self.path.display(), "the port is back");
                Some(serial)
            }
            Err(error) => {
                if let Some(attempts) = self.complaints.admit(Instant::now(), 1) {
                    info!(port = %self.path.display(), %error, attempts, "the port cannot be opened yet");
                }
                None
            }
        }
    }

    /// Serves the open port until it is gone; `None`: until `stop`.
    async fn serve_open(&self, mut serial: Serial, stop: &mut Stop) -> Option<io::Error> {
        let mut session = PortSession::new(random_seed(), &self.line, &self.counters, &self.path);
        let mut input = [0; INPUT_LEN];
        let mut output = Output::new();
        loop {
            output.refill(|free| session.poll_transmit(free));
            let timeout = session.poll_timeout();
            let input: &mut [u8] = if session.has_room() { &mut input } else { &mut [] };
            tokio::select! {
                biased;
                _ = stop.wait_for(|&stop| stop) => return None,
                news = self.line.news() => session.handle_news(news),
                transfer = serial.transfer(input, output.pending()) => match transfer {
                    Ok(Transfer::Read(len)) => session.handle_bytes(&input[..len]),
                    Ok(Transfer::Wrote(len)) => {
                        self.counters.bytes_sent.add(len as u64);
                        output.advance(len);
                    }
                    Err(error) => return Some(error),
                },
                () = sleep(timeout.unwrap_or_default()), if timeout.is_some() && output.pending().is_empty() => {}
            }
        }
    }
}

const REOPEN_DELAY_MIN: Duration = Duration::from_millis(100);
const REOPEN_DELAY_MAX: Duration = Duration::from_secs(2);
const COMPLAINT_PERIOD: Duration = Duration::from_secs(30);

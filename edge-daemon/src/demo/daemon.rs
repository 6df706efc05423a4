//! The daemon that a demo tries, on a thread of this process.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use varve_core::Config;

use super::account::Account;
use super::fleet::Fleet;
use super::usage::{process_cpu, process_memory_kib};
use super::view::{Row, Snapshot};
use crate::counters::PortCounters;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayConfig, GatewayCounters};

/// What `varved run` runs. The devices run in processes of their own, so that what this process takes of the machine is
/// the daemon's, but for a view that is drawn ten times a second.
#[derive(Debug)]
pub(crate) struct Daemon {
    thread: JoinHandle<Result<(), Failure>>,
    stop: oneshot::Sender<()>,
    counters: GatewayCounters,
    start: Instant,
    cpu_start: Duration,
    /// What it held once it had settled.
    memory_start: Option<u64>,
}

impl Daemon {
    /// Starts the daemon on ports of so many baud, with its store in `dir`.
    ///
    /// # Errors
    /// As [`Gateway::open`].
    pub(crate) fn start(ports: Vec<PathBuf>, baud: u32, dir: &Path) -> Result<Self, Failure> {
        let (store, config) = (dir.to_path_buf(), Config::default());
        let config = GatewayConfig { ports, baud, store, config, commit_window: COMMIT_WINDOW };
        let gateway = Gateway::open(&config)?;
        let counters = gateway.counters();
        let (stop, stopped) = oneshot::channel();
        let serve = move || gateway.serve(async { drop(stopped.await) });
        let thread = std::thread::Builder::new().name("gateway".into()).spawn(serve);
        let thread = thread.map_err(|error| Failure::of_system("no thread", &error))?;
        Ok(Self {
            thread,
            stop,
            counters,
            start: Instant::now(),
            cpu_start: process_cpu(),
            memory_start: None,
        })
    }

    /// Whether it has not ended: by itself, or since the process was told to end.
    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// How far it is with the devices of `fleet`, each of which offers so many events.
    pub(crate) fn snapshot(&mut self, fleet: &Fleet, events: u64) -> Snapshot {
        let elapsed = self.start.elapsed();
        if self.memory_start.is_none() && (elapsed >= SETTLED || fleet.is_done()) {
            self.memory_start = process_memory_kib();
        }
        let rows = fleet.devices().iter().zip(&self.counters.ports).map(|(device, counters)| {
            let (durable, gap_events) = (counters.events.get(), counters.gap_events.get());
            let mut progress = device.progress();
            // A device tells of itself now and then; what is stored of it since was offered.
            progress.offered = progress.offered.max(durable + gap_events);
            let (port, duplicates) = (device.port().to_path_buf(), counters.duplicates.get());
            Row { port, progress, durable, gap_events, duplicates }
        });
        let writer = &self.counters.writer;
        let commits = (writer.commits.get(), Duration::from_micros(writer.commit_us.get()));
        Snapshot { elapsed, events, rows: rows.collect(), commits }
    }

    /// Stops the daemon, and accounts for what it did.
    ///
    /// # Errors
    /// As [`Gateway::serve`].
    pub(crate) fn finish(self) -> Result<Account, Failure> {
        let elapsed = self.start.elapsed();
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let sum = |number: fn(&PortCounters) -> u64| {
            self.counters.ports.iter().map(|counters| number(counters)).sum::<u64>()
        };
        Ok(Account {
            duplicates_refused: sum(|port| port.duplicates.get()),
            frames: sum(|port| port.frames.get()),
            frames_malformed: sum(|port| port.frames_malformed.get()),
            wire_bytes: sum(|port| port.bytes_received.get() + port.bytes_sent.get()),
            commits: self.counters.writer.commits.get(),
            elapsed,
            cpu: process_cpu().saturating_sub(self.cpu_start),
            memory_kib: self.memory_start.zip(process_memory_kib()),
            ..Account::default()
        })
    }
}

const COMMIT_WINDOW: Duration = Duration::from_millis(10);

/// When the daemon's buffers have grown to what they need.
const SETTLED: Duration = Duration::from_secs(2);

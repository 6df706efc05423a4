//! `varved demo`: simulated devices against the daemon, over real pseudo-terminals, and an account that must balance.

mod account;
mod audit;
mod events;
mod faulty_line;
mod fleet;
mod pace;
mod pty;
mod random;
mod report;
mod simulated_device;
mod usage;
mod view;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::cli::DemoArgs;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayConfig, GatewayCounters};
use crate::store_view::{cannot_read, open_read_only};
use account::{Account, DeviceAccount};
use audit::{Audit, DeviceAudit};
use fleet::{Fleet, Orders};
#[cfg(test)]
pub(crate) use pty::Pty;
use report::Progress;
pub(crate) use simulated_device::simulate;
use simulated_device::{device_id, events_per_second};
use usage::{disk_bytes, process_cpu, process_memory_kib};
use view::{Row, Snapshot, View};

/// Runs the demo. The exit code is 0 when the account balances, and 1 when it does not.
///
/// # Errors
/// The demo cannot begin, or stands still.
pub(crate) fn demo(args: &DemoArgs) -> Result<ExitCode, Failure> {
    let home = Home::new(args.store.clone())?;
    let orders = Orders::of(args);
    let mut out = io::stdout().lock();
    if !args.json {
        tell(writeln!(out, "{}", orders.describe(home.path())))?;
    }
    let mut fleet = Fleet::start(orders).map_err(|error| devices_failed(&error))?;
    let daemon = Daemon::start(&GatewayConfig {
        ports: fleet.ports(),
        baud: orders.baud,
        store: home.path().to_path_buf(),
        commit_window: COMMIT_WINDOW,
    })?;
    let mut view = View::new(args.json, args.devices);
    let memory_start =
        daemon.watch(&mut fleet, |snapshot| tell(view.show(&mut out, snapshot)), orders.events)?;
    let mut account = daemon.finish(memory_start)?;
    account.seed = orders.faults;
    account.add_devices(&fleet, home.path())?;
    if args.json {
        tell(writeln!(out, "{}", account.to_json()))?;
    } else {
        tell(writeln!(out, "\n{account}"))?;
        tell(home.tell(&mut out))?;
    }
    Ok(if account.balances() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The daemon that `varved run` runs, on a thread of this process. Its devices run in others, so that what this
/// process takes of the machine is the daemon's.
struct Daemon {
    thread: JoinHandle<Result<(), Failure>>,
    stop: oneshot::Sender<()>,
    counters: GatewayCounters,
    start: Instant,
    cpu_start: Duration,
}

impl Daemon {
    fn start(config: &GatewayConfig) -> Result<Self, Failure> {
        let gateway = Gateway::open(config)?;
        let counters = gateway.counters();
        let (stop, stopped) = oneshot::channel();
        let serve = move || gateway.serve(async { drop(stopped.await) });
        let thread = std::thread::Builder::new()
            .name("gateway".into())
            .spawn(serve)
            .map_err(|error| Failure::new(format!("no thread: {error}"), "see what the system lacks"))?;
        Ok(Self { thread, stop, counters, start: Instant::now(), cpu_start: process_cpu() })
    }

    /// Shows how far the devices are, until they are done or the daemon is told to end. Returns the memory that the
    /// daemon took when it had run for a while.
    fn watch(
        &self,
        fleet: &mut Fleet,
        mut show: impl FnMut(&Snapshot) -> Result<(), Failure>,
        events: u64,
    ) -> Result<Option<u64>, Failure> {
        let mut memory_start = None;
        let mut stalled = Stall::new();
        while !fleet.is_done() && !self.thread.is_finished() {
            fleet.poll(Instant::now() + SHOW_PERIOD).map_err(|error| devices_failed(&error))?;
            let snapshot = self.snapshot(fleet, events);
            show(&snapshot)?;
            stalled.check(&snapshot)?;
            if memory_start.is_none() && (snapshot.elapsed >= SETTLED || fleet.is_done()) {
                memory_start = process_memory_kib();
            }
        }
        Ok(memory_start)
    }

    fn snapshot(&self, fleet: &Fleet, events: u64) -> Snapshot {
        let row = |((port, device), counters): (
            (PathBuf, &fleet::Device),
            &std::sync::Arc<crate::counters::PortCounters>,
        )| Row {
            port,
            progress: device.progress(),
            durable: counters.events.get(),
            gap_events: counters.gap_events.get(),
            duplicates: counters.duplicates.get(),
        };
        let writer = &self.counters.writer;
        Snapshot {
            elapsed: self.start.elapsed(),
            events,
            rows: fleet.ports().into_iter().zip(fleet.devices()).zip(&self.counters.ports).map(row).collect(),
            commits: (writer.commits.get(), Duration::from_micros(writer.commit_us.get())),
        }
    }

    /// Stops the daemon, and accounts for what it did.
    fn finish(self, memory_start: Option<u64>) -> Result<Account, Failure> {
        let elapsed = self.start.elapsed();
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let sum = |number: fn(&crate::counters::PortCounters) -> u64| {
            self.counters.ports.iter().map(|port| number(port)).sum::<u64>()
        };
        Ok(Account {
            duplicates_refused: sum(|port| port.duplicates.get()),
            frames: sum(|port| port.frames.get()),
            frames_malformed: sum(|port| port.frames_malformed.get()),
            wire_bytes: sum(|port| port.bytes_received.get() + port.bytes_sent.get()),
            commits: self.counters.writer.commits.get(),
            elapsed,
            cpu: process_cpu().saturating_sub(self.cpu_start),
            memory_kib: memory_start.zip(process_memory_kib()),
            ..Account::default()
        })
    }
}

impl Account {
    /// Adds what the devices offered, and what the closed store in `dir` holds of them.
    fn add_devices(&mut self, fleet: &Fleet, dir: &Path) -> Result<(), Failure> {
        self.disk_bytes = disk_bytes(dir)
            .map_err(|error| Failure::new(format!("{}: {error}", dir.display()), "check the directory"))?;
        let audit = Audit::of(&open_read_only(dir)?).map_err(|error| cannot_read(dir, &error))?;
        for (number, device) in (0..).zip(fleet.devices()) {
            let found = audit.devices.get(&device_id(number)).copied().unwrap_or_default();
            let DeviceAudit { stored, gap_events, .. } = found;
            let Progress { offered, dropped, faults } = device.progress();
            self.devices.push(DeviceAccount { offered, dropped, stored, gap_events });
            self.line_faults += faults;
        }
        self.faults = audit.faults;
        Ok(())
    }
}

/// Where a demo's store is.
enum Home {
    /// Deleted with the demo.
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Home {
    fn new(kept: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(dir) = kept else {
            let dir = tempfile::Builder::new().prefix("varved-demo-").tempdir();
            return dir.map(Self::Temporary).map_err(|error| {
                Failure::new(format!("no temporary directory: {error}"), "name a directory with --store")
            });
        };
        match open_read_only(&dir) {
            Ok(_) => Err(Failure::new(
                format!("there is a store in {} already", dir.display()),
                "give --store another directory: the account is of one run",
            )),
            Err(_) => Ok(Self::Kept(dir)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }

    fn tell(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Temporary(_) => Ok(()),
            Self::Kept(dir) => writeln!(out, "The store is in {0}: varved tail --store {0}", dir.display()),
        }
    }
}

impl Orders {
    fn of(args: &DemoArgs) -> Self {
        // A line with faults needs room to carry events again.
        let load = args.load.unwrap_or(if args.faults { 40 } else { 100 });
        let per_second = events_per_second(args.pace_baud, load);
        Self {
            devices: args.devices,
            events: args.seconds.map_or(args.events, |seconds| seconds.saturating_mul(per_second)),
            baud: args.pace_baud,
            load,
            faults: args.faults.then_some(args.seed),
        }
    }

    fn describe(&self, store: &Path) -> String {
        let Self { devices, events, baud, .. } = self;
        let lines = if self.faults.is_some() { "bytes lost, flipped, doubled and cut" } else { "no faults" };
        format!(
            "{devices} simulated devices, {events} events each, over pseudo-terminals at {baud} baud, {lines}.\n\
             The daemon stores them in {}.\n",
            store.display()
        )
    }
}

/// Notices that nothing moves any more.
struct Stall {
    moved: Instant,
    seen: (u64, u64),
}

impl Stall {
    fn new() -> Self {
        Self { moved: Instant::now(), seen: (0, 0) }
    }

    fn check(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let offered = snapshot.rows.iter().map(|row| row.progress.offered).sum();
        let settled = snapshot.rows.iter().map(|row| row.durable + row.gap_events).sum();
        if self.seen != (offered, settled) {
            *self = Self { moved: Instant::now(), seen: (offered, settled) };
        }
        if self.moved.elapsed() > STALL_MAX {
            return Err(Failure::new(
                format!("nothing has moved for {} s", STALL_MAX.as_secs()),
                "run with VARVED_LOG=debug to see why",
            ));
        }
        Ok(())
    }
}

const COMMIT_WINDOW: Duration = Duration::from_millis(10);
const SHOW_PERIOD: Duration = Duration::from_millis(100);
const STALL_MAX: Duration = Duration::from_secs(60);

/// When the daemon's buffers have grown to what they need.
const SETTLED: Duration = Duration::from_secs(2);

fn devices_failed(error: &io::Error) -> Failure {
    Failure::new(format!("the simulated devices failed: {error}"), "see what the system lacks")
}

fn tell(outcome: io::Result<()>) -> Result<(), Failure> {
    outcome.map_err(|error| Failure::new(format!("standard output failed: {error}"), "check where it goes"))
}

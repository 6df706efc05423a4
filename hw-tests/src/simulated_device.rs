//! A simulated device: the real outbox and link in a process of their own, on a new pseudo-terminal.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Instant,
};

use crate::{Daemon, PATIENCE};

/// A running `varved simulate-device`. Dropped, it is killed, and its port is gone.
pub struct SimulatedDevice {
    process: Child,
    reports: Receiver<String>,
    port: PathBuf,
    progress: DeviceReport,
    is_done: bool,
}

/// What a device did in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceReport {
    /// Events that were offered to its outbox.
    pub offered: u64,
    /// Those of them that the outbox had to drop.
    pub dropped: u64,
}

impl SimulatedDevice {
    /// Starts device `number`, which offers so many events at half the speed of its line. With a seed, the line has
    /// faults.
    ///
    /// # Panics
    /// When its process cannot be started.
    pub fn start(number: u32, events: u64, faults: Option<u64>) -> Self {
        let mut command = Command::new(Daemon::build());
        command.arg("simulate-device").args(["--baud", "921600", "--load", "50"]);
        command.args(["--number", &number.to_string(), "--events", &events.to_string()]);
        if let Some(seed) = faults {
            command.args(["--faults", &seed.to_string()]);
        }
        // It lives as long as its input is open.
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut process = process.expect("a simulated device starts");
        let output = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        let (sender, reports) = channel();
        // It tells ten times a second how far it is, and last that it is done.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let line = reports.recv_timeout(PATIENCE).expect("it tells its port");
        let port = line.strip_prefix("port ").expect("its port comes first").into();
        Self { process, reports, port, progress: DeviceReport::default(), is_done: false }
    }

    /// The path of its port.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// How far it was when it last told.
    pub fn progress(&mut self) -> DeviceReport {
        while let Ok(line) = self.reports.try_recv() {
            self.take_in(&line);
        }
        self.progress
    }

    /// Waits until it has offered every event and all are settled: durable, or in a durable gap.
    ///
    /// # Panics
    /// When it ends before, or takes longer than [`PATIENCE`].
    pub fn wait_until_done(&mut self) -> DeviceReport {
        let deadline = Instant::now() + PATIENCE;
        while !self.is_done {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.reports.recv_timeout(left).expect("the device is done in time");
            self.take_in(&line);
        }
        self.progress
    }

    fn take_in(&mut self, line: &str) {
        let (word, numbers) = line.split_once(' ').expect("a word, then numbers");
        self.progress = DeviceReport::parse(numbers).expect("three numbers");
        self.is_done = word == "done";
    }

    /// What it did in all; `None` before it is done.
    pub fn report(&mut self) -> Option<DeviceReport> {
        let progress = self.progress();
        self.is_done.then_some(progress)
    }
}

impl Drop for SimulatedDevice {
    fn drop(&mut self) {
        // One that is gone already is no fault.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl DeviceReport {
    fn parse(numbers: &str) -> Option<Self> {
        let mut numbers = numbers.split(' ').map(str::parse);
        Some(Self { offered: numbers.next()?.ok()?, dropped: numbers.next()?.ok()? })
    }
}

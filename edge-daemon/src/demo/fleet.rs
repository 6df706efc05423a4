//! The simulated devices of a demo: processes of their own, so that the daemon's account of its processor time is
//! its own alone.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use super::orders::Orders;
use super::report::{Progress, Report, UnknownReport};

/// Simulated devices, each a child process that ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    devices: Vec<Device>,
    reports: Receiver<(usize, Report)>,
}

/// What is known of one device of a fleet.
#[derive(Debug)]
pub(crate) struct Device {
    process: Child,
    port: PathBuf,
    progress: Progress,
    done: bool,
}

impl Fleet {
    /// Starts the devices and waits until each has opened its port.
    ///
    /// # Errors
    /// A process cannot be started, or ends before it names its port.
    pub(crate) fn start(orders: Orders) -> io::Result<Self> {
        let (sender, reports) = mpsc::sync_channel(REPORTS_MAX);
        let devices = (0..orders.devices)
            .map(|number| Device::start(usize::from(number), orders, sender.clone()))
            .collect::<io::Result<_>>()?;
        Ok(Self { devices, reports })
    }

    /// The paths of the devices' ports.
    pub(crate) fn ports(&self) -> Vec<PathBuf> {
        self.devices.iter().map(|device| device.port.clone()).collect()
    }

    /// The devices, in the order of their ports.
    pub(crate) fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Whether every device is done.
    pub(crate) fn is_done(&self) -> bool {
        self.devices.iter().all(Device::is_done)
    }

    /// Takes in what the devices report, until `until` or until they are done.
    ///
    /// # Errors
    /// A device's process has ended, though nobody told it to.
    pub(crate) fn poll(&mut self, until: Instant) -> io::Result<()> {
        while !self.is_done() {
            let left = until.saturating_duration_since(Instant::now());
            match self.reports.recv_timeout(left.max(Duration::from_millis(1))) {
                Ok((number, report)) => self.devices[number].take_in(report),
                Err(RecvTimeoutError::Timeout) => return self.check_alive(),
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the devices are gone")),
            }
        }
        Ok(())
    }

    fn check_alive(&mut self) -> io::Result<()> {
        for device in &mut self.devices {
            if let Some(status) = device.process.try_wait()? {
                return Err(io::Error::other(format!("a simulated device ended by itself: {status}")));
            }
        }
        Ok(())
    }
}

impl Device {
    /// The path of its port.
    pub(crate) fn port(&self) -> &Path {
        &self.port
    }

    /// How far it is.
    pub(crate) const fn progress(&self) -> Progress {
        self.progress
    }

    /// Whether it has offered every event, and everything that its outbox took is durable.
    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    fn start(number: usize, orders: Orders, sender: SyncSender<(usize, Report)>) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("simulate-device");
        command.args(["--number", &number.to_string()]);
        command.args(["--events", &orders.events.to_string()]);
        command.args(["--baud", &orders.baud.to_string()]);
        command.args(["--load", &orders.load.to_string()]);
        if let Some(seed) = orders.faults {
            command.args(["--faults", &seed.wrapping_add(number as u64).to_string()]);
        }
        // The device lives as long as its input: it ends with the demo, however the demo ends. What a terminal tells
        // the demo is not for the device.
        command.process_group(0);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut output = BufReader::new(output);
        let Some(Ok(Report::Port(port))) = read_report(&mut output) else {
            return Err(io::Error::other("a simulated device did not name its port"));
        };
        std::thread::Builder::new()
            .name(format!("device-{number}"))
            .spawn(move || forward_reports(number, &mut output, &sender))?;
        Ok(Self { process, port, progress: Progress::default(), done: false })
    }

    fn take_in(&mut self, report: Report) {
        match report {
            Report::Port(_) => {}
            Report::Progress(progress) => self.progress = progress,
            Report::Done(progress) => {
                self.progress = progress;
                self.done = true;
            }
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // A child that was not waited for stays in the process table; one that is gone already is no fault.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The most reports that wait to be taken in; beyond them the devices' pipes wait.
const REPORTS_MAX: usize = 256;

fn forward_reports(number: usize, output: &mut BufReader<ChildStdout>, sender: &SyncSender<(usize, Report)>) {
    while let Some(Ok(report)) = read_report(output) {
        if sender.send((number, report)).is_err() {
            return;
        }
    }
}

/// The next line, or `None` at the end.
fn read_report(output: &mut BufReader<ChildStdout>) -> Option<Result<Report, UnknownReport>> {
    let mut line = String::new();
    match output.read_line(&mut line) {
        Ok(len) if len > 0 => Some(line.trim_end_matches('\n').parse()),
        _ => None,
    }
}

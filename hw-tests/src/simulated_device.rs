//! A simulated device: the real link and outbox in a process of their own, on a new pseudo-terminal.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use crate::daemon::Varved;

/// A running `varved simulate-device`. It ends when this is dropped, and holds no port open that it does not own.
#[derive(Debug)]
pub struct SimulatedDevice {
    process: Child,
    reports: BufReader<ChildStdout>,
    port: PathBuf,
}

/// What a device did in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceAccount {
    /// Events that were offered to the outbox.
    pub offered: u64,
    /// Events that it had to drop.
    pub dropped: u64,
}

impl SimulatedDevice {
    /// Starts device `number`, which offers `events` events as fast as a line of `baud` carries them; with faults on
    /// the line if there is a seed for them.
    pub fn start(varved: &Varved, number: u32, events: u64, baud: u32, faults: Option<u64>) -> io::Result<Self> {
        let mut command = varved.command();
        command.arg("simulate-device");
        command.args(["--number", &number.to_string()]);
        command.args(["--events", &events.to_string()]);
        command.args(["--baud", &baud.to_string()]);
        if let Some(seed) = faults {
            command.args(["--faults", &seed.to_string()]);
        }
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut reports = BufReader::new(process.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        let mut line = String::new();
        reports.read_line(&mut line)?;
        let port = line.trim_end().strip_prefix("port ").ok_or(io::ErrorKind::InvalidData)?.into();
        Ok(Self { process, reports, port })
    }

    /// The path of its port.
    pub fn port(&self) -> &Path {
        &self.port
    }

    /// Waits until every event was offered, and everything that the outbox took is durable.
    ///
    /// # Errors
    /// The device ended before.
    pub fn wait_until_done(&mut self) -> io::Result<DeviceAccount> {
        loop {
            let mut line = String::new();
            if self.reports.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(numbers) = line.trim_end().strip_prefix("done ") {
                return account(numbers).ok_or_else(|| io::ErrorKind::InvalidData.into());
            }
        }
    }
}

impl Drop for SimulatedDevice {
    fn drop(&mut self) {
        // One that is gone already is no fault.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn account(numbers: &str) -> Option<DeviceAccount> {
    let mut numbers = numbers.split(' ').map(str::parse);
    Some(DeviceAccount { offered: numbers.next()?.ok()?, dropped: numbers.next()?.ok()? })
}

//! QEMU with a board's firmware in it.

use std::{
    fs::{self, File},
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::NotHere;

/// A running emulator; dropped, it ends.
pub struct Emulator {
    process: Child,
    log: PathBuf,
}

impl Emulator {
    /// Says whether there is a QEMU to start.
    pub fn require() -> Result<(), NotHere> {
        match Command::new(QEMU).arg("--version").stdout(Stdio::null()).status() {
            Ok(_) => Ok(()),
            Err(_) => Err(NotHere::new(format!("{QEMU} is not installed"))),
        }
    }

    /// Starts the firmware and connects to its UART. The emulator keeps its files in `directory`.
    ///
    /// QEMU waits for the connection before the first instruction, so not a byte is lost; later it stops the
    /// whole machine while nobody reads what the UART sends.
    pub fn start(firmware: &Path, directory: &Path) -> io::Result<(Self, UnixStream)> {
        let socket = directory.join("uart");
        let log = directory.join("emulator.log");
        // QEMU does not take a name that is there, as it is after a reset.
        let _ = fs::remove_file(&socket);
        let process = Command::new(QEMU)
            .args(["-machine", "lm3s6965evb", "-nographic", "-monitor", "none", "-nic", "none"])
            .args(["-semihosting-config", "enable=on,target=native"])
            .arg("-serial")
            .arg(format!("unix:{},server=on,wait=on", socket.display()))
            .arg("-kernel")
            .arg(firmware)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(Stdio::null())
            .spawn()?;
        let mut emulator = Self { process, log };
        let uart = emulator.connect(&socket)?;
        Ok((emulator, uart))
    }

    /// How the firmware ended, if it has: by a panic or a fault, since it has no other end.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.process.try_wait().ok()??;
        let log = fs::read(&self.log).unwrap_or_default();
        Some(format!("the firmware ended with {status}; its log: {}", String::from_utf8_lossy(&log)))
    }

    /// Ends the emulator at once, as when the power goes.
    pub fn stop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn connect(&mut self, socket: &Path) -> io::Result<UnixStream> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match UnixStream::connect(socket) {
                Ok(uart) => return Ok(uart),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => self.process.try_wait()?.map_or(Ok(()), refused_to_start)?,
            }
            thread::sleep(START_POLL);
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}

fn refused_to_start(status: ExitStatus) -> io::Result<()> {
    Err(io::Error::other(format!("{QEMU} ended at once with {status}")))
}

const QEMU: &str = "qemu-system-arm";
const START_TIMEOUT: Duration = Duration::from_secs(30);
const START_POLL: Duration = Duration::from_millis(10);

//! `varved`, in a process of its own.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::artifact;

/// A running `varved run`; dropped, it is killed. What it logs is shown where a test fails.
pub struct Daemon {
    process: Child,
    log: PathBuf,
}

impl Daemon {
    /// Builds the daemon, unless that was done before: so that no board waits for it later.
    pub fn build() -> &'static Path {
        static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
        EXECUTABLE.get_or_init(|| {
            // Of the same packages as the build under test, so that the features are the same.
            let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--locked", "--bin", "varved"]);
            cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
            artifact::build(if cfg!(debug_assertions) { &mut cargo } else { cargo.arg("--release") })
        })
    }

    /// Starts the daemon on one port. Its store and its log are in `directory`; the log goes on where there is one.
    ///
    /// # Panics
    /// When its process cannot be started.
    pub fn start(port: &Path, directory: &Path) -> Self {
        Self::start_on(&[port], directory)
    }

    /// As [`start`](Self::start), on several ports.
    ///
    /// # Panics
    /// When its process cannot be started.
    pub fn start_on(ports: &[&Path], directory: &Path) -> Self {
        Self::start_with(ports, directory, &[])
    }

    /// As [`start_on`](Self::start_on), with more arguments of `run`.
    ///
    /// # Panics
    /// When its process cannot be started.
    pub fn start_with(ports: &[&Path], directory: &Path, args: &[&str]) -> Self {
        let log = directory.join("varved.log");
        let log_end = File::options().create(true).append(true).open(&log).expect("a directory of our own");
        let process = Command::new(Self::build())
            .arg("run")
            .arg("--port")
            .args(ports)
            .arg("--store")
            .arg(Self::store(directory))
            .args(args)
            .stdin(Stdio::null())
            .stderr(log_end)
            .spawn()
            .expect("varved starts");
        Self { process, log }
    }

    /// The store of the daemon that was started with `directory`.
    pub fn store(directory: &Path) -> PathBuf {
        directory.join("store")
    }

    /// Ends the daemon where it stands, as a power cut would: with `SIGKILL`.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn kill(&mut self) {
        self.assert_alive();
        self.process.kill().expect("its parent may kill it");
        self.process.wait().expect("its parent may wait for it");
    }

    /// Tells the daemon to end, with `SIGTERM`, and waits until it has.
    ///
    /// # Panics
    /// When it had ended by itself.
    pub fn stop(&mut self) -> ExitStatus {
        self.assert_alive();
        self.signal(Signal::TERM);
        self.process.wait().expect("its parent may wait for it")
    }

    /// What it has logged so far, and those before it that were started with the same directory.
    ///
    /// # Panics
    /// When the log cannot be read.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("it was opened when the daemon started")
    }

    /// Stops the daemon until [`resume`](Self::resume): it neither reads nor acknowledges.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused daemon go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// How it ended by itself; `None` while it has not.
    ///
    /// # Panics
    /// When the system does not tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("its parent may ask")
    }

    /// # Panics
    /// When the daemon has ended by itself.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.ended() {
            panic!("varved ended by itself, with {status}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("its parent may send it signals");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself, which a test asks for before it lets go.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("varved said:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

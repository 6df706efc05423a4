//! Verifying in a child process, which a damaged map may end.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;

use super::VerifyReport;

/// Why a child told nothing of the store.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChildError {
    /// It could not be started, or listened to.
    Io(io::Error),
    /// It ended without a report: the store cannot be opened, it is another program, or somebody ended it.
    NoReport {
        /// How it ended.
        status: ExitStatus,
        /// What it said on standard error, up to 4 KiB.
        said: String,
    },
}

/// Has a child process verify a store, so that no damage can end this one. `command` starts a program that calls
/// [`verify`](crate::verify) and then [`VerifyReport::write_to`] with its standard output, as `varved verify` does.
///
/// A child that the system ended over what it read is a finding: the data file could not be read through to its end.
///
/// A program can be its own child:
///
/// ```no_run
/// use std::{env, io, process::Command};
/// use varve_core::{verify, verify_in_child};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     if env::args().nth(1).as_deref() == Some("verify") {
///         return Ok(verify("/var/lib/varve")?.write_to(&mut io::stdout())?);
///     }
///     let report = verify_in_child(Command::new(env::current_exe()?).arg("verify"))?;
///     if !report.is_sound() {
///         eprintln!("{report}"); // and salvage it
///     }
///     Ok(())
/// }
/// ```
///
/// # Errors
///
/// [`ChildError::NoReport`] where the child ended otherwise, by a signal to stop it too, and told nothing.
pub fn verify_in_child(command: &mut Command) -> Result<VerifyReport, ChildError> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let told = listen(&mut child);
    if told.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    let (report, said) = told?;
    let (mut report, is_whole) = VerifyReport::read(&report);
    if is_whole {
        return Ok(report);
    }
    match signal_of_damage(status) {
        Some(signal) => {
            let reason = format!("reading it ended the process with signal {signal}");
            report.add_text("data file".into(), reason);
            Ok(report)
        }
        None => Err(ChildError::NoReport { status, said }),
    }
}

/// What the child writes to its standard output and error.
fn listen(child: &mut Child) -> io::Result<(String, String)> {
    let stderr = child.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(mut stderr) = stderr {
            stderr.by_ref().take(SAID_LEN_MAX).read_to_end(&mut said)?;
            io::copy(&mut stderr, &mut io::sink())?;
        }
        io::Result::Ok(said)
    });
    let mut report = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.by_ref().take(REPORT_LEN_MAX).read_to_end(&mut report)?;
        io::copy(&mut stdout, &mut io::sink())?;
    }
    let said = errors.join().unwrap_or_else(|_| Ok(Vec::new()))?;
    Ok((String::from_utf8_lossy(&report).into_owned(), String::from_utf8_lossy(&said).trim().to_owned()))
}

/// The signal by which the system or LMDB ended the child over what it had read.
fn signal_of_damage(status: ExitStatus) -> Option<i32> {
    let of_damage = [Signal::SEGV, Signal::BUS, Signal::ABORT, Signal::FPE, Signal::ILL].map(Signal::as_raw);
    status.signal().filter(|signal| of_damage.contains(signal))
}

impl fmt::Display for ChildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the child process: {error}"),
            Self::NoReport { status, said } if said.is_empty() => {
                write!(f, "the child process told nothing ({status})")
            }
            Self::NoReport { said, .. } => f.write_str(said),
        }
    }
}

impl std::error::Error for ChildError {}

impl From<io::Error> for ChildError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The most that is read of a report: each finding has a place of at most a key's bytes, twice, and a reason.
const REPORT_LEN_MAX: u64 = 1 << 20;

/// The most that is kept of what a child says on standard error.
const SAID_LEN_MAX: u64 = 4096;

const _: () = assert!(super::FINDINGS_MAX as u64 * 4096 <= REPORT_LEN_MAX);

//! Damage that ends a process: it meets a child, and the daemon says what happened.
//!
//! LMDB lends its pages from a map, and follows whatever they say. Where they are damaged, or the disk fails under the
//! map, the system ends the process that reads them with a signal.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::failure::Failure;
use crate::store_view::SALVAGE;

/// Which of two processes this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shield {
    /// The one that may be ended.
    pub(crate) is_child: bool,
}

impl Shield {
    /// Has a child do what reads the store in `dir`, and ends as it does.
    ///
    /// # Errors
    /// What the child meets it says itself. A signal that ended it is told here.
    pub(crate) fn read(
        self,
        dir: &Path,
        command: impl FnOnce() -> Result<ExitCode, Failure>,
    ) -> Result<ExitCode, Failure> {
        if self.is_child {
            end_with_parent()?;
            return command();
        }
        run_again(dir).map(ExitCode::from)
    }
}

/// Runs the command line of this process again in a child, and tells its exit code.
///
/// # Errors
/// It could not be started, or the store in `dir` has ended it.
pub(crate) fn run_again(dir: &Path) -> Result<u8, Failure> {
    // In front: what stands behind a `--` is no option.
    let start = || Command::new(env::current_exe()?).arg("--in-child").args(env::args_os().skip(1)).status();
    let status = start().map_err(|error| Failure::of_system("no child process", &error))?;
    match status.signal() {
        Some(signal) if is_of_damage(signal) => Err(died(dir, signal)),
        _ => Ok(exit_code(status)),
    }
}

/// Sees to it that this process does not outlive the one that started it.
pub(crate) fn end_with_parent() -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::of_system("no end with the parent", &error.into()))
}

/// Whether it is a signal by which the system or LMDB ends a process over what it has read.
fn is_of_damage(signal: i32) -> bool {
    [Signal::SEGV, Signal::BUS, Signal::ABORT, Signal::FPE, Signal::ILL]
        .iter()
        .any(|fatal| fatal.as_raw() == signal)
}

fn died(dir: &Path, signal: i32) -> Failure {
    let what = format!(
        "store {} cannot be read: data file: reading it ended the process with signal {signal}",
        dir.display()
    );
    Failure::new(what, SALVAGE)
}

/// The exit code as a shell tells it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| SIGNAL_BASE + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(Failure::EXIT_CODE)
}

/// What a shell adds to the number of a signal.
const SIGNAL_BASE: i32 = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_as_a_shell_tells_it() {
        for (raw, code) in [(0, 0), (2 << 8, 2), (15, 143), (11, 139)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code);
        }
        assert!(is_of_damage(11) && is_of_damage(7) && !is_of_damage(15) && !is_of_damage(9));
    }
}

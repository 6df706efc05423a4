//! `varved verify`: whether a store is sound, found out by a child process that damage may end.

use std::env;
use std::io;
use std::process::{Command, ExitCode};

use varve_core::{VerifyReport, verify_in_child};

use crate::cli::VerifyArgs;
use crate::failure::Failure;
use crate::stdout::Lines;
use crate::store_view::cannot_open;

/// Prints what a verification found, and tells by the exit code whether the store is sound. A daemon may be writing it.
///
/// # Errors
/// The store cannot be opened.
pub(crate) fn verify(args: &VerifyArgs) -> Result<ExitCode, Failure> {
    if args.child {
        let report = varve_core::verify(&args.store).map_err(|error| cannot_open(&args.store, &error))?;
        report.write_to(io::stdout().lock()).map_err(|error| Failure::of_stdout(&error))?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = env::current_exe().map_err(|error| Failure::of_system("no path to varved", &error))?;
    let mut command = Command::new(program);
    let report = verify_in_child(command.arg("verify").arg("--child").arg("--store").arg(&args.store));
    let report = report.map_err(|error| {
        let what = error.to_string();
        // The child has said what is wrong, and what to do.
        match what.strip_prefix("varved: ").and_then(|said| said.rsplit_once("; ")) {
            Some((what, remedy)) => Failure::new(what, remedy),
            None => Failure::new(what, "try again"),
        }
    })?;
    print(&report)
}

fn print(report: &VerifyReport) -> Result<ExitCode, Failure> {
    let mut lines = Lines::new();
    lines.write(report.to_string().trim_end().as_bytes())?;
    lines.flush()?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

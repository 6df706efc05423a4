//! The commands of `varved`, run to their end.

use std::{
    io::BufRead,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use varve_hw_tests::Daemon;

/// A command on the store of the daemon that was started with `directory`; without one, on none.
pub(crate) fn command(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(Daemon::build());
    command.arg(name);
    if directory != Path::new("") {
        command.arg("--store").arg(Daemon::store(directory));
    }
    command
}

/// What a command prints of a daemon's store, line by line.
pub(crate) fn lines(name: &str, directory: &Path, args: &[&str]) -> Vec<Value> {
    printed(command(name, directory).args(args))
}

/// What a command prints, line by line.
pub(crate) fn printed(command: &mut Command) -> Vec<Value> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// The one object that `varved status` prints of a daemon's store.
pub(crate) fn status(directory: &Path) -> Value {
    lines("status", directory, &[]).remove(0)
}

/// Runs a command that cannot do its work: it says why in one line, which holds `told`, and exits with 2.
pub(crate) fn assert_refused(command: &mut Command, told: &str) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(told), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

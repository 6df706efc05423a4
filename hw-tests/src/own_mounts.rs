//! File systems that a test mounts for itself.

use std::{
    env,
    path::Path,
    process::{Command, Output},
};

use crate::NotHere;

/// Runs `test` where what it mounts is seen by it and its children alone, and is gone when they end: in a process of its
/// own. `name` is that of the calling test, as the harness knows it.
///
/// # Errors
/// This machine lets this process mount nothing.
///
/// # Panics
/// When the test fails.
pub fn with_own_mounts(name: &str, test: impl FnOnce()) -> Result<(), NotHere> {
    if env::var_os(INSIDE).is_some() {
        test();
        return Ok(());
    }
    require()?;
    let program = env::current_exe().expect("a test has a path");
    let run = unshare().arg(program).args(["--exact", name, "--nocapture"]).env(INSIDE, "1").status();
    assert!(run.expect("it was there just now").success(), "{name} failed, with what it says above");
    Ok(())
}

/// Mounts a file system of `len` bytes on a directory.
///
/// # Panics
/// Outside of [`with_own_mounts`].
pub fn mount_small_disk(directory: &Path, len: u64) {
    assert!(env::var_os(INSIDE).is_some(), "it would stay");
    let mounted = mount(directory, len).output().expect("it was there just now");
    assert!(mounted.status.success(), "{}", said(&mounted));
}

/// Mounts the file system of a directory anew, to be read alone.
///
/// # Panics
/// Outside of [`with_own_mounts`].
pub fn remount_read_only(directory: &Path) {
    assert!(env::var_os(INSIDE).is_some(), "it would stay");
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(directory).output();
    let remounted = remounted.expect("it was there just now");
    assert!(remounted.status.success(), "{}", said(&remounted));
}

fn require() -> Result<(), NotHere> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mount = mount(directory.path(), 4096);
    let tried = unshare().arg(mount.get_program()).args(mount.get_args()).output();
    let tried =
        tried.map_err(|error| NotHere::new(format!("unshare of util-linux is not installed: {error}")))?;
    if tried.status.success() {
        Ok(())
    } else {
        Err(NotHere::new(format!("nothing can be mounted: {}", said(&tried))))
    }
}

/// Begins a command that runs another one with mounts of its own. Who is not root is so in there.
fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.arg("--");
    unshare
}

fn mount(directory: &Path, len: u64) -> Command {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={len}"), "varve-test"]).arg(directory);
    mount
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// The variable that tells a test that its mounts are its own.
const INSIDE: &str = "VARVE_OWN_MOUNTS";

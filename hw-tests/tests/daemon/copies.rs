//! Copies of a daemon's store that end before they are whole.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Command,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};
use varve_core::{StreamId, Varve};
use varve_hw_tests::Daemon;

use crate::commands::{command, lines, printed};

#[test]
fn a_backup_that_is_killed_has_no_name_and_the_next_one_writes_over_what_it_left() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let backup = directory.path().join("backup");
    let partial = directory.path().join("backup.partial");
    let mut command = command("backup", directory.path());
    command.arg("--to").arg(&backup);
    end_in_the_middle(&command);
    assert!(!backup.exists());
    assert!(fs::metadata(&partial).unwrap().len() > 0);

    assert_eq!(printed(&mut command)[0]["events"], EVENTS);
    assert!(backup.exists() && !partial.exists());
}

#[test]
fn a_restore_that_is_killed_leaves_no_store_and_the_next_one_removes_what_it_left() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let [backup, pipe, store, partial] =
        ["backup", "pipe", "again", "again.partial"].map(|name| directory.path().join(name));
    printed(command("backup", directory.path()).arg("--to").arg(&backup));
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let restore = |from: &Path| {
        let mut command = command("restore", Path::new(""));
        command.arg("--from").arg(from).arg("--store").arg(&store);
        command
    };
    let mut killed = restore(&pipe).spawn().unwrap();
    let bytes = fs::read(&backup).unwrap();
    let mut rest = File::options().write(true).open(&pipe).unwrap();
    rest.write_all(&bytes[..bytes.len() / 2]).unwrap();
    assert!(partial.join("data.mdb").exists());
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(!store.exists());

    assert_eq!(printed(&mut restore(&backup))[0]["events"], EVENTS);
    assert!(!partial.exists());
    let again = printed(command("tail", Path::new("")).arg("--store").arg(&store));
    assert_eq!(again, lines("tail", directory.path(), &[]));
}

/// Fills the store of a daemon with more than a pipe holds, and more than [`FILE_BLOCKS_MAX`] allow.
fn fill(directory: &Path) {
    let mut varve = Varve::new(Daemon::store(directory)).unwrap();
    let mut filler = varve.stream::<[u8; 4096], 4096>("filler").unwrap();
    filler.append_batch(StreamId(1), &[[7; 4096]; EVENTS]).unwrap();
}

/// Runs a command until a signal ends it in the midst of what it writes, as any other signal might: the one over a file
/// that grows beyond a limit.
fn end_in_the_middle(command: &Command) {
    let limit = format!("ulimit -f {FILE_BLOCKS_MAX} && exec \"$@\"");
    let mut limited = Command::new("sh");
    limited.args(["-c", &limit, "sh"]).arg(command.get_program()).args(command.get_args());
    let ended = limited.output().unwrap();
    let code = ended.status.code().or(ended.status.signal().map(|signal| 128 + signal));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(code, Some(128 + Signal::XFSZ.as_raw()), "{command:?}: {said}");
}

const EVENTS: usize = 1_000;

/// A block is 512 or 1,024 bytes, by the shell.
const FILE_BLOCKS_MAX: usize = 1_000;

const _: () = assert!(EVENTS * 4096 > FILE_BLOCKS_MAX * 1024);

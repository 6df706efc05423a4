//! The daemon with sealed streams: what needs the master key, and what is forgotten.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use varve_hw_tests::{Daemon, SimulatedDevice};

use crate::commands::{assert_refused, command, lines, printed};

/// A master key of this digit, in a file.
fn key_file(directory: &Path, digit: &str) -> String {
    let path = directory.join(format!("{digit}.key"));
    fs::write(&path, digit.repeat(64)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Takes in a device's 64 events, of which the first and one in the middle are notices.
fn take_in(directory: &Path, args: &[&str]) {
    let mut device = SimulatedDevice::start(1, 64, None);
    let mut daemon = Daemon::start_with(&[device.port()], directory, args);
    device.wait_until_done();
    assert!(daemon.stop().success());
}

fn with_key<'c>(command: &'c mut Command, key: &str) -> &'c mut Command {
    command.args(["--master-key-file", key])
}

/// The events that `tail` shows with a key.
fn shown(directory: &Path, key: &str) -> usize {
    let lines = printed(with_key(&mut command("tail", directory), key));
    lines.iter().filter(|line| line["event"] != Value::Null).count()
}

fn stream_id(directory: &Path, name: &str) -> String {
    let streams = lines("streams", directory, &[]);
    streams.iter().find(|stream| stream["stream"] == name).unwrap()["stream_id"].to_string()
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn sealed_events_are_shown_to_who_has_the_master_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    take_in(directory.path(), &["--master-key-file", &key, "--suite", "chacha20-poly1305"]);
    assert_eq!(shown(directory.path(), &key), 64);
    let by_variable = printed(command("tail", directory.path()).env("VARVED_MASTER_KEY", "7".repeat(64)));
    assert_eq!(by_variable.iter().filter(|line| line["event"] != Value::Null).count(), 64);

    let other = key_file(directory.path(), "8");
    assert_refused(with_key(&mut command("tail", directory.path()), &other), "another master key");
    let port = ["--port", "/dev/varve-no-such-port"];
    assert_refused(command("run", directory.path()).args(port), "give --master-key-file");
    assert_refused(command("run", directory.path()).args(port).args(["--seal", "a"]), "without a master key");
    let missing = directory.path().join("missing.key");
    let missing = missing.to_str().unwrap();
    assert_refused(with_key(&mut command("tail", directory.path()), missing), "check the path");
    fs::write(missing, "guess").unwrap();
    assert_refused(with_key(&mut command("tail", directory.path()), missing), "64 hexadecimal digits");
}

#[test]
fn only_the_streams_that_are_named_are_sealed() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    take_in(directory.path(), &["--master-key-file", &key, "--seal", "demo.notice"]);
    let absent = |command: &mut Command| {
        let lines = printed(command);
        let places = lines.iter().filter(|line| line["absent"] != Value::Null);
        let of = |line: &Value| (line["absent"].clone(), line["stream"].clone(), line["global_seq"].clone());
        places.map(of).collect::<Vec<_>>()
    };
    let expected = |reason: &str| [0, 32].map(|global| (reason.into(), "demo.notice".into(), global.into()));
    assert_eq!(absent(&mut command("tail", directory.path())), expected("sealed"));
    assert_eq!(lines("tail", directory.path(), &["--stream", "demo.climate"]).len(), 62);
    let climate = stream_id(directory.path(), "demo.climate");
    let shred = |name: &str, id: &str| {
        let mut command = command("shred", directory.path());
        with_key(&mut command, &key).args([name, id]);
        command
    };
    assert_refused(&mut shred("demo.climate", &climate), "was never sealed");
    succeed(&mut shred("demo.notice", &stream_id(directory.path(), "demo.notice")));
    assert_eq!(absent(with_key(&mut command("tail", directory.path()), &key)), expected("shredded"));
    assert_eq!(shown(directory.path(), &key), 62);
}

#[test]
fn a_backup_of_sealed_events_is_read_with_the_keys_that_were_kept_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    take_in(directory.path(), &["--master-key-file", &key]);
    let again = directory.path().join("again");
    fs::create_dir(&again).unwrap();
    let backup = directory.path().join("backup");
    succeed(command("backup", directory.path()).arg("--to").arg(&backup));
    succeed(command("restore", &again).arg("--from").arg(&backup));
    assert!(lines("tail", &again, &[]).iter().all(|line| line["absent"] == "sealed"));
    fs::copy(Daemon::store(directory.path()).join("keys"), Daemon::store(&again).join("keys")).unwrap();
    assert_eq!(shown(&again, &key), 64);
}

#[test]
fn keys_that_are_given_another_master_key_open_by_that_one_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (key_file(directory.path(), "7"), key_file(directory.path(), "8"));
    take_in(directory.path(), &["--master-key-file", &old]);
    let mut rotate = command("rotate-master", directory.path());
    succeed(with_key(&mut rotate, &old).args(["--new-master-key-file", &new]));
    assert_eq!(shown(directory.path(), &new), 64);
    assert_refused(with_key(&mut command("tail", directory.path()), &old), "another master key");
    assert_refused(&mut rotate, "another master key");
}

#[test]
fn keys_are_changed_where_there_is_a_store_a_key_and_no_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    let shred = || {
        let mut command = command("shred", directory.path());
        command.args(["demo.climate", "1"]);
        command
    };
    assert_refused(&mut shred(), "no master key");
    assert_refused(with_key(&mut shred(), &key), "check the path");
    assert!(!Daemon::store(directory.path()).join("data.mdb").exists(), "nothing was made");
    let mut device = SimulatedDevice::start(1, 64, None);
    let args = ["--master-key-file", &key];
    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &args);
    device.wait_until_done();
    assert_refused(with_key(&mut shred(), &key), "end that process");
    assert!(daemon.stop().success());
}

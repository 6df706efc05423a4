//! The daemon with sealed streams: what needs the master key, and what is forgotten.

use std::{
    fs,
    io::{Read, Write},
    net::Shutdown,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::Command,
};

use serde_json::Value;
use varve_hw_tests::{Daemon, SimulatedDevice, eventually};

use crate::{
    commands::{assert_refused, command, lines, printed},
    wait_for_events,
};

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

/// The command that shreds a stream, still without a key.
fn shred(directory: &Path, name: &str, id: &str) -> Command {
    let mut command = command("shred", directory);
    command.args([name, id]);
    command
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
    let shred = |name: &str, id: &str| shred(directory.path(), name, id);
    assert_refused(with_key(&mut shred("demo.climate", &climate), &key), "was never sealed");
    let mut dashed = command("shred", directory.path());
    assert_refused(with_key(&mut dashed, &key).args(["--", "-dashed", &climate]), "`-dashed`");
    let notices = stream_id(directory.path(), "demo.notice");
    succeed(with_key(&mut shred("demo.notice", &notices), &key));
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
fn keys_are_changed_where_there_is_a_store_and_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    let shred = || shred(directory.path(), "demo.climate", "1");
    assert_refused(&mut shred(), "no master key");
    assert_refused(with_key(&mut shred(), &key), "check the path");
    assert!(!Daemon::store(directory.path()).join("data.mdb").exists(), "nothing was made");
}

#[test]
fn a_running_daemon_forgets_a_stream_and_goes_on_taking_in() {
    let directory = tempfile::tempdir().unwrap();
    let (key, other) = (key_file(directory.path(), "7"), key_file(directory.path(), "8"));
    let mut device = SimulatedDevice::start(1, 3_000, None);
    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &["--master-key-file", &key]);
    wait_for_events(directory.path(), 100);
    let id = stream_id(directory.path(), "demo.climate");
    let shred = |name: &str| shred(directory.path(), name, &id);
    assert_refused(&mut shred("demo.climate"), "no master key");
    assert_refused(with_key(&mut shred("demo.climate"), &other), "another master key");
    assert_refused(with_key(&mut shred("demo.rain"), &key), "was never sealed");
    succeed(with_key(&mut shred("demo.climate"), &key));
    let shredded = |line: &Value| line["absent"] == "shredded";
    let lines = printed(with_key(&mut command("tail", directory.path()), &key));
    let places: u64 =
        lines.iter().filter(|line| shredded(line)).map(|line| line["events"].as_u64().unwrap()).sum();
    assert!(places >= 98, "{places}");

    let report = device.wait_until_done();
    assert_eq!(report.dropped, 0);
    assert!(daemon.stop().success());
    let lines = printed(with_key(&mut command("tail", directory.path()), &key));
    let forgotten: u64 =
        lines.iter().filter(|line| shredded(line)).map(|line| line["events"].as_u64().unwrap()).sum();
    assert!(forgotten >= places);
    assert_eq!(forgotten + shown(directory.path(), &key) as u64, report.offered);
    assert!(lines.last().unwrap()["event"]["nth"] == report.offered - 1, "what came later is sealed anew");
    assert!(daemon.log().contains("is shredded, as asked"));
}

#[test]
fn a_running_daemon_takes_another_master_key_and_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (old, new) = (key_file(directory.path(), "7"), key_file(directory.path(), "8"));
    let mut device = SimulatedDevice::start(1, 3_000, None);
    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &["--master-key-file", &old]);
    wait_for_events(directory.path(), 100);
    let rotate = |new: &str| {
        let mut command = command("rotate-master", directory.path());
        with_key(&mut command, &old).args(["--new-master-key-file", new]);
        command
    };
    assert_refused(&mut rotate("/no-such-key"), "give a file that the daemon's user may read");
    let no_key = directory.path().join("guess");
    fs::write(&no_key, "guess").unwrap();
    assert_refused(&mut rotate(no_key.to_str().unwrap()), "64 hexadecimal digits");
    succeed(&mut rotate(&new));
    assert_refused(&mut rotate(&new), "another master key");
    device.wait_until_done();
    assert!(daemon.stop().success());
    assert_eq!(shown(directory.path(), &new), 3_000);
    assert_refused(with_key(&mut command("tail", directory.path()), &old), "another master key");
}

#[test]
fn who_connects_and_asks_for_nothing_keeps_nobody_from_asking() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    let mut device = SimulatedDevice::start(1, 2_000, None);
    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &["--master-key-file", &key]);
    wait_for_events(directory.path(), 100);
    let socket = Daemon::store(directory.path()).join("varved.socket");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let told = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // A daemon that has read enough hangs up.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut reply = String::new();
        let _ = stream.read_to_string(&mut reply);
        reply
    };
    for noise in [&b""[..], b"\n", b"{\"shred\":", b"{\"shred\":{}}\n", &[b'['; 1 << 20], &[0xff; 1 << 20]] {
        let reply = told(noise);
        assert!(reply.is_empty() || reply.contains("cannot read the request"), "{reply}");
    }
    let silent = [(); 4].map(|()| UnixStream::connect(&socket).unwrap());
    succeed(with_key(
        &mut shred(directory.path(), "demo.notice", &stream_id(directory.path(), "demo.notice")),
        &key,
    ));
    drop(silent);
    assert_eq!(device.wait_until_done().dropped, 0, "no port waits");
    assert!(daemon.stop().success());
    assert!(!socket.exists());
}

#[test]
fn the_socket_of_a_killed_daemon_is_in_nobodys_way() {
    let directory = tempfile::tempdir().unwrap();
    let key = key_file(directory.path(), "7");
    let args = ["--master-key-file", &key];
    let mut device = SimulatedDevice::start(1, 64, None);
    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &args);
    device.wait_until_done();
    daemon.kill();
    assert!(Daemon::store(directory.path()).join("varved.socket").exists());
    let notices = stream_id(directory.path(), "demo.notice");
    succeed(with_key(&mut shred(directory.path(), "demo.notice", &notices), &key));
    assert_eq!(shown(directory.path(), &key), 62);

    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &args);
    eventually("a daemon that is asked", || daemon.log().matches("serving").nth(1).map(drop));
    let climate = stream_id(directory.path(), "demo.climate");
    succeed(with_key(&mut shred(directory.path(), "demo.climate", &climate), &key));
    assert!(daemon.log().contains("is shredded, as asked"));
    assert!(daemon.stop().success());
    assert_eq!(shown(directory.path(), &key), 0);
}

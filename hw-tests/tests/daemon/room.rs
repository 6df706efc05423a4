//! The daemon with little room: what it keeps, and what it does while it can keep no more.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use varve_core::{Config, QUOTA_MIN, StreamId, Varve};
use varve_hw_tests::{Daemon, PATIENCE, SimulatedDevice, eventually};

use crate::commands::{assert_refused, command, lines, status};
use crate::log::Log;

/// Fills the store of a daemon to its quota, and tells where the next event goes.
fn fill(directory: &Path) -> u64 {
    let mut config = Config::default();
    config.quota = Some(QUOTA_MIN);
    let mut varve = Varve::with_config(Daemon::store(directory), config).unwrap();
    let mut filler = varve.stream::<[u8; 4096], 4096>("filler").unwrap();
    while filler.append_batch(StreamId(0), &[[0; 4096]; 20]).is_ok() {}
    while filler.append(StreamId(0), &[0; 4096]).is_ok() {}
    varve.next_global_seq().unwrap().0
}

fn quota() -> String {
    QUOTA_MIN.to_string()
}

fn is_full(directory: &Path) -> bool {
    status(directory)["daemon"]["state"] == "full"
}

#[test]
fn a_full_store_acknowledges_nothing_and_goes_on_when_it_may_retire() {
    let directory = tempfile::tempdir().unwrap();
    let first = fill(directory.path());
    let mut device = SimulatedDevice::start(1, 12_000, None);
    let port = device.port().to_owned();
    let start = |args: &[&str]| {
        Daemon::start_with(&[&port], directory.path(), &[&["--quota", &quota()], args].concat())
    };
    let mut daemon = start(&[]);
    eventually("a full store", || is_full(directory.path()).then_some(()));
    let state = status(directory.path());
    assert!(state["daemon"]["reason"].as_str().unwrap().contains("quota"), "{state}");
    assert_eq!(state["next"], first, "nothing was stored");
    eventually("a device that drops events", || (device.progress().dropped > 0).then_some(()));
    let told = Instant::now();
    assert!(daemon.stop().success(), "a full store is no failure");
    assert!(told.elapsed() < PATIENCE / 6);
    assert_eq!(status(directory.path())["daemon"], serde_json::Value::Null);
    assert_eq!(daemon.log().matches("the store is full").count(), 1);

    let mut daemon = start(&["--keep-bytes", "1MiB"]);
    let report = device.wait_until_done();
    assert!(report.dropped > 0);
    assert!(daemon.stop().success());
    let log = daemon.log();
    let times = |what: &str| log.matches(what).count();
    assert_eq!(
        times("the store is full") - times("there is room again"),
        1,
        "it was full when it was stopped"
    );
    Log::read_from(first, directory.path()).assert_holds(&[report]);
}

#[test]
fn a_full_store_goes_on_by_itself_once_its_events_are_old_enough() {
    let directory = tempfile::tempdir().unwrap();
    let first = fill(directory.path());
    // What is stored of the device's events before the store is full stays when the others go.
    thread::sleep(Duration::from_secs(8));
    let mut device = SimulatedDevice::start(1, 4_000, None);
    let args = ["--quota", &quota(), "--keep-age", "16s"];
    let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &args);
    let report = device.wait_until_done();
    assert_eq!(status(directory.path())["daemon"]["state"], "serving");
    assert!(status(directory.path())["first"].as_u64() > Some(0), "the oldest events are gone");
    assert!(daemon.stop().success());
    let log = daemon.log();
    assert_eq!(log.matches("the store is full").count(), log.matches("there is room again").count());
    assert!(log.contains("there is room again"));
    Log::read_from(first, directory.path()).assert_holds(&[report]);
}

#[test]
fn a_daemon_keeps_the_last_events_and_what_a_consumer_has_yet_to_see() {
    for (args, is_retired) in [(&[][..], true), (&["--keep-for-consumer", "upstream"][..], false)] {
        let directory = tempfile::tempdir().unwrap();
        let filled = fill(directory.path());
        let mut device = SimulatedDevice::start(1, 100, None);
        let args = [&["--keep-events", "200"], args].concat();
        let mut daemon = Daemon::start_with(&[device.port()], directory.path(), &args);
        device.wait_until_done();
        assert!(daemon.stop().success());
        assert_eq!(status(directory.path())["first"].as_u64() > Some(0), is_retired, "of {filled} events");
    }
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let check = |args: &[&str], told: &str| {
        let mut run = command("run", directory.path());
        assert_refused(run.args(["--port", "/dev/varve-no-such-port"]).args(args), told);
    };
    check(&["--quota", "1MiB"], "give at least");
    check(&["--quota", "64MiB", "--keep-bytes", "60MiB"], "give at most");
    check(&["--keep-for-consumer", "upstream"], "give another limit");
    assert!(!Daemon::store(directory.path()).exists(), "nothing was made");
    let mut no_size = command("run", directory.path());
    let output = no_size.args(["--port", "p", "--quota", "lots"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("3GiB"));
}

#[test]
fn a_store_without_a_daemon_has_a_status_too() {
    let directory = tempfile::tempdir().unwrap();
    let filled = fill(directory.path());
    let status = status(directory.path());
    assert_eq!((&status["daemon"], &status["first"]), (&serde_json::Value::Null, &0.into()));
    assert_eq!(status["next"], filled);
    assert_eq!(status["pins"], serde_json::json!([]));
    assert_eq!(lines("streams", directory.path(), &[])[0]["next"], filled);
}

#[test]
fn a_process_that_holds_on_to_the_store_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fill(directory.path());
    let view = Varve::open_read_only(Daemon::store(directory.path())).unwrap();
    let _snapshot = view.snapshot().unwrap();
    let pins = &status(directory.path())["pins"];
    assert_eq!((&pins[0]["pid"], &pins[0]["snapshots"]), (&std::process::id().into(), &1.into()));
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(pins[0]["process"], name.trim_end());
    assert_eq!(pins[1], serde_json::Value::Null);
}

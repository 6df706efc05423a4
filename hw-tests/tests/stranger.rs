//! A device in Python, made from `FORMAT.md` and `WIRE.md` alone, against the real `varved`.
//!
//! The daemon's log must be what the device says that it sent: each event's JSON, all sequences, and the gap.

use std::{
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

use serde_json::{Value, json};
use varve_core::{GlobalSequence, Varve};
use varve_hw_tests::{Cable, Daemon, NotHere, Port, eventually};

#[test]
fn what_a_stranger_sends_is_stored_event_by_event() {
    let test = "what_a_stranger_sends_is_stored_event_by_event";
    let Some(mut stranger) = Stranger::start(test, &["--events", "1000"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(stranger.port(), directory.path());
    let sent = stranger.wait_until_done();
    assert!(daemon.stop().success());
    let stored = assert_stored(&sent, directory.path());
    assert_times_differ_as_ticks(&sent, &stored);
}

#[test]
fn a_stranger_on_a_faulty_line_loses_and_doubles_nothing() {
    let test = "a_stranger_on_a_faulty_line_loses_and_doubles_nothing";
    let Some(mut stranger) = Stranger::start(test, &["--events", "1000", "--damage", "3"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(stranger.port(), directory.path());
    let sent = stranger.wait_until_done();
    assert!(daemon.stop().success());
    assert!(sent["damaged"].as_u64().unwrap() > 0);
    assert_stored(&sent, directory.path());
}

#[test]
fn a_stranger_outlives_a_daemon_that_is_killed_in_mid_stream() {
    let test = "a_stranger_outlives_a_daemon_that_is_killed_in_mid_stream";
    let Some(mut stranger) = Stranger::start(test, &["--events", "5000"]) else { return };
    let directory = tempfile::tempdir().unwrap();
    for stored in [1, 600, 1_700] {
        let mut daemon = Daemon::start(stranger.port(), directory.path());
        wait_for_events(directory.path(), stored);
        daemon.kill();
    }
    stranger.assert_not_done();
    let mut daemon = Daemon::start(stranger.port(), directory.path());
    let sent = stranger.wait_until_done();
    assert!(daemon.stop().success());
    assert_stored(&sent, directory.path());
}

#[test]
fn a_stranger_that_comes_to_another_store_goes_on_with_what_it_holds() {
    let test = "a_stranger_that_comes_to_another_store_goes_on_with_what_it_holds";
    let Some(mut stranger) = Stranger::start(test, &["--events", "3000"]) else { return };
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut daemon = Daemon::start(stranger.port(), directory.path());
    wait_for_events(directory.path(), 700);
    daemon.kill();
    stranger.assert_not_done();
    let mut daemon = Daemon::start(stranger.port(), other.path());
    let sent = stranger.wait_until_done();
    assert!(daemon.stop().success());

    // What the first store took in, but could not acknowledge, is in both. In the other, what the device holds
    // begins at 0.
    let (before, after, all) = (tail(directory.path()), tail(other.path()), expected_log(&sent));
    let nth = |line: &Value| line["event"]["nth"].as_u64().unwrap();
    let base = nth(&after[0]);
    assert!(base <= nth(before.last().unwrap()) + 1, "events before {base} are in neither store");
    assert_eq!(events_of(&before), events_of(&all)[..before.len()]);
    for (stored, sent) in events_of(&after).iter().zip(&events_of(&all)[all.len() - after.len()..]) {
        let mut sent = (*sent).clone();
        if let Some(first) = sent.get("first").and_then(Value::as_u64) {
            sent["first"] = (first - base).into();
        }
        assert_eq!(**stored, sent);
    }
}

fn events_of(log: &[Value]) -> Vec<&Value> {
    log.iter().map(|line| &line["event"]).collect()
}

/// Waits until the store of a daemon holds `count` events.
fn wait_for_events(directory: &Path, count: u64) {
    eventually("more events in the store", || {
        let stored = Varve::open_read_only(Daemon::store(directory)).ok()?.next_global_seq().ok()?;
        (stored >= GlobalSequence(count)).then_some(())
    });
}

/// Holds a daemon's log against what its only device sent, and returns the log.
fn assert_stored(sent: &Value, directory: &Path) -> Vec<Value> {
    let stored = tail(directory);
    let expected = expected_log(sent);
    for (stored, expected) in stored.iter().zip(&expected) {
        let mut stored = stored.clone();
        assert!(stored.as_object_mut().unwrap().remove("time").is_some_and(|time| time.is_string()));
        assert_eq!(stored, *expected);
    }
    assert_eq!(stored.len(), expected.len());
    stored
}

/// The log in the order of the device's sequences, without times: its events, and between them its gap.
fn expected_log(sent: &Value) -> Vec<Value> {
    let device = sent["device"].as_u64().unwrap();
    let (gap_first, gap_len) = (sent["gap"]["first"].as_u64().unwrap(), sent["gap"]["len"].as_u64().unwrap());
    let mut log = Vec::new();
    let mut next_of_stream = [0; 256];
    let mut next_of_device = 0;
    for event in sent["events"].as_array().unwrap() {
        if next_of_device == gap_first {
            log.push(json!({
                "global_seq": log.len(), "stream": "varve.gap", "stream_id": device << 8, "stream_seq": 0,
                "event": {
                    "device": device, "epoch": 1, "lane": 0, "reason": "OutboxFull", "end_unknown": false,
                    "first": gap_first, "len": gap_len,
                },
            }));
            next_of_device += gap_len;
        }
        assert_eq!(event["event"]["nth"], next_of_device);
        next_of_device += 1;
        let instance = event["instance"].as_u64().unwrap();
        let next = &mut next_of_stream[instance as usize];
        log.push(json!({
            "global_seq": log.len(), "stream": "stranger.climate", "stream_id": device << 8 | instance,
            "stream_seq": *next, "event": event["event"],
        }));
        *next += 1;
    }
    assert_eq!(next_of_stream.iter().filter(|next| **next > 0).count(), 2, "both channels had events");
    log
}

/// In one session, stored times are exactly as far from each other as the device's ticks, which are of 1 µs.
fn assert_times_differ_as_ticks(sent: &Value, stored: &[Value]) {
    let times = stored.iter().filter(|line| line["stream"] == "stranger.climate").map(micros_of_minute);
    let ticks = sent["events"].as_array().unwrap().iter().map(|event| event["ticks"].as_i64().unwrap());
    let offsets: Vec<i64> =
        times.zip(ticks).map(|(time, ticks)| (time - ticks).rem_euclid(60_000_000)).collect();
    assert!(offsets.iter().all(|offset| *offset == offsets[0]), "{offsets:?}");
}

/// Of a time such as `2026-01-01T00:00:12.345678Z`: 12,345,678.
fn micros_of_minute(line: &Value) -> i64 {
    let time = line["time"].as_str().unwrap();
    let digits: String = time[17..].chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

fn tail(directory: &Path) -> Vec<Value> {
    let mut tail = Command::new(Daemon::build());
    let output = tail.arg("tail").arg("--store").arg(Daemon::store(directory)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The device at its end of a cable; dropped, it is killed.
struct Stranger {
    process: Child,
    cable: Cable,
    /// Where the device is.
    _port: Port,
}

impl Stranger {
    /// Starts it, or says that `test` is skipped.
    fn start(test: &str, args: &[&str]) -> Option<Self> {
        if let Err(not_here) = require_python() {
            not_here.skip(test);
            return None;
        }
        Daemon::build();
        let (cable, port) = Cable::between_ports().unwrap();
        let process = Command::new(PYTHON)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stranger/device.py"))
            .arg(port.path())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self { process, cable, _port: port })
    }

    /// What the daemon opens.
    fn port(&self) -> &Path {
        self.cable.port()
    }

    fn assert_not_done(&mut self) {
        assert!(self.process.try_wait().unwrap().is_none(), "it was to be in mid-stream");
    }

    /// What it says that it sent, once a host has stored that.
    fn wait_until_done(&mut self) -> Value {
        let mut output = self.process.stdout.take().unwrap();
        // It says more than its pipe holds.
        let reader = thread::spawn(move || {
            let mut said = String::new();
            output.read_to_string(&mut said).unwrap();
            said
        });
        let ended = eventually("the end of the device in Python", || self.process.try_wait().unwrap());
        assert!(ended.success());
        serde_json::from_str(&reader.join().unwrap()).unwrap()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn require_python() -> Result<(), NotHere> {
    match Command::new(PYTHON).arg("--version").stdout(Stdio::null()).status() {
        Ok(_) => Ok(()),
        Err(_) => Err(NotHere::new(format!("{PYTHON} is not installed"))),
    }
}

const PYTHON: &str = "python3";

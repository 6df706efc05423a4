//! The real `varved` over pseudo-terminals: killed, stopped, unplugged, lied to, and read while it runs.

mod commands;
mod copies;
mod damage;
mod disk;
mod keys;
mod log;
mod plug;
mod room;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
};

use commands::{assert_refused, command, lines, status};
use log::Log;
use plug::Plug;
use serde_json::Value;
use varve_core::{GlobalSequence, Varve};
use varve_hw_tests::{Cable, Daemon, DeviceReport, SimulatedDevice, eventually};

#[test]
fn a_daemon_killed_in_mid_stream_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = SimulatedDevice::start(1, 8_000 * scale(), None);
    let stored = kill_again_and_again(directory.path(), device.port(), 5 * scale());
    assert!(stored < 8_000 * scale(), "it was killed in mid-stream");
    let report = finish(directory.path(), &mut device);
    Log::read(directory.path()).assert_holds(&[report]);
}

#[test]
fn a_daemon_killed_on_a_faulty_line_loses_and_doubles_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = SimulatedDevice::start(1, 4_000 * scale(), Some(11));
    kill_again_and_again(directory.path(), device.port(), 3 * scale());
    let report = finish(directory.path(), &mut device);
    Log::read(directory.path()).assert_holds(&[report]);
}

#[test]
fn a_daemon_told_to_end_commits_what_it_has_and_goes_on_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = SimulatedDevice::start(1, 4_000, None);
    let mut daemon = Daemon::start(device.port(), directory.path());
    wait_for_events(directory.path(), 500);
    assert!(daemon.stop().success());
    let report = finish(directory.path(), &mut device);
    Log::read(directory.path()).assert_holds(&[report]);
}

#[test]
fn a_device_that_loses_its_memory_begins_a_new_epoch_and_the_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut plug = Plug::new(directory.path());
    let lost = SimulatedDevice::start(1, 1_000_000, None);
    plug.put(lost.port());
    let mut daemon = Daemon::start(plug.path(), directory.path());
    wait_for_events(directory.path(), 500);
    plug.pull();
    drop(lost);

    let mut again = SimulatedDevice::start(1, 1_000, None);
    plug.put(again.port());
    let report = again.wait_until_done();
    assert!(daemon.stop().success());
    let log = Log::read(directory.path());
    let ends: Vec<&Value> = log.gaps().filter(|gap| gap["end_unknown"] == true).collect();
    assert_eq!(ends.len(), 1, "the first epoch ended, and nobody knows where");
    assert_eq!(ends[0]["epoch"], 1);
    let devices = lines("devices", directory.path(), &[]);
    assert_eq!((&devices[0]["epoch"], &devices[0]["lanes"][0]["next"]), (&2.into(), &report.offered.into()));
}

#[test]
fn a_port_that_goes_and_comes_back_is_served_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut plug = Plug::new(directory.path());
    let mut reports = Vec::new();
    let mut daemon = None;
    for number in [1, 2, 3] {
        let mut device = SimulatedDevice::start(number, 500, None);
        plug.put(device.port());
        daemon.get_or_insert_with(|| Daemon::start(plug.path(), directory.path()));
        reports.push(device.wait_until_done());
        plug.pull();
    }
    assert!(daemon.unwrap().stop().success());
    Log::read(directory.path()).assert_holds(&reports);
}

#[test]
fn a_port_that_comes_late_holds_up_none_that_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut late = Plug::named("late", directory.path());
    let mut first = SimulatedDevice::start(1, 500, None);
    let mut daemon = Daemon::start_on(&[late.path(), first.port()], directory.path());
    let first = first.wait_until_done();
    let mut second = SimulatedDevice::start(2, 500, None);
    late.put(second.port());
    let second = second.wait_until_done();
    assert!(daemon.stop().success());
    Log::read(directory.path()).assert_holds(&[first, second]);
}

#[test]
fn a_device_is_refused_while_another_of_its_id_is_live() {
    let directory = tempfile::tempdir().unwrap();
    let mut plug = Plug::new(directory.path());
    let mut first_plug = Plug::named("first", directory.path());
    let mut first = SimulatedDevice::start(1, 2_000, None);
    first_plug.put(first.port());
    let mut other = SimulatedDevice::start(2, 10, None);
    plug.put(other.port());
    let mut daemon = Daemon::start_on(&[first_plug.path(), plug.path()], directory.path());
    other.wait_until_done();
    wait_for_events(directory.path(), 11);

    let mut clone = SimulatedDevice::start(1, 1_000, None);
    plug.put(clone.port());
    drop(other);
    eventually("a refusal in the log", || daemon.log().contains("the device is refused").then_some(()));
    first.wait_until_done();
    first_plug.pull();
    drop(first);
    clone.wait_until_done();
    assert!(daemon.stop().success());
    let log = Log::read(directory.path());
    log.assert_sequences();
    assert!(log.gaps().any(|gap| gap["end_unknown"] == true), "the first device's epoch is over");
}

#[test]
fn noise_is_dropped_and_told_of_at_a_bounded_rate() {
    let directory = tempfile::tempdir().unwrap();
    let mut plug = Plug::new(directory.path());
    let (mut babbler, end) = UnixStream::pair().unwrap();
    let cable = Cable::plug(end).unwrap();
    plug.put(cable.port());
    let mut daemon = Daemon::start(plug.path(), directory.path());
    eventually("a complaint about noise", || {
        babbler.write_all(&noise(64 * 1024)).unwrap();
        daemon.log().contains(NOISE_COMPLAINT).then_some(())
    });
    babbler.write_all(&noise(1 << 20)).unwrap();
    daemon.assert_alive();
    plug.pull();
    drop((babbler, cable));

    let mut device = SimulatedDevice::start(1, 500, None);
    plug.put(device.port());
    let report = device.wait_until_done();
    assert!(daemon.stop().success());
    let complaints = daemon.log().lines().filter(|line| line.contains(NOISE_COMPLAINT)).count();
    assert!((1..10).contains(&complaints), "{complaints} complaints of a megabyte of noise");
    Log::read(directory.path()).assert_holds(&[report]);
}

#[test]
fn a_follower_in_another_process_sees_every_event_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = SimulatedDevice::start(1, 3_000, None);
    let mut daemon = Daemon::start(device.port(), directory.path());
    wait_for_events(directory.path(), 1);
    let mut tail = command("tail", directory.path()).arg("--follow").stdout(Stdio::piped()).spawn().unwrap();
    let mut followed = BufReader::new(tail.stdout.take().unwrap()).lines();
    let report = device.wait_until_done();
    for global in 0..report.offered - report.dropped {
        let line = followed.next().unwrap().unwrap();
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["global_seq"], global);
    }
    drop(followed);
    let ended = eventually("a follower whose reader is gone ends", || tail.try_wait().unwrap());
    assert!(ended.success());
    assert!(daemon.stop().success());
}

#[test]
fn events_of_unknown_firmware_are_printed_with_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = SimulatedDevice::start(1, 64, None);
    let mut daemon = Daemon::start(device.port(), directory.path());
    device.wait_until_done();
    assert!(daemon.stop().success());

    let notices = lines("tail", directory.path(), &["--stream", "demo.notice"]);
    assert_eq!(notices[0]["event"]["kind"]["Started"]["firmware"], "demo 1.0");
    assert_eq!(notices[1]["event"]["kind"]["Alarm"]["code"], 1);
    assert_eq!(notices.len(), 2);
    let id = notices[0]["stream_id"].to_string();
    let all = lines("tail", directory.path(), &["--id", &id, "--from", "60"]);
    let nths: Vec<u64> = all.iter().map(|line| line["event"]["nth"].as_u64().unwrap()).collect();
    assert_eq!(nths, [60, 61, 62, 63]);
    assert!(all[0]["event"]["temperature"].is_f64());
    let time = all[0]["time"].as_str().unwrap();
    assert!(
        time.starts_with("20") && time.ends_with('Z') && time.len() == "2026-01-01T00:00:00.000000Z".len()
    );
    let streams = lines("streams", directory.path(), &[]);
    assert_eq!(streams.iter().map(|stream| stream["next"].as_u64().unwrap()).sum::<u64>(), 64);
}

#[test]
fn what_cannot_begin_ends_with_code_2_and_one_line_that_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let device = SimulatedDevice::start(1, 1, None);
    let run = |port: &Path, store: &Path| {
        let mut command = command("run", Path::new(""));
        command.args(["--port".as_ref(), port.as_os_str(), "--store".as_ref(), store.as_os_str()]);
        command
    };
    let mut missing_port = run(Path::new("/dev/varve-no-such-port"), directory.path());
    assert_refused(&mut missing_port, "/dev/varve-no-such-port");

    let owned = directory.path().join("owned");
    let _owner = Varve::new(&owned).unwrap();
    assert_refused(&mut run(device.port(), &owned), "end that process");

    let (nothing, file) = (directory.path().join("nothing"), directory.path().join("file"));
    fs::write(&file, "no store").unwrap();
    for reader in ["tail", "streams", "devices", "status", "verify"] {
        for store in [&nothing, &file] {
            assert_refused(command(reader, Path::new("")).arg("--store").arg(store), "check the path");
        }
    }
}

#[test]
fn who_reads_slowly_keeps_no_page_of_the_store_from_being_used_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut device = SimulatedDevice::start(1, 2_000, None);
    let mut daemon = Daemon::start(device.port(), directory.path());
    device.wait_until_done();
    let mut tail = command("tail", directory.path()).stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = tail.stdout.take().unwrap();
    // Once there is a byte, it waits for a reader of all that the pipe does not hold.
    printed.read_exact(&mut [0]).unwrap();
    assert_eq!(status(directory.path())["pins"], serde_json::json!([]));
    let mut rest = Vec::new();
    printed.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 1 << 17, "a pipe holds all of it");
    assert!(tail.wait().unwrap().success());
    assert!(daemon.stop().success());
}

#[test]
fn a_port_has_one_daemon() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut device = SimulatedDevice::start(1, 1_000, None);
    let mut daemon = Daemon::start(device.port(), directory.path());
    wait_for_events(directory.path(), 1);
    let mut second = command("run", Path::new(""));
    second.arg("--port").arg(device.port()).arg("--store").arg(other.path());
    assert_refused(&mut second, "no other program has it");
    device.wait_until_done();
    assert!(daemon.stop().success());
}

#[test]
fn the_demo_balances_on_faulty_lines_and_tells_its_account_as_json() {
    let account = demo(&["--devices", "2", "--events", "1500", "--faults", "--seed", "5"]);
    let number = |key: &str| account[key].as_u64().unwrap();
    assert_eq!((number("offered"), number("stored"), number("gap_events")), (3_000, 3_000, 0));
    assert!(number("frames") > 0 && number("wire_bytes") > 3_000 && number("disk_bytes") > 3_000);
    assert!(account["duplicates_refused"].is_u64() && account["elapsed_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_an_overloaded_device_drops_is_in_gaps_and_the_demo_balances() {
    let account = demo(&["--devices", "1", "--events", "10000", "--load", "200"]);
    let number = |key: &str| account[key].as_u64().unwrap();
    assert!(number("gap_events") > 0, "a device that offers twice what its line carries");
    assert_eq!(number("stored") + number("gap_events"), 10_000);
}

/// The account of a demo, which balances.
fn demo(args: &[&str]) -> Value {
    let output = Command::new(Daemon::build()).args(["demo", "--json"]).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Starts the daemon and kills it, `rounds` times, each time after it has stored more than before. Returns how many
/// events it had stored before the last time.
fn kill_again_and_again(directory: &Path, port: &Path, rounds: u64) -> u64 {
    let mut stored = 0;
    for round in 0..rounds {
        let mut daemon = Daemon::start(port, directory);
        stored = wait_for_events(directory, stored + 1 + round * 37 % 200);
        daemon.kill();
    }
    stored
}

/// Lets a daemon take in what the device still has.
fn finish(directory: &Path, device: &mut SimulatedDevice) -> DeviceReport {
    let mut daemon = Daemon::start(device.port(), directory);
    let report = device.wait_until_done();
    assert!(daemon.stop().success());
    report
}

/// Waits until the store of a daemon holds `count` events, and tells how many it holds.
fn wait_for_events(directory: &Path, count: u64) -> u64 {
    eventually("more events in the store", || {
        let view = Varve::open_read_only(Daemon::store(directory)).ok()?;
        let stored = view.next_global_seq().ok()?;
        (stored >= GlobalSequence(count)).then_some(stored.0)
    })
}

/// How much more than usual is to be done: `VARVE_TEST_SCALE`.
fn scale() -> u64 {
    std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

/// What a daemon logs of frames that are none.
const NOISE_COMPLAINT: &str = "frames that cannot be read were dropped";

/// Bytes without sense, zeros among them, so that frames end.
fn noise(len: usize) -> Vec<u8> {
    let step = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*state >> 24) as u8 & 0x3f)
    };
    std::iter::repeat_n((), len).scan(7, |state, ()| step(state)).collect()
}

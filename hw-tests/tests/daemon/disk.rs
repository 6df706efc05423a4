//! The daemon on a disk that others fill.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::Value;
use varve_core::{Config, StreamId, TAIL_LEN_MIN, Varve};
use varve_hw_tests::{
    Daemon, SimulatedDevice, eventually, mount_small_disk, remount_read_only, with_own_mounts,
};

use crate::{
    commands::{lines, status},
    log::Log,
    wait_for_events,
};

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_it_goes_on_when_there_is_room() {
    let test = "disk::on_a_full_disk_nothing_is_acknowledged_and_it_goes_on_when_there_is_room";
    with_own_mounts(test, fill_and_free).unwrap_or_else(|not_here| not_here.skip(test));
}

fn fill_and_free() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    make_store(directory.path(), &disk);
    let mut device = SimulatedDevice::start(1, 30_000, None);
    let mut daemon = Daemon::start(device.port(), directory.path());
    wait_for_events(directory.path(), 500);
    let ballast = fill(&disk);
    let stored = wait_until_full(directory.path());
    let dropped = device.progress().dropped;
    eventually("a device that drops events", || (device.progress().dropped > dropped).then_some(()));
    assert_eq!(lines("tail", directory.path(), &[]).len() as u64, stored, "readers go on");
    assert_eq!(status(directory.path())["next"], stored, "nothing is stored");
    fs::remove_file(ballast).unwrap();
    wait_for_events(directory.path(), stored + 1);
    assert_eq!(status(directory.path())["daemon"]["state"], "serving");

    // What it had taken in and not acknowledged goes with it; the device has it still.
    let ballast = fill(&disk);
    wait_until_full(directory.path());
    daemon.kill();
    let mut refused = Daemon::start(device.port(), directory.path());
    let code = eventually("a daemon that cannot begin on a full disk", || refused.ended());
    assert_eq!(code.code(), Some(2));
    assert!(refused.log().contains("make room on its disk"));
    fs::remove_file(ballast).unwrap();

    let mut daemon = Daemon::start(device.port(), directory.path());
    let report = device.wait_until_done();
    assert!(daemon.stop().success());
    assert_eq!(daemon.log().matches("the store is full").count(), 2);
    assert_eq!(daemon.log().matches("there is room again").count(), 1);
    Log::read(directory.path()).assert_holds(&[report]);
}

#[test]
fn a_store_on_a_disk_that_can_only_be_read_is_read() {
    let test = "disk::a_store_on_a_disk_that_can_only_be_read_is_read";
    with_own_mounts(test, read_alone).unwrap_or_else(|not_here| not_here.skip(test));
}

fn read_alone() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("disk");
    make_store(directory.path(), &disk);
    let mut varve = Varve::new(Daemon::store(directory.path())).unwrap();
    varve.stream::<u64, 8>("numbers").unwrap().append(StreamId(7), &42).unwrap();
    drop(varve);
    remount_read_only(&disk);
    assert_eq!(lines("tail", directory.path(), &[]).len(), 1);
    let told = status(directory.path());
    assert_eq!(
        (&told["next"], &told["pins"]),
        (&1.into(), &Value::Array(Vec::new())),
        "nobody can be noted there"
    );
}

/// Makes the store of a daemon on a small disk, with a tail that is soon full. The daemon's log is not on that disk.
fn make_store(directory: &Path, disk: &Path) {
    fs::create_dir(disk).unwrap();
    mount_small_disk(disk, DISK_LEN);
    fs::create_dir(disk.join("store")).unwrap();
    symlink(disk.join("store"), Daemon::store(directory)).unwrap();
    let mut config = Config::default();
    config.tail_len = TAIL_LEN_MIN;
    Varve::with_config(Daemon::store(directory), config).unwrap();
}

/// Takes all the room that a disk has, in a file.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("ballast");
    let mut ballast = File::create(&path).unwrap();
    let full = (0..=DISK_LEN / 4096).find_map(|_| ballast.write_all(&[0; 4096]).err());
    assert_eq!(full.unwrap().kind(), ErrorKind::StorageFull);
    path
}

/// Waits until the daemon says that the disk is full, and tells how many events are stored.
fn wait_until_full(directory: &Path) -> u64 {
    let told = eventually("a daemon that says that the disk is full", || {
        let told = status(directory);
        (told["daemon"]["state"] == "full").then_some(told)
    });
    assert!(told["daemon"]["reason"].as_str().unwrap().contains("the disk is full"), "{told}");
    told["next"].as_u64().unwrap()
}

const DISK_LEN: u64 = 16 << 20;

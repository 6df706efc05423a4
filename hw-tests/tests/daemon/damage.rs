//! The daemon on a store that is damaged while it serves.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use varve_hw_tests::{Daemon, SimulatedDevice, eventually};

use crate::{commands::lines, log::Log, plug::Plug};

/// Of the first device the row of a stream, of the second that of a lane: what they send cannot be stored any more.
#[test]
fn a_device_whose_rows_are_damaged_is_refused_and_the_others_are_served() {
    let directory = tempfile::tempdir().unwrap();
    let [mut one, mut other] = ["one", "other"].map(|name| Plug::named(name, directory.path()));
    let mut reports = Vec::new();
    // The last block, with its rows, is written anew when it goes on: it is to hold nothing of the first device.
    for (number, events) in [(1, 300), (2, 5_000)] {
        let mut device = SimulatedDevice::start(number, events, None);
        let mut daemon = Daemon::start(device.port(), directory.path());
        reports.push(device.wait_until_done());
        assert!(daemon.stop().success());
    }
    let mut served = SimulatedDevice::start(3, 10, None);
    one.put(served.port());
    let mut daemon = Daemon::start_on(&[one.path(), other.path()], directory.path());
    reports.push(served.wait_until_done());
    damage(directory.path(), &[18, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 1], 12);
    damage(directory.path(), &[29, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 2], 9 + 28);

    for (number, place) in [(1, "table stream"), (2, "table cursor")] {
        let refused = SimulatedDevice::start(number, 100, None);
        other.put(refused.port());
        eventually("a refusal that tells of the damage", || {
            let is_told =
                |line: &str| line.contains("what is stored of it is damaged") && line.contains(place);
            daemon.log().lines().any(is_told).then_some(())
        });
        one.pull();
        served = SimulatedDevice::start(10 + number, 300, None);
        one.put(served.port());
        reports.push(served.wait_until_done());
        other.pull();
    }
    assert!(daemon.stop().success());
    Log::read(directory.path()).assert_sequences();
    // That the first device was reset is told, where it came before its events; of these none is stored.
    let lines = lines("tail", directory.path(), &[]);
    let stored = lines.iter().filter(|line| line["stream"] != "varve.gap").count() as u64;
    assert_eq!(stored, reports.iter().map(|report| report.offered - report.dropped).sum::<u64>());
}

/// Flips a bit of the value, `at` bytes behind the front of the key, in each row of LMDB's that begins like `front`: the
/// lengths of value and key, and the key's first bytes.
fn damage(directory: &Path, front: &[u8], at: usize) {
    let path = Daemon::store(directory).join("data.mdb");
    let data = fs::read(&path).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let rows: Vec<_> = (0..data.len() - 64).filter(|&row| data[row..].starts_with(front)).collect();
    assert!(!rows.is_empty());
    for row in rows {
        let at = row + 8 + at;
        file.write_all_at(&[data[at] ^ 0x40], at as u64).unwrap();
    }
}

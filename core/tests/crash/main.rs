//! What a power cut, a kill, a failing disk and a full one leave of a store.
//!
//! The file calls of these tests go through `varve-disk-shim`. `VARVE_TEST_SCALE` multiplies the cases, and
//! `VARVE_TEST_SEED` runs the one again that a failure has named.
#![cfg(feature = "store")]

mod boot;
mod burst;
mod contents;
mod damage;
mod failing;
mod full_disk;
mod history;
mod keys;
mod lineage;
mod marks;
mod power_cuts;
mod restoring;
mod steps;
mod surveyor;
mod unreadable;
mod upkeep;
mod watermark;
mod workload;

use std::io::Write;

use rkyv::{Archive, Serialize};
use varve_core::{Config, Event, RetentionPolicy, TAIL_LEN_MIN};

use contents::EVENTS_KEPT;

/// A sensor's reading: 19 bytes when archived.
#[derive(Clone, Copy, Debug, Archive, Serialize, Event)]
struct Reading {
    celsius: f32,
    humidity: u8,
    pressure: u32,
    battery: u16,
    serial: u64,
}

/// Text of any length.
#[derive(Clone, Debug, Archive, Serialize, Event)]
struct Note {
    serial: u64,
    text: String,
}

const READINGS: &str = "readings";
const NOTES: &str = "notes";

/// The most bytes that a note takes.
const NOTE_LEN_MAX: usize = 1024;

fn archived<T: Event>(event: &T) -> Vec<u8> {
    let mut bytes = vec![0; 2 * NOTE_LEN_MAX];
    let len = varve_core::archive_into(event, &mut bytes).expect("the buffer is large");
    bytes.truncate(len);
    bytes
}

/// Durable commits, and a tail so short that it is folded often. An owner first looks at the use of LMDB's pages, which is
/// whole after any crash. A build that seals seals every other stream, by the
/// master key of that number. A store that `retires` lets go of old events whenever it folds, and has room set aside for
/// some of them.
fn config(master: u8, retires: bool) -> Config {
    let mut config = Config::default();
    config.tail_len = TAIL_LEN_MIN;
    config.map_size = Some(1 << 30);
    config.check_pages = true;
    if retires {
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(EVENTS_KEPT);
        config.retention = Some(policy);
        config.preallocate = 512 << 10;
    }
    #[cfg(feature = "encryption")]
    {
        let mut encryption = varve_core::Encryption::new(master_key(master));
        encryption.streams = varve_core::SealedStreams::Named(vec![READINGS.into()]);
        config.encryption = Some(encryption);
    }
    #[cfg(not(feature = "encryption"))]
    let _ = master;
    config
}

#[cfg(feature = "encryption")]
fn master_key(number: u8) -> varve_core::MasterKey {
    varve_core::MasterKey::from_bytes([number; 32])
}

/// A directory in memory, where there is such a thing: a flush takes no time there.
fn new_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("there is room for temporary files")
}

/// Whether the tests can run here; says so where they cannot, past the test harness.
fn is_supported() -> bool {
    if !varve_disk_shim::IS_SUPPORTED {
        let _ = writeln!(std::io::stderr(), "skipped: file calls are seen with glibc on 64-bit Linux alone");
    }
    varve_disk_shim::IS_SUPPORTED
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How much more than usual is to be done.
fn scale() -> u64 {
    variable("VARVE_TEST_SCALE").unwrap_or(1)
}

/// Whether all of it is to be done.
fn is_whole() -> bool {
    scale() >= 10
}

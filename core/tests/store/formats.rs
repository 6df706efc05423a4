//! Each format that was ever released, and the one that is to be, is read by all that come after.
//!
//! `tests/fixtures/format-N` holds a small store of format N as LMDB and the tail have it on 64-bit little-endian hosts,
//! a backup of it, and what both hold as text. With `VARVE_FIXTURE_DIR=<directory>` the test of the current format
//! makes them anew, in that directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use varve_core::{FORMAT_VERSION, StreamId, TAIL_LEN_MIN, Varve, restore, verify};

use crate::whole::{Whole, fill_with};
use crate::{Reading, new_dir, reading, relaxed};

fn fixture(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/format-{format}"))
}

/// Makes the fixture of the current format in `dir`: most of the store in LMDB, the last events in the tail.
fn make(dir: &Path) {
    let store = dir.join("store");
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    let mut varve = Varve::with_config(&store, config).unwrap();
    fill_with(&mut varve, 3, 4);
    varve.fold().unwrap();
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    readings.append(StreamId(9), &reading(9)).unwrap();
    let mut backup = Vec::new();
    varve.snapshot().unwrap().back_up(&mut backup).unwrap();
    fs::write(dir.join("backup"), backup).unwrap();
    drop((varve, readings));
    let view = Varve::open_read_only(&store).unwrap();
    fs::write(dir.join("contents.txt"), Whole::of(&view).to_text()).unwrap();
    drop(view);
    for file in ["lock.mdb", "owner.lock"] {
        fs::remove_file(store.join(file)).unwrap();
    }
}

#[track_caller]
fn check(store: &Path, contents: &str) {
    assert_eq!(Whole::of(&Varve::open_read_only(store).unwrap()).to_text(), contents);
    let report = verify(store).unwrap();
    assert!(report.is_sound(), "{report}");
}

fn goes_on(store: &Path) {
    let mut varve = Varve::with_config(store, relaxed()).unwrap();
    let next = varve.next_global_seq().unwrap();
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    assert_eq!(readings.append(StreamId(9), &reading(10)).unwrap().1, next);
}

#[test]
fn a_backup_of_each_format_is_restored() {
    for format in 0..=FORMAT_VERSION {
        let (dir, target) = (fixture(format), new_dir());
        let store = target.path().join("store");
        restore(fs::read(dir.join("backup")).unwrap().as_slice(), &store).unwrap();
        check(&store, &fs::read_to_string(dir.join("contents.txt")).unwrap());
        goes_on(&store);
    }
}

#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
#[test]
fn a_store_of_each_format_is_read_and_written_on() {
    for format in 0..=FORMAT_VERSION {
        let (dir, target) = (fixture(format), new_dir());
        for file in fs::read_dir(dir.join("store")).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), target.path().join(file.file_name())).unwrap();
        }
        check(target.path(), &fs::read_to_string(dir.join("contents.txt")).unwrap());
        goes_on(target.path());
        check_grown(target.path());
    }
}

#[cfg(all(target_pointer_width = "64", target_endian = "little"))]
fn check_grown(store: &Path) {
    let report = verify(store).unwrap();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_fixture_of_the_current_format_can_be_made() {
    let made = new_dir();
    let dir = env::var_os("VARVE_FIXTURE_DIR").map_or(made.path().to_path_buf(), PathBuf::from);
    make(&dir);
    let target = new_dir();
    let store = target.path().join("store");
    restore(fs::read(dir.join("backup")).unwrap().as_slice(), &store).unwrap();
    check(&store, &fs::read_to_string(dir.join("contents.txt")).unwrap());
}

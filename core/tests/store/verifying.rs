//! Verification finds whatever cannot be right, says where, and takes nobody down with it.

use std::env;
use std::fs;
use std::io::{Write, stdout};
use std::path::Path;
use std::process::Command;

use varve_core::{
    ChildError, FINDINGS_MAX, GlobalSequence, Place, Varve, VerifyReport, verify, verify_in_child,
};

use crate::damage::{break_block, edit};
use crate::whole::{blocks, fill, filled};
use crate::{new_dir, open};

/// The report on a store whose rows of `table` were changed behind its back.
fn after(table: &str, change: impl Fn(&[u8], &mut Vec<u8>)) -> VerifyReport {
    let dir = filled();
    edit(dir.path(), table, change);
    verify(dir.path()).unwrap()
}

#[track_caller]
fn check(report: &VerifyReport, place: &str, reason: &str) {
    let is_told = |finding: &varve_core::Finding| finding.place.contains(place) && finding.reason == reason;
    assert!(report.findings.iter().any(is_told), "{reason} at {place}, but:\n{report}");
}

/// The first row of a table is removed.
fn without_first() -> impl Fn(&[u8], &mut Vec<u8>) {
    let removed = std::cell::Cell::new(false);
    move |_, value| {
        if !removed.replace(true) {
            value.clear();
        }
    }
}

#[test]
fn rows_are_verified_without_the_blocks() {
    let rows_of = |dir: &Path| Varve::open_read_only(dir).unwrap().snapshot().unwrap().verify_rows();
    let dir = filled();
    break_block(dir.path(), 0);
    assert!(!verify(dir.path()).unwrap().is_sound());
    assert!(rows_of(dir.path()).is_sound(), "it looks into none");
    let without = |table: &str| {
        let dir = filled();
        edit(dir.path(), table, without_first());
        rows_of(dir.path())
    };
    check(&without("name"), "table stream_info", "its name has no number");
    check(&without("descriptor"), "table hash", "its descriptor is another");
    check(&without("device"), "table device_id", "its device has another id");
    check(&without("block"), "table stream", "its block is missing");
}

#[test]
fn a_sound_store_is_found_sound_and_counted() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let next = fill(&mut varve);
    let check = || {
        let report = verify(dir.path()).unwrap();
        assert!(report.is_sound(), "{report}");
        assert_eq!((report.events, report.lost_events), (next, 0));
        assert_eq!((report.streams, report.devices), (6, 1));
        let rows = Varve::open_read_only(dir.path()).unwrap().snapshot().unwrap().verify_rows();
        assert!(rows.is_sound(), "{rows}");
        assert_eq!((rows.events, rows.streams, rows.devices), (0, 6, 1));
    };
    drop(varve);
    check();
    open(&dir).fold().unwrap();
    check();
    let empty = new_dir();
    drop(open(&empty));
    assert!(verify(empty.path()).unwrap().is_sound());
}

#[test]
fn a_snapshot_is_verified_while_its_store_is_written_to() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let next = fill(&mut varve);
    let snapshot = varve.snapshot().unwrap();
    varve.stream::<u64, 8>("later").unwrap().append(varve_core::StreamId(0), &1).unwrap();
    let report = snapshot.verify();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.events, next);
}

#[test]
fn a_damaged_block_is_a_finding_with_its_place() {
    let dir = filled();
    let second = blocks(dir.path())[1];
    break_block(dir.path(), second);
    let report = verify(dir.path()).unwrap();
    check(&report, &Place::Block(GlobalSequence(second)).to_string(), "its checksum is wrong");
    assert_eq!(report.findings_total, 1, "{report}");
}

#[test]
fn a_block_that_is_missing_is_found_from_the_log_and_from_the_index() {
    let dir = filled();
    let blocks = blocks(dir.path());
    edit(dir.path(), "block", |key, value| {
        if *key == blocks[1].to_be_bytes() {
            value.clear();
        }
    });
    let report = verify(dir.path()).unwrap();
    let place = Place::Block(GlobalSequence(blocks[2])).to_string();
    check(&report, &place, "it does not follow the block before it");
    check(&report, "table stream", "its block is missing");
}

#[test]
fn an_index_that_disagrees_with_the_log_is_found_from_either_side() {
    // The doors are stream 4, and have runs in several blocks.
    let is_first_of_doors = |key: &[u8]| key[..4] == [0, 0, 0, 4] && key[4..] == [0; 8];
    let missing = after("stream", |key, value| {
        if is_first_of_doors(key) {
            value.clear();
        }
    });
    check(&missing, "table stream", "it does not locate its run");
    check(&missing, "table stream", "it does not follow the run before");
    let moved = after("stream", |key, value| {
        if is_first_of_doors(key) {
            value[8] += 1;
        }
    });
    check(&moved, "table stream", "it does not locate its run");
    let longer = after("stream", |_, value| value[10] += 1);
    check(&longer, "table stream", "it locates no run");
    let longer_and_whole = after("stream", |key, value| {
        value[10] += 1;
        let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value[..14]);
        value[14..].copy_from_slice(&crc.to_le_bytes());
    });
    check(&longer_and_whole, "table stream", "it is not what the block says");
}

#[test]
fn an_index_by_time_that_disagrees_with_the_log_is_found() {
    let reason = "it is not what the block says";
    check(&after("time", |_, value| value[8] ^= 1), "table time", reason);
    check(&after("time", |_, value| value[3] = 1), "table time", reason);
    check(&after("time", |_, value| value.truncate(5)), "table time", "it tells no times");
    let told_in_part = after("time", |_, value| *value = 1u32.to_le_bytes().to_vec());
    assert!(told_in_part.is_sound(), "a reader looks into such blocks:\n{told_in_part}");
    let without_block = after("block", without_first());
    check(&without_block, "table time", "its block is missing");
}

#[test]
fn names_that_disagree_are_found() {
    check(&after("name", without_first()), "table stream_info", "its name has no number");
    check(
        &after("stream_id", without_first()),
        "table stream_info",
        "its name and id lead to another stream",
    );
    let report = after("stream_info", without_first());
    check(&report, "table stream_id", "its stream is missing");
    check(&report, "block", "a run's stream is missing");
    let renamed = after("stream_info", |_, value| value[0] ^= 1);
    check(&renamed, "table stream_id", "its stream has another name or id");
}

#[test]
fn descriptors_are_held_to_their_hashes() {
    let mended = after("descriptor", |_, value| *value.last_mut().unwrap() ^= 1);
    assert!(!mended.is_sound());
    let relabelled = after("descriptor", |_, value| value[8] ^= 1);
    check(&relabelled, "table descriptor", "its hashes are not those of its bytes");
    check(&relabelled, "table hash", "its descriptor is another");
    check(&after("hash", without_first()), "table descriptor", "its hash leads to another");
    let missing = after("descriptor", without_first());
    check(&missing, "block", "a run's descriptor is missing");
    check(&missing, "table layout", "its descriptor is missing");
    check(&after("layout", |_, value| value[0] = 2), "table layout", "its descriptor has another layout");
}

#[test]
fn the_account_of_every_device_is_closed() {
    check(&after("device", without_first()), "table cursor", "its device is missing");
    check(&after("device", |_, value| value[0] ^= 1), "table device_id", "its device has another id");
    check(&after("device_id", without_first()), "table device", "its id leads to another device");
    check(&after("domain", without_first()), "table clock", "its clock domain is missing");
    check(&after("clock", |_, value| value.truncate(4)), "table clock", "it maps no ticks");
    check(&after("cursor", without_first()), "block", "a run's lane has no cursor");
    let lost_more = |_: &[u8], value: &mut Vec<u8>| value[12] += 1;
    // All that the number space has.
    let lost_all = |_: &[u8], value: &mut Vec<u8>| value[..28].fill(0xff);
    let reason = "the events stored and those in gaps are not what it has passed";
    check(&after("cursor", lost_more), "table cursor", reason);
    check(&after("cursor", lost_all), "table cursor", reason);
    let unheard = |_: &[u8], value: &mut Vec<u8>| value[20] = 0;
    check(&after("cursor", unheard), "table cursor", "more is stored than was ever heard of");
    let behind = |_: &[u8], value: &mut Vec<u8>| value[0] = 4;
    check(&after("cursor", behind), "block", "a run goes beyond the cursor of its lane");
}

#[test]
fn a_consumer_beyond_the_log_is_found() {
    let report = after("consumer", |_, value| *value = 10_000u64.to_le_bytes().to_vec());
    check(&report, "table consumer", "it exceeds the log");
    check(
        &after("consumer", |_, value| value.truncate(7)),
        "table consumer",
        "it is no cursor of a consumer",
    );
}

#[test]
fn what_keeps_a_store_from_opening_is_a_finding_too() {
    let report = after("meta", |key, value| {
        if key == b"incarnation" {
            value.truncate(1);
        }
    });
    check(&report, "table meta", "the store has no incarnation");
    assert!(verify(new_dir().path()).is_err(), "there is no store");
}

#[test]
fn a_report_lists_so_many_findings_and_counts_the_rest() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    for n in 0..FINDINGS_MAX as u64 + 20 {
        numbers.append(varve_core::StreamId(n), &n).unwrap();
    }
    varve.fold().unwrap();
    drop((varve, numbers));
    edit(dir.path(), "stream_id", |_, value| value.clear());
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert!(report.findings_total >= FINDINGS_MAX as u64 + 20);
    assert!(report.to_string().ends_with("more\n"), "{report}");
}

/// What a child of the tests below does: this program, told by its environment which store to verify.
#[test]
fn child() {
    let Some(dir) = env::var_os(DIR) else { return };
    // The harness has begun a line.
    stdout().write_all(b"\n").unwrap();
    verify(Path::new(&dir)).unwrap().write_to(stdout()).unwrap();
}

fn in_child(dir: &Path) -> Result<VerifyReport, ChildError> {
    let mut command = Command::new(env::current_exe().unwrap());
    verify_in_child(command.args(["verifying::child", "--exact", "--nocapture"]).env(DIR, dir))
}

const DIR: &str = "VARVE_TEST_VERIFY_DIR";

#[test]
fn a_child_reports_what_was_found() {
    let dir = filled();
    assert_eq!(in_child(dir.path()).unwrap(), verify(dir.path()).unwrap());
    break_block(dir.path(), 0);
    edit(dir.path(), "stream", |_, value| value[10] += 1);
    let report = in_child(dir.path()).unwrap();
    assert!(report.findings.len() > 10);
    assert_eq!(report, verify(dir.path()).unwrap());
}

/// A data file that ends before the pages that its tree leads to: who reads them through a map is ended by a signal.
#[test]
fn a_child_that_a_signal_ended_is_a_finding() {
    let dir = filled();
    let data = dir.path().join("data.mdb");
    let whole = fs::read(&data).unwrap();
    fs::write(&data, &whole[..2 * 4096]).unwrap();
    let report = in_child(dir.path()).unwrap();
    assert!(!report.is_sound());
    check(&report, "data file", "reading it ended the process with signal 7");
}

/// As the system ends one that takes too much memory, or a user one that takes too long.
#[test]
fn a_child_that_somebody_ended_tells_nothing_of_the_store() {
    let error = verify_in_child(Command::new("sh").args(["-c", "kill -9 $$"])).unwrap_err();
    assert!(matches!(error, ChildError::NoReport { .. }));
    assert!(error.to_string().contains("signal: 9"), "{error}");
}

#[test]
fn a_child_that_tells_nothing_is_an_error_that_says_why() {
    let error = in_child(new_dir().path()).unwrap_err();
    assert!(matches!(error, ChildError::NoReport { .. }));
    assert!(error.to_string().contains("NotAStore"), "{error}");
    assert!(matches!(verify_in_child(&mut Command::new("/no/such/program")), Err(ChildError::Io(_))));
    assert!(Varve::open_read_only(filled().path()).is_ok());
}

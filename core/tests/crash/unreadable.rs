//! A disk that has lost some sectors: a salvage saves what is around them.

use std::path::Path;

use varve_core::{AbsenceReason, GlobalSequence, ReadError, StreamId, Varve, salvage};
use varve_disk_shim::{Call, Failure, Fault, Lasting, Watch};

use crate::{NOTE_LEN_MAX, NOTES, Note, archived, config, is_supported, new_dir, scale};

#[test]
fn a_salvage_goes_on_behind_what_the_disk_has_lost() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let stored = fill(dir.path());
    let watch = Watch::new(dir.path()).unwrap();
    for file in ["data.mdb", "tail"] {
        let failing = |after, lasting| {
            let (call, failure) = (Some(Call::Read), Failure::Device);
            watch.fail(Fault { call, file: Some(file), after, failure, lasting });
            check_salvage(dir.path(), &stored, &format!("{file}, read {after}"))
        };
        assert_eq!(failing(u64::MAX, Lasting::Once), 0, "nothing fails");
        let reads = watch.met();
        let step = reads.div_ceil(TRIALS * scale());
        for after in (0..reads).step_by(step as usize) {
            let lost = failing(after, Lasting::Once);
            assert!(lost <= LOST_MAX, "read {after} of {file}: {lost} events are lost");
        }
        let lost = failing(0, Lasting::FromThenOn);
        assert!((1..stored.len() as u64).contains(&lost), "the other file is there: {lost} events are lost");
    }
}

/// Stores notes, the last of them in the tail, and returns their bytes.
fn fill(dir: &Path) -> Vec<Vec<u8>> {
    let mut varve = Varve::with_config(dir, config(0, false)).unwrap();
    let mut stream = varve.stream::<Note, NOTE_LEN_MAX>(NOTES).unwrap();
    let notes: Vec<_> = (0..NOTES_MADE).map(|serial| Note { serial, text: "lost?".repeat(100) }).collect();
    for note in &notes {
        stream.append(StreamId(note.serial % 3), note).unwrap();
        if note.serial == NOTES_FOLDED {
            varve.fold().unwrap();
        }
    }
    notes.iter().map(archived).collect()
}

/// Salvages the store: each event that was stored is in the new one at its place, or is told to be lost. Returns how many are.
fn check_salvage(dir: &Path, stored: &[Vec<u8>], what: &str) -> u64 {
    let target = new_dir();
    let new = target.path().join("new");
    let report = salvage(dir, &new).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(report.events + report.lost_events, stored.len() as u64, "{what}: {report}");
    let view = Varve::open_read_only(&new).unwrap();
    for (event, global) in stored.iter().zip((0..).map(GlobalSequence)) {
        match view.global_reader().get(global) {
            Ok(found) => assert_eq!(&found.unwrap().payload, event, "{what}: event {global}"),
            Err(ReadError::Absent(absence)) => assert_eq!(absence.reason, AbsenceReason::Quarantined),
            Err(error) => panic!("{what}: event {global}: {error}"),
        }
    }
    report.lost_events
}

const NOTES_MADE: u64 = 500;

/// The last note that is folded: two thirds of them are.
const NOTES_FOLDED: u64 = 330;

/// The most notes that one read of a file holds: those of a block.
const LOST_MAX: u64 = 130;

/// How many reads of each file a plain run fails.
const TRIALS: u64 = 20;

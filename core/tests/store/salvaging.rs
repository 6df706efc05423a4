//! A salvage saves all that is whole, leaves every event at its place, and tells what is lost.

use std::fs;
use std::path::Path;

use varve_core::{
    AbsenceReason, Durability, GlobalSequence, OpenError, ReadError, SalvageError, SalvageReport, StreamId,
    StreamSequence, Varve, salvage, verify,
};

use crate::damage::{edit, remove_table, with_a_damaged_last_record};
use crate::whole::{Whole, blocks, fill, filled};
use crate::{Door, Reading, absence, door, new_dir, new_dir_in_memory, open, reading, relaxed};

/// Salvages into a directory of its own.
pub(crate) fn saved(dir: &Path) -> (SalvageReport, tempfile::TempDir) {
    let target = new_dir();
    let report = salvage(dir, target.path().join("new")).unwrap();
    (report, target)
}

/// Flips a bit in each copy of a block that the data file has, be it in use or not.
fn break_everywhere(dir: &Path, first: u64) {
    let data = dir.join("data.mdb");
    let mut file = fs::read(&data).unwrap();
    for at in 0..file.len() - 64 {
        if file[at..].starts_with(b"VRVB") && file[at + 16..at + 24] == first.to_le_bytes() {
            file[at + 70] ^= 1;
        }
    }
    fs::write(&data, file).unwrap();
}

/// Breaks blocks, and takes away the tail, which may hold them still.
pub(crate) fn lose_blocks(dir: &Path, firsts: &[u64]) {
    firsts.iter().for_each(|&first| break_everywhere(dir, first));
    fs::remove_file(dir.join("tail")).unwrap();
}

pub(crate) fn read(target: &tempfile::TempDir) -> varve_core::VarveView {
    Varve::open_read_only(target.path().join("new")).unwrap()
}

#[test]
fn a_data_file_that_the_system_cannot_read_is_not_taken_for_an_empty_one() {
    let dir = filled();
    let data = dir.path().join("data.mdb");
    fs::remove_file(&data).unwrap();
    fs::create_dir(&data).unwrap();
    let target = new_dir();
    let error = salvage(dir.path(), target.path().join("new")).unwrap_err();
    assert!(matches!(error, SalvageError::Io(_)), "{error}");
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "nothing is left behind");
}

/// Few of its bytes are on the disk: a file may be far longer than memory is.
#[test]
fn a_data_file_that_claims_any_length_is_read_where_the_tree_leads() {
    let dir = new_dir_in_memory();
    let mut varve = open(&dir);
    let events = fill(&mut varve);
    drop(varve);
    let data = fs::OpenOptions::new().write(true).open(dir.path().join("data.mdb")).unwrap();
    // Not every file system has files so long.
    let is_long = [1 << 62, 1 << 43].into_iter().any(|len| data.set_len(len).is_ok());
    assert!(is_long);
    let (report, _target) = saved(dir.path());
    assert_eq!((report.events, report.lost_events, report.unreadable_pages), (events, 0, 0));
}

#[test]
fn a_whole_store_is_saved_as_it_is_under_another_incarnation() {
    let dir = filled();
    let view = Varve::open_read_only(dir.path()).unwrap();
    let (whole, incarnation) = (Whole::of(&view), view.incarnation());
    drop(view);
    let (report, target) = saved(dir.path());
    assert_eq!((report.events, report.lost_events), (whole.events() as u64, 0));
    assert_eq!((report.rows_made_up, report.blocks_found_unlinked, report.unreadable_pages), (0, 0, 0));
    assert!(report.verification.is_sound(), "{report}");
    let view = read(&target);
    whole.assert_shown_by(&view);
    assert_eq!(report.salvaged_from, Some(incarnation));
    assert_eq!(report.incarnation, view.incarnation());
    assert_ne!(view.incarnation(), incarnation);
}

#[test]
fn events_of_a_damaged_block_are_a_named_absence_and_the_others_stay_where_they_were() {
    let dir = filled();
    let [_, first, end, ..] = blocks(dir.path())[..] else { panic!("there are several blocks") };
    lose_blocks(dir.path(), &[first]);
    let (report, target) = saved(dir.path());
    assert_eq!(report.lost_events, end - first);
    assert!(report.verification.is_sound(), "{report}");
    let view = read(&target);
    let snapshot = view.snapshot().unwrap();
    let mut events = snapshot.iter_from(GlobalSequence(0)).unwrap();
    assert_eq!(events.by_ref().take(first as usize).filter(Result::is_ok).count() as u64, first);
    let lost = GlobalSequence(first)..GlobalSequence(end);
    let told = absence(events.next().unwrap());
    assert_eq!((told.reason, told.log), (AbsenceReason::Quarantined, Some(lost.clone())));
    assert_eq!(events.map(Result::unwrap).count() as u64, report.events - first, "it goes on behind them");
    let end = lost.end;
    let next = snapshot.iter_from(end).unwrap().next().unwrap().unwrap();
    assert_eq!((next.global_seq, next.stream_name), (end, "doors"));
    assert_eq!(absence(view.global_reader().get(GlobalSequence(first + 1))).log, Some(lost));
    let mut doors = view.stream_reader::<Door>("doors").unwrap();
    let (last_lost, after) = (StreamSequence(next.stream_seq.0 - 1), next.stream_seq);
    let lost = absence(doors.get_bytes(StreamId(1), last_lost).map(drop));
    assert_eq!(lost.stream.unwrap().range.end, after);
    assert!(doors.get_bytes(StreamId(1), after).unwrap().is_some());
    assert_eq!(doors.version(StreamId(1)).unwrap(), 162);
}

/// Without the rows that locate them, runs of lost events are told by what is missing between those that are left.
#[test]
fn runs_of_lost_events_are_told_from_what_is_left_around_them() {
    let dir = filled();
    let [_, first, end, ..] = blocks(dir.path())[..] else { panic!("there are several blocks") };
    remove_table(dir.path(), "stream");
    lose_blocks(dir.path(), &[first]);
    let (report, target) = saved(dir.path());
    assert_eq!(report.lost_events, end - first);
    assert!(report.verification.is_sound(), "{report}");
    let mut doors = read(&target).stream_reader::<Door>("doors").unwrap();
    let lost = (0..162).filter(|&seq| {
        let read = doors.get_bytes(StreamId(1), StreamSequence(seq)).map(drop);
        read.is_err_and(|error| absence::<()>(Err(error)).reason == AbsenceReason::Quarantined)
    });
    assert_eq!(lost.count() as u64, end - first);
}

/// A block that was written anew has left a copy of what it was in pages that LMDB does not use.
#[test]
fn a_damaged_block_may_have_a_copy_that_is_whole() {
    let dir = filled();
    crate::damage::break_block(dir.path(), blocks(dir.path())[1]);
    let (report, _target) = saved(dir.path());
    assert_eq!((report.lost_events, report.blocks_found_unlinked), (0, 1));
}

/// The tail holds what was folded last until others take its place.
#[test]
fn what_a_damaged_block_held_may_still_be_in_the_tail() {
    let dir = filled();
    let damaged = blocks(dir.path())[1];
    let whole = Whole::of(&Varve::open_read_only(dir.path()).unwrap());
    edit(dir.path(), "meta", |key, value| {
        if key == b"folded" {
            value.clear();
        }
    });
    break_everywhere(dir.path(), damaged);
    let (report, target) = saved(dir.path());
    // The blocks of records end elsewhere than those that they were merged into.
    assert!(report.lost_events < 40, "{report}");
    assert_eq!(surviving(&target).len() as u64 + report.lost_events, whole.events() as u64);
}

#[test]
fn a_salvaged_store_goes_on_like_any_other() {
    let dir = filled();
    lose_blocks(dir.path(), &[0]);
    let (report, target) = saved(dir.path());
    let next = report.events + report.lost_events;
    let mut varve = Varve::with_config(target.path().join("new"), relaxed()).unwrap();
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    let appended = readings.append(StreamId(0), &reading(1)).unwrap();
    assert_eq!(appended, (StreamSequence(280), GlobalSequence(next)));
    assert!(varve.snapshot().unwrap().verify().is_sound());
}

/// A store of so many events that was never folded: all of them are in the tail.
fn in_the_tail(events: usize) -> tempfile::TempDir {
    let dir = new_dir();
    let mut doors = open(&dir).stream::<Door, 64>("doors").unwrap();
    for _ in 0..events {
        doors.append(StreamId(1), &door("Ada")).unwrap();
    }
    dir
}

#[test]
fn a_tail_that_lost_its_header_or_its_end_holds_what_is_left() {
    let lose_header: fn(&mut Vec<u8>) = |tail| tail[..PAGE_LEN].fill(0);
    let lose_end: fn(&mut Vec<u8>) = |tail| {
        let last = tail.chunks(PAGE_LEN).rposition(|sector| sector.starts_with(b"VRVR")).unwrap();
        tail.truncate((last + 1) * PAGE_LEN);
    };
    for lose in [lose_header, lose_end] {
        let dir = in_the_tail(3);
        let path = dir.path().join("tail");
        let mut tail = fs::read(&path).unwrap();
        lose(&mut tail);
        fs::write(&path, tail).unwrap();
        assert!(Varve::new(dir.path()).is_err(), "an owner does not go on with it");
        let (report, target) = saved(dir.path());
        assert_eq!((report.events, report.lost_events), (3, 0), "{report}");
        assert_eq!(surviving(&target).len(), 3);
    }
}

#[test]
fn a_tail_of_another_store_is_no_part_of_this_one() {
    let (dir, other) = (filled(), in_the_tail(3));
    fs::copy(other.path().join("tail"), dir.path().join("tail")).unwrap();
    let target = new_dir();
    let error = salvage(dir.path(), target.path().join("new")).unwrap_err();
    assert!(error.to_string().contains("its tail is that of another store"), "{error}");
    fs::remove_file(dir.path().join("tail")).unwrap();
    saved(dir.path());
}

/// It may lie on a disk that the system lets nobody write to any more.
#[test]
fn nothing_is_written_to_a_damaged_store() {
    let dir = filled();
    fs::remove_file(dir.path().join("owner.lock")).unwrap();
    let files = || {
        let files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.map(|path| (fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = files();
    saved(dir.path());
    assert!(files() == before);
}

/// No event to come may take the place of one that was acknowledged.
#[test]
fn what_the_watermark_counts_is_a_named_absence_though_nothing_else_tells_of_it() {
    let (report, target) = saved(with_a_damaged_last_record(Durability::Durable).path());
    assert_eq!((report.events, report.lost_events), (2, 1));
    assert!(report.verification.is_sound(), "{report}");
    let mut varve = Varve::with_config(target.path().join("new"), relaxed()).unwrap();
    assert_eq!(absence(varve.global_reader().get(GlobalSequence(2))).reason, AbsenceReason::Quarantined);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    assert_eq!(
        absence(doors.reader().get_bytes(StreamId(1), StreamSequence(2))).reason,
        AbsenceReason::Quarantined
    );
    assert_eq!(doors.append(StreamId(1), &door("Grace")).unwrap(), (StreamSequence(3), GlobalSequence(3)));
}

/// A block is lost together with the rows of its runs: nobody can tell whose its events were.
#[test]
fn no_stream_takes_a_place_that_a_lost_event_may_have_had() {
    let dir = filled();
    let view = Varve::open_read_only(dir.path()).unwrap();
    let streams = view.streams().unwrap();
    let end = view.next_global_seq().unwrap().0;
    drop(view);
    let last = *blocks(dir.path()).last().unwrap();
    edit(dir.path(), "stream", |_, value| {
        if value[..8] == last.to_le_bytes() {
            value.clear();
        }
    });
    break_everywhere(dir.path(), last);
    let (report, target) = saved(dir.path());
    assert!(report.lost_events > 0 && report.places_reserved > 0, "{report}");
    assert!(report.verification.is_sound(), "{report}");
    let view = read(&target);
    assert_eq!(view.next_global_seq().unwrap().0, end + report.places_reserved);
    let after = view.streams().unwrap();
    assert_eq!(after.len(), streams.len());
    for (stream, before) in after.iter().zip(&streams) {
        assert!(
            stream.name == before.name && stream.next >= before.next,
            "{stream:?}, and it was {before:?}"
        );
    }
}

/// Damages the data file page by page: whatever is hit, the salvage ends, and what it saves is what was stored.
#[test]
fn any_page_may_be_lost() {
    let dir = filled();
    let view = Varve::open_read_only(dir.path()).unwrap();
    let mut stored = Vec::new();
    view.snapshot().unwrap().iter_from(GlobalSequence(0)).unwrap().for_each(|event| {
        stored.push(event.unwrap().payload.to_vec());
    });
    drop(view);
    let data = dir.path().join("data.mdb");
    let good = fs::read(&data).unwrap();
    let ends = blocks(dir.path()).into_iter().skip(1).chain([stored.len() as u64]);
    let largest = blocks(dir.path()).into_iter().zip(ends).map(|(first, end)| end - first).max().unwrap();
    let pages = 0..good.len() / PAGE_LEN;
    for page in pages.step_by(20 / scale()) {
        let mut file = good.clone();
        let garbage = (0..PAGE_LEN).map(|byte| (byte * 7 + page) as u8);
        file.splice(page * PAGE_LEN..(page + 1) * PAGE_LEN, garbage);
        fs::write(&data, file).unwrap();
        let (report, target) = saved(dir.path());
        assert_eq!(report.events + report.lost_events, stored.len() as u64, "page {page}");
        assert!(report.lost_events <= largest, "a page is part of one block at most");
        for event in surviving(&target) {
            let (global, payload) = event;
            assert_eq!(stored[global.0 as usize], payload, "page {page}, event {global}");
        }
    }
}

const PAGE_LEN: usize = 4096;

/// 1, or 10 where everything is to be tried.
fn scale() -> usize {
    std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1).clamp(1, 10)
}

/// Every event that can be read.
fn surviving(target: &tempfile::TempDir) -> Vec<(GlobalSequence, Vec<u8>)> {
    let view = read(target);
    let snapshot = view.snapshot().unwrap();
    let events = snapshot.iter_from(GlobalSequence(0)).unwrap().filter_map(|event| match event {
        Ok(event) => Some((event.global_seq, event.payload.to_vec())),
        lost => {
            assert_eq!(absence(lost).reason, AbsenceReason::Quarantined);
            None
        }
    });
    events.collect()
}

#[test]
fn without_a_tree_the_blocks_are_found_where_they_lie() {
    let dir = filled();
    let whole = Whole::of(&Varve::open_read_only(dir.path()).unwrap());
    fs::remove_file(dir.path().join("tail")).unwrap();
    let data = dir.path().join("data.mdb");
    let mut file = fs::read(&data).unwrap();
    file[..2 * PAGE_LEN].fill(0);
    fs::write(&data, file).unwrap();
    let (report, target) = saved(dir.path());
    assert_eq!((report.events, report.lost_events), (whole.events() as u64, 0));
    assert_eq!(report.salvaged_from, None);
    assert!(report.blocks_found_unlinked > 0 && report.rows == 0 && report.rows_made_up > 0);
    assert_eq!(surviving(&target).len(), whole.events());
    let view = read(&target);
    assert!(view.streams().unwrap().iter().all(|stream| stream.name == "varve.salvaged"));
}

#[test]
fn rows_that_are_lost_are_made_up_so_that_their_events_can_be_read() {
    let dir = filled();
    edit(dir.path(), "stream_info", |key, value| {
        if key.ends_with(&[4]) {
            value.clear();
        }
    });
    edit(dir.path(), "stream_id", |_, value| {
        if value == &[4, 0, 0, 0] {
            value.clear();
        }
    });
    edit(dir.path(), "cursor", |_, value| value.clear());
    let (report, target) = saved(dir.path());
    assert_eq!(report.lost_events, 0);
    assert!(report.rows_made_up >= 3, "{report}");
    let view = read(&target);
    assert!(view.stream_reader::<Door>("varve.salvaged").is_ok());
    let made_up = view.streams().unwrap().into_iter().find(|stream| stream.name == "varve.salvaged").unwrap();
    assert_eq!((made_up.id, made_up.next), (StreamId(4), StreamSequence(162)));
    let device = view.devices().unwrap().remove(0);
    assert_eq!(device.lane(crate::LANE).unwrap().next.0, 5, "what is stored is not taken in again");
}

/// Otherwise a new name would take the number of another, and its events the streams of that.
#[test]
fn rows_that_tell_of_each_other_are_made_anew() {
    for table in ["name", "stream_id", "stream_info", "hash", "device_id"] {
        let dir = filled();
        let before = places(&Varve::open_read_only(dir.path()).unwrap());
        remove_table(dir.path(), table);
        let (report, target) = saved(dir.path());
        assert!(report.rows_made_up > 0 && report.verification.is_sound(), "{table}: {report}");
        assert_eq!(places(&read(&target)), before, "{table}");
        let mut varve = Varve::with_config(target.path().join("new"), relaxed()).unwrap();
        let doors = varve.view().stream_reader::<Door>("doors").unwrap();
        let version = doors.version(StreamId(1)).unwrap();
        varve.stream::<Door, 64>("gates").unwrap().append(StreamId(1), &door("Ada")).unwrap();
        assert_eq!(doors.version(StreamId(1)).unwrap(), version, "{table}");
        assert!(varve.snapshot().unwrap().verify().is_sound(), "{table}");
    }
}

#[test]
fn which_layouts_a_name_holds_is_made_anew_of_its_events() {
    let dir = filled();
    let layouts = |dir: &Path| {
        let mut rows = Vec::new();
        edit(dir, "layout", |key, value| rows.push((key.to_vec(), value.clone())));
        rows
    };
    let before = layouts(dir.path());
    assert!(before.len() >= 3);
    remove_table(dir.path(), "layout");
    let (report, target) = saved(dir.path());
    assert!(report.verification.is_sound(), "{report}");
    assert_eq!(report.rows_made_up as usize, before.len());
    let new = target.path().join("new");
    assert_eq!(layouts(&new), before);
    let mut varve = Varve::with_config(new, relaxed()).unwrap();
    let refused = varve.stream::<Reading, 64>("doors").map(drop);
    assert!(matches!(refused, Err(ReadError::LayoutMismatch(_))), "{refused:?}");
}

/// Every event with its stream and where it comes from, but for its time: whoever opens the store measures that anew.
fn places(view: &varve_core::VarveView) -> Vec<String> {
    let snapshot = view.snapshot().unwrap();
    let events = snapshot.iter_from(GlobalSequence(0)).unwrap().map(|event| {
        let event = event.unwrap();
        let place = (event.global_seq, event.stream_name, event.stream_id, event.stream_seq);
        format!("{place:?} {:?} {:?}", event.origin().unwrap(), event.payload)
    });
    events.collect()
}

#[test]
fn a_table_that_is_lost_leaves_the_log_whole() {
    for table in ["stream", "descriptor", "domain", "device"] {
        let dir = filled();
        remove_table(dir.path(), table);
        let (report, target) = saved(dir.path());
        assert_eq!(report.lost_events, 0, "{table}: {report}");
        assert_eq!(surviving(&target).len() as u64, report.events);
    }
}

#[test]
fn a_store_that_is_owned_or_is_none_is_not_salvaged() {
    let (dir, target) = (new_dir(), new_dir());
    let new = target.path().join("new");
    assert!(matches!(salvage(dir.path(), &new), Err(SalvageError::Nothing)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "what is no store is left as it is");
    assert!(matches!(salvage(dir.path().join("nowhere"), &new), Err(SalvageError::Nothing)));
    let varve = open(&dir);
    let error = salvage(dir.path(), &new).unwrap_err();
    assert!(matches!(error, SalvageError::Open(OpenError::Owned { .. })), "{error}");
    drop(varve);
    salvage(dir.path(), &new).unwrap();
    let error = salvage(dir.path(), &new).unwrap_err();
    assert!(matches!(error, SalvageError::Open(OpenError::NotEmpty { .. })), "{error}");
    assert!(verify(new).unwrap().is_sound());
}

#[test]
fn what_seems_to_lie_out_of_reach_is_not_waited_for() {
    let dir = filled();
    let events = Varve::open_read_only(dir.path()).unwrap().next_global_seq().unwrap();
    edit(dir.path(), "stream", |_, value| value[..8].copy_from_slice(&u64::MAX.to_le_bytes()));
    let (report, target) = saved(dir.path());
    assert_eq!((report.events, report.lost_events), (events.0, 0));
    assert_eq!(read(&target).next_global_seq().unwrap(), events);
}

//! Retention: what is surplus goes, what is gone has a name, and the file keeps its size.

use std::fs;
use std::path::Path;
use std::time::Duration;

use varve_core::{
    Absence, AbsenceReason, AppendError, ClockMapping, Config, DeviceBatch, DeviceSequence, EVENT_LEN_MAX,
    Effects, Epoch, Event, EventView, GlobalSequence, HandlerError, Processor, QUOTA_MIN, RetentionPolicy,
    Stream, StreamId, StreamSequence, TAIL_LEN_DEFAULT, TAIL_LEN_MIN, Varve, restore,
};

use crate::damage::{edit, large_door};
use crate::second_process::{start, wait_for};
use crate::{
    DEVICE, Door, LANE, Reading, absence, binding, device_batch, new_dir, new_dir_in_memory, open, readings,
    relaxed,
};

/// An event of 4 KiB: 15 to a block.
type Frame = [u8; 4096];

const PER_BLOCK: u64 = 15;

fn small() -> Config {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    config
}

fn append(frames: &mut Stream<Frame, 4096>, id: u64, n: u64) {
    for at in (0..n).step_by(40) {
        let batch = vec![[id as u8; 4096]; 40.min(n - at) as usize];
        frames.append_batch(StreamId(id), &batch).unwrap();
    }
}

fn last(events: u64) -> RetentionPolicy {
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(events);
    policy
}

pub(crate) fn files_len(dir: &Path) -> u64 {
    fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

#[test]
fn what_is_retired_is_a_named_absence_and_the_rest_is_read_as_ever() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    append(&mut frames, 1, 60);
    append(&mut frames, 2, 60);
    let before = varve.snapshot().unwrap();
    let first = varve.retain(&last(50)).unwrap().first;
    assert_eq!(first, GlobalSequence(60), "whole blocks go");
    let retired =
        |gone: Absence| gone.reason == AbsenceReason::Retired && gone.log == Some(GlobalSequence(0)..first);
    let mut log = varve.global_reader();
    assert!(retired(absence(log.get(GlobalSequence(59)))));
    assert_eq!(log.get(first).unwrap().unwrap().stream_seq, StreamSequence(0));
    let all = log.iter_from(GlobalSequence(0)).unwrap();
    let mut all = all.iter().unwrap();
    assert!(retired(absence(all.next().unwrap())), "it is told once");
    assert_eq!(all.map(Result::unwrap).count(), 60);
    assert_eq!(log.iter_from(first).unwrap().iter().unwrap().filter(Result::is_ok).count(), 60);
    assert_eq!(log.iter_back(None).unwrap().iter().unwrap().map(Result::unwrap).count(), 60);
    let mut frames = frames.reader();
    let gone = absence(frames.get_bytes(StreamId(1), StreamSequence(59)).map(drop));
    assert_eq!((gone.reason, gone.events()), (AbsenceReason::Retired, 60));
    let gone = gone.stream.unwrap();
    assert_eq!((gone.name.as_str(), gone.id), ("frames", StreamId(1)));
    assert_eq!(frames.version(StreamId(1)).unwrap(), 60, "a stream whose events are gone keeps its end");
    assert!(frames.iter_stream(StreamId(1), None).unwrap().iter().next().is_none());
    assert!(frames.iter_stream_back(StreamId(1), None).unwrap().iter().next().is_none());
    assert_eq!(frames.iter_stream(StreamId(2), None).unwrap().iter().map(Result::unwrap).count(), 60);
    assert_eq!(before.iter_from(GlobalSequence(0)).unwrap().count(), 120, "a snapshot holds still");
    assert_eq!(before.first_global_seq().unwrap(), GlobalSequence(0));
    let report = varve.snapshot().unwrap().verify();
    assert!(report.is_sound(), "{report}");
}

/// Of a stream with a single run, that run's row is what is left.
#[test]
fn streams_are_merged_though_one_of_them_is_gone() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    append(&mut frames, 1, PER_BLOCK);
    append(&mut frames, 2, 30);
    let first = varve.retain(&last(30)).unwrap().first;
    assert_eq!(first, GlobalSequence(PER_BLOCK));
    let snapshot = varve.snapshot().unwrap();
    assert_eq!(snapshot.iter_name("frames", first).unwrap().map(Result::unwrap).count(), 30);
    let mut all = snapshot.iter_name("frames", GlobalSequence(0)).unwrap();
    assert_eq!(absence(all.next().unwrap()).events(), PER_BLOCK);
    assert_eq!(all.map(Result::unwrap).count(), 30);
    let whole = snapshot.iter_streams([("frames", StreamId(2))], GlobalSequence(0)).unwrap();
    assert_eq!(whole.map(Result::unwrap).count(), 30, "nothing is gone of a stream that began later");
}

#[test]
fn a_stream_that_is_cut_is_read_from_what_is_left_of_it() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    append(&mut frames, 1, 60);
    let first = varve.retain(&last(20)).unwrap().first.0;
    assert_eq!(first % PER_BLOCK, 0);
    let reader = frames.reader();
    let forward = reader.iter_stream(StreamId(1), None).unwrap();
    let seqs: Vec<_> = forward.iter().map(|event| event.unwrap().stream_seq.0).collect();
    assert_eq!(seqs, (first..60).collect::<Vec<_>>());
    let backward = reader.iter_stream_back(StreamId(1), None).unwrap();
    let seqs: Vec<_> = backward.iter().map(|event| event.unwrap().stream_seq.0).collect();
    assert_eq!(seqs, (first..60).rev().collect::<Vec<_>>());
    let explicit = reader.iter_stream(StreamId(1), Some(StreamSequence(3))).unwrap();
    let mut explicit = explicit.iter();
    let gone = absence(explicit.next().unwrap().map(drop));
    assert_eq!(gone.reason, AbsenceReason::Retired);
    assert_eq!(gone.stream.unwrap().range, StreamSequence(3)..StreamSequence(first));
    assert!(explicit.map(|event| event.unwrap().stream_seq.0).eq(first..60));
    let appended = frames.append(StreamId(1), &[9; 4096]).unwrap();
    assert_eq!(appended, (StreamSequence(60), GlobalSequence(60)));
}

#[test]
fn what_is_retired_stays_so_across_a_reopening_and_a_restored_backup() {
    let (dir, target) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    append(&mut frames, 1, 60);
    append(&mut frames, 2, 40);
    varve.retain(&last(20)).unwrap();
    drop((varve, frames));
    let varve = open(&dir);
    let first = varve.snapshot().unwrap().first_global_seq().unwrap();
    assert!(first > GlobalSequence(60));
    let mut backup = Vec::new();
    varve.snapshot().unwrap().back_up(&mut backup).unwrap();
    let path = target.path().join("restored");
    assert_eq!(restore(backup.as_slice(), &path).unwrap().first, first);
    let mut restored = Varve::with_config(&path, relaxed()).unwrap();
    let mut frames = restored.stream::<Frame, 4096>("frames").unwrap();
    assert_eq!(frames.append(StreamId(1), &[9; 4096]).unwrap().0, StreamSequence(60));
    let report = restored.snapshot().unwrap().verify();
    assert!(report.is_sound(), "{report}");
}

#[test]
fn a_new_consumer_begins_with_what_is_left() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append(&mut varve.stream::<Frame, 4096>("frames").unwrap(), 1, 60);
    varve.retain(&last(20)).unwrap();
    let mut seen = Vec::new();
    let handler = |event: &EventView<'_>, _: &mut Effects<'_>| -> Result<(), HandlerError> {
        seen.push(event.global_seq.0);
        Ok(())
    };
    let mut processor = Processor::new(&varve, "late", handler).unwrap();
    while processor.try_turn().unwrap().is_some() {}
    drop(processor);
    assert_eq!(seen, (30..60).collect::<Vec<_>>());
}

#[test]
fn a_consumer_keeps_what_it_has_yet_to_see() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append(&mut varve.stream::<Frame, 4096>("frames").unwrap(), 1, 60);
    let mut policy = last(0);
    policy.consumers = vec!["upstream".into()];
    assert_eq!(varve.retain(&policy).unwrap().blocks, 0);
    let mut begun = varve.begin();
    begun.consumer("upstream", GlobalSequence(31)).unwrap();
    begun.commit().unwrap();
    assert_eq!(varve.retain(&policy).unwrap().first, GlobalSequence(30));
}

#[test]
fn a_policy_in_the_configuration_is_kept_in_the_background() {
    let dir = new_dir();
    let mut config = small();
    config.retention = Some(last(100));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    append(&mut varve.stream::<Frame, 4096>("frames").unwrap(), 1, 1000);
    varve.fold().unwrap();
    let snapshot = varve.snapshot().unwrap();
    let first = snapshot.first_global_seq().unwrap().0;
    assert!((1000 - 100 - PER_BLOCK..=1000 - 100).contains(&first), "{first}");
    assert!(snapshot.verify().is_sound());
}

/// 2 MiB live, turned over twenty times, now and then with a reader that holds on to what it saw.
#[test]
fn the_file_keeps_its_size_whatever_passes_through_it() {
    let mut policy = RetentionPolicy::default();
    policy.bytes_max = Some(2 << 20);
    policy.age_max = Some(Duration::from_secs(3600));
    for (pinned, len_max) in [(false, 6 << 20), (true, 10 << 20)] {
        let dir = new_dir();
        let mut config = small();
        config.retention = Some(policy.clone());
        let mut varve = Varve::with_config(dir.path(), config).unwrap();
        let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
        for _ in 0..20 {
            let snapshot = pinned.then(|| varve.snapshot().unwrap());
            append(&mut frames, 1, 512);
            drop(snapshot);
        }
        let len = files_len(dir.path());
        assert!(len < len_max, "pinned {pinned}: {len} bytes");
        let first = varve.snapshot().unwrap().first_global_seq().unwrap().0;
        assert!(first > 20 * 512 - 2 * 512, "{first}");
    }
}

/// A large append brings more blocks than a fold of small ones does.
#[test]
fn retention_keeps_up_with_large_appends() {
    let dir = new_dir_in_memory();
    let mut config = small();
    config.retention = Some(last(100));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    for _ in 0..5 {
        frames.append_batch(StreamId(1), &vec![[1; 4096]; 1_500]).unwrap();
    }
    assert!(kept(&varve) < 200, "{} events are kept", kept(&varve));
}

/// A fold takes what a third of the tail holds.
#[test]
fn retention_keeps_up_with_a_long_tail() {
    let dir = new_dir_in_memory();
    let mut config = relaxed();
    config.tail_len = 24 << 20;
    config.retention = Some(last(100));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    append(&mut varve.stream::<Frame, 4096>("frames").unwrap(), 1, 20_480);
    assert!(kept(&varve) < 3 * 2_048, "{} events are kept", kept(&varve));
}

fn kept(varve: &Varve) -> u64 {
    let snapshot = varve.snapshot().unwrap();
    snapshot.next_global_seq().unwrap().0 - snapshot.first_global_seq().unwrap().0
}

#[test]
fn events_past_the_quota_are_refused_until_some_are_retired() {
    let dir = new_dir();
    let mut config = small();
    config.quota = Some(QUOTA_MIN);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    let (stored, quota) = fill(&mut frames);
    assert_eq!(quota, QUOTA_MIN);
    assert!(files_len(dir.path()) <= QUOTA_MIN);
    assert!(stored * 4096 >= 2 << 20, "{stored} events fit");
    let mut log = varve.global_reader();
    assert!(log.get(GlobalSequence(stored - 1)).unwrap().is_some(), "readers go on");
    let mut begun = varve.begin();
    begun.consumer("upstream", GlobalSequence(stored)).unwrap();
    begun.commit().expect("a cursor may move, so that events can be retired");
    varve.retain(&last(stored / 2)).unwrap();
    frames.append(StreamId(1), &[1; 4096]).unwrap();
    assert!(files_len(dir.path()) <= QUOTA_MIN);
}

/// Appends until that is refused, and returns how many events were stored, and the quota that refused the next one.
fn fill(frames: &mut Stream<Frame, 4096>) -> (u64, u64) {
    for stored in 0..10_000 {
        match frames.append(StreamId(1), &[1; 4096]) {
            Ok(_) => {}
            Err(AppendError::QuotaExceeded { quota, .. }) => return (stored, quota),
            Err(error) => panic!("{error}"),
        }
    }
    panic!("a quota is one");
}

#[test]
fn a_quota_that_is_less_than_a_store_takes_is_met_once_events_are_retired() {
    let dir = new_dir();
    let mut config = small();
    append(&mut Varve::with_config(dir.path(), config.clone()).unwrap().stream("frames").unwrap(), 1, 10_000);
    config.quota = Some(QUOTA_MIN);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    let refused = frames.append(StreamId(1), &[1; 4096]);
    assert!(matches!(refused, Err(AppendError::QuotaExceeded { .. })));
    varve.retain(&last(100)).unwrap();
    frames.append(StreamId(1), &[1; 4096]).unwrap();
}

#[test]
fn the_quota_counts_the_tail_that_the_store_has() {
    let dir = new_dir();
    drop(Varve::with_config(dir.path(), relaxed()).unwrap());
    let mut config = small();
    config.quota = Some(QUOTA_MIN);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let (stored, quota) = fill(&mut varve.stream::<Frame, 4096>("frames").unwrap());
    assert_eq!(quota, QUOTA_MIN + 2 * (TAIL_LEN_DEFAULT - TAIL_LEN_MIN));
    assert!(stored * 4096 >= 2 << 20, "{stored} events fit");
    assert!(files_len(dir.path()) <= quota);
}

#[test]
fn the_quota_counts_the_room_for_readers() {
    let dir = new_dir();
    let mut config = small();
    (config.quota, config.readers_max) = (Some(QUOTA_MIN), 101_022);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let (_, quota) = fill(&mut varve.stream::<Frame, 4096>("frames").unwrap());
    assert_eq!(quota, QUOTA_MIN + 6_400_000);
    assert!(files_len(dir.path()) <= quota);
}

#[test]
fn a_store_with_a_small_quota_gets_a_short_tail() {
    let dir = new_dir();
    let mut config = relaxed();
    config.quota = Some(QUOTA_MIN + (1 << 20));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let tail_len = fs::metadata(dir.path().join("tail")).unwrap().len();
    assert!((TAIL_LEN_MIN..TAIL_LEN_MIN + (1 << 20)).contains(&tail_len), "{tail_len}");
    let (_, quota) = fill(&mut varve.stream::<Frame, 4096>("frames").unwrap());
    assert_eq!(quota, QUOTA_MIN + (1 << 20));
    assert!(files_len(dir.path()) <= quota);
}

#[test]
fn a_reader_that_was_killed_holds_nothing_once_room_is_short() {
    let dir = new_dir();
    let mut config = small();
    config.quota = Some(QUOTA_MIN);
    config.retention = Some(last(100));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    frames.append(StreamId(1), &[1; 4096]).unwrap();
    varve.fold().unwrap();
    let mut child = start("hold a snapshot", dir.path());
    wait_for(&mut child, "ready");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(varve.process_pins().unwrap().len(), 1, "nobody has looked yet");
    append(&mut frames, 1, 4000);
    assert!(files_len(dir.path()) <= QUOTA_MIN);
    assert!(varve.process_pins().unwrap().is_empty());
}

#[test]
fn a_store_at_its_quota_takes_events_again_once_some_are_surplus() {
    let dir = new_dir();
    let mut config = small();
    config.quota = Some(QUOTA_MIN);
    let mut policy = last(0);
    policy.consumers = vec!["upstream".into()];
    config.retention = Some(policy);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    let (stored, _) = fill(&mut frames);
    assert!(matches!(frames.append(StreamId(1), &[1; 4096]), Err(AppendError::QuotaExceeded { .. })));
    let mut seen = varve.begin();
    seen.consumer("upstream", GlobalSequence(stored)).unwrap();
    seen.commit().unwrap();
    frames.append(StreamId(1), &[1; 4096]).expect("it recovers by itself");
    assert!(varve.snapshot().unwrap().first_global_seq().unwrap() > GlobalSequence(0));
}

/// What is surplus by its age becomes so without a commit, so that the tail may be empty by then.
#[test]
fn a_store_at_its_quota_retires_though_there_is_nothing_to_fold() {
    let dir = new_dir();
    let mut config = small();
    config.quota = Some(QUOTA_MIN);
    let mut varve = Varve::with_config(dir.path(), config.clone()).unwrap();
    fill(&mut varve.stream::<Frame, 4096>("frames").unwrap());
    drop(varve);
    config.retention = Some(last(0));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    frames.append(StreamId(1), &[1; 4096]).expect("it makes room");
}

/// A large append goes to LMDB at once. It may not take what is kept to retire events.
#[test]
fn a_store_that_one_large_append_has_filled_can_retire() {
    let fill = |frames: u64| {
        let dir = new_dir_in_memory();
        let mut config = small();
        config.quota = Some(QUOTA_MIN);
        let mut varve = Varve::with_config(dir.path(), config).unwrap();
        let stored = varve
            .stream::<Frame, 4096>("frames")
            .unwrap()
            .append_batch(StreamId(1), &vec![[1; 4096]; frames as usize]);
        match stored {
            Ok(_) => Some((dir, varve)),
            Err(AppendError::QuotaExceeded { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    };
    let (mut fits, mut exceeds) = (100, 4_000);
    while exceeds - fits > 1 {
        let frames = (fits + exceeds) / 2;
        *if fill(frames).is_some() { &mut fits } else { &mut exceeds } = frames;
    }
    let (dir, mut varve) = fill(fits).expect("it was stored before");
    varve.retain(&last(1)).unwrap();
    varve.stream::<Frame, 4096>("frames").unwrap().append(StreamId(1), &[1; 4096]).unwrap();
    assert!(files_len(dir.path()) <= QUOTA_MIN);
}

/// Pages that a reader holds on to are not used again: the file ends at the quota all the same.
#[test]
fn a_reader_that_stays_does_not_take_the_file_past_the_quota() {
    let dir = new_dir();
    let mut config = small();
    config.quota = Some(QUOTA_MIN);
    config.retention = Some(last(100));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut frames = varve.stream::<Frame, 4096>("frames").unwrap();
    frames.append(StreamId(1), &[1; 4096]).unwrap();
    varve.fold().unwrap();
    let snapshot = varve.snapshot().unwrap();
    let mut refused = false;
    for _ in 0..6000 {
        match frames.append(StreamId(1), &[1; 4096]) {
            Ok(_) => {}
            Err(AppendError::QuotaExceeded { .. }) => {
                refused = true;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused, "the reader holds on to every page");
    assert!(files_len(dir.path()) <= QUOTA_MIN, "{}", files_len(dir.path()));
    assert!(snapshot.iter_from(GlobalSequence(0)).unwrap().next().unwrap().is_ok());
    drop(snapshot);
    frames.append(StreamId(1), &[1; 4096]).expect("it recovers by itself");
    assert!(varve.snapshot().unwrap().verify().is_sound());
}

/// Adds four events of an epoch to the device's log, under a clock of their own, in a block with a door.
fn append_of_epoch(varve: &mut Varve, epoch: u32, first: u64) {
    let epoch = Epoch(epoch);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, epoch).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    let (ticks, host_us, tick_hz, uncertainty_us) = (0, first, 1_000, 0);
    let first_seq = DeviceSequence(first);
    let clock = ClockMapping {
        device: DEVICE,
        epoch,
        lane: LANE,
        first: first_seq,
        ticks,
        host_us,
        tick_hz,
        uncertainty_us,
    };
    append.clock(clock).unwrap();
    let (channels, batch) = ([binding::<Reading>("readings", StreamId(1))], readings(first, 4));
    append.device_batch(DeviceBatch { epoch, ..device_batch(&channels, first, &batch) }).unwrap();
    assert_eq!(append.commit().unwrap().events, 4);
    let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
    doors.append(StreamId(1), &large_door("Ada")).unwrap();
    varve.fold().unwrap();
}

/// The epochs of a table's rows, and where clocks begin to hold.
fn device_rows(dir: &Path, table: &str) -> Vec<(u8, u8)> {
    let mut rows = Vec::new();
    edit(dir, table, |key, _| rows.push((key[7], key[key.len() - 1])));
    rows
}

#[test]
fn what_is_known_of_an_epoch_goes_with_the_events_of_a_later_one() {
    let dir = new_dir();
    let mut varve = open(&dir);
    for (epoch, first) in [(1, 0), (2, 0), (3, 0), (3, 4), (3, 8)] {
        append_of_epoch(&mut varve, epoch, first);
    }
    let check = |varve: Varve, kept: u64, cursors: &[(u8, u8)], clocks: &[(u8, u8)]| {
        assert_eq!(varve.retain(&last(kept * 5)).unwrap().first.0, 25 - kept * 5);
        drop(varve);
        assert_eq!(
            (device_rows(dir.path(), "cursor"), device_rows(dir.path(), "clock")),
            (cursors.into(), clocks.into())
        );
        assert!(varve_core::verify(dir.path()).unwrap().is_sound());
        open(&dir)
    };
    let varve = check(varve, 4, &[(1, 0), (2, 0), (3, 0)], &[(1, 0), (2, 0), (3, 0), (3, 4), (3, 8)]);
    let varve = check(varve, 3, &[(2, 0), (3, 0)], &[(2, 0), (3, 0), (3, 4), (3, 8)]);
    let varve = check(varve, 1, &[(3, 0)], &[(3, 8)]);

    let (channels, batch) = ([binding::<Reading>("readings", StreamId(1))], readings(0, 4));
    for (epoch, duplicates) in [(1, 0), (2, 0), (3, 4)] {
        let mut append = varve.begin();
        let batch = device_batch(&channels, 0, &batch);
        append.device_batch(DeviceBatch { epoch: Epoch(epoch), ..batch }).unwrap();
        let committed = append.commit().unwrap();
        assert_eq!(
            (committed.events, committed.duplicates),
            (0, duplicates),
            "what was stored once is not again"
        );
    }
}

/// A device is reset so often that it never emits an event: it has gaps alone.
#[test]
fn what_is_known_of_an_epoch_goes_with_the_gap_of_a_later_one() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let epochs = 3_000;
    for epoch in (1..=epochs).map(Epoch) {
        let mut append = varve.begin();
        append.open_epoch(DEVICE, epoch).unwrap();
        let (first, ticks, host_us, tick_hz, uncertainty_us) = (DeviceSequence(0), 0, 0, 1_000, 0);
        let (device, lane) = (DEVICE, LANE);
        append
            .clock(ClockMapping { device, epoch, lane, first, ticks, host_us, tick_hz, uncertainty_us })
            .unwrap();
        append.close_epoch(DEVICE, epoch, &[], 0).unwrap();
        append.commit_relaxed().unwrap();
    }
    let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
    doors.append_batch(StreamId(1), &vec![large_door("Ada"); 3]).unwrap();
    drop(doors);
    varve.fold().unwrap();
    let rows = |varve: Varve| {
        drop(varve);
        let rows = ["cursor", "clock"].map(|table| device_rows(dir.path(), table).len());
        (open(&dir), rows)
    };
    let (varve, before) = rows(varve);
    assert_eq!(before, [epochs as usize; 2]);
    assert!(varve.retain(&last(1)).unwrap().first.0 >= u64::from(epochs));
    let (varve, after) = rows(varve);
    assert_eq!(after, [1; 2], "the latest stays");
    let device = varve.device(DEVICE).unwrap().unwrap();
    assert_eq!((device.epoch, device.is_closed()), (Epoch(epochs), true));
    assert!(varve.snapshot().unwrap().verify().is_sound());
}

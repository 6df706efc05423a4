//! Streams that are sealed: what is stored tells nothing, what is read is what was written, and what is shredded is gone.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::Path;

use tempfile::TempDir;
use varve_core::{
    Absence, AbsenceReason, AppendError, Config, Damage, Encryption, Epoch, Event, GlobalSequence, KeysError,
    MasterKey, OpenError, Place, QUOTA_MIN, ReadError, SNAPSHOT_OPENED_LEN_MAX, SealedStreams, StreamId,
    StreamSequence, Suite, TAIL_LEN_MIN, TimeColumn, Varve,
};

use crate::second_process::{start, tell, wait_for};
use crate::{
    DEVICE, Door, LANE, Reading, absence, archived, binding, device_batch, door, new_dir, new_dir_in_memory,
    reading, relaxed,
};

const MASTER: [u8; 32] = [0x42; 32];

/// What no file may hold.
const MARKER: &str = "Ada Lovelace was here";

fn sealing(suite: Suite, streams: SealedStreams) -> Config {
    let mut encryption = Encryption::new(MasterKey::from_bytes(MASTER));
    encryption.suite = suite;
    encryption.streams = streams;
    let mut config = relaxed();
    config.encryption = Some(encryption);
    config
}

fn all_sealed() -> Config {
    sealing(Suite::Aes256Gcm, SealedStreams::All)
}

fn open(dir: &TempDir) -> Varve {
    Varve::with_config(dir.path(), all_sealed()).expect("the store opens")
}

/// Whether any file of a store holds the marker.
fn holds_marker(dir: &Path) -> bool {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.is_file()).any(|path| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    })
}

/// Appends `n` events with the marker to each of three streams, in commits of one, of many, and of several streams at once.
fn append_marked(varve: &mut Varve, n: usize) {
    let mut doors = varve.stream::<Door, 128>("doors").unwrap();
    for index in 0..n {
        let who = format!("{MARKER} {index}");
        doors.append(StreamId(1), &door(&who)).unwrap();
        let many: Vec<Door> = (0..3).map(|_| door(&who)).collect();
        doors.append_batch(StreamId(2), &many).unwrap();
    }
}

fn whos(varve: &Varve, id: u64) -> Vec<String> {
    let events = varve.stream_reader::<Door>("doors").unwrap().iter_stream(StreamId(id), None).unwrap();
    events.iter().map(|event| event.unwrap().archived.who.as_str().into()).collect()
}

/// Each stream has an entry in the file of keys, which takes part of the quota like any other.
#[test]
fn the_keys_of_many_streams_do_not_take_the_files_past_the_quota() {
    let dir = new_dir_in_memory();
    let mut config = all_sealed();
    config.tail_len = TAIL_LEN_MIN;
    config.quota = Some(QUOTA_MIN + (2 << 20));
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let readings = varve.stream::<Reading, 32>("climate").unwrap();
    let error = (0..1_000).find_map(|round| {
        let mut append = varve.begin();
        for id in round * 200..(round + 1) * 200 {
            append.event(&readings, StreamId(id), &reading(id)).unwrap();
        }
        append.commit().err()
    });
    assert!(matches!(error, Some(AppendError::QuotaExceeded { .. })), "{error:?}");
    let files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    assert!(files.sum::<u64>() <= QUOTA_MIN + (2 << 20));
    varve.shred("climate", StreamId(0)).unwrap();
}

#[test]
fn nothing_plain_is_in_any_file_of_the_tail_or_after_a_fold() {
    for (config, is_plain) in [(relaxed(), true), (all_sealed(), false)] {
        let dir = new_dir();
        let mut varve = Varve::with_config(dir.path(), config).unwrap();
        append_marked(&mut varve, 20);
        varve.flush().unwrap();
        assert_eq!(holds_marker(dir.path()), is_plain, "in the tail");
        varve.fold().unwrap();
        append_marked(&mut varve, 20);
        varve.fold().unwrap();
        assert_eq!(holds_marker(dir.path()), is_plain, "after a fold");
        let before: Vec<_> = (0..20).map(|index| format!("{MARKER} {index}")).collect();
        assert_eq!(whos(&varve, 1), [&before[..], &before[..]].concat());
        assert_eq!(whos(&varve, 2).len(), 120);
    }
}

#[test]
fn sealed_events_are_read_back_every_way_there_is() {
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        let dir = new_dir();
        let mut varve = Varve::with_config(dir.path(), sealing(suite, SealedStreams::All)).unwrap();
        append_marked(&mut varve, 5);
        varve.fold().unwrap();
        append_marked(&mut varve, 5);
        check_reads(&varve);
        drop(varve);
        let varve = open(&dir);
        check_reads(&varve);
        let reader = varve.stream_reader::<Door>("doors").unwrap();
        assert_eq!(reader.version(StreamId(2)).unwrap(), 30);
    }
}

/// Reads ten commits of one event and ten of three, through everything that reads.
fn check_reads(varve: &Varve) {
    let who = |index: usize| format!("{MARKER} {}", index % 5);
    let mut reader = varve.stream_reader::<Door>("doors").unwrap();
    for seq in 0..10 {
        let event = reader.get_archived(StreamId(1), StreamSequence(seq)).unwrap().unwrap();
        assert_eq!(event.who.as_str(), who(seq as usize));
    }
    let ones: Vec<_> = (0..10).map(who).collect();
    assert_eq!(whos(varve, 1), ones);
    let back = reader.iter_stream_back(StreamId(1), None).unwrap();
    let back: Vec<_> = back.iter().map(|event| event.unwrap().archived.who.as_str().to_string()).collect();
    assert_eq!(back, ones.iter().rev().cloned().collect::<Vec<_>>());

    let snapshot = varve.snapshot().unwrap();
    let views: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(views.len(), 40);
    let mut log = snapshot.log();
    let mut global = varve.global_reader();
    for view in &views {
        assert!(String::from_utf8_lossy(view.payload).contains(MARKER));
        let mut json = Vec::new();
        view.schema().unwrap().unwrap().write_json(view.payload, &mut json).unwrap();
        assert!(String::from_utf8_lossy(&json).contains(MARKER));
        assert_eq!(log.get_bytes(view.global_seq).unwrap(), Some(view.payload));
        assert_eq!(*global.get_bytes(view.global_seq).unwrap().unwrap(), *view.payload);
        assert_eq!(global.get(view.global_seq).unwrap().unwrap(), view.to_event());
    }
    let back: Vec<_> = snapshot.iter_back(None).unwrap().map(|view| view.unwrap().payload).collect();
    assert_eq!(back, views.iter().rev().map(|view| view.payload).collect::<Vec<_>>());
    assert_eq!(snapshot.events_of::<Door>(GlobalSequence(0)).count(), 40);
    let later: Vec<_> =
        snapshot.iter_from(GlobalSequence(17)).unwrap().map(|view| view.unwrap().payload).collect();
    assert_eq!(later, views[17..].iter().map(|view| view.payload).collect::<Vec<_>>());
}

#[test]
fn only_the_named_streams_are_sealed_and_what_has_a_key_stays_so() {
    let dir = new_dir();
    let named = SealedStreams::Named(vec!["doors".into()]);
    let mut varve = Varve::with_config(dir.path(), sealing(Suite::Aes256Gcm, named)).unwrap();
    append_marked(&mut varve, 1);
    let text = Door { open: false, who: "a plain visitor, for all to see".into() };
    varve.stream::<Door, 128>("plain").unwrap().append(StreamId(1), &text).unwrap();
    drop(varve);
    let none = SealedStreams::Named(Vec::new());
    let mut varve = Varve::with_config(dir.path(), sealing(Suite::Aes256Gcm, none)).unwrap();
    append_marked(&mut varve, 1);
    varve.fold().unwrap();
    assert!(!holds_marker(dir.path()));
    let data = fs::read(dir.path().join("data.mdb")).unwrap();
    assert!(data.windows(text.who.len()).any(|window| window == text.who.as_bytes()));
}

#[test]
fn a_device_s_events_are_sealed_with_their_ticks() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.commit().unwrap();
    drop(append);
    let channels = [binding::<Reading>("climate", StreamId(1)), binding::<Reading>("cellar", StreamId(1))];
    let event = |n: u64| ((n % 2) as u8, 1_000 + 7 * n * n, archived(&reading(n)));
    for first in [0, 10] {
        let events: Vec<_> = (first..first + 10).map(event).collect();
        let batch = crate::sealed(LANE, TimeColumn::DeltaOfDeltas, &events);
        let mut append = varve.begin();
        append.device_batch(device_batch(&channels, first, &batch)).unwrap();
        append.commit().unwrap();
        drop(append);
        check_device_events(&varve, first + 10);
        varve.fold().unwrap();
        check_device_events(&varve, first + 10);
        drop(varve);
        varve = open(&dir);
    }
}

/// Reads `n` events of a device, which came on two channels in turn.
fn check_device_events(varve: &Varve, n: u64) {
    let snapshot = varve.snapshot().unwrap();
    let views: Vec<_> = snapshot.iter_from(GlobalSequence(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(views.len() as u64, n);
    for (n, view) in (0..).zip(&views) {
        assert_eq!(view.archived::<Reading>().unwrap().uptime.to_native(), n);
        assert_eq!(view.ticks(), Some(1_000 + 7 * n * n));
        let origin = view.origin().unwrap().unwrap();
        assert_eq!((origin.device, origin.sequence.0), (DEVICE, n));
    }
}

#[test]
fn a_shredded_stream_says_so_and_the_log_goes_on_past_it() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append_marked(&mut varve, 4);
    varve.fold().unwrap();
    append_marked(&mut varve, 4);
    varve.shred("doors", StreamId(2)).unwrap();
    let id = StreamId(2);
    let mut doors = varve.stream::<Door, 128>("doors").unwrap();
    let (seq, _) = doors.append(id, &door("after")).unwrap();
    assert_eq!(seq, StreamSequence(24), "the stream keeps its places");
    drop(doors);
    for _ in 0..2 {
        check_shredded(&varve);
        drop(varve);
        varve = open(&dir);
        varve.fold().unwrap();
    }
}

/// Reads a log where all of the stream 2 but its last event is gone.
fn check_shredded(varve: &Varve) {
    let id = StreamId(2);
    let mut reader = varve.stream_reader::<Door>("doors").unwrap();
    let is_shredded = |gone: &Absence| gone.reason == AbsenceReason::Shredded && gone.events() > 0;
    for seq in (0..24).map(StreamSequence) {
        let told =
            [absence(reader.get_archived(id, seq).map(drop)), absence(reader.get_bytes(id, seq).map(drop))];
        for gone in told {
            let stream = gone.stream.as_ref().unwrap();
            assert!(is_shredded(&gone) && (stream.name.as_str(), stream.id) == ("doors", id));
            assert!(stream.range.contains(&seq) && stream.range.end == StreamSequence(24));
        }
    }
    let all = reader.iter_stream(id, None).unwrap();
    let mut all = all.iter();
    assert_eq!(absence(all.next().unwrap().map(drop)).events(), 24, "all are told at once");
    assert_eq!(all.map(|event| event.unwrap().stream_seq.0).collect::<Vec<_>>(), [24]);
    let rest = reader.iter_stream(id, Some(StreamSequence(24))).unwrap();
    assert_eq!(rest.iter().map(Result::unwrap).count(), 1);
    assert_eq!(whos(varve, 1).len(), 8);

    let snapshot = varve.snapshot().unwrap();
    let mut next = GlobalSequence(0);
    let (mut gone, mut gone_seqs) = (0, Vec::new());
    for event in snapshot.iter_from(next).unwrap() {
        next = match event {
            Ok(event) => {
                assert_eq!(event.global_seq, next);
                GlobalSequence(next.0 + 1)
            }
            event => {
                let absence = absence(event);
                let (log, stream) = (absence.log.clone().unwrap(), absence.stream.clone().unwrap());
                assert!(is_shredded(&absence) && log.start == next && stream.id == id);
                assert_eq!(stream.range.end.0 - stream.range.start.0, absence.events());
                gone += absence.events();
                gone_seqs.extend(stream.range.start.0..stream.range.end.0);
                log.end
            }
        };
    }
    assert_eq!((gone, next), (24, GlobalSequence(33)));
    assert!(gone_seqs.into_iter().eq(0..24), "each is told once");
    let back = || snapshot.iter_back(None).unwrap();
    assert_eq!(back().filter(Result::is_ok).count(), 9);
    assert_eq!(back().filter(Result::is_err).map(|event| absence(event).events()).sum::<u64>(), 24);
    assert!(snapshot.iter_from(GlobalSequence(3)).unwrap().next().unwrap().is_err());
    let of_type = || snapshot.events_of::<Door>(GlobalSequence(0));
    assert_eq!(of_type().filter(Result::is_ok).count(), 9);
    assert_eq!(of_type().filter(Result::is_err).map(|event| absence(event).events()).sum::<u64>(), 24);
    let (mut log, mut global) = (snapshot.log(), varve.global_reader());
    let stretch = absence(log.get_bytes(GlobalSequence(2)));
    assert!(is_shredded(&stretch));
    assert_eq!(stretch.log, Some(GlobalSequence(1)..GlobalSequence(4)));
    assert_eq!(absence(log.get(GlobalSequence(2))).log, Some(GlobalSequence(2)..GlobalSequence(4)));
    let rest = absence(snapshot.events_of::<Door>(GlobalSequence(2)).next().unwrap());
    assert_eq!(rest.log, Some(GlobalSequence(2)..GlobalSequence(4)));
    assert_eq!(rest.stream.unwrap().range, StreamSequence(1)..StreamSequence(3));
    let before = absence(snapshot.iter_back(Some(GlobalSequence(3))).unwrap().next().unwrap());
    assert_eq!(before.log, Some(GlobalSequence(1)..GlobalSequence(3)));
    let back = reader.iter_stream_back(id, None).unwrap();
    let told: Vec<_> = back.iter().map(|event| event.map(|event| event.stream_seq.0)).collect();
    let mut end = 25;
    for event in told {
        end = match event {
            Ok(seq) => seq,
            event => {
                let range = absence(event).stream.unwrap().range;
                assert_eq!(range.end.0, end, "each is told once");
                range.start.0
            }
        };
    }
    assert_eq!(end, 0);
    assert!(log.get_bytes(GlobalSequence(4)).unwrap().is_some());
    let place = Some(GlobalSequence(2)..GlobalSequence(3));
    assert_eq!(absence(global.get(GlobalSequence(2))).log, place);
    assert_eq!(absence(global.get_bytes(GlobalSequence(2)).map(drop)).log, place);
}

#[test]
fn a_snapshot_keeps_what_it_has_opened_and_opens_nothing_that_was_shredded() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append_marked(&mut varve, 2);
    let snapshot = varve.snapshot().unwrap();
    let mut log = snapshot.log();
    let lent = log.get_bytes(GlobalSequence(0)).unwrap().unwrap();
    varve.shred("doors", StreamId(1)).unwrap();
    varve.shred("doors", StreamId(2)).unwrap();
    assert!(String::from_utf8_lossy(lent).contains(MARKER));
    assert!(snapshot.log().get_bytes(GlobalSequence(0)).unwrap().is_some());
    assert_eq!(absence(snapshot.log().get_bytes(GlobalSequence(1))).reason, AbsenceReason::Shredded);
    let renewed = varve.snapshot().unwrap();
    assert_eq!(absence(renewed.log().get_bytes(GlobalSequence(0))).reason, AbsenceReason::Shredded);
}

#[test]
fn a_processor_passes_over_what_was_shredded() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append_marked(&mut varve, 3);
    varve.shred("doors", StreamId(2)).unwrap();
    let mut seen = Vec::new();
    let handler = |event: &varve_core::EventView<'_>, _: &mut varve_core::Effects<'_>| {
        seen.push(event.stream_id.0);
        Ok(())
    };
    let mut processor = varve_core::Processor::new(&varve, "reader", handler).unwrap().commit_every(2);
    let (mut next, mut absent) = (GlobalSequence(0), 0);
    while let Some(progress) = processor.try_turn().unwrap() {
        next = progress.next;
        absent += progress.absent;
    }
    drop(processor);
    assert_eq!(seen, [1, 1, 1]);
    assert_eq!((next, absent), (GlobalSequence(12), 9));
}

#[test]
fn what_cannot_be_shredded_is_refused_by_name() {
    let dir = new_dir();
    let varve = open(&dir);
    let error = varve.shred("doors", StreamId(7)).unwrap_err();
    assert!(matches!(error, AppendError::Keys(KeysError::NotSealed { .. })), "{error}");
    for name in [String::new(), "x".repeat(256)] {
        let error = varve.shred(&name, StreamId(7)).unwrap_err();
        assert!(matches!(error, AppendError::StreamName { len } if len == name.len()), "{error}");
    }
    let plain = new_dir();
    let varve = crate::open(&plain);
    let error = varve.shred("doors", StreamId(7)).unwrap_err();
    assert!(matches!(error, AppendError::Keys(KeysError::NoMasterKey)), "{error}");
}

#[test]
fn an_owner_needs_the_master_key_and_a_reader_sees_what_is_plain_without_it() {
    let dir = new_dir();
    let named = SealedStreams::Named(vec!["doors".into()]);
    let mut varve = Varve::with_config(dir.path(), sealing(Suite::Aes256Gcm, named)).unwrap();
    append_marked(&mut varve, 1);
    varve.stream::<Door, 128>("plain").unwrap().append(StreamId(1), &door("Grace")).unwrap();
    drop(varve);
    assert!(matches!(Varve::with_config(dir.path(), relaxed()), Err(OpenError::Encrypted { .. })));
    let mut wrong = relaxed();
    wrong.encryption = Some(Encryption::new(MasterKey::from_bytes([1; 32])));
    let opened = Varve::with_config(dir.path(), wrong);
    assert!(matches!(opened, Err(OpenError::Keys(KeysError::WrongMasterKey))));

    let view = Varve::open_read_only_with_config(dir.path(), relaxed()).unwrap();
    let events: Vec<_> = view
        .global_reader()
        .iter_from(GlobalSequence(0))
        .unwrap()
        .iter()
        .unwrap()
        .map(|event| match event {
            Ok(event) => Ok(event.stream_name == "plain"),
            event => Err(absence(event).log.unwrap()),
        })
        .collect();
    let sealed = |from, to| Err(GlobalSequence(from)..GlobalSequence(to));
    assert_eq!(events, [sealed(0, 1), sealed(1, 4), Ok(true)]);
    let got =
        view.stream_reader::<Door>("doors").unwrap().get_bytes(StreamId(1), StreamSequence(0)).map(drop);
    assert_eq!(absence(got).reason, AbsenceReason::Sealed);
    drop(view);
    let view = Varve::open_read_only_with_config(dir.path(), all_sealed()).unwrap();
    assert_eq!(view.snapshot().unwrap().events_of::<Door>(GlobalSequence(0)).count(), 5);
}

#[test]
fn a_store_whose_keys_are_gone_or_another_s_does_not_open() {
    let (dir, other) = (new_dir(), new_dir());
    for dir in [&dir, &other] {
        append_marked(&mut open(dir), 1);
    }
    let keys = dir.path().join("keys");
    let own = fs::read(&keys).unwrap();
    fs::copy(other.path().join("keys"), &keys).unwrap();
    let opened = Varve::with_config(dir.path(), all_sealed());
    assert!(matches!(opened, Err(OpenError::Keys(KeysError::OtherStore { .. }))));
    fs::remove_file(&keys).unwrap();
    let opened = Varve::with_config(dir.path(), all_sealed());
    assert!(matches!(opened, Err(OpenError::Keys(KeysError::Missing { .. }))));
    let opened = Varve::with_config(dir.path(), relaxed());
    assert!(
        matches!(opened, Err(OpenError::Encrypted { .. })),
        "its owner would store plain what is to be sealed"
    );
    fs::write(&keys, own).unwrap();
    assert_eq!(whos(&open(&dir), 1).len(), 1);
}

#[test]
fn another_master_key_opens_the_store_after_a_rotation() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append_marked(&mut varve, 2);
    varve.rotate_master(&MasterKey::from_bytes([9; 32])).unwrap();
    append_marked(&mut varve, 2);
    drop(varve);
    let opened = Varve::with_config(dir.path(), all_sealed());
    assert!(matches!(opened, Err(OpenError::Keys(KeysError::WrongMasterKey))));
    let mut config = relaxed();
    config.encryption = Some(Encryption::new(MasterKey::from_bytes([9; 32])));
    let varve = Varve::with_config(dir.path(), config).unwrap();
    assert_eq!(whos(&varve, 1).len(), 4);
}

#[test]
fn a_reader_that_has_but_the_old_master_key_is_told_so_after_a_rotation() {
    let (dir, rotated) = (new_dir(), new_dir());
    append_marked(&mut open(&dir), 1);
    for file in fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        fs::copy(&file, rotated.path().join(file.file_name().unwrap())).unwrap();
    }
    open(&rotated).rotate_master(&MasterKey::from_bytes([9; 32])).unwrap();
    let view = Varve::open_read_only_with_config(dir.path(), all_sealed()).unwrap();
    let mut reader = view.stream_reader::<Door>("doors").unwrap();
    assert!(reader.get_archived(StreamId(1), StreamSequence(0)).unwrap().is_some());
    // As an owner in another process does it.
    fs::rename(rotated.path().join("keys"), dir.path().join("keys")).unwrap();
    let error = reader.get_bytes(StreamId(1), StreamSequence(0)).unwrap_err();
    assert!(matches!(error, ReadError::Keys(KeysError::WrongMasterKey)), "{error}");
}

/// Where each block of a data file stands: what follows the magic number of one and has its length and checksum.
fn blocks(data: &[u8]) -> Vec<std::ops::Range<usize>> {
    let starts = (0..data.len().saturating_sub(64)).filter(|&at| data[at..at + 4] == *b"VRVB");
    let blocks = starts.filter_map(|at| {
        let len = u32::from_le_bytes(data[at + 12..at + 16].try_into().unwrap()) as usize;
        let block = data.get(at..at + len)?;
        (block[8..12] == crc32c(&block[12..]).to_le_bytes()).then_some(at..at + len)
    });
    blocks.collect()
}

/// The runs of a block: where the header stands, and where the unit.
fn units(block: &[u8]) -> Vec<(usize, std::ops::Range<usize>)> {
    let u32_at = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
    let runs = u16::from_le_bytes(block[28..30].try_into().unwrap()).into();
    let headers = (0..runs).map(|run: usize| 64 + 48 * run);
    let sealed = headers.filter(|&at| u32_at(at + 20) & 1 << 27 != 0);
    sealed.map(|at| (at, u32_at(at + 24) as usize..u32_at(at + 28) as usize)).collect()
}

/// CRC-32C, from its definition.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

/// Changes every block of a closed store, and mends its checksum.
fn tamper(dir: &Path, change: impl Fn(&mut [u8])) {
    let path = dir.join("data.mdb");
    let mut data = fs::read(&path).unwrap();
    for block in blocks(&data) {
        let block = &mut data[block];
        change(block);
        let crc = crc32c(&block[12..]).to_le_bytes();
        block[8..12].copy_from_slice(&crc);
    }
    fs::write(&path, data).unwrap();
}

#[test]
fn a_unit_that_was_changed_or_put_elsewhere_is_damage_with_a_place() {
    let make = || {
        let dir = new_dir();
        let mut varve = open(&dir);
        let mut doors = varve.stream::<Door, 128>("doors").unwrap();
        for (id, who) in [(1, "aaaaaaaaaaaa"), (2, "bbbbbbbbbbbb"), (1, "cccccccccccc")] {
            doors.append(StreamId(id), &door(who)).unwrap();
        }
        drop(doors);
        varve.fold().unwrap();
        dir
    };
    let swap = |block: &mut [u8], a: usize, b: usize| {
        let units = units(block);
        let (a, b) = (units[a].1.clone(), units[b].1.clone());
        let (first, second) = (block[a.clone()].to_vec(), block[b.clone()].to_vec());
        block[a].copy_from_slice(&second);
        block[b].copy_from_slice(&first);
    };
    let header = |block: &mut [u8], field: usize| block[units(block)[0].0 + field] ^= 1;
    type Change<'c> = &'c dyn Fn(&mut [u8]);
    let changes: [(&str, Change<'_>); 6] = [
        ("units of two streams are swapped", &|block| swap(block, 0, 1)),
        ("units of one stream are swapped", &|block| swap(block, 0, 2)),
        ("a nonce is changed", &|block| {
            let at = units(block)[0].1.start;
            block[at] ^= 1;
        }),
        ("an incarnation is changed", &|block| {
            let at = units(block)[0].1.start + 12;
            block[at] ^= 1;
        }),
        ("a tag is changed", &|block| {
            let at = units(block)[0].1.end - 1;
            block[at] ^= 1;
        }),
        ("a stride is given to a run", &|block| header(block, 20)),
    ];
    for (case, change) in changes {
        let dir = make();
        tamper(dir.path(), change);
        let varve = open(&dir);
        let error = varve.global_reader().get(GlobalSequence(0)).unwrap_err();
        let is_placed =
            matches!(&error, ReadError::Corrupt(Damage { place: Place::Event(GlobalSequence(0)), .. }));
        assert!(is_placed, "{case}: {error}");
    }
    let dir = make();
    tamper(dir.path(), |_| {});
    assert_eq!(whos(&open(&dir), 1), ["aaaaaaaaaaaa", "cccccccccccc"], "what is left as it is opens");
}

/// The nonce and the writing incarnation of every unit in a store's data file.
fn fronts(dir: &Path) -> Vec<[u8; 20]> {
    let data = fs::read(dir.join("data.mdb")).unwrap();
    let of_block = |block: std::ops::Range<usize>| {
        let block = &data[block];
        units(block).into_iter().map(|(_, unit)| block[unit][..20].try_into().unwrap()).collect::<Vec<_>>()
    };
    blocks(&data).into_iter().flat_map(of_block).collect()
}

#[test]
fn a_restored_store_reads_its_units_and_seals_under_other_keys_and_nonces() {
    let (dir, copies) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    append_marked(&mut varve, 3);
    let mut backup = Vec::new();
    varve.snapshot().unwrap().back_up(&mut backup).unwrap();
    assert!(!String::from_utf8_lossy(&backup).contains(MARKER));
    let mut incarnations = HashSet::new();
    for copy in 0..2 {
        let restored = copies.path().join(copy.to_string());
        varve_core::restore(backup.as_slice(), &restored).unwrap();
        let opened = Varve::with_config(&restored, all_sealed());
        assert!(matches!(opened, Err(OpenError::Keys(KeysError::Missing { .. }))), "a backup has no keys");
        fs::copy(dir.path().join("keys"), restored.join("keys")).unwrap();
        let mut varve = Varve::with_config(&restored, all_sealed()).unwrap();
        append_marked(&mut varve, 3);
        varve.fold().unwrap();
        assert_eq!(whos(&varve, 1).len(), 6);
        let fronts = fronts(&restored);
        let nonces: HashSet<_> = fronts.iter().map(|front| &front[..12]).collect();
        assert_eq!(nonces.len(), fronts.iter().collect::<HashSet<_>>().len());
        incarnations.extend(fronts.iter().map(|front| front[12..].to_vec()));
    }
    assert_eq!(incarnations.len(), 3, "the store's own and one for each copy");
}

#[test]
fn what_was_shredded_stays_so_in_a_store_restored_with_the_newer_keys() {
    let (dir, copy) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    append_marked(&mut varve, 2);
    let mut backup = Vec::new();
    varve.snapshot().unwrap().back_up(&mut backup).unwrap();
    append_marked(&mut varve, 2);
    varve.shred("doors", StreamId(1)).unwrap();
    append_marked(&mut varve, 1);
    let restored = copy.path().join("restored");
    varve_core::restore(backup.as_slice(), &restored).unwrap();
    fs::copy(dir.path().join("keys"), restored.join("keys")).unwrap();
    let mut varve = Varve::with_config(&restored, all_sealed()).unwrap();
    let mut reader = varve.stream_reader::<Door>("doors").unwrap();
    let gone = reader.get_bytes(StreamId(1), StreamSequence(1)).map(drop);
    assert_eq!(absence(gone).reason, AbsenceReason::Shredded);
    let mut doors = varve.stream::<Door, 128>("doors").unwrap();
    let (seq, _) = doors.append(StreamId(1), &door("anew")).unwrap();
    assert_eq!(seq, StreamSequence(2));
    assert_eq!(reader.get_archived(StreamId(1), seq).unwrap().unwrap().who.as_str(), "anew");
    assert_eq!(whos(&varve, 2).len(), 6);
}

/// What the second process does: it reads, is told that the owner has added a stream and shredded another, and reads again.
pub(crate) fn read_beside_the_owner(path: &Path) {
    let view = Varve::open_read_only_with_config(path, all_sealed()).unwrap();
    let mut reader = view.stream_reader::<Door>("doors").unwrap();
    let mut got = |id| reader.get_archived(StreamId(id), StreamSequence(0)).map(|event| event.is_some());
    assert!(got(1).unwrap() && got(2).unwrap() && !got(3).unwrap());
    tell("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert!(got(1).unwrap() && got(3).unwrap());
    assert_eq!(absence(got(2)).reason, AbsenceReason::Shredded);
}

#[test]
fn a_reader_in_another_process_gets_keys_that_were_added_and_none_that_were_shredded() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append_marked(&mut varve, 1);
    varve.flush().unwrap();
    let mut reader = start("read sealed", dir.path());
    wait_for(&mut reader, "ready");
    varve.stream::<Door, 128>("doors").unwrap().append(StreamId(3), &door("Grace")).unwrap();
    varve.shred("doors", StreamId(2)).unwrap();
    reader.stdin.take().unwrap().write_all(b"read again\n").unwrap();
    assert!(reader.wait().unwrap().success());
}

#[test]
fn what_a_killed_owner_had_acknowledged_is_opened_by_keys_that_it_stored_before() {
    let dir = new_dir();
    let mut varve = open(&dir);
    append_marked(&mut varve, 1);
    varve.flush().unwrap();
    let copy = new_dir();
    for file in fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    assert_eq!(whos(&open(&copy), 1), [format!("{MARKER} 0")]);
    assert_eq!(whos(&open(&copy), 2).len(), 3);
}

/// In a plain run the events are a tenth as many, and fit one snapshot.
#[test]
fn a_snapshot_that_has_opened_too_much_says_so_and_another_goes_on() {
    let scale = std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    let n = 140 * 10.min(scale);
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut texts = varve.stream::<Door, 60_000>("texts").unwrap();
    texts.append_batch(StreamId(0), &vec![door(&"x".repeat(50_000)); n]).unwrap();
    let (mut next, mut snapshots) = (0, 0);
    while next < n as u64 {
        let snapshot = varve.snapshot().unwrap();
        snapshots += 1;
        for event in snapshot.iter_from(GlobalSequence(next)).unwrap() {
            match event {
                Ok(event) => next = event.global_seq.0 + 1,
                Err(ReadError::SnapshotFull) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    assert_eq!(snapshots, 1 + n * 50_000 / SNAPSHOT_OPENED_LEN_MAX);
}

/// What a random life is to have left: each event's stream and text, and up to where each stream was shredded.
#[derive(Default)]
struct Model {
    log: Vec<(u64, String)>,
    shredded: HashMap<u64, u64>,
}

impl Model {
    fn version(&self, id: u64) -> u64 {
        self.log.iter().filter(|event| event.0 == id).count() as u64
    }

    fn add(&mut self, random: &mut fastrand::Rng) -> (u64, Door) {
        let (id, who) = (random.u64(..4), "w".repeat(random.usize(..40)) + &self.log.len().to_string());
        self.log.push((id, who.clone()));
        (id, door(&who))
    }
}

#[test]
fn a_random_life_with_shreddings_agrees_with_a_list() {
    let scale = std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1);
    for seed in 0..6 * scale {
        live(seed);
    }
}

fn live(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let (dir, mut model, mut master) = (new_dir(), Model::default(), 0);
    let config = |master: u8| {
        let mut config = relaxed();
        config.encryption = Some(Encryption::new(MasterKey::from_bytes([master; 32])));
        config
    };
    let mut varve = Varve::with_config(dir.path(), config(master)).unwrap();
    for _ in 0..60 {
        match random.u8(..12) {
            0..8 => {
                let doors = varve.stream::<Door, 128>("doors").unwrap();
                let mut append = varve.begin();
                for _ in 0..random.usize(1..6) {
                    let (id, event) = model.add(&mut random);
                    append.event(&doors, StreamId(id), &event).unwrap();
                }
                append.commit().unwrap();
            }
            8 => varve.fold().unwrap(),
            9 => {
                drop(varve);
                varve = Varve::with_config(dir.path(), config(master)).unwrap();
            }
            10 => {
                let id = random.u64(..4);
                let version = model.version(id);
                match varve.shred("doors", StreamId(id)) {
                    Ok(()) => drop(model.shredded.insert(id, version)),
                    Err(error) => assert!(version == 0, "seed {seed}: {error}"),
                }
            }
            _ => {
                master += 1;
                varve.rotate_master(&MasterKey::from_bytes([master; 32])).unwrap();
            }
        }
    }
    check_life(seed, &varve, &model);
    drop(varve);
    check_life(seed, &Varve::with_config(dir.path(), config(master)).unwrap(), &model);
}

fn check_life(seed: u64, varve: &Varve, model: &Model) {
    let snapshot = varve.snapshot().unwrap();
    let mut next: HashMap<u64, u64> = HashMap::new();
    let mut events = snapshot.iter_from(GlobalSequence(0)).unwrap();
    let mut gone_before = GlobalSequence(0);
    for (place, (id, who)) in (0..).zip(&model.log) {
        let seq = next.entry(*id).or_default();
        let is_gone = *seq < model.shredded.get(id).copied().unwrap_or_default();
        if gone_before <= GlobalSequence(place) {
            match events.next().unwrap() {
                Ok(event) => {
                    let stored = (event.stream_id.0, event.stream_seq.0);
                    assert_eq!(stored, (*id, *seq), "seed {seed}, event {place}");
                    let stored = event.archived::<Door>().unwrap().who.as_str();
                    assert_eq!(stored, who, "seed {seed}, event {place}");
                    assert!(!is_gone, "seed {seed}, event {place}");
                }
                event => {
                    let absence = absence(event);
                    assert!(is_gone && absence.stream.unwrap().id.0 == *id, "seed {seed}");
                    gone_before = absence.log.unwrap().end;
                }
            }
        }
        *seq += 1;
    }
    assert!(events.next().is_none(), "seed {seed}");
}

#[test]
fn a_verification_tells_of_damaged_keys_without_the_master_key() {
    let dir = new_dir();
    append_marked(&mut open(&dir), 1);
    let report = varve_core::verify(dir.path()).unwrap();
    assert!(report.is_sound(), "{report}");
    let path = dir.path().join("keys");
    let sound = fs::read(&path).unwrap();
    for (at, place) in [(20, 0), (4096 + 70, 4096), (4096 + 128 + 5, 4096 + 128)] {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        let report = varve_core::verify(dir.path()).unwrap();
        let place = format!("file of keys at byte {place}");
        assert!(!report.is_sound() && report.to_string().contains(&place), "{report}");
    }
}

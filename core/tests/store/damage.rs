//! Damage is an error with a place, never absence, and it stays where it is.

use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use heed::types::Bytes;
use heed::{Database, EnvOpenOptions, RwTxn};
use varve_core::{
    AppendError, Config, Damage, Durability, EVENT_LEN_MAX, ExpectedVersion, GlobalSequence, OpenError,
    Place, ReadError, RetentionPolicy, StreamId, StreamSequence, TAIL_LEN_MIN, Varve,
};

use crate::{Door, door, new_dir, new_dir_in_memory, open, relaxed, scaled};

/// Where the blocks stand in the data file.
pub(crate) fn blocks(file: &[u8]) -> Vec<Range<usize>> {
    let starts = (0..file.len() - 64).filter(|&at| file[at..].starts_with(b"VRVB\0\0\0\0"));
    starts.map(|at| at..at + u32::from_le_bytes(file[at + 12..][..4].try_into().unwrap()) as usize).collect()
}

fn damage_of<T>(result: Result<T, ReadError>) -> Damage {
    match result {
        Err(ReadError::Corrupt(damage)) => damage,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the damage was not seen"),
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_block_is_an_error_with_its_place() {
    let dir = new_dir();
    {
        let mut varve = open(&dir);
        let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
        doors.append(StreamId(1), &large_door("Ada")).unwrap();
        varve.fold().unwrap();
        doors.append_batch(StreamId(1), &[door("Ada"), door("Bartholomew")]).unwrap();
        varve.fold().unwrap();
    }
    let data = dir.path().join("data.mdb");
    let good = fs::read(&data).unwrap();
    let second = blocks(&good).into_iter().find(|block| good[block.start + 16] == 1).unwrap();
    for bit in (second.start * 8..second.end * 8).step_by(5) {
        let mut file = good.clone();
        file[bit / 8] ^= 1 << (bit % 8);
        fs::write(&data, file).unwrap();
        let varve = Varve::open_read_only(dir.path()).unwrap();
        let mut doors = varve.stream_reader::<Door>("doors").unwrap();
        let place = Place::Block(GlobalSequence(1));
        assert_eq!(damage_of(doors.get_bytes(StreamId(1), StreamSequence(2))).place, place);
        assert_eq!(damage_of(doors.get_archived(StreamId(1), StreamSequence(1))).place, place);
        assert_eq!(damage_of(varve.global_reader().get(GlobalSequence(2))).place, place);
        assert_eq!(damage_of(doors.iter_stream(StreamId(1), None).unwrap().collect_bytes()).place, place);
        let snapshot = varve.snapshot().unwrap();
        let mut events = snapshot.iter_from(GlobalSequence(0)).unwrap();
        assert!(events.next().unwrap().is_ok(), "what is whole is read");
        assert_eq!(damage_of(events.next().unwrap()).place, place);
        assert!(events.next().is_none(), "an error ends the iteration");
    }
}

/// The checksum of a device's event holds whatever the device archived: the type is checked each time.
#[test]
fn an_event_that_its_device_archived_wrongly_is_an_error_with_its_place() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut append = varve.begin();
    append.open_epoch(crate::DEVICE, varve_core::Epoch(1)).unwrap();
    append.descriptor(<Door as varve_core::Event>::DESCRIPTOR).unwrap();
    let good = crate::archived(&door("Ada"));
    let mut two = good.clone();
    two[0] = 2; // a bool of 2
    let events = [(0, 0, good), (0, 0, two)];
    let batch = crate::sealed(crate::LANE, varve_core::TimeColumn::None, &events);
    let channels = [crate::binding::<Door>("doors", StreamId(1))];
    append.device_batch(crate::device_batch(&channels, 0, &batch)).unwrap();
    append.commit().unwrap();
    let mut doors = varve.stream::<Door, 64>("doors").unwrap().reader();
    assert!(doors.get_archived(StreamId(1), StreamSequence(0)).unwrap().is_some());
    let place = Place::Event(GlobalSequence(1));
    assert_eq!(damage_of(doors.get_archived(StreamId(1), StreamSequence(1))).place, place);
    let events = doors.iter_stream(StreamId(1), None).unwrap();
    assert_eq!(damage_of(events.iter().last().unwrap()).place, place);
    let snapshot = varve.snapshot().unwrap();
    let event = snapshot.iter_from(GlobalSequence(1)).unwrap().next().unwrap().unwrap();
    assert_eq!(damage_of(event.archived::<Door>()).place, place);
    assert_eq!(doors.get_bytes(StreamId(1), StreamSequence(1)).unwrap().unwrap().len(), event.payload.len());
}

/// The store as a killed owner leaves it, whose last record a bit was flipped in.
pub(crate) fn with_a_damaged_last_record(durability: Durability) -> tempfile::TempDir {
    let (dir, copy) = (new_dir(), new_dir());
    let mut config = Config::default();
    config.durability = durability;
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    for who in ["Ada", "Bartholomew", "Grace"] {
        doors.append(StreamId(1), &door(who)).unwrap();
    }
    for file in fs::read_dir(dir.path()).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let tail = copy.path().join("tail");
    let mut file = fs::read(&tail).unwrap();
    let last = (0..file.len() - 5).rfind(|&at| file[at..].starts_with(b"Grace")).unwrap();
    file[last] ^= 1;
    fs::write(&tail, file).unwrap();
    copy
}

#[test]
fn a_damaged_last_record_is_no_torn_one_where_the_watermark_counts_it() {
    for is_started_anew in [false, true] {
        let dir = with_a_damaged_last_record(Durability::Durable);
        if is_started_anew {
            start_anew(dir.path());
        }
        let is_in_tail =
            |error| matches!(error, OpenError::Corrupt(Damage { place: Place::Tail { .. }, .. }));
        assert!(Varve::open_read_only(dir.path()).is_err_and(is_in_tail), "{is_started_anew}");
        assert!(Varve::new(dir.path()).is_err_and(is_in_tail), "{is_started_anew}");
    }
}

/// As after a power cut that kept the watermark from the disk, or came to a store that flushes nothing.
#[test]
fn a_damaged_last_record_ends_the_log_where_nothing_tells_that_it_was_flushed() {
    let dir = with_a_damaged_last_record(Durability::Durable);
    fs::remove_file(dir.path().join("watermark")).unwrap();
    assert_eq!(Varve::open_read_only(dir.path()).unwrap().next_global_seq().unwrap(), GlobalSequence(2));

    let dir = with_a_damaged_last_record(Durability::Relaxed);
    assert!(Varve::open_read_only(dir.path()).is_err(), "the machine runs on");
    start_anew(dir.path());
    assert_eq!(Varve::open_read_only(dir.path()).unwrap().next_global_seq().unwrap(), GlobalSequence(2));
    assert_eq!(Varve::new(dir.path()).unwrap().next_global_seq().unwrap(), GlobalSequence(2));
}

/// As if the machine had been started anew since: nothing notes the boot that wrote the tail.
pub(crate) fn start_anew(dir: &Path) {
    let tail = OpenOptions::new().write(true).open(dir.join("tail")).unwrap();
    tail.write_all_at(&[0; 24], 4096).unwrap();
}

#[test]
fn a_fold_that_no_store_comes_to_is_damage() {
    for at in [0, 8] {
        let dir = new_dir();
        edit(dir.path(), "meta", |key, row| {
            if key == b"folded" {
                row[at..at + 8].fill(0xff);
            }
        });
        match Varve::new(dir.path()) {
            Err(OpenError::Corrupt(Damage { place: Place::Row { table: "meta", .. }, .. })) => {}
            opened => panic!("{opened:?}"),
        }
    }
}

/// Changes rows of a closed store behind its back; a row that is left without a value is removed.
pub(crate) fn edit(dir: &Path, table: &str, mut change: impl FnMut(&[u8], &mut Vec<u8>)) {
    with_table(dir, table, |rows, txn| {
        let pairs = rows.iter(txn).unwrap().map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())));
        for (key, mut value) in pairs.collect::<Result<Vec<_>, _>>().unwrap() {
            change(&key, &mut value);
            match value.is_empty() {
                true => assert!(rows.delete(txn, &key).unwrap()),
                false => rows.put(txn, &key, &value).unwrap(),
            }
        }
    });
}

/// Adds a row to a closed store behind its back.
pub(crate) fn put(dir: &Path, table: &str, key: &[u8], value: &[u8]) {
    with_table(dir, table, |rows, txn| rows.put(txn, key, value).unwrap());
}

fn with_table(dir: &Path, table: &str, change: impl FnOnce(Database<Bytes, Bytes>, &mut RwTxn<'_>)) {
    fold(dir);
    // SAFETY: the store is closed, and nobody else knows of the directory.
    #[allow(unsafe_code)]
    let env = unsafe { EnvOpenOptions::new().max_dbs(32).open(dir) }.unwrap();
    let rows = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
        opener.create_database::<Bytes, Bytes>(txn, Some(table)).map(heed::CommitOrAbort::<_, ()>::Commit)
    });
    let mut txn = env.write_txn().unwrap();
    change(rows.unwrap().unwrap_commit(), &mut txn);
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

/// Brings what the tail holds into LMDB, as every owner does that opens a store. One that is damaged stays as it is.
fn fold(dir: &Path) {
    drop(Varve::with_config(dir, relaxed()));
}

/// Removes a table of a closed store.
#[allow(unsafe_code)]
pub(crate) fn remove_table(dir: &Path, table: &str) {
    fold(dir);
    // SAFETY: the store is closed, and nobody else knows of the directory.
    let env = unsafe { EnvOpenOptions::new().max_dbs(32).open(dir) }.unwrap();
    let rows = env.create_databases_and_commit(env.write_txn().unwrap(), |opener, txn| {
        opener.create_database::<Bytes, Bytes>(txn, Some(table)).map(heed::CommitOrAbort::<_, ()>::Commit)
    });
    let rows = rows.unwrap().unwrap_commit();
    let mut txn = env.write_txn().unwrap();
    // SAFETY: there is no other handle of the table.
    unsafe { rows.remove(&mut txn) }.unwrap();
    txn.commit().unwrap();
    env.prepare_for_closing().wait();
}

pub(crate) fn set_format(dir: &Path, version: u32) {
    edit(dir, "meta", |key, value| {
        if key == b"format" {
            *value = version.to_le_bytes().to_vec();
        }
    });
}

/// Flips a bit in the middle of the block that begins with the event `first`.
pub(crate) fn break_block(dir: &Path, first: u64) {
    edit(dir, "block", |key, value| {
        let middle = value.len() / 2;
        value[middle] ^= u8::from(key == first.to_be_bytes());
    });
}

fn some_store() -> tempfile::TempDir {
    let dir = new_dir();
    let mut varve = open(&dir);
    varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap().append(StreamId(1), &large_door("Ada")).unwrap();
    varve.fold().unwrap();
    dir
}

/// An event that takes more than half a block, so that it has one of its own.
pub(crate) fn large_door(who: &str) -> Door {
    door(&who.repeat(12_000))
}

#[test]
fn a_damaged_row_is_an_error_that_names_the_row() {
    let read = |dir: &tempfile::TempDir| -> Result<(), ReadError> {
        let varve = Varve::open_read_only(dir.path()).unwrap();
        let mut doors = varve.stream_reader::<Door>("doors")?;
        doors.get_archived(StreamId(1), StreamSequence(0))?.map(drop).expect("damage is not absence");
        let snapshot = varve.snapshot()?;
        for event in snapshot.iter_from(GlobalSequence(0))? {
            let event = event?;
            event.time()?;
            event.schema()?.expect("damage is not absence");
        }
        varve.streams()?;
        Ok(())
    };
    for table in ["name", "stream_id", "stream_info", "stream", "descriptor", "domain", "block"] {
        let dir = some_store();
        read(&dir).unwrap();
        edit(dir.path(), table, |_, value| value.truncate(3));
        let damage = damage_of(read(&dir));
        match damage.place {
            Place::Row { table: named, .. } => assert_eq!(named, table),
            place => assert_eq!((place, table), (Place::Block(GlobalSequence(0)), "block")),
        }
    }
    let dir = some_store();
    edit(dir.path(), "stream", |_, value| value[10] += 1);
    assert!(matches!(damage_of(read(&dir)).place, Place::Row { table: "stream", .. }));
}

#[test]
fn a_block_that_is_missing_is_damage_and_not_a_shorter_log() {
    let dir = some_store();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
    (0..2).for_each(|_| assert!(doors.append(StreamId(1), &large_door("Bob")).is_ok()));
    varve.fold().unwrap();
    drop((varve, doors));
    edit(dir.path(), "block", |key, value| {
        if key.ends_with(&[1]) {
            value.clear();
        }
    });
    let varve = Varve::open_read_only(dir.path()).unwrap();
    let snapshot = varve.snapshot().unwrap();
    let mut events = snapshot.iter_from(GlobalSequence(0)).unwrap();
    assert!(events.next().unwrap().is_ok());
    assert_eq!(damage_of(events.next().unwrap()).place, Place::Block(GlobalSequence(2)));
    let mut doors = varve.stream_reader::<Door>("doors").unwrap();
    assert!(matches!(
        damage_of(doors.get_bytes(StreamId(1), StreamSequence(1))).place,
        Place::Row { table: "block", .. }
    ));
    let place = Place::Event(GlobalSequence(1));
    assert_eq!(damage_of(varve.global_reader().get(GlobalSequence(1))).place, place);
    assert_eq!(damage_of(snapshot.iter_from(GlobalSequence(1))).place, place);
    let mut events = snapshot.iter_back(None).unwrap();
    assert!(events.next().unwrap().is_ok());
    assert_eq!(damage_of(events.next().unwrap()).place, place);
    assert!(events.next().is_none(), "an error ends the iteration");
}

/// The last block tells where the log goes on.
#[test]
fn nothing_is_appended_behind_a_last_block_that_is_damaged() {
    let dir = new_dir();
    {
        let mut varve = open(&dir);
        let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
        doors.append(StreamId(1), &large_door("Ada")).unwrap();
        varve.fold().unwrap();
    }
    let data = dir.path().join("data.mdb");
    let mut file = fs::read(&data).unwrap();
    let events = blocks(&file)[0].start + 24;
    file[events] ^= 2;
    fs::write(&data, file).unwrap();
    match Varve::new(dir.path()) {
        Err(OpenError::Corrupt(damage)) => assert_eq!(damage.place, Place::Block(GlobalSequence(0))),
        opened => panic!("{:?}", opened.map(drop)),
    }
}

#[test]
fn a_run_that_is_missing_is_damage_and_not_a_shorter_stream() {
    let dir = some_store();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
    (0..2).for_each(|_| assert!(doors.append(StreamId(1), &large_door("Bob")).is_ok()));
    varve.fold().unwrap();
    drop((varve, doors));
    edit(dir.path(), "stream", |key, value| {
        if key.ends_with(&[1]) {
            value.clear();
        }
    });
    let varve = Varve::open_read_only(dir.path()).unwrap();
    let mut doors = varve.stream_reader::<Door>("doors").unwrap();
    let is_row = |damage: Damage| matches!(damage.place, Place::Row { table: "stream", .. });
    assert!(is_row(damage_of(doors.get_bytes(StreamId(1), StreamSequence(1)))));
    let events = doors.iter_stream(StreamId(1), None).unwrap();
    let mut events = events.iter();
    assert!(events.next().unwrap().is_ok());
    assert!(is_row(damage_of(events.next().unwrap())));
    let events = doors.iter_stream_back(StreamId(1), None).unwrap();
    let mut events = events.iter();
    assert!(events.next().unwrap().is_ok());
    assert!(is_row(damage_of(events.next().unwrap())));
    assert!(events.next().is_none(), "an error ends the iteration");
}

#[test]
fn a_flipped_bit_in_a_row_of_the_index_shows_no_event_twice_and_hides_none() {
    const STREAMS: [u64; 6] = [1, 2, 1, 1, 2, 1];
    let dir = new_dir();
    {
        let mut varve = open(&dir);
        let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
        STREAMS.iter().for_each(|&id| assert!(doors.append(StreamId(id), &large_door("Ada")).is_ok()));
        varve.fold().unwrap();
    }
    let data = dir.path().join("data.mdb");
    let good = fs::read(&data).unwrap();
    // Where the row of each block's run stands, on the pages that count and on those before them.
    let rows: Vec<Vec<_>> = (0..STREAMS.len())
        .map(|block| {
            let seq = STREAMS[..block].iter().filter(|&&id| id == STREAMS[block]).count();
            let key = [&(STREAMS[block] as u32).to_be_bytes()[..], &(seq as u64).to_be_bytes()].concat();
            let row = [&key[..], &(block as u64).to_le_bytes(), &[0, 0, 1, 0, 0, 0]].concat();
            let places = good.windows(row.len()).enumerate().filter(|(_, bytes)| *bytes == row);
            places.map(|(at, _)| at + key.len()).collect()
        })
        .collect();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..scaled(600) {
        let (block, bit) = (random.usize(..STREAMS.len()), random.usize(..18 * 8));
        assert!(!rows[block].is_empty());
        let mut file = good.clone();
        rows[block].iter().for_each(|at| file[at + bit / 8] ^= 1 << (bit % 8));
        fs::write(&data, file).unwrap();
        let snapshot = Varve::open_read_only(dir.path()).unwrap().snapshot().unwrap();
        for from in [0, 2] {
            let case = format!("bit {bit} of the row of block {block}, from {from}");
            let mut places = Vec::new();
            let merged = snapshot.iter_name("doors", GlobalSequence(from)).and_then(|mut events| {
                events.try_for_each(|event| event.map(|event| places.push(event.global_seq.0)))
            });
            assert!(places.is_sorted_by(|before, place| before < place), "{case}: {places:?}");
            match merged {
                Err(error) => assert!(matches!(error, ReadError::Corrupt(_)), "{case}: {error}"),
                Ok(()) => assert!(places.into_iter().eq(from..6), "{case}"),
            }
        }
    }
}

/// A stream goes on where its last row ends, and a version is expected of it.
#[test]
fn a_flipped_bit_in_a_row_of_the_index_gives_no_stream_another_end() {
    let dir = new_dir_in_memory();
    let config = || {
        let mut config = relaxed();
        config.tail_len = TAIL_LEN_MIN;
        config
    };
    {
        let mut varve = Varve::with_config(dir.path(), config()).unwrap();
        let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
        [1, 2, 3, 2].iter().for_each(|&id| assert!(doors.append(StreamId(id), &large_door("Ada")).is_ok()));
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(3);
        assert_eq!(varve.retain(&policy).unwrap().first, GlobalSequence(1));
    }
    let good = fs::read(dir.path().join("data.mdb")).unwrap();
    let cases: Vec<_> = [(1, 0, 0), (2, 0, 1), (3, 0, 2), (2, 1, 3)]
        .into_iter()
        .flat_map(|(stream, seq, block)| (0..30 * 8).map(move |bit| (stream, seq, block, bit)))
        .collect();
    let mut random = fastrand::Rng::with_seed(5);
    for case in random.choose_multiple(&cases, scaled(cases.len() as u64) as usize) {
        let (stream, seq, block, bit) = *case;
        let key = [&(stream as u32).to_be_bytes()[..], &(seq as u64).to_be_bytes()].concat();
        let row = [&key[..], &(block as u64).to_le_bytes(), &[0, 0, 1, 0, 0, 0]].concat();
        let mut file = good.clone();
        let places = (0..good.len() - row.len()).filter(|&at| good[at..].starts_with(&row));
        places.for_each(|at| file[at + bit / 8] ^= 1 << (bit % 8));
        assert_ne!(file, good);
        let copy = new_dir_in_memory();
        fs::write(copy.path().join("data.mdb"), file).unwrap();
        fs::copy(dir.path().join("tail"), copy.path().join("tail")).unwrap();
        let told = told_of_ends(copy.path(), config(), &format!("{case:?}"));
        let is_last = (stream, seq) != (2, 0);
        assert!(!is_last || told.contains(&StreamId(stream)), "{case:?}");
    }
}

/// The streams of whose ends damage is told, which are right of all others, by a reader and then by an owner.
fn told_of_ends(dir: &Path, config: Config, case: &str) -> Vec<StreamId> {
    let ends = [(1, 1), (2, 2), (3, 1), (4, 0)].map(|(id, end)| (StreamId(id), end));
    let view = Varve::open_read_only(dir).unwrap();
    for (id, end) in ends {
        match view.stream_reader::<Door>("doors").unwrap().version(id) {
            Ok(version) => assert_eq!(version, end, "{case}, {id}"),
            Err(error) => assert!(matches!(error, ReadError::Corrupt(_)), "{case}, {id}: {error}"),
        }
    }
    drop(view);
    let mut varve = Varve::with_config(dir, config).unwrap();
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    let mut told = Vec::new();
    for (id, end) in ends {
        match doors.append_expecting(id, ExpectedVersion::Exact(end), &door("Bob")) {
            Ok((seq, _)) => assert_eq!(seq.0, end, "{case}, {id}"),
            Err(AppendError::Corrupt(_)) => told.push(id),
            Err(error) => panic!("{case}, {id}: {error}"),
        }
    }
    told
}

/// Runs are found ahead of the one that is read; what is wrong with one of them is told in its turn.
#[test]
fn damage_is_told_behind_the_events_before_it() {
    const EVENTS: u64 = 20;
    let damaged: [u64; 10] = [19, 16, 15, 9, 8, 7, 4, 3, 2, 1];
    let (rows, blocks) = (new_dir(), new_dir());
    for dir in [&rows, &blocks] {
        let mut varve = open(dir);
        let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
        (0..EVENTS).for_each(|_| assert!(doors.append(StreamId(1), &large_door("Ada")).is_ok()));
        varve.fold().unwrap();
    }
    for first in damaged {
        edit(rows.path(), "stream", |key, value| {
            if key.ends_with(&first.to_be_bytes()) {
                value.pop();
            }
        });
        break_block(blocks.path(), first);
        for (dir, is_of_row) in [(&rows, true), (&blocks, false)] {
            let doors = Varve::open_read_only(dir.path()).unwrap().stream_reader::<Door>("doors").unwrap();
            let events = doors.iter_stream(StreamId(1), None).unwrap();
            let mut events = events.iter();
            let before = events.by_ref().take(first as usize);
            assert!(before.map(|event| event.unwrap().stream_seq.0).eq(0..first));
            match damage_of(events.next().unwrap()).place {
                Place::Row { table: "stream", .. } => assert!(is_of_row),
                place => assert_eq!((place, is_of_row), (Place::Block(GlobalSequence(first)), false)),
            }
            assert!(events.next().is_none(), "an error ends the iteration");
            assert_eq!(doors.iter_stream(StreamId(1), None).unwrap().iter().count() as u64, first + 1);
        }
    }
}

/// A first block of two events and its run, both whole, in a log whose second block begins with the second event.
#[test]
fn blocks_and_runs_that_overlap_are_damage_in_either_direction() {
    let (dir, other) = (some_store(), new_dir());
    let mut varve = open(&dir);
    varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap().append(StreamId(1), &large_door("Bob")).unwrap();
    varve.fold().unwrap();
    drop(varve);
    let mut varve = open(&other);
    varve
        .stream::<Door, 64>("doors")
        .unwrap()
        .append_batch(StreamId(1), &[door("Ada"), door("Bob")])
        .unwrap();
    varve.fold().unwrap();
    drop(varve);
    for table in ["block", "stream"] {
        let two = std::cell::RefCell::new(Vec::new());
        edit(other.path(), table, |_, value| two.borrow_mut().clone_from(value));
        edit(dir.path(), table, |key, value| {
            if key.ends_with(&[0]) {
                value.clone_from(&two.borrow());
            }
        });
    }
    let varve = Varve::open_read_only(dir.path()).unwrap();
    let snapshot = varve.snapshot().unwrap();
    let forward = snapshot.iter_from(GlobalSequence(0)).unwrap().last().unwrap();
    assert_eq!(damage_of(forward).place, Place::Block(GlobalSequence(1)));
    let backward = snapshot.iter_back(None).unwrap().last().unwrap();
    assert_eq!(damage_of(backward).place, Place::Block(GlobalSequence(0)));
    let reader = varve.stream_reader::<Door>("doors").unwrap();
    let is_row = |damage: Damage| matches!(damage.place, Place::Row { table: "stream", .. });
    assert!(is_row(damage_of(reader.iter_stream(StreamId(1), None).unwrap().iter().last().unwrap())));
    assert!(is_row(damage_of(reader.iter_stream_back(StreamId(1), None).unwrap().iter().last().unwrap())));
}

#[test]
fn a_store_without_its_identity_does_not_open() {
    let dir = some_store();
    edit(dir.path(), "meta", |key, value| {
        if key == b"incarnation" {
            value.truncate(1);
        }
    });
    assert!(matches!(Varve::new(dir.path()), Err(OpenError::Corrupt(_))));
}

#[test]
fn a_store_that_lost_its_tail_is_damaged_and_not_shorter() {
    let dir = new_dir();
    let mut varve = open(&dir);
    varve.stream::<Door, 64>("doors").unwrap().append(StreamId(0), &door("Ada")).unwrap();
    drop(varve);
    fs::rename(dir.path().join("tail"), dir.path().join("elsewhere")).unwrap();
    let missing = |opened: Result<(), OpenError>| {
        let Err(OpenError::Corrupt(damage)) = opened else { panic!("it opens without its tail") };
        assert_eq!(damage.place, Place::TailHeader);
    };
    missing(Varve::new(dir.path()).map(drop));
    missing(Varve::open_read_only(dir.path()).map(drop));
    fs::rename(dir.path().join("elsewhere"), dir.path().join("tail")).unwrap();
    assert_eq!(open(&dir).next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn the_tail_of_another_store_is_refused() {
    let (dir, other) = (new_dir(), new_dir());
    drop((open(&dir), open(&other)));
    fs::copy(other.path().join("tail"), dir.path().join("tail")).unwrap();
    for opened in [Varve::new(dir.path()).map(drop), Varve::open_read_only(dir.path()).map(drop)] {
        assert!(matches!(opened, Err(OpenError::NotAStore { .. })), "{opened:?}");
    }
}

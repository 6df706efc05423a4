//! Who may open a directory, and what is refused.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::Path;

use varve_core::{
    Config, Damage, FORMAT_VERSION, GlobalSequence, OpenError, Place, SalvageError, StreamId, Varve, salvage,
    verify,
};

use crate::{damage::set_format, damage::start_anew, new_dir, open};

#[test]
fn a_directory_has_one_owner_whichever_path_leads_to_it() {
    let dir = new_dir();
    let path = dir.path().join("store");
    let varve = Varve::new(&path).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [path.clone(), link.clone(), path.join("../store")] {
        let error = Varve::new(&path).unwrap_err();
        assert!(matches!(&error, OpenError::Owned { path: named } if *named == path), "{error}");
        assert!(error.to_string().contains("open it read-only"), "{error}");
    }
    drop(varve);
    Varve::new(&link).unwrap();
}

/// LMDB makes its table anew whenever nobody has it open: what a file of that name held before, and how much, is nothing to go by.
#[test]
fn whatever_the_table_of_readers_held_nobody_goes_by_it() {
    let dir = new_dir();
    open(&dir).stream::<u64, 8>("numbers").unwrap().append(StreamId(0), &7).unwrap();
    let path = dir.path().join("lock.mdb");
    let honest = fs::read(&path).unwrap();
    let many_readers = [&honest[..16], &[0xff; 4], &honest[20..128], &[0xff; 64 * 200]].concat();
    for table in [vec![], vec![1], vec![0xff; 63], vec![0; 4096], vec![0xff; 9000], many_readers] {
        for len in [table.len() as u64, 1 << 30] {
            let spoil = || {
                fs::write(&path, &table).unwrap();
                OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
            };
            spoil();
            let mut view = Varve::open_read_only(dir.path()).unwrap().global_reader();
            assert!(view.get_bytes(GlobalSequence(0)).unwrap().is_some());
            drop(view);
            spoil();
            let mut varve = open(&dir);
            varve.stream::<u64, 8>("numbers").unwrap().append(StreamId(0), &8).unwrap();
            let snapshot = varve.snapshot().unwrap();
            let [pins] = &varve.process_pins().unwrap()[..] else { panic!("this process reads alone") };
            assert_eq!((pins.process, pins.snapshots), (std::process::id(), 1));
            drop(snapshot);
        }
    }
}

#[test]
fn a_store_stays_owned_until_its_last_handle_is_gone() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let stream = varve.stream::<u64, 8>("numbers").unwrap();
    drop(varve);
    assert!(matches!(Varve::new(dir.path()), Err(OpenError::Owned { .. })));
    let events = stream.reader().iter_stream(StreamId(0), None).unwrap();
    drop(stream);
    assert!(matches!(Varve::new(dir.path()), Err(OpenError::Owned { .. })));
    drop(events);
    open(&dir);
}

#[test]
fn a_store_keeps_its_identity_and_each_has_its_own() {
    let (one, other) = (new_dir(), new_dir());
    let incarnation = open(&one).incarnation();
    assert_eq!(open(&one).incarnation(), incarnation);
    assert_eq!(Varve::open_read_only(one.path()).unwrap().incarnation(), incarnation);
    assert_ne!(open(&other).incarnation(), incarnation);
}

/// Its tail may hold what was acknowledged: a new store in its place would be another one.
#[test]
fn a_store_that_lost_its_data_file_or_the_front_of_it_is_damaged_to_all_and_not_made_anew() {
    let losses: [fn(&Path); 3] = [
        |data| fs::remove_file(data).unwrap(),
        |data| fs::write(data, "").unwrap(),
        |data| OpenOptions::new().write(true).open(data).unwrap().write_all_at(&[0xff; 8192], 0).unwrap(),
    ];
    for lose in losses {
        let dir = new_dir();
        open(&dir).stream::<u64, 8>("numbers").unwrap().append(StreamId(0), &7).unwrap();
        let data = dir.path().join("data.mdb");
        lose(&data);
        let left = fs::read(&data).unwrap_or_default();
        for error in [Varve::new(dir.path()).unwrap_err(), Varve::open_read_only(dir.path()).unwrap_err()] {
            assert!(matches!(error, OpenError::Corrupt(Damage { place: Place::MetaPages, .. })), "{error}");
        }
        let report = verify(dir.path()).unwrap();
        assert_eq!(report.findings[0].place, "front of the data file");
        assert!(fs::read(&data).unwrap_or_default() == left);
        let report = salvage(dir.path(), dir.path().join("new")).unwrap();
        assert_eq!((report.events, report.lost_events), (1, 0));
    }
}

#[test]
fn a_newer_store_is_refused_with_both_versions() {
    let dir = new_dir();
    drop(open(&dir));
    set_format(dir.path(), FORMAT_VERSION + 3);
    for error in [Varve::new(dir.path()).unwrap_err(), Varve::open_read_only(dir.path()).unwrap_err()] {
        let expected = (FORMAT_VERSION + 3, FORMAT_VERSION);
        assert!(
            matches!(error, OpenError::NewerFormat { found, supported } if (found, supported) == expected),
            "{error}"
        );
    }
    set_format(dir.path(), FORMAT_VERSION);
    open(&dir);
}

/// The first page of LMDB's data file: the number of the page, then its magic number after a header whose length
/// depends on the machine's word size. Its tail is the same on both, and of another boot where the files were copied here.
#[test]
fn a_store_of_another_word_size_is_named() {
    let mut page = vec![0; 8192];
    page[12..16].copy_from_slice(&0xBEEF_C0DEu32.to_ne_bytes());
    let makings: [fn(&Path); 3] = [
        |_| (),
        |dir| drop(Varve::new(dir).unwrap()),
        |dir| {
            drop(Varve::new(dir).unwrap());
            start_anew(dir);
        },
    ];
    for make in makings {
        let dir = new_dir();
        make(dir.path());
        fs::write(dir.path().join("data.mdb"), &page).unwrap();
        for error in [Varve::new(dir.path()).unwrap_err(), Varve::open_read_only(dir.path()).unwrap_err()] {
            assert!(matches!(error, OpenError::OtherWordSize { found: 32, expected: 64 }), "{error}");
        }
        let error = salvage(dir.path(), dir.path().join("new")).unwrap_err();
        assert!(matches!(error, SalvageError::Open(OpenError::OtherWordSize { .. })), "{error}");
    }
}

#[test]
fn what_is_no_store_is_left_alone() {
    let garbage = new_dir();
    fs::write(garbage.path().join("data.mdb"), vec![7; 10_000]).unwrap();
    let error = Varve::new(garbage.path()).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(fs::read(garbage.path().join("data.mdb")).unwrap(), vec![7; 10_000]);

    let foreign = new_dir();
    // SAFETY: nobody else knows of the directory.
    #[allow(unsafe_code)]
    let env = unsafe { heed::EnvOpenOptions::new().max_dbs(1).open(foreign.path()) }.unwrap();
    let txn = env.write_txn().unwrap();
    env.create_databases_and_commit(txn, |opener, txn| {
        use heed::types::Bytes;
        opener.create_database::<Bytes, Bytes>(txn, Some("mine")).map(heed::CommitOrAbort::<_, ()>::Commit)
    })
    .unwrap();
    env.prepare_for_closing().wait();
    let error = Varve::new(foreign.path()).unwrap_err();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");

    let file = new_dir();
    let path = file.path().join("file");
    fs::write(&path, b"a file").unwrap();
    let error = Varve::new(&path).unwrap_err();
    let is_told = |error: &OpenError| {
        matches!(error, OpenError::Io { path: named, error }
            if *named == path && error.kind() == ErrorKind::NotADirectory)
    };
    assert!(is_told(&error), "{error}");
}

#[test]
fn there_is_nothing_to_read_where_no_store_is() {
    let dir = new_dir();
    let file = dir.path().join("file");
    fs::write(&file, b"a file").unwrap();
    for path in [dir.path(), &dir.path().join("missing"), &file] {
        let error = Varve::open_read_only(path).unwrap_err();
        assert!(matches!(&error, OpenError::NotAStore { path: named, .. } if named == path), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a reader makes nothing");
}

#[test]
fn the_owners_process_reads_through_the_owner() {
    let dir = new_dir();
    let varve = open(&dir);
    assert!(matches!(Varve::open_read_only(dir.path()), Err(OpenError::OpenHere { .. })));
    varve.view().clone().snapshot().unwrap();
}

#[test]
fn readers_have_a_bound_with_a_name() {
    let dir = new_dir();
    let mut config = Config::default();
    config.readers_max = 4;
    let varve = Varve::with_config(dir.path(), config).unwrap();
    let snapshots: Vec<_> = (0..4).map(|_| varve.snapshot().unwrap()).collect();
    assert!(matches!(varve.snapshot(), Err(varve_core::ReadError::TooManyReaders)));
    drop(snapshots);
    varve.snapshot().unwrap();
}

//! The calls of this test are seen: counted, recorded and failed.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use varve_disk_shim::{Call, Disk, Failure, Fault, IS_SUPPORTED, Lasting, Operation, Watch};

/// Whether the tests can run here; says so where they cannot, past the test harness.
fn is_supported() -> bool {
    if !IS_SUPPORTED {
        let _ = writeln!(std::io::stderr(), "skipped: calls are seen with glibc on 64-bit Linux alone");
    }
    IS_SUPPORTED
}

/// A directory in memory, where there is such a thing: a flush takes no time there.
fn new_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn writable(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).unwrap()
}

fn replay(disk: &mut Disk, watch: &Watch) -> Vec<Operation> {
    let operations = watch.take_operations();
    operations.iter().for_each(|operation| disk.apply(operation));
    operations
}

fn assert_same_files(disk: &Disk, dir: &Path) {
    let mut count = 0;
    for (name, bytes) in disk.files() {
        assert_eq!(fs::read(dir.join(name)).unwrap(), bytes, "{}", name.display());
        count += 1;
    }
    assert_eq!(fs::read_dir(dir).unwrap().count(), count);
}

#[test]
fn what_was_recorded_rebuilds_the_files_exactly() {
    if !is_supported() {
        return;
    }
    for seed in 0..50 {
        let random = &mut Rng::with_seed(seed);
        let dir = new_dir();
        let mut disk = Disk::new();
        for _ in 0..2 {
            let watch = Watch::recording(dir.path()).unwrap();
            (0..60).for_each(|_| change_something(dir.path(), random));
            disk.begin_recording();
            assert!(!replay(&mut disk, &watch).is_empty());
            assert_same_files(&disk, dir.path());
        }
    }
}

fn change_something(dir: &Path, random: &mut Rng) {
    let path = dir.join(["a", "b", "c"][random.usize(..3)]);
    let bytes: Vec<u8> = (0..random.usize(1..3000)).map(|_| random.u8(..)).collect();
    let at = random.u64(..9000);
    match random.u8(..10) {
        0 => fs::write(&path, &bytes).unwrap(),
        1 => writable(&path).write_all_at(&bytes, at).unwrap(),
        2 => writable(&path).set_len(at).unwrap(),
        3 => drop(fs::rename(&path, dir.join("b"))),
        4 => drop(fs::remove_file(&path)),
        5 => writable(&path).sync_data().unwrap(),
        6 => {
            let mut file = writable(&path);
            file.seek(SeekFrom::Start(at)).unwrap();
            assert_eq!(
                file.write_vectored(&[IoSlice::new(&bytes), IoSlice::new(b"end")]).unwrap(),
                bytes.len() + 3
            );
        }
        7 => OpenOptions::new().append(true).create(true).open(&path).unwrap().write_all(&bytes).unwrap(),
        8 => {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).custom_flags(O_DSYNC);
            options.open(&path).unwrap().write_all_at(&bytes, at).unwrap();
        }
        _ => File::open(dir).unwrap().sync_all().unwrap(),
    }
}

#[test]
fn calls_bytes_and_flushes_are_counted() {
    if !is_supported() {
        return;
    }
    let (dir, other) = (new_dir(), new_dir());
    let watch = Watch::new(dir.path()).unwrap();
    fs::write(other.path().join("log"), b"elsewhere").unwrap();
    let file = writable(&dir.path().join("log"));
    file.write_all_at(b"one", 0).unwrap();
    file.write_all_at(b"two", 5000).unwrap();
    file.sync_data().unwrap();
    File::open(dir.path()).unwrap().sync_all().unwrap();
    let log = watch.counts()[&PathBuf::from("log")];
    assert_eq!((log.writes, log.bytes, log.flushes, log.device_bytes), (2, 6, 1, 8192));
    assert_eq!(watch.total().flushes, 2);
    assert!(watch.take_operations().is_empty(), "nothing was to be recorded");
}

#[test]
fn the_nth_call_fails_once_or_from_then_on() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let mut file = writable(&dir.path().join("log"));
    let write = Fault {
        call: Some(Call::Write),
        file: None,
        after: 1,
        failure: Failure::Device,
        lasting: Lasting::Once,
    };
    let mut outcomes = |fault| {
        watch.fail(fault);
        let outcomes = [(); 4].map(|()| file.write(b"12").map_err(|error| error.raw_os_error().unwrap()));
        assert_eq!(watch.met(), 4);
        (outcomes, watch.heal())
    };
    assert_eq!(outcomes(write), ([Ok(2), Err(5), Ok(2), Ok(2)], 1));
    let full = Fault { failure: Failure::Full, lasting: Lasting::FromThenOn, ..write };
    assert_eq!(outcomes(full), ([Ok(2), Err(28), Err(28), Err(28)], 3));
    let short = Fault { call: None, failure: Failure::Short, ..write };
    assert_eq!(outcomes(short), ([Ok(2), Ok(1), Ok(2), Ok(2)], 1));
    assert_eq!(fs::read(dir.path().join("log")).unwrap(), b"121212121211212");
}

#[test]
fn every_kind_of_call_can_fail() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    let mut file = writable(&a);
    let fails = |call, attempt: &mut dyn FnMut() -> std::io::Result<()>| {
        watch.fail(Fault {
            call: Some(call),
            file: None,
            after: 0,
            failure: Failure::Device,
            lasting: Lasting::FromThenOn,
        });
        let error = attempt().unwrap_err();
        assert_eq!((error.raw_os_error(), watch.heal()), (Some(5), 1), "{call:?}");
        attempt().unwrap();
    };
    fails(Call::Open, &mut || File::open(&a).map(drop));
    fails(Call::Open, &mut || fs::read_dir(dir.path()).map(drop));
    fails(Call::List, &mut || fs::read_dir(dir.path())?.try_for_each(|entry| entry.map(drop)));
    fails(Call::Read, &mut || file.read(&mut [0; 4]).map(drop));
    fails(Call::Seek, &mut || file.stream_position().map(drop));
    fails(Call::Write, &mut || file.write_all_at(b"1", 0));
    fails(Call::Truncate, &mut || file.set_len(9));
    fails(Call::Flush, &mut || file.sync_all());
    fails(Call::Flush, &mut || File::open(dir.path())?.sync_data());
    fails(Call::Rename, &mut || fs::rename(&a, &b));
    fails(Call::Stat, &mut || file.metadata().map(drop));
    fails(Call::Stat, &mut || fs::metadata(dir.path()).map(drop));
    fails(Call::Lock, &mut || file.lock_shared());
    fails(Call::Remove, &mut || fs::remove_file(&b));
    fails(Call::MakeDirectory, &mut || fs::create_dir(&b));
    fails(Call::Remove, &mut || fs::remove_dir(&b));
    fails(Call::FileSystem, &mut || Ok(rustix::fs::statfs(dir.path()).map(|_| ())?));
    fails(Call::FileSystem, &mut || Ok(rustix::fs::fstatfs(&file).map(|_| ())?));
    fails(Call::FileSystem, &mut || Ok(rustix::fs::fstatvfs(&file).map(|_| ())?));
    fails(Call::Spawn, &mut || thread::Builder::new().spawn(|| ()).map(drop));
}

/// Whoever empties a directory takes each name from where its parent is open.
#[test]
fn names_within_an_open_directory_are_seen() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let full = dir.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("a"), "a").unwrap();
    let remove = Fault {
        call: Some(Call::Remove),
        file: Some("full/a"),
        after: 0,
        failure: Failure::Device,
        lasting: Lasting::Once,
    };
    watch.fail(remove);
    assert_eq!(fs::remove_dir_all(&full).unwrap_err().raw_os_error(), Some(5));
    fs::remove_dir_all(&full).unwrap();
    let mut disk = Disk::new();
    replay(&mut disk, &watch);
    assert_eq!(disk.files().count(), 0);
    // A file elsewhere gets the number that the directory had.
    let other = new_dir();
    let mut file = writable(&other.path().join("b"));
    watch.fail(Fault { call: None, file: None, lasting: Lasting::FromThenOn, ..remove });
    file.rewind().unwrap();
    assert_eq!(watch.met(), 0);
}

#[test]
fn a_move_to_where_nothing_is_is_seen() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    fs::write(&from, "bytes").unwrap();
    renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE).unwrap();
    let mut disk = Disk::new();
    replay(&mut disk, &watch);
    assert_same_files(&disk, dir.path());
}

/// The threads that a test harness starts are not for one of its tests to fail.
#[test]
fn another_thread_starts_threads_as_ever() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let refuse = Fault {
        call: Some(Call::Spawn),
        file: None,
        after: 1,
        failure: Failure::Exhausted,
        lasting: Lasting::FromThenOn,
    };
    watch.fail(refuse);
    let spawn = || thread::Builder::new().spawn(|| thread::spawn(|| ()).join());
    spawn().unwrap().join().unwrap().unwrap();
    assert_eq!(spawn().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!((watch.met(), watch.struck()), (2, 1));
}

#[test]
fn a_call_fails_for_want_of_what_it_takes() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let path = dir.path().join("log");
    let file = writable(&path);
    let error = |call, failure, attempt: &dyn Fn() -> std::io::Result<()>| {
        watch.fail(Fault { call: Some(call), file: None, after: 0, failure, lasting: Lasting::Once });
        let error = attempt().unwrap_err();
        attempt().unwrap();
        error.raw_os_error().unwrap()
    };
    assert_eq!(error(Call::Open, Failure::Exhausted, &|| File::open(&path).map(drop)), 24);
    assert_eq!(error(Call::Lock, Failure::Exhausted, &|| Ok(file.try_lock()?)), 37);
    assert_eq!(error(Call::Stat, Failure::Exhausted, &|| file.metadata().map(drop)), 12);
    assert_eq!(error(Call::Stat, Failure::Denied, &|| fs::metadata(&path).map(drop)), 13);
    watch.fail(Fault {
        call: Some(Call::Lock),
        file: None,
        after: 0,
        failure: Failure::Device,
        lasting: Lasting::FromThenOn,
    });
    file.unlock().unwrap();
    assert_eq!(watch.met(), 0, "to let go is no failure");
}

#[test]
fn a_disk_without_room_takes_what_fits_and_what_needs_none() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let file = writable(&dir.path().join("log"));
    file.write_all_at(&[1; 100], 0).unwrap();
    assert_eq!(watch.grown(), 100);
    watch.set_room(Some(50));
    assert_eq!(file.write_at(&[2; 200], 0).unwrap(), 150, "100 are there already");
    assert_eq!(file.write_at(&[3; 1], 150).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(&[3; 1], 4000).unwrap_err().kind(), ErrorKind::StorageFull);
    file.write_all_at(&[4; 150], 0).unwrap();
    assert_eq!(watch.grown(), 150);
    file.set_len(120).unwrap();
    assert_eq!(file.write_at(&[5; 200], 100).unwrap(), 50, "what was cut off is free again");
    fs::remove_file(dir.path().join("log")).unwrap();
    fs::write(dir.path().join("other"), [6; 150]).unwrap();
    watch.set_room(None);
    fs::write(dir.path().join("other"), [6; 1000]).unwrap();
}

#[test]
fn a_power_cut_keeps_what_was_flushed_and_may_lose_the_rest() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let path = dir.path().join("log");
    let watch = Watch::recording(dir.path()).unwrap();
    let file = writable(&path);
    File::open(dir.path()).unwrap().sync_all().unwrap();
    file.write_all_at(&[1; 1024], 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(&[2; 1024], 512).unwrap();
    let mut disk = Disk::new();
    replay(&mut disk, &watch);
    let outcomes = cuts(&disk, "log");
    assert!(outcomes.iter().all(|bytes| bytes.as_ref().is_some_and(|bytes| bytes[..512] == [1; 512])));
    for expected in [vec![1; 1024], [[1; 512], [2; 512]].concat(), [[1; 512], [2; 512], [2; 512]].concat()] {
        assert!(outcomes.contains(&Some(expected)));
    }
    let bytes_of = |disk: Disk| disk.files().next().map(|(_, bytes)| bytes.to_vec()).unwrap();
    assert_eq!(bytes_of(disk.certain()), vec![1; 1024]);
    let torn = bytes_of(disk.certain_but_torn(&mut Rng::with_seed(0)));
    assert!(torn[..512] == [1; 512] && torn[512..] != [1; 512] && torn[512..] != [2; 512]);
    let is_garbage = |sector: &[u8]| ![[0; 512], [1; 512], [2; 512]].iter().any(|whole| sector == whole);
    assert!(outcomes.iter().flatten().any(|bytes| bytes.chunks(512).any(is_garbage)));
    file.sync_data().unwrap();
    replay(&mut disk, &watch);
    assert!(
        cuts(&disk, "log").iter().all(|bytes| bytes.as_ref().is_some_and(|bytes| bytes[512..] == [2; 1024]))
    );
}

#[test]
fn a_name_is_certain_once_its_directory_was_flushed() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let mut disk = Disk::new();
    fs::write(dir.path().join("old"), [1; 512]).unwrap();
    File::open(dir.path().join("old")).unwrap().sync_all().unwrap();
    fs::rename(dir.path().join("old"), dir.path().join("new")).unwrap();
    replay(&mut disk, &watch);
    let (old, new) = (cuts(&disk, "old"), cuts(&disk, "new"));
    assert!(old.iter().any(Option::is_some) && new.iter().any(Option::is_some));
    assert!(old.iter().zip(&new).any(|names| names == (&None, &None)), "the file was lost with its name");
    File::open(dir.path()).unwrap().sync_all().unwrap();
    replay(&mut disk, &watch);
    assert!(cuts(&disk, "new").iter().all(|bytes| bytes.as_deref() == Some(&[1; 512])));
}

#[test]
fn a_directory_that_is_renamed_takes_along_what_was_flushed_in_it() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let (partial, whole) = (dir.path().join("partial"), dir.path().join("whole"));
    fs::create_dir(&partial).unwrap();
    let file = writable(&partial.join("certain"));
    file.write_all_at(&[1; 512], 0).unwrap();
    file.sync_all().unwrap();
    File::open(&partial).unwrap().sync_all().unwrap();
    fs::write(partial.join("late"), [2; 512]).unwrap();
    fs::rename(&partial, &whole).unwrap();
    file.write_all_at(&[3; 512], 0).unwrap();
    file.sync_all().unwrap();
    let mut disk = Disk::new();
    replay(&mut disk, &watch);
    assert!(disk.files().any(|(name, bytes)| name == Path::new("whole/certain") && bytes == [3; 512]));
    let [before, after] = ["partial/certain", "whole/certain"].map(|name| cuts(&disk, name));
    assert!(before.iter().zip(&after).all(|(before, after)| before.is_some() != after.is_some()));
    assert!(before.iter().any(Option::is_some) && after.iter().any(Option::is_some));
    File::open(dir.path()).unwrap().sync_all().unwrap();
    replay(&mut disk, &watch);
    assert!(cuts(&disk, "whole/certain").iter().all(|bytes| bytes.as_deref() == Some(&[3; 512])));
    let late = cuts(&disk, "whole/late");
    assert!(late.iter().any(Option::is_some) && late.iter().any(Option::is_none), "it was never flushed");
}

#[test]
fn a_fault_of_one_file_leaves_the_others_alone() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::new(dir.path()).unwrap();
    let (log, index) = (writable(&dir.path().join("log")), writable(&dir.path().join("index")));
    let (call, file) = (Some(Call::Write), Some("index"));
    watch.fail(Fault { call, file, after: 0, failure: Failure::Full, lasting: Lasting::FromThenOn });
    log.write_all_at(b"1", 0).unwrap();
    assert_eq!(index.write_all_at(b"1", 0).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((watch.met(), watch.heal()), (1, 1));
}

#[test]
fn a_slow_flush_sends_nothing_that_is_written_meanwhile() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let (log, index) = (writable(&dir.path().join("log")), writable(&dir.path().join("index")));
    File::open(dir.path()).unwrap().sync_all().unwrap();
    log.write_all_at(&[1; 512], 0).unwrap();
    watch.slow_down(Path::new("log"), Duration::from_millis(200));
    let begun = Instant::now();
    index.sync_all().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(200), "only the other file is slow");
    let (call, file) = (Some(Call::Flush), Some("log"));
    watch.fail(Fault { call, file, after: 1, failure: Failure::Device, lasting: Lasting::Once });
    thread::scope(|scope| {
        scope.spawn(|| log.sync_all().unwrap());
        // The flush has begun once the fault has met it.
        while watch.met() == 0 {
            thread::yield_now();
        }
        log.write_all_at(&[2; 512], 512).unwrap();
    });
    assert!(begun.elapsed() >= Duration::from_millis(200));
    let mut disk = Disk::new();
    replay(&mut disk, &watch);
    let outcomes = cuts(&disk, "log");
    assert!(outcomes.iter().all(|bytes| bytes.as_ref().is_some_and(|bytes| bytes[..512] == [1; 512])));
    assert!(outcomes.contains(&Some(vec![1; 512])), "the second sector may be lost");
}

#[test]
fn a_file_without_a_name_still_holds_its_bytes() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let mut disk = Disk::new();
    fs::write(dir.path().join("secret"), b"the key").unwrap();
    fs::remove_file(dir.path().join("secret")).unwrap();
    replay(&mut disk, &watch);
    assert_eq!(disk.files().count(), 0);
    assert!(disk.holds(b"key") && !disk.holds(b"lock"));
}

/// After a failed flush the bytes are read as before, a later flush succeeds, and yet they may be lost.
#[test]
fn what_a_failed_flush_was_to_send_no_later_flush_sends() {
    if !is_supported() {
        return;
    }
    let dir = new_dir();
    let watch = Watch::recording(dir.path()).unwrap();
    let file = writable(&dir.path().join("log"));
    File::open(dir.path()).unwrap().sync_all().unwrap();
    file.write_all_at(&[1; 512], 0).unwrap();
    watch.fail(Fault {
        call: Some(Call::Flush),
        file: None,
        after: 0,
        failure: Failure::Device,
        lasting: Lasting::Once,
    });
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    let mut disk = Disk::new();
    replay(&mut disk, &watch);
    assert_same_files(&disk, dir.path());
    assert!(cuts(&disk, "log").contains(&Some(vec![0; 512])));
    file.write_all_at(&[1; 512], 0).unwrap();
    file.sync_data().unwrap();
    replay(&mut disk, &watch);
    assert!(cuts(&disk, "log").iter().all(|bytes| bytes.as_deref() == Some(&[1; 512])));
}

/// What many power cuts leave of a file.
fn cuts(disk: &Disk, name: &str) -> Vec<Option<Vec<u8>>> {
    let of = |disk: Disk| {
        disk.files().find(|(found, _)| *found == Path::new(name)).map(|(_, bytes)| bytes.to_vec())
    };
    (0..200).map(|seed| of(disk.power_cut(&mut Rng::with_seed(seed)))).collect()
}

const O_DSYNC: i32 = 0o10_000;

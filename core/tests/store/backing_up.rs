//! A backup is proved by restoring it.

use std::fs;
use std::io::{self, Read};

use varve_core::{
    BackupError, Damage, DeviceSequence, Epoch, FORMAT_VERSION, GlobalSequence, OpenError, Place, ReadError,
    RestoreError, StreamId, StreamSequence, Varve, restore,
};

use crate::salvaging::saved;
use crate::whole::{Whole, fill, filled};
use crate::{
    DEVICE, LANE, Reading, binding,
    damage::{break_block, edit},
    device_batch, new_dir, open, reading, readings, relaxed,
};

fn backup_of(varve: &Varve) -> Vec<u8> {
    let mut backup = Vec::new();
    varve.snapshot().unwrap().back_up(&mut backup).unwrap();
    backup
}

#[test]
fn a_restored_store_has_all_that_the_snapshot_saw_and_an_incarnation_of_its_own() {
    let (dir, target) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    let next = fill(&mut varve);
    let snapshot = varve.snapshot().unwrap();
    let whole = Whole::of(&varve);
    varve.stream::<u64, 8>("later").unwrap().append(StreamId(0), &1).unwrap();
    let mut backup = Vec::new();
    let counts = snapshot.back_up(&mut backup).unwrap();
    assert_eq!(counts.events, next);
    let path = target.path().join("restored");
    let restored = restore(backup.as_slice(), &path).unwrap();
    assert_eq!((restored.counts, restored.restored_from), (counts, varve.incarnation()));
    assert_eq!((restored.first, restored.next), (GlobalSequence(0), GlobalSequence(next)));
    // An owner would measure the clock anew.
    let store = Varve::open_read_only(&path).unwrap();
    whole.assert_shown_by(&store);
    assert_eq!(store.incarnation(), restored.incarnation);
    assert_ne!(store.incarnation(), varve.incarnation());
}

#[test]
fn a_backup_that_cannot_be_read_through_or_is_of_a_later_release_is_refused_as_such() {
    struct Unplugged;
    impl Read for Unplugged {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk was unplugged"))
        }
    }
    let (dir, target) = (filled(), new_dir());
    let backup = backup_of(&open(&dir));
    let path = target.path().join("restored");
    let error = restore(backup[..backup.len() / 2].chain(Unplugged), &path).unwrap_err();
    assert!(matches!(&error, RestoreError::Io(error) if error.to_string().contains("unplugged")), "{error}");
    let mut later = backup;
    let format = FORMAT_VERSION + 1;
    later[4..8].copy_from_slice(&format.to_le_bytes());
    let crc = varve_core::crc32c(&later[..36]);
    later[36..40].copy_from_slice(&crc.to_le_bytes());
    let error = restore(later.as_slice(), &path).unwrap_err();
    let expected = (format, FORMAT_VERSION);
    assert!(
        matches!(error, RestoreError::NewerFormat { found, supported } if (found, supported) == expected),
        "{error}"
    );
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_restored_store_goes_on_where_the_backup_ended() {
    let (dir, target) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    let next = fill(&mut varve);
    let path = target.path().join("restored");
    restore(backup_of(&varve).as_slice(), &path).unwrap();
    let mut store = Varve::with_config(&path, relaxed()).unwrap();
    let mut readings = store.stream::<Reading, 32>("readings").unwrap();
    let appended = readings.append(StreamId(0), &reading(1)).unwrap();
    assert_eq!(appended, (StreamSequence(280), GlobalSequence(next)));
    let again = target.path().join("again");
    restore(backup_of(&store).as_slice(), &again).unwrap();
    Whole::of(&store).assert_shown_by(&Varve::open_read_only(&again).unwrap());
}

/// The device holds what it was not acknowledged: what it was acknowledged after the backup is a gap to the restored
/// store, and what it sends again is stored once.
#[test]
fn a_device_goes_on_with_a_restored_store_from_the_cursor_of_the_backup() {
    let (dir, target) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    fill(&mut varve);
    let backup = backup_of(&varve);
    let path = target.path().join("restored");
    restore(backup.as_slice(), &path).unwrap();
    let store = Varve::with_config(&path, relaxed()).unwrap();
    let channels = [binding::<Reading>("climate", StreamId::of_device(DEVICE, 0))];
    let (before, after) = (readings(0, 5), readings(8, 2));
    let mut append = store.begin();
    append.device_batch(device_batch(&channels, 0, &before)).unwrap();
    append.device_batch(device_batch(&channels, 8, &after)).unwrap();
    let committed = append.commit().unwrap();
    assert_eq!((committed.duplicates, committed.events), (5, 2));
    let device = store.device(DEVICE).unwrap().unwrap();
    assert_eq!((device.epoch, device.lane(LANE).unwrap().next), (Epoch(1), DeviceSequence(10)));
}

#[test]
fn an_empty_store_is_backed_up_like_any_other() {
    let (dir, target) = (new_dir(), new_dir());
    let varve = open(&dir);
    let path = target.path().join("restored");
    let restored = restore(backup_of(&varve).as_slice(), &path).unwrap();
    assert_eq!(restored.next, GlobalSequence(0));
    assert_eq!(Whole::of(&Varve::new(&path).unwrap()).events(), 0);
}

#[test]
fn a_backup_that_is_damaged_or_cut_leaves_no_store() {
    let (dir, target) = (new_dir(), new_dir());
    let mut varve = open(&dir);
    fill(&mut varve);
    let good = backup_of(&varve);
    let path = target.path().join("restored");
    let refused = |backup: &[u8]| {
        let error = restore(backup, &path).unwrap_err();
        assert!(matches!(error, RestoreError::Broken { at, .. } if at <= backup.len() as u64), "{error}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0, "nothing half-made is left");
    };
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        refused(&good[..random.usize(..good.len())]);
        let mut backup = good.clone();
        backup[random.usize(..good.len())] ^= 1 << random.u8(..8);
        refused(&backup);
    }
    refused(&good[..good.len() - 1]);
    restore(good.as_slice(), &path).unwrap();
    let error = restore(good.as_slice(), &path).unwrap_err();
    assert!(matches!(error, RestoreError::Open(OpenError::NotEmpty { .. })), "{error}");
}

#[test]
fn a_damaged_store_is_not_backed_up_as_if_it_were_whole() {
    let dir = filled();
    break_block(dir.path(), 0);
    let varve = Varve::open_read_only(dir.path()).unwrap();
    let error = varve.snapshot().unwrap().back_up(&mut Vec::new()).unwrap_err();
    let place = Place::Block(GlobalSequence(0));
    let is_there = |damage: &Damage| damage.place == place;
    assert!(matches!(&error, BackupError::Read(ReadError::Corrupt(damage)) if is_there(damage)), "{error}");
}

#[test]
fn a_full_disk_under_the_backup_is_told_and_harms_nothing() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let next = fill(&mut varve);
    let mut room = [0; 100];
    let error = varve.snapshot().unwrap().back_up(room.as_mut_slice()).unwrap_err();
    assert!(matches!(error, BackupError::Io(_)), "{error}");
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(next));
}

#[test]
fn a_row_longer_than_any_is_damage_and_is_not_salvaged() {
    let dir = filled();
    edit(dir.path(), "consumer", |_, value| value.resize(100_000, 0));
    let backup_of = |path| Varve::open_read_only(path).unwrap().snapshot().unwrap().back_up(io::sink());
    let Err(BackupError::Read(ReadError::Corrupt(damage))) = backup_of(dir.path()) else {
        panic!("a backup was made of it");
    };
    assert!(matches!(damage.place, Place::Row { table: "consumer", .. }), "{damage}");
    let (_, target) = saved(dir.path());
    backup_of(&target.path().join("new")).unwrap();
}

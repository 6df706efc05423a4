//! The keys of a store, against an attacker with every byte, a crash at every step, and damage.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::store::encryption::attacker::{all_bytes, attack};
use crate::store::encryption::key_file::check;
use crate::store::encryption::suite::TAG_LEN;
use crate::store::encryption::verify_keys;

const MASTER: [u8; 32] = [0x5a; 32];

/// A key, or why there is none.
type Seen = Result<[u8; 32], &'static str>;

/// How many times as many cases as in a plain run.
fn scale() -> usize {
    std::env::var("VARVE_TEST_SCALE").ok().and_then(|scale| scale.parse().ok()).unwrap_or(1)
}

fn master() -> MasterKey {
    MasterKey::from_bytes(MASTER)
}

fn open(dir: &Path) -> Result<Keyring, KeysError> {
    Keyring::open(dir, &master(), Suite::Aes256Gcm, None)
}

/// A directory with the keys of `streams` streams of the name "person".
fn with_keys(streams: u64) -> (TempDir, Keyring) {
    let dir = tempfile::tempdir().unwrap();
    let keyring = open(dir.path()).unwrap();
    for id in 0..streams {
        draw(&keyring, "person", StreamId(id), StreamSequence(0));
    }
    keyring.store_fresh().unwrap();
    (dir, keyring)
}

/// The key that seals the stream from `next` on.
fn draw(keyring: &Keyring, name: &str, id: StreamId, next: StreamSequence) -> Arc<StreamKey> {
    keyring.key_to_seal(name, id, next, true).unwrap().expect("it was asked for")
}

/// What opens the stream's event at 0: the key's bytes, or why there are none.
fn key_bytes(keyring: &Keyring, id: u64) -> Seen {
    match keyring.key_of("person", StreamId(id), StreamSequence(0)).unwrap() {
        Found::Key(key) => Ok(key.secret_bytes()),
        Found::Shredded { .. } => Err("shredded"),
        Found::Missing => Err("missing"),
    }
}

fn keys(keyring: &Keyring, streams: u64) -> Vec<Seen> {
    (0..streams).map(|id| key_bytes(keyring, id)).collect()
}

#[test]
fn keys_are_there_again_when_the_store_is_opened_again() {
    let (dir, keyring) = with_keys(3);
    let before = keys(&keyring, 4);
    assert_eq!(before[3], Err("missing"));
    let ring = keyring.ring();
    drop(keyring);
    let again = Keyring::open(dir.path(), &master(), Suite::ChaCha20Poly1305, Some(ring)).unwrap();
    assert_eq!(keys(&again, 4), before);
    assert_eq!(keys(&Keyring::open_read_only(dir.path(), &master(), None).unwrap(), 4), before);
}

#[test]
fn a_key_that_was_not_stored_is_not_there_again() {
    let (dir, keyring) = with_keys(1);
    draw(&keyring, "person", StreamId(1), StreamSequence(0));
    drop(keyring);
    assert_eq!(key_bytes(&open(dir.path()).unwrap(), 1), Err("missing"));
}

#[test]
fn another_master_key_another_ring_and_no_file_are_told_apart() {
    let (dir, keyring) = with_keys(1);
    let ring = keyring.ring();
    let other = MasterKey::from_bytes([1; 32]);
    let open = |master: &MasterKey, ring| Keyring::open(dir.path(), master, Suite::Aes256Gcm, ring);
    assert!(matches!(open(&other, None), Err(KeysError::WrongMasterKey)));
    assert!(matches!(open(&master(), Some(ring + 1)), Err(KeysError::OtherStore { .. })));
    fs::remove_file(dir.path().join(KEYS_FILE)).unwrap();
    assert!(matches!(open(&master(), Some(ring)), Err(KeysError::Missing { .. })));
    assert!(!dir.path().join(KEYS_FILE).exists(), "a file that is gone is not made anew in silence");
}

#[test]
fn a_stream_begins_anew_after_it_was_shredded() {
    let (dir, keyring) = with_keys(2);
    let (id, end) = (StreamId(0), StreamSequence(5));
    let before = key_bytes(&keyring, 0).unwrap();
    keyring.shred("person", id, end).unwrap();
    keyring.shred("person", id, StreamSequence(9)).unwrap();
    assert_eq!(key_bytes(&keyring, 0), Err("shredded"));
    assert!(matches!(keyring.key_of("person", id, end).unwrap(), Found::Missing));
    let fresh = draw(&keyring, "person", id, end).secret_bytes();
    assert_ne!(fresh, before);
    keyring.store_fresh().unwrap();
    drop(keyring);
    let keyring = open(dir.path()).unwrap();
    assert_eq!(key_bytes(&keyring, 0), Err("shredded"));
    let Found::Key(key) = keyring.key_of("person", id, end).unwrap() else { panic!("it was stored") };
    assert_eq!(key.secret_bytes(), fresh);
}

#[test]
fn a_log_that_was_restored_from_before_a_shredding_gets_a_key_for_what_comes() {
    let (_dir, keyring) = with_keys(1);
    keyring.shred("person", StreamId(0), StreamSequence(20)).unwrap();
    draw(&keyring, "person", StreamId(0), StreamSequence(20));
    let fresh = draw(&keyring, "person", StreamId(0), StreamSequence(10));
    let found = keyring.key_of("person", StreamId(0), StreamSequence(10)).unwrap();
    assert!(matches!(found, Found::Key(key) if key.secret_bytes() == fresh.secret_bytes()));
    assert_eq!(key_bytes(&keyring, 0), Err("shredded"));
}

#[test]
fn a_reader_of_such_a_log_opens_what_comes_with_the_newer_key() {
    let (dir, keyring) = with_keys(1);
    keyring.shred("person", StreamId(0), StreamSequence(20)).unwrap();
    draw(&keyring, "person", StreamId(0), StreamSequence(20));
    keyring.store_fresh().unwrap();
    let beside = Keyring::open_read_only(dir.path(), &master(), None).unwrap();
    let bytes_beside = || match beside.key_of("person", StreamId(0), StreamSequence(20)).unwrap() {
        Found::Key(key) => key.secret_bytes(),
        _ => panic!("there is a key"),
    };
    let before = bytes_beside();
    let fresh = draw(&keyring, "person", StreamId(0), StreamSequence(10));
    keyring.store_fresh().unwrap();
    assert_eq!(bytes_beside(), fresh.secret_bytes());
    assert_ne!(before, fresh.secret_bytes());
}

#[test]
fn no_more_keys_are_kept_open_than_the_bound() {
    let (_dir, keyring) = with_keys(OPENED_MAX as u64 + 2);
    assert!(keys(&keyring, OPENED_MAX as u64 + 2).iter().all(Result::is_ok));
    assert!(keyring.lock().opened.len() <= OPENED_MAX);
}

#[test]
fn a_stream_that_has_a_key_keeps_being_sealed_and_no_other_is_unless_it_is_asked_for() {
    let (_dir, keyring) = with_keys(1);
    let key = |id| keyring.key_to_seal("person", StreamId(id), StreamSequence(3), false).unwrap();
    assert!(key(0).is_some());
    assert!(key(1).is_none());
    keyring.shred("person", StreamId(0), StreamSequence(3)).unwrap();
    assert!(key(0).is_some(), "also once it was shredded");
}

#[test]
fn only_a_stream_with_a_key_can_be_shredded() {
    let (_dir, keyring) = with_keys(1);
    let error = keyring.shred("person", StreamId(8), StreamSequence(0)).unwrap_err();
    assert_eq!(error.to_string(), "stream `person` 8 was never sealed, and cannot be shredded");
}

#[test]
fn after_a_rotation_the_keys_are_the_same_and_the_old_master_key_opens_nothing() {
    let (dir, keyring) = with_keys(3);
    let before = keys(&keyring, 3);
    let new = MasterKey::from_bytes([9; 32]);
    keyring.rotate_master(&new).unwrap();
    assert_eq!(keys(&keyring, 3), before);
    draw(&keyring, "person", StreamId(3), StreamSequence(0));
    keyring.store_fresh().unwrap();
    drop(keyring);
    assert!(matches!(open(dir.path()), Err(KeysError::WrongMasterKey)));
    assert_eq!(attack(&all_bytes(dir.path()), &master()), Vec::<[u8; 32]>::new());
    let keyring = Keyring::open(dir.path(), &new, Suite::Aes256Gcm, None).unwrap();
    assert_eq!(keys(&keyring, 3), before);
    assert!(key_bytes(&keyring, 3).is_ok());
}

#[test]
fn a_reader_sees_what_the_owner_adds_shreds_and_rotates() {
    let (dir, keyring) = with_keys(2);
    let reader = Keyring::open_read_only(dir.path(), &master(), None).unwrap();
    assert_eq!(keys(&reader, 3), keys(&keyring, 3));
    draw(&keyring, "person", StreamId(2), StreamSequence(0));
    keyring.store_fresh().unwrap();
    assert!(key_bytes(&reader, 2).is_ok());
    keyring.shred("person", StreamId(1), StreamSequence(4)).unwrap();
    assert_eq!(key_bytes(&reader, 1), Err("shredded"));
    draw(&keyring, "person", StreamId(3), StreamSequence(0));
    keyring.store_fresh().unwrap();
    assert_eq!(keys(&reader, 4), keys(&keyring, 4));
    keyring.rotate_master(&MasterKey::from_bytes([9; 32])).unwrap();
    let found = reader.key_of("person", StreamId(0), StreamSequence(0));
    assert!(matches!(found, Err(KeysError::WrongMasterKey)));
}

/// As a backup by hard links makes one.
#[test]
fn a_reader_sees_what_the_owner_shreds_though_the_old_file_has_a_name_elsewhere() {
    let (dir, keyring) = with_keys(2);
    let reader = Keyring::open_read_only(dir.path(), &master(), None).unwrap();
    fs::hard_link(dir.path().join(KEYS_FILE), dir.path().join("elsewhere")).unwrap();
    assert!(key_bytes(&reader, 1).is_ok());
    keyring.shred("person", StreamId(1), StreamSequence(4)).unwrap();
    draw(&keyring, "person", StreamId(2), StreamSequence(0));
    keyring.store_fresh().unwrap();
    assert_eq!(keys(&reader, 3), keys(&keyring, 3));
    assert_eq!(key_bytes(&reader, 1), Err("shredded"));
}

/// Whoever has every byte may also flip the one bit back.
#[test]
fn a_key_whose_entry_is_damaged_is_shredded_all_the_same() {
    for was_shredded_before in [false, true] {
        let (dir, keyring) = with_keys(1);
        let id = StreamId(1);
        draw(&keyring, "person", id, StreamSequence(0));
        keyring.store_fresh().unwrap();
        if was_shredded_before {
            keyring.shred("person", id, StreamSequence(0)).unwrap();
            draw(&keyring, "person", id, StreamSequence(0));
            keyring.store_fresh().unwrap();
        }
        let victim = key_bytes(&keyring, 1).unwrap();
        drop(keyring);
        let path = dir.path().join(KEYS_FILE);
        let mut bytes = fs::read(&path).unwrap();
        let entry = bytes.len() - PAGE_LEN..bytes.len() - PAGE_LEN + ENTRY_LEN;
        let whole = bytes[entry.clone()].to_vec();
        bytes[entry.end - 1] ^= 1;
        fs::write(&path, bytes).unwrap();
        let mended = || [all_bytes(dir.path()), whole.clone()].concat();
        assert!(attack(&mended(), &master()).contains(&victim), "the attack works");

        let keyring = open(dir.path()).unwrap();
        assert_eq!(key_bytes(&keyring, 1), Err("missing"));
        keyring.shred("person", id, StreamSequence(5)).unwrap();
        assert_eq!(key_bytes(&keyring, 1), Err("shredded"));
        assert!(!attack(&mended(), &master()).contains(&victim));
        assert!(key_bytes(&keyring, 0).is_ok(), "the other key is there");
    }
}

#[test]
fn an_attacker_with_the_master_key_and_every_byte_finds_a_key_before_its_shredding_and_not_after() {
    let (dir, keyring) = with_keys(5);
    let victim = key_bytes(&keyring, 2).unwrap();
    assert!(attack(&all_bytes(dir.path()), &master()).contains(&victim), "the attack works");
    keyring.rotate_master(&master()).unwrap();
    let old_file = File::open(dir.path().join(KEYS_FILE)).unwrap();
    // The control: a store that only forgets where the key is.
    let naive = dir.path().join("naive");
    fs::create_dir(&naive).unwrap();
    let mut rest = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    fs::write(naive.join("freed"), &rest).unwrap();
    rest.truncate(HEADER_LEN);
    fs::write(naive.join(KEYS_FILE), &rest).unwrap();
    assert!(attack(&all_bytes(&naive), &master()).contains(&victim), "the attack works on what is freed");
    fs::remove_dir_all(&naive).unwrap();

    keyring.shred("person", StreamId(2), StreamSequence(1)).unwrap();
    let mut bytes = all_bytes(dir.path());
    // The blocks of the file that is gone: this handle still reads them.
    let freed = read(&old_file).unwrap();
    assert!(freed.len() > HEADER_LEN + ENTRY_LEN && freed.iter().all(|&byte| byte == 0));
    bytes.extend(freed);
    let found = attack(&bytes, &master());
    assert!(!found.contains(&victim));
    assert_eq!(found.len(), 4, "the other keys are there");
    assert_eq!(key_bytes(&open(dir.path()).unwrap(), 2), Err("shredded"));
}

/// A reader takes up what was appended to the old file, and nothing of what is being wiped.
#[test]
fn a_reader_finds_every_key_at_each_step_of_a_replacement() {
    for steps in 0..=7 {
        let (dir, keyring) = with_keys(1);
        let reader = Keyring::open_read_only(dir.path(), &master(), None).unwrap();
        draw(&keyring, "person", StreamId(1), StreamSequence(0));
        keyring.store_fresh().unwrap();
        let after = copy_of(dir.path());
        open(after.path()).unwrap().rotate_master(&master()).unwrap();
        let file = fs::read(after.path().join(KEYS_FILE)).unwrap();
        let mut replacement = Replacement::new(dir.path(), &file);
        for _ in 0..steps {
            assert!(replacement.step().unwrap());
        }
        assert_eq!(keys(&reader, 2), keys(&keyring, 2), "after {steps} steps");
        let opened = Keyring::open_read_only(dir.path(), &master(), None).unwrap();
        assert_eq!(keys(&opened, 2), keys(&keyring, 2), "after {steps} steps");
    }
}

#[test]
fn a_file_that_was_wiped_since_it_was_read_is_told_by_its_header() {
    let (dir, keyring) = with_keys(1);
    let file = File::open(dir.path().join(KEYS_FILE)).unwrap();
    let header = read(&file).unwrap()[..HEADER_LEN].to_vec();
    assert!(begins_with(&file, &header).unwrap());
    draw(&keyring, "person", StreamId(1), StreamSequence(0));
    keyring.store_fresh().unwrap();
    assert!(begins_with(&file, &header).unwrap(), "appending leaves it as it was");
    keyring.rotate_master(&master()).unwrap();
    assert!(!begins_with(&file, &header).unwrap());
}

/// The files of a directory, and a directory with the same.
fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    copy
}

/// The file that shreds the stream 1 of three, and a directory with the file before.
fn begun_shredding() -> (TempDir, Vec<Seen>, Vec<u8>) {
    let (dir, keyring) = with_keys(3);
    let before = keys(&keyring, 3);
    let after = copy_of(dir.path());
    open(after.path()).unwrap().shred("person", StreamId(1), StreamSequence(9)).unwrap();
    let file = fs::read(after.path().join(KEYS_FILE)).unwrap();
    (dir, before, file)
}

/// Opens what a crash has left: the shredding is done, or never was, and nothing else has changed.
fn check_settled(dir: &Path, before: &[Seen], case: &str) -> bool {
    assert_eq!(verify_keys(dir), [], "{case}");
    let reader =
        Keyring::open_read_only(dir, &master(), None).unwrap_or_else(|error| panic!("{case}: {error}"));
    let seen = keys(&reader, 3);
    let keyring = open(dir).unwrap_or_else(|error| panic!("{case}: {error}"));
    let settled = keys(&keyring, 3);
    assert_eq!((settled[0], settled[2]), (before[0], before[2]), "{case}");
    assert!(settled[1] == before[1] || settled[1] == Err("shredded"), "{case}");
    assert_eq!(seen, settled, "{case}: a reader sees what the owner makes of it");
    assert!(!dir.join(NEW_KEYS_FILE).exists(), "{case}");
    let is_done = settled[1].is_err();
    let found = attack(&all_bytes(dir), &master());
    assert_eq!(found.contains(&before[1].unwrap()), !is_done, "{case}");
    is_done
}

#[test]
fn a_shredding_that_a_crash_cuts_between_two_steps_is_finished_or_undone() {
    let (dir, before, file) = begun_shredding();
    let mut done = Vec::new();
    for steps in 0..=7 {
        let dir = copy_of(dir.path());
        let mut replacement = Replacement::new(dir.path(), &file);
        for _ in 0..steps {
            assert!(replacement.step().unwrap());
        }
        done.push(check_settled(dir.path(), &before, &format!("after {steps} steps")));
    }
    // Undone until the old file is touched, and finished from then on.
    assert_eq!(done, [false, false, false, false, true, true, true, true]);
}

#[test]
fn a_crash_in_the_midst_of_writing_or_wiping_leaves_one_whole_file() {
    let (dir, before, file) = begun_shredding();
    for len in (0..HEADER_LEN + 3 * ENTRY_LEN + 20).step_by(11 / scale().min(11)) {
        let dir = copy_of(dir.path());
        fs::write(dir.path().join(NEW_KEYS_FILE), &file[..len]).unwrap();
        assert!(!check_settled(dir.path(), &before, &format!("{len} bytes are written")));
    }
    let old = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    let mut random = fastrand::Rng::with_seed(0x5eed);
    for case in 0..20 * scale() {
        let dir = copy_of(dir.path());
        fs::write(dir.path().join(NEW_KEYS_FILE), &file).unwrap();
        // Any of its parts may have reached the disk, in any order.
        let mut torn = old.clone();
        let part_len = [1, 16, 128, 512][random.usize(..4)];
        let mut is_touched = false;
        for part in torn.chunks_mut(part_len) {
            if random.bool() {
                is_touched |= part.iter().any(|&byte| byte != 0);
                part.fill(0);
            }
        }
        fs::write(dir.path().join(KEYS_FILE), &torn).unwrap();
        let is_done = check_settled(dir.path(), &before, &format!("case {case} of seed 0x5eed"));
        assert_eq!(is_done, is_touched, "case {case} of seed 0x5eed");
    }
}

#[test]
fn a_first_file_that_a_crash_cuts_is_begun_anew() {
    let (dir, _keyring) = with_keys(0);
    let file = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    for len in (0..HEADER_LEN + 40).step_by(8) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NEW_KEYS_FILE), &file[..len]).unwrap();
        let ring = open(dir.path()).unwrap().ring();
        let whole = u64::from_le_bytes(file[8..16].try_into().unwrap());
        assert_eq!(ring == whole, len >= HEADER_LEN);
    }
}

#[test]
fn an_entry_that_a_crash_has_torn_is_stepped_over_and_costs_no_other() {
    let (dir, keyring) = with_keys(3);
    let before = keys(&keyring, 2);
    let file = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    let third = PAGE_LEN + 2 * ENTRY_LEN;
    for len in (third..third + ENTRY_LEN).step_by(11 / scale().min(11)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEYS_FILE), &file[..len]).unwrap();
        let keyring = open(dir.path()).unwrap();
        assert_eq!(key_bytes(&keyring, 2), Err("missing"));
        draw(&keyring, "person", StreamId(2), StreamSequence(0));
        keyring.store_fresh().unwrap();
        let stored = keys(&keyring, 3);
        assert_eq!(stored[..2], before);
        assert_eq!(keys(&open(dir.path()).unwrap(), 3), stored);
    }
}

#[test]
fn a_flipped_bit_costs_one_stream_at_most_and_is_told_where_it_costs_all() {
    let (dir, keyring) = with_keys(2);
    keyring.rotate_master(&master()).unwrap();
    draw(&keyring, "person", StreamId(2), StreamSequence(0));
    keyring.store_fresh().unwrap();
    let before = keys(&keyring, 3);
    let file = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    let written = HEADER_LEN + 2 * ENTRY_LEN;
    let bytes = (0..written + 20).chain(PAGE_LEN..PAGE_LEN + ENTRY_LEN + 20);
    for bit in bytes.flat_map(|byte| 8 * byte..8 * byte + 8).step_by(11 / scale().min(11)) {
        let dir = tempfile::tempdir().unwrap();
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(dir.path().join(KEYS_FILE), &flipped).unwrap();
        let opened = open(dir.path());
        // Two of the three entries were written with the header.
        if bit / 8 < written {
            let error = opened.err().unwrap_or_else(|| panic!("bit {bit} is not noticed"));
            assert!(
                matches!(error, KeysError::Corrupt(_) | KeysError::NewerFormat { .. }),
                "bit {bit}: {error}"
            );
        } else {
            let found = keys(&opened.unwrap(), 3);
            assert_eq!(found[..2], before[..2]);
            let is_hit = (PAGE_LEN..PAGE_LEN + ENTRY_LEN).contains(&(bit / 8));
            assert_eq!(found[2], if is_hit { Err("missing") } else { before[2] }, "bit {bit}");
        }
        let kept = fs::read(dir.path().join(KEYS_FILE)).unwrap();
        let mut slots = kept.chunks(ENTRY_LEN);
        let damaged = bit / 8 / ENTRY_LEN * ENTRY_LEN;
        assert!(
            slots.any(|slot| slot == &flipped[damaged..damaged + ENTRY_LEN]),
            "damage is kept, bit {bit}"
        );
    }
}

/// Whoever verifies the store goes on to hear of it.
#[test]
fn a_damaged_entry_stays_as_it_is_in_every_file_to_come() {
    let (dir, keyring) = with_keys(3);
    drop(keyring);
    let path = dir.path().join(KEYS_FILE);
    let mut file = fs::read(&path).unwrap();
    let entry = PAGE_LEN + ENTRY_LEN;
    file[entry + 60] ^= 1;
    fs::write(&path, &file).unwrap();
    let damaged = &file[entry..entry + ENTRY_LEN];
    let check_told = || {
        let file = fs::read(&path).unwrap();
        assert!(file.chunks(ENTRY_LEN).any(|slot| slot == damaged));
        assert_eq!(check(&file).unwrap().len(), 1);
    };
    let keyring = open(dir.path()).unwrap();
    check_told();
    keyring.rotate_master(&master()).unwrap();
    check_told();
    for id in 3..3 * SPARE_PAGES_MAX as u64 {
        draw(&keyring, "person", StreamId(id), StreamSequence(0));
        keyring.store_fresh().unwrap();
    }
    check_told();
    keyring.shred("person", StreamId(0), StreamSequence(1)).unwrap();
    check_told();
    assert_eq!((key_bytes(&keyring, 0), key_bytes(&keyring, 1)), (Err("shredded"), Err("missing")));
}

#[test]
fn a_key_that_was_lost_to_damage_is_not_taken_for_a_shredded_one() {
    let (dir, keyring) = with_keys(2);
    let (kept, end) = (StreamId(0), StreamSequence(5));
    keyring.shred("person", kept, end).unwrap();
    draw(&keyring, "person", kept, end);
    keyring.store_fresh().unwrap();
    drop(keyring);
    let path = dir.path().join(KEYS_FILE);
    let mut file = fs::read(&path).unwrap();
    file[PAGE_LEN + ENTRY_LEN - 1] ^= 1;
    fs::write(&path, &file).unwrap();
    let keyring = open(dir.path()).unwrap();
    let found = |seq| keyring.key_of("person", kept, StreamSequence(seq)).unwrap();
    assert!(matches!(found(5), Found::Missing));
    draw(&keyring, "person", kept, StreamSequence(9));
    assert!(matches!(found(4), Found::Shredded { first } if first == end));
    assert!(matches!(found(5), Found::Key(_)), "it opens nothing, which is damage");
    let unknown = StreamId(7);
    draw(&keyring, "person", unknown, StreamSequence(9));
    assert!(matches!(keyring.key_of("person", unknown, StreamSequence(3)).unwrap(), Found::Key(_)));
}

#[test]
fn random_bytes_are_an_error() {
    let mut random = fastrand::Rng::with_seed(0x5eed);
    let (_dir, keyring) = with_keys(2);
    let file = fs::read(keyring.dir.join(KEYS_FILE)).unwrap();
    for _ in 0..500 {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes: Vec<u8> = (0..random.usize(..1000)).map(|_| random.u8(..)).collect();
        // All of the header at most, but for its checksum.
        let kept = random.usize(..=HEADER_LEN - 4).min(bytes.len());
        bytes[..kept].copy_from_slice(&file[..kept]);
        for name in [KEYS_FILE, NEW_KEYS_FILE] {
            fs::write(dir.path().join(name), &bytes).unwrap();
        }
        assert!(open(dir.path()).is_err());
        assert!(dir.path().join(NEW_KEYS_FILE).exists(), "neither file is touched where none is whole");
    }
}

#[test]
fn an_entry_says_nothing_in_another_place() {
    let (dir, keyring) = with_keys(2);
    let file = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    let state = keyring.lock();
    let entry = |at: usize| Entry::parse(file[at..at + ENTRY_LEN].try_into().unwrap()).unwrap();
    let (first, second) = (entry(PAGE_LEN), entry(PAGE_LEN + ENTRY_LEN));
    let opens = |entry: &Entry, ring| entry.open(ring, &state.wrapping).is_ok();
    let ring = state.header.ring;
    assert!(opens(&first, ring));
    assert!(!opens(&first, ring + 1));
    let changes: [&dyn Fn(&mut Entry); 4] = [
        &|entry| entry.stream = second.stream,
        &|entry| entry.first = StreamSequence(1),
        &|entry| entry.suite = Suite::ChaCha20Poly1305,
        &|entry| entry.kind = EntryKind::Shredded,
    ];
    for change in changes {
        let mut changed = first;
        change(&mut changed);
        assert!(!opens(&changed, ring));
    }
}

#[test]
fn a_write_that_fails_is_final_until_the_store_is_opened_again() {
    let (dir, keyring) = with_keys(1);
    keyring.lock().file = File::open(dir.path().join(KEYS_FILE)).unwrap();
    draw(&keyring, "person", StreamId(1), StreamSequence(0));
    assert!(matches!(keyring.store_fresh(), Err(KeysError::Io { .. })));
    assert!(matches!(keyring.store_fresh(), Err(KeysError::Poisoned)));
    let shredded = keyring.shred("person", StreamId(0), StreamSequence(1));
    assert!(matches!(shredded, Err(KeysError::Poisoned)));
    assert!(key_bytes(&open(dir.path()).unwrap(), 0).is_ok());
}

#[test]
fn a_replacement_that_writes_nothing_leaves_nothing_to_take_back() {
    let (dir, keyring) = with_keys(1);
    discard(dir.path()).unwrap();
    assert!(key_bytes(&keyring, 0).is_ok());
}

#[test]
fn a_replacement_that_fails_before_it_touches_anything_is_taken_back() {
    let (dir, keyring) = with_keys(2);
    let before = keys(&keyring, 2);
    fs::create_dir(dir.path().join(NEW_KEYS_FILE)).unwrap();
    assert!(keyring.shred("person", StreamId(0), StreamSequence(1)).is_err());
    assert_eq!(keys(&keyring, 2), before);
    fs::remove_dir(dir.path().join(NEW_KEYS_FILE)).unwrap();
    assert_eq!(keys(&open(dir.path()).unwrap(), 2), before);
}

#[test]
fn what_was_appended_is_written_elsewhere_before_an_owner_relies_on_it() {
    let (dir, keyring) = with_keys(3);
    let before = keys(&keyring, 3);
    drop(keyring);
    let file = File::open(dir.path().join(KEYS_FILE)).unwrap();
    let keyring = open(dir.path()).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0, "a flush of the file that was found may have failed");
    assert!(is_tight(&fs::read(dir.path().join(KEYS_FILE)).unwrap(), 3));
    assert_eq!(keys(&keyring, 3), before);
    drop(keyring);
    let file = File::open(dir.path().join(KEYS_FILE)).unwrap();
    open(dir.path()).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 1, "what was made whole is left alone");
}

#[test]
fn no_page_is_written_twice_and_a_file_of_little_but_room_is_made_anew() {
    let (dir, keyring) = with_keys(0);
    let path = dir.path().join(KEYS_FILE);
    let (mut before, mut anew) = (fs::read(&path).unwrap(), 0);
    for id in 0..3 * SPARE_PAGES_MAX as u64 {
        draw(&keyring, "person", StreamId(id), StreamSequence(0));
        keyring.store_fresh().unwrap();
        let file = fs::read(&path).unwrap();
        if file.len() > before.len() {
            assert_eq!(file.len(), before.len() + PAGE_LEN);
            assert!(file.starts_with(&before), "what a flush made durable is not written again");
        } else {
            assert!(is_tight(&file, id as usize + 1));
            anew += 1;
        }
        before = file;
    }
    assert_eq!(anew, 2);
    let n = 3 * SPARE_PAGES_MAX as u64;
    assert_eq!(keys(&open(dir.path()).unwrap(), n), keys(&keyring, n));
}

/// Whether a file has no more room than its last page leaves.
fn is_tight(file: &[u8], entries: usize) -> bool {
    file.len() == (HEADER_LEN + entries * ENTRY_LEN).next_multiple_of(PAGE_LEN)
}

#[test]
fn a_store_has_so_many_keys_and_no_more() {
    let (_dir, keyring) = with_keys(0);
    keyring.lock().entries_max = 1;
    draw(&keyring, "person", StreamId(0), StreamSequence(0));
    let full = keyring.key_to_seal("person", StreamId(1), StreamSequence(0), true);
    assert!(matches!(full, Err(KeysError::Full)));
    assert!(keyring.key_to_seal("person", StreamId(0), StreamSequence(0), true).is_ok());
}

/// The bytes of FORMAT.md, worked out there by hand: fields, checksums and what each key is bound to.
#[test]
fn the_file_is_what_the_format_says() {
    let (dir, keyring) = with_keys(1);
    let file = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    assert_eq!(file.len(), 2 * 4096);
    assert_eq!(file[..8], *b"VRVK\x00\x00\x01\x00");
    assert_eq!(file[8..16], keyring.ring().to_le_bytes());
    assert_eq!(file[24..32], [0; 8], "no entries, whose checksum is 0");
    assert_eq!(file[92..124], [0; 32]);
    assert_eq!(file[124..128], crc32c::crc32c(&file[..124]).to_le_bytes());
    assert!(file[128..4096].iter().chain(&file[4096 + 128..]).all(|&byte| byte == 0xff));
    let entry = &file[4096..4096 + 128];
    assert_eq!(entry[..4], [1, 1, 0, 0]);
    assert_eq!(entry[4..12], [0; 8]);
    assert_eq!(entry[12..44], crate::sha256(b"person"));
    assert_eq!(entry[44..52], [0; 8]);
    assert_eq!(entry[112..124], [0; 12]);
    assert_eq!(entry[124..], crc32c::crc32c(&entry[..124]).to_le_bytes());
    assert_eq!(entry[52..112].len(), 12 + 32 + TAG_LEN);
}

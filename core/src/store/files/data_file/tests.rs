//! Environments whose newest meta page a power cut tore, in every way that a disk tears a write.

use std::fs;

use super::*;
use crate::store::config::{Config, Durability};
use crate::store::files::environment::Environment;
use crate::store::files::owner_lock::OwnerLock;
use crate::{GlobalSequence, StreamId, Varve};

/// A data file whose two metas are of the states 1 and 2 of a row.
struct Torn {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    page_len: usize,
    /// The checksum of the meta of each state.
    checksums: [u32; 2],
}

/// The checksum of the meta that counts in the store `dir`.
fn checksum(dir: &Path) -> io::Result<u32> {
    newest_checksum(&File::open(dir.join(DATA_FILE))?)
}

impl Torn {
    /// Page 0 or page 1 is the newest, as `newest` has it.
    fn new(newest: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write_state(dir.path(), 0);
        loop {
            write_state(dir.path(), 1);
            let before = checksum(dir.path()).unwrap();
            write_state(dir.path(), 2);
            let metas = MetaPages::read(&File::open(dir.path().join(DATA_FILE)).unwrap()).unwrap();
            if metas.newest() == Some(newest) {
                let bytes = fs::read(dir.path().join(DATA_FILE)).unwrap();
                let checksums = [before, checksum(dir.path()).unwrap()];
                return Self { dir, bytes, page_len: metas.page_len, checksums };
            }
            write_state(dir.path(), 0);
        }
    }

    fn page(&self, page: usize) -> std::ops::Range<usize> {
        page * self.page_len..(page + 1) * self.page_len
    }

    /// Repairs the file `bytes` where `confirmed` of the two states is known to be durable, and returns whether it
    /// was touched and the state that it then has.
    fn repair(&self, bytes: &[u8], confirmed: usize) -> Result<(bool, u8), OpenError> {
        let path = self.dir.path().join(DATA_FILE);
        fs::write(&path, bytes).unwrap();
        let confirmed = self.checksums[confirmed - 1];
        let repaired = repair_after_power_cut(self.dir.path(), |checksum| checksum == confirmed)?;
        assert_eq!(fs::read(&path).unwrap() != bytes, repaired);
        let again = repair_after_power_cut(self.dir.path(), |checksum| checksum == confirmed)?;
        assert!(!again, "what is repaired needs no repair");
        self.check_copy(repaired);
        assert_eq!(checksum(self.dir.path()).unwrap(), confirmed);
        Ok((repaired, read_state(self.dir.path())))
    }

    /// Both pages bear their number, and where one is a copy of the other, there is nothing left to confirm.
    fn check_copy(&self, repaired: bool) {
        let bytes = fs::read(self.dir.path().join(DATA_FILE)).unwrap();
        let numbers = [0, 1].map(|page| array(&bytes[self.page(page)], 0).map(usize::from_ne_bytes));
        assert_eq!(numbers, [Some(0), Some(1)]);
        assert!(!repaired || !repair_after_power_cut(self.dir.path(), |_| false).unwrap());
    }
}

#[test]
fn a_torn_meta_gives_way_to_the_one_before() {
    for newest in [0, 1] {
        let torn = Torn::new(newest);
        let [new, old] = [torn.page(newest), torn.page(1 - newest)].map(|page| torn.bytes[page].to_vec());
        for cut in (0..=META_LEN).step_by(8).map(|cut| PAGE_HEADER_LEN + cut) {
            for [front, back] in [[&new, &old], [&old, &new]] {
                let mut bytes = torn.bytes.clone();
                let page = &mut bytes[torn.page(newest)];
                page[PAGE_HEADER_LEN..cut].copy_from_slice(&front[PAGE_HEADER_LEN..cut]);
                let end = PAGE_HEADER_LEN + META_LEN;
                page[cut..end].copy_from_slice(&back[cut..end]);
                assert_eq!(torn.repair(&bytes, 1).unwrap().1, 1, "page {newest}, cut at {cut}");
            }
        }
    }
}

#[test]
fn a_page_of_garbage_gives_way_to_the_other_whichever_it_is() {
    let mut random = fastrand::Rng::with_seed(7);
    for newest in [0, 1] {
        let torn = Torn::new(newest);
        for fill in [Some(0), Some(0xff), None, None] {
            for (page, state) in [(newest, 1), (1 - newest, 2)] {
                let mut bytes = torn.bytes.clone();
                bytes[torn.page(page)][..512].fill_with(|| fill.unwrap_or_else(|| random.u8(..)));
                assert_eq!(torn.repair(&bytes, state).unwrap(), (true, state as u8), "page {page}");
            }
        }
    }
}

#[test]
fn garbage_that_passes_for_the_newest_meta_gives_way() {
    for newest in [0, 1] {
        let torn = Torn::new(newest);
        for at in (field::PAGE_LEN + 4..META_LEN).step_by(4) {
            let mut bytes = torn.bytes.clone();
            bytes[torn.page(newest)][PAGE_HEADER_LEN + at..][..4].fill(0x5a);
            assert_eq!(torn.repair(&bytes, 1).unwrap().1, 1, "page {newest}, at {at}");
        }
    }
}

/// LMDB opens no file whose older page fails one of these.
#[test]
fn an_older_page_that_is_no_meta_page_is_replaced() {
    let page_len = 2 * Torn::new(0).page_len as u32;
    for (at, field) in [
        (field::PAGE_FLAGS, vec![0xff ^ FLAG_META as u8]),
        (PAGE_HEADER_LEN + field::MAGIC, vec![0x5a]),
        (PAGE_HEADER_LEN + field::VERSION, vec![2]),
        (PAGE_HEADER_LEN + field::PAGE_LEN, page_len.to_ne_bytes().to_vec()),
        (PAGE_HEADER_LEN + field::PAGE_LEN, vec![1]),
    ] {
        let torn = Torn::new(0);
        let mut bytes = torn.bytes.clone();
        bytes[torn.page(1)][at..at + field.len()].copy_from_slice(&field);
        assert_eq!(torn.repair(&bytes, 2).unwrap(), (true, 2), "at {at}");
    }
}

#[test]
fn a_whole_meta_that_nobody_confirmed_gives_way_and_one_that_was_confirmed_is_not_touched() {
    for newest in [0, 1] {
        let torn = Torn::new(newest);
        assert_eq!(torn.repair(&torn.bytes, 1).unwrap(), (true, 1));
        assert_eq!(torn.repair(&torn.bytes, 2).unwrap(), (false, 2));
    }
}

#[test]
fn the_first_transaction_of_a_store_stays_though_nobody_confirmed_it() {
    let dir = tempfile::tempdir().unwrap();
    drop(environment(dir.path()));
    let metas = MetaPages::read(&File::open(dir.path().join(DATA_FILE)).unwrap()).unwrap();
    assert_eq!(metas.pages.map(|meta| meta.unwrap().transaction()), [0, 1]);
    assert!(!repair_after_power_cut(dir.path(), |_| false).unwrap());
    write_state(dir.path(), 1);
    assert!(repair_after_power_cut(dir.path(), |_| false).unwrap());
    drop(environment(dir.path()));
}

#[test]
fn a_repaired_store_is_written_to_as_before() {
    for newest in [0, 1] {
        let torn = Torn::new(newest);
        torn.repair(&torn.bytes, 1).unwrap();
        for state in 3..7 {
            write_state(torn.dir.path(), state);
            assert_eq!(read_state(torn.dir.path()), state);
        }
    }
}

#[test]
fn a_file_without_a_whole_meta_is_an_error_with_a_place() {
    let torn = Torn::new(0);
    let mut bytes = torn.bytes.clone();
    bytes[..2 * torn.page_len].fill(0x5a);
    for bytes in [&bytes, &torn.bytes[..100], &bytes[..PAGE_HEADER_LEN + META_LEN]] {
        match torn.repair(bytes, 1) {
            Err(OpenError::Corrupt(damage)) => assert_eq!(damage.place, Place::MetaPages),
            other => panic!("{other:?}"),
        }
        assert_eq!(checksum(torn.dir.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

/// A power cut that tore a meta page, and perhaps the note of the boot: whoever comes first puts it back.
#[test]
fn a_reader_that_comes_before_the_next_owner_reads_all() {
    for page in [0, 1] {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
        (0..9).for_each(|n| assert_eq!(numbers.append(StreamId(1), &n).unwrap().1.0, n));
        varve.fold().unwrap();
        numbers.append(StreamId(1), &9).unwrap();
        drop((numbers, varve));
        let page_len = MetaPages::read(&File::open(dir.path().join(DATA_FILE)).unwrap()).unwrap().page_len;
        overwrite(&dir.path().join(DATA_FILE), page * page_len, &[0x5a; 512]);
        overwrite(&dir.path().join("tail"), 4096, &[0; 512]);
        for _ in 0..2 {
            let view = Varve::open_read_only(dir.path()).unwrap();
            assert_eq!(view.next_global_seq().unwrap().0, 10, "page {page}");
            assert_eq!(
                view.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap().len(),
                10
            );
        }
        assert_eq!(Varve::new(dir.path()).unwrap().next_global_seq().unwrap().0, 10);
    }
}

fn overwrite(path: &Path, at: usize, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(bytes, at as u64).unwrap();
}

fn write_state(dir: &Path, state: u8) {
    let environment = environment(dir);
    let mut txn = environment.write().unwrap();
    environment.tables().name.put(&mut txn, b"state", &[state]).unwrap();
    txn.commit().unwrap();
}

fn read_state(dir: &Path) -> u8 {
    let environment = environment(dir);
    let txn = environment.write().unwrap();
    environment.tables().name.get(&txn, b"state").unwrap().unwrap()[0]
}

fn environment(dir: &Path) -> Environment {
    let mut config = Config { map_size: Some(1 << 24), ..Config::default() };
    config.durability = Durability::Relaxed;
    Environment::open(dir, &config, OwnerLock::acquire(dir).unwrap()).unwrap()
}

/// A data file with free pages.
fn with_free_pages() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    (0..20).for_each(|state| write_state(dir.path(), state));
    dir
}

/// Where the first of the lists of free pages stands.
fn free_list(dir: &Path) -> usize {
    let bytes = fs::read(dir.join(DATA_FILE)).unwrap();
    let metas = MetaPages::read(&File::open(dir.join(DATA_FILE)).unwrap()).unwrap();
    let meta = metas.pages[metas.newest().unwrap()].as_ref().unwrap();
    let root = metas.page_len * usize::from_ne_bytes(array(&meta.bytes, field::FREE_ROOT).unwrap());
    let node = root + usize::from(u16::from_ne_bytes(array(&bytes, root + PAGE_HEADER_LEN).unwrap()));
    let list = node + 8 + WORD;
    assert!(word(&bytes, list) > 1, "a list that can be out of order");
    list
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::from_ne_bytes(array(bytes, at).unwrap())
}

#[test]
fn a_list_of_free_pages_that_lmdb_must_not_follow_is_found() {
    let dir = with_free_pages();
    let (path, list) = (dir.path().join(DATA_FILE), free_list(dir.path()));
    let good = fs::read(&path).unwrap();
    let reason = |words: &[(usize, usize)]| {
        fs::write(&path, &good).unwrap();
        words.iter().for_each(|(index, word)| overwrite(&path, list + index * WORD, &word.to_ne_bytes()));
        match DataTree::open(dir.path()).unwrap().unwrap().check_page_use() {
            Ok(()) => "",
            Err(PageError::Damage(Damage { place: Place::Page(_), reason })) => reason,
            Err(other) => panic!("{other:?}"),
        }
    };
    let (first, second) = (word(&good, list + WORD), word(&good, list + 2 * WORD));
    assert_eq!(reason(&[]), "");
    assert_eq!(reason(&[(0, usize::MAX)]), "a list of free pages is longer than its room");
    assert_eq!(reason(&[(1, second), (2, first)]), "a list of free pages is not in order");
    assert_eq!(reason(&[(1, second)]), "a list of free pages is not in order");
    assert_eq!(reason(&[(1, usize::MAX / 2)]), "a list of free pages is not in order");
    let in_list =
        list / usize::from(array(&good, PAGE_HEADER_LEN + field::PAGE_LEN).map(u16::from_ne_bytes).unwrap());
    assert_eq!(reason(&[(0, 1), (1, in_list)]), "it has two uses", "of the page that holds the list");
    assert_eq!(reason(&[(0, 1), (1, 1)]), "it has two uses", "of a meta page");
}

#[test]
fn a_page_that_no_transaction_has_used_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let environment = environment(dir.path());
    let mut txn = environment.write().unwrap();
    environment.tables().name.put(&mut txn, b"long", &[0; 60_000]).unwrap();
    txn.commit().unwrap();
    drop(environment);
    let path = dir.path().join(DATA_FILE);
    let metas = MetaPages::read(&File::open(&path).unwrap()).unwrap();
    let last_page_at = metas.newest().unwrap() * metas.page_len + PAGE_HEADER_LEN + field::LAST_PAGE;
    let last = word(&fs::read(&path).unwrap(), last_page_at);
    overwrite(&path, last_page_at, &(last - 1).to_ne_bytes());
    match DataTree::open(dir.path()).unwrap().unwrap().check_page_use() {
        Err(PageError::Damage(Damage { reason: "it is past the last page", .. })) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_owner_that_is_told_to_looks_at_the_pages_before_it_writes_any() {
    let dir = with_free_pages();
    let path = dir.path().join(DATA_FILE);
    let open = || {
        let mut config = Config { check_pages: true, ..Config::default() };
        config.durability = Durability::Relaxed;
        Varve::with_config(dir.path(), config)
    };
    drop(open().unwrap());
    drop(open().unwrap());
    overwrite(&path, free_list(dir.path()), &usize::MAX.to_ne_bytes());
    let damaged = fs::read(&path).unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::Corrupt(Damage { place: Place::Page(_), .. })), "{refused}");
    assert_eq!(fs::read(&path).unwrap(), damaged);
    fs::write(&path, [7; 9_000]).unwrap();
    let refused = open().unwrap_err();
    assert!(matches!(refused, OpenError::Corrupt(Damage { place: Place::MetaPages, .. })), "{refused}");
}

#[test]
fn a_meta_that_would_give_way_is_written_once_more_as_it_is_and_no_other() {
    for newest in [0, 1] {
        let torn = Torn::new(newest);
        for (confirmed, is_renewed) in [(1, true), (2, false)] {
            let confirmed = torn.checksums[confirmed - 1];
            let renewed = renew_unconfirmed(torn.dir.path(), |checksum| checksum == confirmed).unwrap();
            assert_eq!(renewed, is_renewed, "page {newest}");
            assert!(fs::read(torn.dir.path().join(DATA_FILE)).unwrap() == torn.bytes);
        }
    }
}

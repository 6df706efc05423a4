//! Power cuts at random moments, against a list of what was written.
//!
//! Of the sectors of 512 bytes that were written and not flushed any subset survives, and one of them may hold garbage.
//! What a life of the store left in the file stays there for the next one, which writes other records under the same
//! numbers of commits.

use std::collections::HashMap;

use super::*;
use crate::store::tail::record::Chunk;
use crate::store::tail::{Folded, RecordHead, RecordWriter, TableNumber};

const INCARNATION: u64 = 0x5eed;
const SECTORS: u32 = (SEGMENT_LEN_MIN / SECTOR_LEN as u64) as u32;
const CASES: u64 = 1_000;
const LIVES: usize = 4;
const STEPS_MAX: usize = 60;
/// What a disk writes at once.
const DISK_SECTOR_LEN: usize = 512;

/// A store with nothing but its tail, and the disk below it.
struct Store {
    random: fastrand::Rng,
    dir: tempfile::TempDir,
    journal: Journal,
    disk: Disk,
    /// What was written since the last recovery, by commit.
    written: HashMap<u64, Written>,
    generation: u64,
    /// The end of what is taken of its segment.
    end: u32,
    /// The last commit that is written, and the last that is flushed.
    commit: u64,
    flushed: u64,
    /// The last two folds, the latest last. A power cut may leave either.
    folds: [Folded; 2],
    seen: Seen,
}

struct Written {
    head: RecordHead,
    at: u32,
    value: Vec<u8>,
}

/// What the disk holds for certain, and what it may have written since.
struct Disk {
    image: Vec<u8>,
    /// What a reader sees.
    cache: Vec<u8>,
    /// The sectors that were written, each as it was after a write.
    unflushed: Vec<(usize, Vec<u8>)>,
}

/// How often a case was of use.
#[derive(Default)]
struct Seen {
    recovered: usize,
    /// How many of those shared their first sector with one before.
    shared: usize,
    lost: usize,
    laps: usize,
    damaged: usize,
}

#[test]
fn a_power_cut_costs_nothing_that_was_flushed() {
    let mut seen = Seen::default();
    for_each_seed(|seed| {
        let mut store = Store::new(seed, seen_so_far(&mut seen));
        for _ in 0..LIVES {
            store.live();
            store.cut_power();
            store.recover();
        }
        seen = store.seen;
    });
    assert!(seen.recovered > 1_000 && seen.lost > 1_000 && seen.laps > 100, "the cases are too tame");
    assert!(seen.shared > 1_000, "{} records shared a sector", seen.shared);
}

#[test]
fn damage_to_what_was_flushed_is_told_with_its_place() {
    let mut seen = Seen::default();
    for_each_seed(|seed| {
        let mut store = Store::new(seed, seen_so_far(&mut seen));
        store.live();
        store.cut_power();
        store.damage();
        seen = store.seen;
    });
    assert!(seen.damaged > 300, "only {} cases had a record to damage", seen.damaged);
}

fn seen_so_far(seen: &mut Seen) -> Seen {
    std::mem::take(seen)
}

/// Runs `case` for each seed: `VARVE_TEST_SCALE` times [`CASES`], or only `VARVE_TEST_SEED`.
fn for_each_seed(mut case: impl FnMut(u64)) {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let seeds = match number("VARVE_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..CASES * number("VARVE_TEST_SCALE").unwrap_or(1),
    };
    for seed in seeds {
        let run = std::panic::AssertUnwindSafe(|| case(seed));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("VARVE_TEST_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

impl Store {
    fn new(seed: u64, seen: Seen) -> Self {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let journal = Journal::create(dir.path(), INCARNATION, 0, Durability::Relaxed).unwrap();
        let image = fs::read(&journal.path).unwrap();
        Self {
            random: fastrand::Rng::with_seed(seed),
            dir,
            journal,
            disk: Disk { cache: image.clone(), image, unflushed: Vec::new() },
            written: HashMap::new(),
            generation: 1,
            end: 0,
            commit: 0,
            flushed: 0,
            folds: [Folded::default(); 2],
            seen,
        }
    }

    /// Commits, flushes and folds.
    fn live(&mut self) {
        for _ in 0..self.random.usize(..STEPS_MAX) {
            match self.random.u8(..20) {
                0..13 => self.write(),
                13..17 => self.flush(),
                17..19 => self.fold_sealed(),
                _ => self.fold_all(),
            }
        }
    }

    fn write(&mut self) {
        let value_len = match self.random.u8(..4) {
            0 => self.random.usize(8..SECTOR_LEN * SECTORS as usize / 2),
            1 => self.random.usize(8..SECTOR_LEN),
            _ => self.random.usize(8..SECTOR_LEN / 8),
        };
        let len = HEADER_LEN + 8 + 1 + value_len;
        if place_behind(self.end, len) + len as u32 > self.journal.segment_len() {
            self.turn();
        }
        let at = place_behind(self.end, len);
        let mut value = vec![0; value_len];
        self.random.fill(&mut value[..8]);
        let head = RecordHead {
            generation: self.generation,
            commit: self.commit + 1,
            durable: self.flushed,
            ..RecordHead::default()
        };
        let mut writer = RecordWriter::new();
        writer.row(TableNumber(0), b"k", &value);
        assert_eq!(writer.finish(head, self.journal.seed(self.generation)).len(), len);
        self.journal.write(self.generation, at, writer.padded(at)).unwrap();
        self.disk.write(self.journal.offset(self.generation, at) as usize, writer.padded(at));
        self.written.insert(head.commit, Written { head, at, value });
        self.commit = head.commit;
        self.end = at + len as u32;
    }

    fn flush(&mut self) {
        self.disk.flush();
        self.end = next_sector(self.end);
        self.flushed = self.commit;
    }

    /// Seals the current generation and begins the next, whose segment is free.
    fn turn(&mut self) {
        self.flush();
        (self.generation, self.end) = (self.generation + 1, 0);
        self.seen.laps += usize::from(self.generation > SEGMENTS);
        while self.generation > self.folds[0].generation + SEGMENTS {
            self.fold_sealed();
        }
    }

    /// Folds every generation before the current one.
    fn fold_sealed(&mut self) {
        let sealed = self.written.values().filter(|written| written.head.generation < self.generation);
        let commit = sealed.map(|written| written.head.commit).max().unwrap_or(self.folds[1].commit);
        let commit = commit.max(self.folds[1].commit);
        self.folds = [self.folds[1], Folded { generation: self.generation - 1, commit }];
    }

    /// Folds everything, as a bulk append does.
    fn fold_all(&mut self) {
        self.turn();
        self.fold_sealed();
    }

    /// Leaves in the file what a power cut leaves on the disk.
    fn cut_power(&mut self) {
        let survive = self.random.u8(..4);
        let Disk { image, cache, unflushed } = &mut self.disk;
        for (offset, sector) in unflushed.iter() {
            if self.random.u8(..3) < survive {
                image[*offset..*offset + DISK_SECTOR_LEN].copy_from_slice(sector);
            }
        }
        if !unflushed.is_empty() && survive != 3 {
            let (offset, _) = unflushed[self.random.usize(..unflushed.len())];
            self.random.fill(&mut image[offset..offset + DISK_SECTOR_LEN]);
        }
        for (offset, _) in unflushed.drain(..) {
            let left = &image[offset..offset + DISK_SECTOR_LEN];
            cache[offset..offset + DISK_SECTOR_LEN].copy_from_slice(left);
            self.journal.file.write_all_at(left, offset as u64).unwrap();
        }
        self.journal = Journal::open(self.dir.path(), Durability::Relaxed).unwrap().unwrap();
    }

    /// Recovers, checks what is found, and goes on from there.
    fn recover(&mut self) {
        let folded = self.folds[self.random.usize(..2)];
        let Recovered { records, folded: after } = self.journal.recover(folded).unwrap();
        assert_eq!(after.commit, folded.commit + records.len() as u64);
        assert!(after.commit >= self.flushed, "commit {} of {} is lost", after.commit + 1, self.flushed);
        for (commit, record) in (folded.commit + 1..).zip(&records) {
            let written = &self.written[&commit];
            assert_eq!(*record.head(), written.head);
            let value = written.value.as_slice();
            assert_eq!(record.chunk(0), Chunk::Row { table: TableNumber(0), key: b"k", value });
            assert!(record.head().generation <= after.generation);
            self.seen.shared += usize::from(!written.at.is_multiple_of(SECTOR_LEN as u32));
        }
        let again = self.journal.recover(after).unwrap();
        assert_eq!((again.records.len(), again.folded), (0, after), "what was folded is found again");
        self.seen.recovered += records.len();
        self.seen.lost += (self.commit - after.commit) as usize;
        // The note confirms the fold of what was recovered, so that no power cut takes it back.
        self.folds = [after; 2];
        (self.generation, self.end) = (after.generation + 1, 0);
        (self.commit, self.flushed) = (after.commit, after.commit);
        self.written.clear();
    }

    /// Flips a bit of a record that a later one says is durable, and recovers.
    fn damage(&mut self) {
        let folded = self.folds[self.random.usize(..2)];
        let Ok(whole) = self.journal.recover(folded) else { panic!("it is whole yet") };
        let durable = whole.records.last().map_or(0, |record| record.head().durable);
        let Some(known) = durable.checked_sub(folded.commit).filter(|&known| known > 0) else { return };
        let commit = folded.commit + 1 + self.random.u64(..known);
        let Written { head, at, value } = &self.written[&commit];
        let len = HEADER_LEN + 8 + 1 + value.len();
        let at = self.journal.offset(head.generation, *at) as usize + self.random.usize(..len);
        let flipped = self.disk.image[at] ^ 1 << self.random.u8(..8);
        self.journal.file.write_all_at(&[flipped], at as u64).unwrap();
        let Err(OpenError::Corrupt(damage)) = self.journal.recover(folded) else {
            panic!("commit {commit} of {durable} is damaged")
        };
        assert!(self.is_place_of(commit, &damage.place), "{damage} is not where commit {commit} stands");
        self.seen.damaged += 1;
    }

    /// Whether a place is that of a commit, or where the one before would go on in its own generation: in the next sector.
    fn is_place_of(&self, commit: u64, place: &Place) -> bool {
        let Place::Tail { generation, sector } = *place else { return false };
        let Written { head, at, .. } = self.written[&commit];
        let sectors = at / SECTOR_LEN as u32..=next_sector(at) / SECTOR_LEN as u32;
        (generation == head.generation && sectors.contains(&sector))
            || (at == 0 && generation < head.generation)
    }
}

impl Disk {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        self.cache[offset..offset + bytes.len()].copy_from_slice(bytes);
        let first = offset - offset % DISK_SECTOR_LEN;
        for offset in (first..offset + bytes.len()).step_by(DISK_SECTOR_LEN) {
            self.unflushed.push((offset, self.cache[offset..offset + DISK_SECTOR_LEN].to_vec()));
        }
    }

    fn flush(&mut self) {
        for (offset, sector) in self.unflushed.drain(..) {
            self.image[offset..offset + DISK_SECTOR_LEN].copy_from_slice(&sector);
        }
    }
}

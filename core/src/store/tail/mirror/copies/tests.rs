//! A reader beside an owner that commits, folds and writes over what it folded, at any moment between the reader's steps.

use super::*;
use crate::GlobalSequence;
use crate::store::config::Durability;
use crate::store::tail::journal::{SEGMENTS, next_sector, place_behind};
use crate::store::tail::record::{Chunk, SECTOR_LEN};
use crate::store::tail::{RecordHead, RecordWriter, TableNumber};

const CASES: u64 = 10;
const LOOKS: usize = 40;

/// An owner with nothing but a tail.
struct Owner {
    random: fastrand::Rng,
    dir: tempfile::TempDir,
    journal: Journal,
    told: Published,
    /// The last commit that is written.
    commit: u64,
    /// The end of what is taken of the current segment.
    end: u32,
    /// The last commit of each generation, from 1; the last generation is the current one.
    ends: Vec<u64>,
    folded: Folded,
}

impl Owner {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("there is room for temporary files");
        let journal = Journal::create(dir.path(), 1, 0, Durability::Relaxed).unwrap();
        Self {
            random: fastrand::Rng::with_seed(seed),
            dir,
            journal,
            told: Published { generation: 1, ..Published::default() },
            commit: 0,
            end: 0,
            ends: vec![0],
            folded: Folded::default(),
        }
    }

    fn generation(&self) -> u64 {
        self.ends.len() as u64
    }

    fn work(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.random.u8(..20) {
                0..12 => self.write(),
                12..19 => self.flush(),
                _ => self.fold(),
            }
        }
    }

    fn write(&mut self) {
        let value_len = if self.random.bool() { 8 } else { self.random.usize(8..30 * SECTOR_LEN) };
        self.write_value(value_len);
    }

    fn write_value(&mut self, value_len: usize) {
        if self.end + (value_len + 2 * SECTOR_LEN) as u32 > self.journal.segment_len() {
            self.turn();
        }
        if self.generation() > self.folded.generation + SEGMENTS {
            self.fold();
        }
        let mut writer = RecordWriter::new();
        let commit = self.commit + 1;
        let mut value = vec![0; value_len];
        value[..8].copy_from_slice(&commit.to_le_bytes());
        writer.row(TableNumber(0), b"k", &value);
        let head = RecordHead { generation: self.generation(), commit, ..RecordHead::default() };
        let len = writer.finish(head, self.journal.seed(head.generation)).len();
        let at = place_behind(self.end, len);
        self.journal.write(head.generation, at, writer.padded(at)).unwrap();
        self.commit = commit;
        self.end = at + len as u32;
        *self.ends.last_mut().expect("there is a current generation") = commit;
    }

    /// Flushes, and publishes it.
    fn flush(&mut self) {
        self.end = next_sector(self.end);
        let before = self.ends.iter().rev().nth(1).copied().unwrap_or(0);
        self.told = Published {
            generation: self.generation(),
            records: (self.commit - before) as u32,
            commit: self.commit,
            next: GlobalSequence(0),
            is_flushed: false,
        };
    }

    /// Seals the current generation, and publishes it. Three may wait to be folded.
    fn turn(&mut self) {
        self.flush();
        self.ends.push(self.commit);
        self.end = 0;
        self.flush();
    }

    /// Folds all sealed generations, or all there is.
    fn fold(&mut self) {
        if self.random.u8(..4) == 0 {
            self.turn();
        }
        let sealed = self.ends.len() - 1;
        if sealed > 0 {
            self.folded = Folded { generation: sealed as u64, commit: self.ends[sealed - 1] };
        }
    }
}

fn commits(view: &TailView) -> Vec<u64> {
    let commit_of = |record: &Record| match record.chunk(0) {
        Chunk::Row { value, .. } => u64::from_le_bytes(value[..8].try_into().unwrap()),
        Chunk::Block(_) => panic!("there are no blocks"),
    };
    view.records().map(commit_of).collect()
}

/// Lets a reader look again and again, while the owner does up to `pace` steps between any two of its own. Returns how
/// often it saw the log, and how often the owner was faster.
fn look(seed: u64, pace: usize) -> (usize, usize) {
    let mut owner = Owner::new(seed);
    let mut copies = Copies::default();
    let (mut seen, mut failed) = (0, 0);
    for _ in 0..LOOKS {
        let meanwhile = |owner: &mut Owner| {
            let steps = owner.random.usize(..=pace);
            owner.work(steps);
        };
        owner.work(10);
        let told = owner.told;
        meanwhile(&mut owner);
        let folded = owner.folded;
        meanwhile(&mut owner);
        if copies.commit() < told.commit && !copies.advance(&owner.journal, &told, folded).unwrap() {
            assert!(pace > 0, "seed {seed}: nothing was in its way");
            copies = Copies::default();
            failed += 1;
            continue;
        }
        meanwhile(&mut owner);
        let folded = owner.folded;
        let commits = commits(&copies.view_from(folded).expect("what was copied follows all later folds"));
        let end = folded.commit + commits.len() as u64;
        assert_eq!(commits, (folded.commit + 1..=end).collect::<Vec<_>>(), "seed {seed}");
        assert!(end >= told.commit, "seed {seed}: it misses what was told");
        assert!(end <= told.commit.max(folded.commit), "seed {seed}: it shows what was not told");
        seen += 1;
    }
    (seen, failed)
}

#[test]
fn what_was_told_is_copied_and_nothing_else() {
    for seed in 0..CASES {
        assert_eq!(look(seed, 0), (LOOKS, 0));
    }
}

#[test]
fn an_owner_that_goes_on_meanwhile_costs_another_look_and_never_a_gap() {
    let looks = (0..CASES).map(|seed| look(seed, 40)).collect::<Vec<_>>();
    let (seen, failed) = looks.into_iter().fold((0, 0), |all, look| (all.0 + look.0, all.1 + look.1));
    assert!(seen > 100 && failed > 20, "{seen} looks saw the log, and {failed} came too late");
}

#[test]
fn all_segments_may_wait_to_be_folded_before_the_next_generation_begins() {
    let mut owner = Owner::new(1);
    for _ in 0..SEGMENTS {
        owner.write();
        owner.turn();
    }
    let mut copies = Copies::default();
    assert!(copies.advance(&owner.journal, &owner.told, owner.folded).unwrap());
    assert_eq!(commits(&copies.view_from(owner.folded).unwrap()), [1, 2, 3]);
}

#[test]
fn as_many_records_are_copied_as_a_segment_has_room_for() {
    let mut owner = Owner::new(1);
    while owner.end + 2 * SECTOR_LEN as u32 <= owner.journal.segment_len() {
        owner.write_value(8);
    }
    owner.flush();
    let mut copies = Copies::default();
    assert!(copies.advance(&owner.journal, &owner.told, owner.folded).unwrap());
    let view = copies.view_from(owner.folded).unwrap();
    assert_eq!(commits(&view), (1..=owner.commit).collect::<Vec<_>>());
    assert_eq!(owner.generation(), 1);
    assert!(
        owner.commit > 30 * u64::from(owner.journal.segment_len()) / SECTOR_LEN as u64,
        "32 fit a sector"
    );
}

#[test]
fn a_record_beyond_what_was_told_stays_unseen() {
    let mut owner = Owner::new(1);
    owner.write();
    owner.flush();
    owner.write();
    let mut copies = Copies::default();
    assert!(copies.advance(&owner.journal, &owner.told, owner.folded).unwrap());
    assert_eq!(commits(&copies.view_from(owner.folded).unwrap()), [1]);
    for (told, seen) in [(None, vec![1, 2]), (Some(2), vec![1, 2]), (Some(1), vec![1]), (Some(0), vec![])] {
        let found = Copies::recover(&owner.journal, owner.folded, told).unwrap();
        assert_eq!(commits(&found.view_from(owner.folded).unwrap()), seen, "without an owner");
        assert_eq!(found.commit(), seen.len() as u64);
    }
}

#[test]
fn a_generation_beyond_what_was_told_is_not_looked_into() {
    let mut owner = Owner::new(1);
    owner.write();
    owner.flush();
    let told = owner.told;
    owner.turn();
    owner.write();
    let mut copies = Copies::default();
    assert!(copies.advance(&owner.journal, &told, owner.folded).unwrap());
    assert_eq!(commits(&copies.view_from(owner.folded).unwrap()), [1]);
}

#[test]
fn a_transaction_that_sees_less_than_was_forgotten_makes_no_log_with_it() {
    let mut owner = Owner::new(1);
    owner.write();
    owner.turn();
    owner.folded = Folded { generation: 1, commit: 1 };
    owner.write();
    owner.flush();
    let mut copies = Copies::default();
    assert!(copies.advance(&owner.journal, &owner.told, owner.folded).unwrap());
    assert_eq!(commits(&copies.view_from(owner.folded).unwrap()), [2]);
    assert!(copies.view_from(Folded::default()).is_none(), "commit 1 is nowhere");
}

#[test]
fn copies_that_do_not_follow_what_is_folded_are_not_gone_on_with() {
    let mut owner = Owner::new(1);
    owner.write();
    owner.turn();
    owner.write();
    owner.flush();
    let mut copies = Copies::default();
    let folded = Folded { generation: 1, commit: 1 };
    assert!(copies.advance(&owner.journal, &owner.told, folded).unwrap());
    owner.write();
    owner.flush();
    owner.journal.write(1, 0, &[0; SECTOR_LEN]).unwrap();
    assert!(copies.clone().advance(&owner.journal, &owner.told, folded).unwrap());
    assert!(!copies.advance(&owner.journal, &owner.told, Folded::default()).unwrap(), "commit 1 is nowhere");
}

#[test]
fn a_gap_between_commits_is_not_copied_over() {
    let mut owner = Owner::new(1);
    owner.write();
    owner.commit += 1;
    owner.write();
    owner.flush();
    let told = Published { records: 2, ..owner.told };
    assert!(!Copies::default().advance(&owner.journal, &told, owner.folded).unwrap());
}

#[test]
fn a_watermark_that_the_tail_does_not_bear_out_is_not_followed() {
    let mut owner = Owner::new(1);
    owner.write();
    owner.flush();
    for told in [
        Published { records: 2, commit: 2, ..owner.told },
        Published { commit: 2, ..owner.told },
        Published { records: 0, ..owner.told },
        Published { generation: u64::MAX, commit: u64::MAX, records: u32::MAX, ..owner.told },
    ] {
        let mut copies = Copies::default();
        assert!(!copies.advance(&owner.journal, &told, owner.folded).unwrap(), "{told:?}");
    }
    drop(owner.dir);
}

//! What a crash left in the tail.

use std::io;

use super::placement::{ALIGNMENT, next_sector, places_behind};
use super::{Journal, SECTOR_LEN, SEGMENTS};
use crate::GlobalSequence;
use crate::store::error::{Damage, OpenError, Place};
use crate::store::log::tables::array;
use crate::store::tail::fold::Folded;
use crate::store::tail::published::{FILE_NAME as WATERMARK_NAME, PublishedFile};
use crate::store::tail::record::Record;

/// What the tail holds beyond what was folded.
#[derive(Debug)]
pub(in crate::store) struct Recovered {
    /// The records to be folded, one commit after the other.
    pub(in crate::store) records: Vec<Record>,
    /// How far the tail is folded once they are. It passes every generation of which the tail holds anything, a torn
    /// record too: the next generation must be one whose records cannot be mistaken for what lies there.
    pub(in crate::store) folded: Folded,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    generation: u64,
    /// In bytes from the start of its segment.
    at: u32,
}

/// Every record in the tail that is whole, and that no fold took.
struct Found {
    /// In the order of their spots.
    records: Vec<(Spot, Record)>,
    /// Where the header of a commit is whole, and the body behind it is not.
    torn: Vec<(Spot, u64)>,
    /// The last generation of which there is anything.
    latest: u64,
}

impl Journal {
    /// Finds the records beyond `folded`: those whose commits follow each other without a gap. It ends at the first
    /// that is torn.
    ///
    /// # Errors
    ///
    /// [`OpenError::Corrupt`] where the record at which it ends had been flushed, as a later one tells, or the watermark,
    /// and where the records contradict each other or `folded`; [`OpenError::Io`] where a file cannot be read.
    pub(in crate::store) fn recover(&self, folded: Folded) -> Result<Recovered, OpenError> {
        let found = self.scan(folded)?;
        let told = found.records.iter().map(|(_, record)| record.head().durable).max();
        let durable = self.durable_by_watermark()?.max(told);
        let mut chain = Chain::new(folded);
        for (spot, record) in found.records {
            chain.offer(spot, record)?;
        }
        if durable.is_some_and(|durable| durable > chain.commit) {
            return Err(damage(chain.break_off(&found.torn), "a record that was flushed is not there").into());
        }
        let folded = Folded { generation: found.latest, commit: chain.commit };
        Ok(Recovered { records: chain.records, folded })
    }

    /// Every whole record beyond `folded`, in the order of commits, whatever is missing between them: for a salvage.
    pub(in crate::store) fn remains(&self, folded: Folded) -> Result<Vec<Record>, OpenError> {
        let mut records: Vec<_> = self.scan(folded)?.records.into_iter().map(|(_, record)| record).collect();
        records.sort_by_key(|record| record.head().commit);
        Ok(records)
    }

    /// The CRCs of the meta pages of LMDB that anything in the tail says are durable.
    pub(in crate::store) fn confirmations(&self) -> Result<Vec<u32>, OpenError> {
        let mut confirmed: Vec<u32> = self.note()?.map(|note| note.confirmed).into_iter().collect();
        for segment in 0..SEGMENTS {
            self.walk(segment, |_, _, record| confirmed.extend(record.map(|record| record.head().confirmed)))
                .map_err(|error| self.error(error))?;
        }
        confirmed.retain(|&crc| crc != 0);
        Ok(confirmed)
    }

    /// Where the events of a commit end; `None` where the tail does not hold its record any more.
    pub(in crate::store) fn end_of(&self, commit: u64) -> Result<Option<GlobalSequence>, OpenError> {
        let mut end = None;
        for segment in 0..SEGMENTS {
            self.walk(segment, |_, _, record| {
                end =
                    record.filter(|record| record.head().commit == commit).map(|record| record.end()).or(end);
            })
            .map_err(|error| self.error(error))?;
        }
        Ok(end)
    }

    /// The last commit that the watermark says is durable. It was written once that was so, and commits of a store are never
    /// numbered anew up to there: however late and in whatever order it came to the disk, it is true. Where the owner
    /// flushed nothing, it counts while the machine runs: nothing that was written is lost until then.
    fn durable_by_watermark(&self) -> Result<Option<u64>, OpenError> {
        let is_same_boot = !self.boot_changed()?;
        let dir = self.path.parent().expect("the tail lies in a directory");
        let file = PublishedFile::open(dir, self.incarnation);
        let told = file.and_then(|file| file.map_or(Ok(None), |file| file.read()));
        let told = told.map_err(|error| OpenError::Io { path: dir.join(WATERMARK_NAME), error })?;
        Ok(told.filter(|told| told.is_flushed || is_same_boot).map(|told| told.commit))
    }

    /// Collects what there is beyond `folded`.
    fn scan(&self, folded: Folded) -> Result<Found, OpenError> {
        let mut found = Found { records: Vec::new(), torn: Vec::new(), latest: folded.generation };
        for segment in 0..SEGMENTS {
            self.walk(segment, |spot, commit, record| {
                if spot.generation > folded.generation {
                    found.latest = found.latest.max(spot.generation);
                    match record {
                        Some(record) => found.records.push((spot, record)),
                        None => found.torn.push((spot, commit)),
                    }
                }
            })
            .map_err(|error| self.error(error))?;
        }
        found.records.sort_unstable_by_key(|(spot, _)| *spot);
        Ok(found)
    }

    /// Visits every header in a segment: where it stands, of which commit it is, and its record where that is whole. What
    /// lies within a whole record is its own, whatever it looks like.
    fn walk(&self, segment: u64, mut visit: impl FnMut(Spot, u64, Option<Record>)) -> io::Result<()> {
        let mut at = 0;
        while at < self.segment_len() {
            at = self.walk_sector(segment, at, &mut visit)?;
        }
        Ok(())
    }

    /// Does so from `at` to the end of its sector, or of the record that reaches beyond it, and returns where that is.
    fn walk_sector(
        &self,
        segment: u64,
        mut at: u32,
        visit: &mut impl FnMut(Spot, u64, Option<Record>),
    ) -> io::Result<u32> {
        let start = at - at % SECTOR_LEN as u32;
        let mut bytes = [0; SECTOR_LEN];
        self.read_at(&mut bytes, self.offset(segment, start))?;
        while let Some(head) = array(&bytes, (at - start) as usize) {
            let mut end = at + 1;
            if let Some(header) = self.header(&head, segment, at) {
                let record = self.record_at(&header, at)?;
                end = at + record.as_ref().map_or(1, |record| record.len() as u32);
                visit(Spot { generation: header.head.generation, at }, header.head.commit, record);
            }
            at = end.next_multiple_of(ALIGNMENT);
        }
        Ok(at)
    }
}

/// The records that follow each other.
struct Chain {
    records: Vec<Record>,
    /// The last commit.
    commit: u64,
    /// Where its events end; `None` before the first record.
    next: Option<GlobalSequence>,
    /// Where the last one ends.
    end: Spot,
}

impl Chain {
    fn new(folded: Folded) -> Self {
        let end = Spot { generation: folded.generation.saturating_add(1), at: 0 };
        Self { records: Vec::new(), commit: folded.commit, next: None, end }
    }

    /// Takes `record` where it comes next: right behind the one before, or at the start of a later generation. A record
    /// behind one that is torn does not come next.
    fn offer(&mut self, spot: Spot, record: Record) -> Result<(), Damage> {
        let head = *record.head();
        if !self.is_followed_at(spot) {
            return Ok(());
        }
        if head.commit <= self.commit {
            return Err(damage(spot, "a record has the number of an earlier commit"));
        }
        if head.commit - self.commit > 1 {
            return Ok(());
        }
        if self.next.is_some_and(|next| next != head.first) {
            return Err(damage(spot, "the events of a record do not follow those of the one before"));
        }
        self.end = Spot { generation: spot.generation, at: spot.at + record.len() as u32 };
        self.commit = head.commit;
        self.next = Some(record.end());
        self.records.push(record);
        Ok(())
    }

    /// Whether the next record may stand at `spot`.
    fn is_followed_at(&self, spot: Spot) -> bool {
        let Spot { generation, at } = self.end;
        (spot.generation == generation && places_behind(at).contains(&spot.at))
            || (spot.generation > generation && spot.at == 0)
    }

    /// Where the record was that comes next: where it is torn, or else, most likely, at the start of the next sector.
    fn break_off(&self, torn: &[(Spot, u64)]) -> Spot {
        let Spot { generation, at } = self.end;
        let comes_next =
            |&&(spot, commit): &&(Spot, u64)| commit == self.commit + 1 && self.is_followed_at(spot);
        let next = Spot { generation, at: next_sector(at) };
        torn.iter().find(comes_next).map_or(next, |&(spot, _)| spot)
    }
}

fn damage(Spot { generation, at }: Spot, reason: &'static str) -> Damage {
    Damage { place: Place::Tail { generation, sector: at / SECTOR_LEN as u32 }, reason }
}

//! What a crash left in the tail.

use super::{Journal, SEGMENTS};
use crate::GlobalSequence;
use crate::store::error::{Damage, OpenError, Place};
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
    sector: u32,
}

/// Every record in the tail that is whole, and that no fold took.
struct Found {
    /// In the order of their spots.
    records: Vec<(Spot, Record)>,
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
        let mut found = Found { records: Vec::new(), latest: folded.generation };
        for segment in 0..SEGMENTS {
            self.scan(segment, folded, &mut found).map_err(|error| self.error(error))?;
        }
        found.records.sort_unstable_by_key(|(spot, _)| *spot);
        let told = found.records.iter().map(|(_, record)| record.head().durable).max();
        let durable = self.durable_by_watermark()?.max(told);
        let mut chain = Chain::new(folded);
        for (spot, record) in found.records {
            chain.offer(spot, record)?;
        }
        if durable.is_some_and(|durable| durable > chain.commit) {
            return Err(damage(chain.end, "a record that was flushed is not there").into());
        }
        let folded = Folded { generation: found.latest, commit: chain.commit };
        Ok(Recovered { records: chain.records, folded })
    }

    /// Every whole record beyond `folded`, in the order of commits, whatever is missing between them: for a salvage.
    pub(in crate::store) fn remains(&self, folded: Folded) -> Result<Vec<Record>, OpenError> {
        let mut found = Found { records: Vec::new(), latest: folded.generation };
        for segment in 0..SEGMENTS {
            self.scan(segment, folded, &mut found).map_err(|error| self.error(error))?;
        }
        let mut records: Vec<_> = found.records.into_iter().map(|(_, record)| record).collect();
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

    /// Collects what a segment holds beyond `folded`.
    fn scan(&self, segment: u64, folded: Folded, found: &mut Found) -> std::io::Result<()> {
        self.walk(segment, |generation, sector, record| {
            if generation > folded.generation {
                found.latest = found.latest.max(generation);
                found.records.extend(record.map(|record| (Spot { generation, sector }, record)));
            }
        })
    }

    /// Visits every header in a segment with its generation, its sector, and its record where that is whole. What lies
    /// within a whole record is its own, whatever it looks like.
    fn walk(&self, segment: u64, mut visit: impl FnMut(u64, u32, Option<Record>)) -> std::io::Result<()> {
        let mut sector = 0;
        while sector < self.segment_sectors {
            let mut step = 1;
            if let Some(header) = self.header_at(segment, sector)? {
                let record = self.record_at(&header, sector)?;
                step = record.as_ref().map_or(1, Record::sectors);
                visit(header.head.generation, sector, record);
            }
            sector += step;
        }
        Ok(())
    }
}

/// The records that follow each other.
struct Chain {
    records: Vec<Record>,
    /// The last commit.
    commit: u64,
    /// Where its events end; `None` before the first record.
    next: Option<GlobalSequence>,
    /// Where the next record of the same generation would stand.
    end: Spot,
}

impl Chain {
    fn new(folded: Folded) -> Self {
        let end = Spot { generation: folded.generation.saturating_add(1), sector: 0 };
        Self { records: Vec::new(), commit: folded.commit, next: None, end }
    }

    /// Takes `record` where it comes next: right behind the one before, or at the start of a later generation. A record
    /// behind one that is torn does not come next.
    fn offer(&mut self, spot: Spot, record: Record) -> Result<(), Damage> {
        let head = *record.head();
        if spot != self.end && (spot.generation <= self.end.generation || spot.sector > 0) {
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
        self.end = Spot { generation: spot.generation, sector: spot.sector + record.sectors() };
        self.commit = head.commit;
        self.next = Some(record.end());
        self.records.push(record);
        Ok(())
    }
}

fn damage(Spot { generation, sector }: Spot, reason: &'static str) -> Damage {
    Damage { place: Place::Tail { generation, sector }, reason }
}

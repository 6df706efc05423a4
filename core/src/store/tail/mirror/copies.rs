//! The records that were copied, generation by generation.

use std::sync::Arc;

use crate::store::error::{Damage, OpenError, ReadError};
use crate::store::tail::fold::Folded;
use crate::store::tail::generation::Generation;
use crate::store::tail::journal::{Journal, Recovered};
use crate::store::tail::published::Published;
use crate::store::tail::record::Record;
use crate::store::tail::view::{TailView, VisibleGeneration};

/// Records that are durable, one commit after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    /// The earliest first.
    generations: Vec<GenerationCopy>,
    /// The last commit that is known to be durable.
    commit: u64,
    /// The last generation that is known to hold records, or to be folded.
    generation: u64,
}

/// The records of one generation, from its first on.
#[derive(Clone, Debug)]
struct GenerationCopy {
    generation: Arc<Generation>,
    records: u32,
    /// Where they end in the segment, in bytes.
    end: u32,
    /// The commit of the first, and of the last.
    first_commit: u64,
    last_commit: u64,
}

impl Copies {
    /// What there is where LMDB holds everything.
    pub(super) fn none_beyond(folded: Folded) -> Self {
        Self { generations: Vec::new(), commit: folded.commit, generation: folded.generation }
    }

    /// What the tail holds of a store that nobody owns: up to the commit `durable`, or else all of it, which is flushed, so that
    /// it stays.
    pub(super) fn recover(
        journal: &Journal,
        folded: Folded,
        durable: Option<u64>,
    ) -> Result<Self, OpenError> {
        let Recovered { mut records, folded: found } = journal.recover(folded)?;
        match durable {
            Some(durable) => records.retain(|record| record.head().commit <= durable),
            None if records.is_empty() => {}
            None => journal.flush().map_err(|error| journal.error(error))?,
        }
        let mut copies = Self::none_beyond(Folded { commit: folded.commit + records.len() as u64, ..found });
        for record in records {
            let number = record.head().generation;
            copies.copy(number, journal).push(record)?;
        }
        Ok(copies)
    }

    /// The last commit that is known to be durable.
    pub(super) fn commit(&self) -> u64 {
        self.commit
    }

    /// What a transaction does not see that has `folded`; `None` where some of it was never copied.
    pub(super) fn view_from(&self, folded: Folded) -> Option<TailView> {
        let copies = self.generations.iter().filter(|copy| copy.number() > folded.generation);
        let next = copies.clone().next().map_or(self.commit.wrapping_add(1), |copy| copy.first_commit);
        if folded.generation < self.generation && next != folded.commit.wrapping_add(1) {
            return None;
        }
        let visible = copies.map(|copy| VisibleGeneration {
            generation: copy.generation.clone(),
            records: copy.records as usize,
        });
        Some(TailView::new(visible.collect()))
    }

    /// Copies what the watermark names, and forgets what is `folded`. Returns whether all of it was there: a segment may
    /// be written over meanwhile.
    pub(super) fn advance(
        &mut self,
        journal: &Journal,
        told: &Published,
        folded: Folded,
    ) -> Result<bool, ReadError> {
        self.generations.retain(|copy| copy.number() > folded.generation);
        for number in journal.generations().map_err(heed::Error::Io)? {
            if number > folded.generation && number <= told.generation {
                self.copy(number, journal);
            }
        }
        let mut commit = folded.commit;
        for copy in &mut self.generations {
            // All records of an earlier generation were flushed before the next one began.
            let records_max = if copy.number() == told.generation { told.records } else { u32::MAX };
            if copy.records > 0 && copy.first_commit != commit.wrapping_add(1) {
                return Ok(false);
            }
            commit = copy.extend(journal, commit, records_max)?;
        }
        self.generations.retain(|copy| copy.records > 0);
        self.commit = told.commit.max(folded.commit);
        self.generation = told.generation.max(folded.generation);
        Ok(commit == self.commit)
    }

    /// The copy of a generation, which may be a new one.
    fn copy(&mut self, number: u64, journal: &Journal) -> &mut GenerationCopy {
        let at = self.generations.partition_point(|copy| copy.number() < number);
        if self.generations.get(at).is_none_or(|copy| copy.number() != number) {
            let generation = Generation::new(number, journal.records_max());
            let copy = GenerationCopy {
                generation: Arc::new(generation),
                records: 0,
                end: 0,
                first_commit: 0,
                last_commit: 0,
            };
            self.generations.insert(at, copy);
        }
        &mut self.generations[at]
    }
}

impl GenerationCopy {
    fn number(&self) -> u64 {
        self.generation.number()
    }

    /// Adds records up to `records_max` altogether, or to the end of the generation, and returns the last commit.
    /// `before` is the commit before its first record.
    fn extend(&mut self, journal: &Journal, before: u64, records_max: u32) -> Result<u64, ReadError> {
        let mut commit = if self.records > 0 { self.last_commit } else { before };
        while self.records < records_max {
            match journal.read_behind(self.number(), self.end).map_err(heed::Error::Io)? {
                Some((record, end)) if record.head().commit == commit.wrapping_add(1) => {
                    self.push(record)?;
                    self.end = end;
                }
                _ => break,
            }
            commit = self.last_commit;
        }
        Ok(commit)
    }

    fn push(&mut self, record: Record) -> Result<(), Damage> {
        let commit = record.head().commit;
        self.generation.push_checked(record)?;
        if self.records == 0 {
            self.first_commit = commit;
        }
        self.last_commit = commit;
        self.records += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

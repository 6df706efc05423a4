//! The tail: what was committed last, in a journal on the disk and in memory. LMDB holds what came before it.
//!
//! ```text
//!               ┌─────────────── LMDB ───────────────┐┌─ sealed, being folded ─┐┌─── current ───┐
//! the log       │ blocks of up to 65,520 bytes       ││ generation g           ││ generation g+1│
//!               └────────────────────────────────────┘└────────────────────────┘└───────────────┘
//!                                              `folded`                  records, one a commit
//! ```
//!
//! One commit is one record, one write and one flush; what commits at once shares the flush, and the sectors. A full
//! generation is folded into LMDB while the next one takes the commits. FORMAT.md, section 7, specifies every byte.

mod flusher;
mod fold;
pub(super) mod folder;
mod generation;
#[cfg(test)]
mod golden;
mod journal;
mod mirror;
mod published;
mod record;
pub(super) mod recovery;
mod view;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use crate::GlobalSequence;
use crate::store::config::Durability;
use crate::store::error::AppendError;
#[cfg(feature = "notify")]
use crate::store::follow::watcher::Watermark;
use flusher::Flusher;
pub(in crate::store) use fold::{Folded, fold, table_of};
pub(in crate::store) use generation::{Generation, RowKey, TailRun};
pub(in crate::store) use journal::{Journal, Recovered, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN, SEGMENTS};
use journal::{next_sector, place_behind};
pub(in crate::store) use mirror::Mirror;
pub(in crate::store) use published::{Published, PublishedFile};
pub(in crate::store) use record::{
    CHUNK_HEAD_LEN, Chunk, RECORD_BODY_LEN_MAX, Record, RecordHead, RecordWriter, TableNumber,
};
pub(in crate::store) use view::{TailView, VisibleGeneration};
#[cfg(feature = "fuzzing")]
pub(in crate::store) use {journal::FileHeader, journal::Note, record::RecordSeed};

/// The tail of a store that this process owns. One thread at a time writes to it: the one that holds the writer's lock.
#[derive(Debug)]
pub(in crate::store) struct Tail {
    journal: Journal,
    published: PublishedFile,
    generations: RwLock<Generations>,
    /// Held while a record is written, and taken when a flush begins: a record is written before it or after it.
    end: Mutex<End>,
    flusher: Flusher,
    /// The checksum of LMDB's newest meta page, once that is durable; 0 before.
    confirmed: AtomicU32,
    #[cfg(feature = "notify")]
    watermark: Arc<Watermark>,
}

/// The generations that LMDB does not hold, or did not a moment ago.
#[derive(Debug)]
struct Generations {
    sealed: Vec<Arc<Generation>>,
    current: Arc<Generation>,
    /// The commit of the current generation's first record.
    first_commit: u64,
    /// How many of the current generation's records are flushed.
    durable: usize,
}

/// Where the next record goes.
#[derive(Debug)]
struct End {
    /// The current one.
    generation: Arc<Generation>,
    /// The end of what is taken of its segment, in bytes.
    at: u32,
    /// The last commit that is written, and the place of the next event after it.
    commit: u64,
    next: GlobalSequence,
}

/// Where a tail begins: with the generation after those that are folded.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct TailStart {
    /// The number of the first generation.
    pub(in crate::store) generation: u64,
    /// The last commit that LMDB holds.
    pub(in crate::store) commit: u64,
    /// The place of the next event.
    pub(in crate::store) next: GlobalSequence,
}

impl Tail {
    /// A tail that holds nothing yet.
    pub(in crate::store) fn begin(
        journal: Journal,
        published: PublishedFile,
        start: TailStart,
        #[cfg(feature = "notify")] watermark: Arc<Watermark>,
    ) -> Self {
        let TailStart { generation, commit, next } = start;
        let current = new_generation(&journal, generation);
        let end = End { generation: current.clone(), at: 0, commit, next };
        let generations = Generations { sealed: Vec::new(), current, first_commit: commit + 1, durable: 0 };
        let tail = Self {
            journal,
            published,
            generations: RwLock::new(generations),
            end: Mutex::new(end),
            flusher: Flusher::new(commit),
            confirmed: AtomicU32::new(0),
            #[cfg(feature = "notify")]
            watermark,
        };
        tail.publish(&tail.read(), next);
        tail
    }

    /// What is durable: what a snapshot sees.
    pub(in crate::store) fn view(&self) -> TailView {
        let generations = self.read();
        generations.view(generations.durable)
    }

    /// All that is written, flushed or not: what the next commit follows.
    pub(in crate::store) fn written(&self) -> TailView {
        let generations = self.read();
        generations.view(generations.current.len())
    }

    /// The sealed generations, and where a fold of them all ends.
    pub(in crate::store) fn sealed(&self) -> (TailView, Folded) {
        let generations = self.read();
        let generation = generations.current.number() - 1;
        (generations.view(0), Folded { generation, commit: generations.first_commit - 1 })
    }

    /// The number of the current generation.
    pub(in crate::store) fn generation(&self) -> u64 {
        self.read().current.number()
    }

    /// The last commit that is written, durable or not.
    pub(in crate::store) fn last_written(&self) -> u64 {
        self.end().commit
    }

    /// The place after the last event that is written, durable or not.
    pub(in crate::store) fn next(&self) -> GlobalSequence {
        self.end().next
    }

    /// The last commit that is durable.
    pub(in crate::store) fn durable(&self) -> u64 {
        self.flusher.durable()
    }

    /// Whether a flush failed, and the tail takes no more.
    pub(in crate::store) fn has_failed(&self) -> bool {
        self.flusher.has_failed()
    }

    /// Where threads wait for what readers can see.
    #[cfg(feature = "notify")]
    pub(in crate::store) fn watermark(&self) -> &Arc<Watermark> {
        &self.watermark
    }

    /// Wakes those who wait for what has become readable, once the guard is dropped: after every lock that is taken meanwhile.
    pub(in crate::store) fn waking(&self) -> Waking<'_> {
        Waking(self)
    }

    /// Writes the record of the next commit, with `events` new events, and returns the commit's number; `None` where
    /// the generation has no room for it, and another is to be begun. It is durable once [`Tail::wait`] says so.
    pub(in crate::store) fn write(
        &self,
        record: &mut RecordWriter,
        events: u32,
    ) -> Result<Option<u64>, AppendError> {
        let durable = self.flusher.durable();
        let mut end = self.end();
        let head = RecordHead {
            generation: end.generation.number(),
            commit: end.commit + 1,
            durable,
            first: end.next,
            events,
            confirmed: self.confirmed.load(Ordering::Acquire),
        };
        let len = record.finish(head, self.journal.seed(head.generation)).len();
        let at = place_behind(end.at, len);
        if at + len as u32 > self.journal.segment_len() {
            return Ok(None);
        }
        self.journal.write(head.generation, at, record.padded(at))?;
        end.generation.push(record.record())?;
        end.at = at + len as u32;
        end.commit = head.commit;
        end.next.0 += u64::from(events);
        Ok(Some(head.commit))
    }

    /// Returns once `commit` is durable, and readers see it. All threads that wait share a flush.
    pub(in crate::store) fn wait(&self, commit: u64) -> Result<(), AppendError> {
        let mut failure = None;
        let begin = || self.end().close_sector();
        let waited = self.flusher.wait(commit, begin, |target| match self.journal.flush() {
            Ok(()) => {
                self.show(target);
                true
            }
            Err(error) => {
                failure = Some(error);
                false
            }
        });
        match (waited, failure) {
            (Ok(()), _) => Ok(()),
            (Err(_), Some(error)) => Err(AppendError::from(error).unsettled()),
            (Err(_), None) => Err(AppendError::Poisoned),
        }
    }

    /// Seals the current generation, whose records are durable, and begins the next one. One without records goes on.
    pub(in crate::store) fn seal(&self) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(generations.durable, generations.current.len(), "what is sealed was flushed");
        if generations.durable == 0 {
            return;
        }
        let next = new_generation(&self.journal, generations.current.number() + 1);
        let mut end = self.end();
        (end.generation, end.at) = (next.clone(), 0);
        let sealed = std::mem::replace(&mut generations.current, next);
        generations.sealed.push(sealed);
        generations.first_commit = end.commit + 1;
        generations.durable = 0;
        self.publish(&generations, end.next);
    }

    /// Forgets the generations up to `folded`, which LMDB holds durably, and remembers the checksum of the meta page
    /// that says so.
    pub(in crate::store) fn forget(&self, folded: u64, confirmed: u32) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        generations.sealed.retain(|generation| generation.number() > folded);
        self.confirmed.store(confirmed, Ordering::Release);
    }

    /// The log goes on at `next`: LMDB took events that did not pass through the tail.
    pub(in crate::store) fn skip_to(&self, next: GlobalSequence) {
        self.end().next = next;
    }

    /// Shows readers everything up to `commit`, which is durable.
    fn show(&self, commit: u64) {
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        let records = (commit + 1 - generations.first_commit) as usize;
        let next = generations.current.record(records - 1).end();
        generations.durable = records;
        self.publish(&generations, next);
    }

    /// Tells readers of this process and of others how far the log is durable. Who waits for it is woken later.
    fn publish(&self, generations: &Generations, next: GlobalSequence) {
        let published = Published {
            generation: generations.current.number(),
            records: generations.durable as u32,
            commit: generations.first_commit + generations.durable as u64 - 1,
            next,
            is_flushed: self.journal.durability() == Durability::Durable,
        };
        self.published.publish(&published);
        #[cfg(feature = "notify")]
        self.watermark.advance(next.0);
    }

    fn wake(&self) {
        #[cfg(feature = "notify")]
        self.watermark.wake();
    }

    fn read(&self) -> RwLockReadGuard<'_, Generations> {
        self.generations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl End {
    /// Lets nothing more into the sector of the last record, whose commit it returns: a flush is about to make it durable.
    fn close_sector(&mut self) -> u64 {
        self.at = next_sector(self.at);
        self.commit
    }
}

/// Whoever writes to the tail, or flushes it, holds one.
#[derive(Debug)]
pub(in crate::store) struct Waking<'t>(&'t Tail);

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        self.0.wake();
    }
}

impl Generations {
    /// The sealed generations, then the first `records` of the current one.
    fn view(&self, records: usize) -> TailView {
        let sealed = self.sealed.iter();
        let mut generations: Vec<_> = sealed
            .map(|generation| VisibleGeneration { generation: generation.clone(), records: generation.len() })
            .collect();
        if records > 0 {
            generations.push(VisibleGeneration { generation: self.current.clone(), records });
        }
        TailView::new(generations)
    }
}

fn new_generation(journal: &Journal, number: u64) -> Arc<Generation> {
    Arc::new(Generation::new(number, journal.records_max()))
}

/// How many tables there may be.
pub(in crate::store) const TABLES_MAX: u8 = 24;

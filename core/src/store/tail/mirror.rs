//! The tail as a process sees it that does not own the store: a copy of the records that are durable.
//!
//! ```text
//! watermark ──► which records count      tail ──► their bytes      LMDB ──► how far they are folded
//! ```
//!
//! The three change one after the other while the owner goes on. So a reader copies what the watermark names, then begins
//! its LMDB transaction, and only then sees whether the two make one log without a gap. If not, it begins anew.

mod copies;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::fold::Folded;
use super::journal::Journal;
use super::published::{Published, PublishedFile};
use super::view::TailView;
use crate::GlobalSequence;
use crate::store::error::{OpenError, ReadError};
use crate::store::files::environment::{Environment, ReadTransaction};
use crate::store::files::owner_lock::OwnerLock;
use crate::store::log::rows::Rows;
use copies::Copies;

/// The tail of a store that another process owns, or none.
#[derive(Debug)]
pub(in crate::store) struct Mirror {
    dir: PathBuf,
    incarnation: u64,
    state: Mutex<State>,
}

/// The files, which an owner may make later, and what was copied of them.
#[derive(Debug, Default)]
struct State {
    journal: Option<Journal>,
    published: Option<PublishedFile>,
    /// The checksum of LMDB's newest meta page when what it shows was last found to stay.
    confirmed: Option<u32>,
    /// `None` where nothing is known that could be relied on.
    copies: Option<Copies>,
}

impl Mirror {
    /// The tail of the store in `dir`. Where nobody owns the store, what of it a crash left durable counts.
    pub(in crate::store) fn open(dir: &Path, environment: &Arc<Environment>) -> Result<Self, OpenError> {
        let incarnation = environment.incarnation()?;
        let mirror = Self { dir: dir.into(), incarnation, state: Mutex::default() };
        mirror.open_journal(&mut mirror.lock())?;
        mirror.find_unowned(environment)?;
        Ok(mirror)
    }

    /// Begins a transaction that reads, beside a view of the tail that goes on where it ends.
    ///
    /// # Errors
    ///
    /// [`ReadError::Overtaken`] where the owner was faster for a second, or does not serve the store yet.
    pub(in crate::store) fn read(
        &self,
        environment: &Arc<Environment>,
    ) -> Result<(ReadTransaction, TailView), ReadError> {
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                thread::sleep(ATTEMPT_INTERVAL);
            }
            let copies = match self.follow(environment)? {
                Some(copies) => Some(copies),
                None => self.find_unowned(environment)?,
            };
            let (read, folded) = begin(environment)?;
            match copies.and_then(|copies| copies.view_from(folded)) {
                Some(view) if self.is_confirmed(environment, &read)? => return Ok((read, view)),
                Some(_) => {}
                None => self.lock().copies = None,
            }
        }
        Err(ReadError::Overtaken)
    }

    /// The last commit that can be read.
    pub(in crate::store) fn last_commit(&self) -> Result<u64, ReadError> {
        let mut state = self.lock();
        let told = self.told(&mut state)?.map_or(0, |told| told.commit);
        Ok(state.copies.as_ref().map_or(told, |copies| copies.commit().max(told)))
    }

    /// Copies what the watermark names beyond what was copied before; `None` where the owner was faster.
    fn follow(&self, environment: &Arc<Environment>) -> Result<Option<Copies>, ReadError> {
        let mut state = self.lock();
        let told = self.told(&mut state)?;
        let known = state.copies.as_ref().map(Copies::commit);
        let Some(told) = told.filter(|told| known.is_none_or(|known| known < told.commit)) else {
            return Ok(state.copies.clone());
        };
        self.open_journal(&mut state)?;
        let (_, folded) = begin(environment)?;
        let mut copies = state.copies.take().unwrap_or_default();
        if let Some(journal) = &state.journal
            && copies.advance(journal, &told, folded)?
        {
            state.copies = Some(copies);
        }
        Ok(state.copies.clone())
    }

    /// Whether a transaction shows no events but such as the owner says are durable. What LMDB took ahead of the tail is
    /// seen there a moment before a record confirms it. Where nobody owns the store, that moment does not end.
    fn is_confirmed(
        &self,
        environment: &Arc<Environment>,
        read: &ReadTransaction,
    ) -> Result<bool, ReadError> {
        let told = self.told(&mut self.lock())?;
        if told.is_none_or(|told| !is_stored_beyond(environment, read, told.next)) {
            return Ok(true);
        }
        let Some(_free) = OwnerLock::keep_free(&self.dir)? else { return Ok(false) };
        let mut state = self.lock();
        self.open_journal(&mut state)?;
        let (latest, folded) = begin(environment)?;
        self.refuse_unconfirmed(&mut state, environment, &latest, folded)?;
        Ok(true)
    }

    /// Copies what is durable of the tail of a store that nobody owns; `None` where somebody does.
    fn find_unowned(&self, environment: &Arc<Environment>) -> Result<Option<Copies>, OpenError> {
        let Some(_free) = OwnerLock::keep_free(&self.dir)? else { return Ok(None) };
        let mut state = self.lock();
        self.open_journal(&mut state)?;
        let told = self.told_since_boot(&mut state)?;
        let (read, folded) = begin(environment)?;
        self.refuse_unconfirmed(&mut state, environment, &read, folded)?;
        state.copies = Some(match &state.journal {
            Some(journal) => Copies::recover(journal, folded, told.map(|told| told.commit))?,
            None if environment.has_folded()? => return Err(Journal::missing().into()),
            None => Copies::none_beyond(folded),
        });
        Ok(state.copies.clone())
    }

    /// Refuses what an owner was killed over, and a power cut would take back until an owner has recovered the store: events
    /// that LMDB has taken, and the owner did not tell of; where it told nothing, such as are not in the tail either, and no
    /// record confirms.
    fn refuse_unconfirmed(
        &self,
        state: &mut State,
        environment: &Environment,
        read: &ReadTransaction,
        folded: Folded,
    ) -> Result<(), OpenError> {
        if let Some(told) = self.told_since_boot(state)? {
            return if is_stored_beyond(environment, read, told.next) {
                Err(self.unrecovered())
            } else {
                Ok(())
            };
        }
        let Some(journal) = &state.journal else { return Ok(()) };
        let checksum = environment.meta_checksum().map_err(heed::Error::Io)?;
        if state.confirmed == Some(checksum) {
            return Ok(());
        }
        if !journal.confirmations()?.contains(&checksum)
            && is_stored_beyond(environment, read, journal.end_of(folded.commit)?.unwrap_or_default())
        {
            return Err(self.unrecovered());
        }
        state.confirmed = Some(checksum);
        Ok(())
    }

    fn unrecovered(&self) -> OpenError {
        OpenError::Unrecovered { path: self.dir.clone() }
    }

    /// How far an owner of this boot of the machine says that the log is durable. What else is read of the files may be
    /// what a flush that failed has dropped: it is there until the power is cut.
    fn told_since_boot(&self, state: &mut State) -> Result<Option<Published>, OpenError> {
        match &state.journal {
            Some(journal) if !journal.boot_changed()? => Ok(self.told(state)?),
            _ => Ok(None),
        }
    }

    /// How far the owner says that the log is durable; `None` where none said anything yet.
    fn told(&self, state: &mut State) -> Result<Option<Published>, ReadError> {
        if state.published.is_none() {
            state.published = PublishedFile::open(&self.dir, self.incarnation).map_err(heed::Error::Io)?;
        }
        let Some(published) = &state.published else { return Ok(None) };
        for _ in 0..LOOKS_MAX {
            if let Some(told) = published.read().map_err(heed::Error::Io)? {
                return Ok(Some(told));
            }
            thread::yield_now();
        }
        Ok(None)
    }

    fn open_journal(&self, state: &mut State) -> Result<(), OpenError> {
        if state.journal.is_none() {
            let journal = Journal::open_read_only(&self.dir)?;
            if journal.as_ref().is_some_and(|journal| journal.incarnation() != self.incarnation) {
                let reason = "its tail is that of another store";
                return Err(OpenError::NotAStore { path: self.dir.clone(), reason });
            }
            state.journal = journal;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a transaction that reads, and tells what LMDB holds in it.
fn begin(environment: &Arc<Environment>) -> Result<(ReadTransaction, Folded), ReadError> {
    let read = environment.read()?;
    let folded = Folded::read(environment.tables(), read.txn())?;
    Ok((read, folded))
}

/// Whether LMDB shows events behind `end`. A log whose end is damaged is read up to there.
fn is_stored_beyond(environment: &Environment, read: &ReadTransaction, end: GlobalSequence) -> bool {
    Rows::new(environment.tables(), read.txn(), None, None).is_stored_beyond(end).unwrap_or(false)
}

/// How often a reader begins anew, and what it waits before it does: together a second, in which an owner that opens a
/// store has most often begun to serve it.
const ATTEMPTS_MAX: u32 = 500;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(2);

/// How often a reader looks at a watermark that is being written; a write takes a microsecond.
const LOOKS_MAX: u32 = 100;

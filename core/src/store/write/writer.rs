//! The one writer of a store: every handle appends through it, one commit after another.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;

use heed::RwTxn;

use crate::GlobalSequence;
use crate::store::error::AppendError;
use crate::store::files::environment::Environment;
use crate::store::log::block::BlockWriter;
use crate::store::log::clock::{Domain, HostClock};
use crate::store::log::rows::Rows;
use crate::store::log::tables::Tables;
use crate::store::sealing::Sealing;
use crate::store::tail::folder::{Folder, is_map_full};
use crate::store::tail::{RECORD_BODY_LEN_MAX, RecordWriter, Tail};
use crate::store::upkeep::retention::first_retained;
use crate::store::write::append::Committed;
use crate::store::write::delta::Delta;
use crate::store::write::draft::Draft;
use crate::store::write::heap::keep_freed;
use crate::store::write::known_streams::KnownStreams;
use crate::store::write::transaction::{Target, Transaction, Written};
#[cfg(feature = "encryption")]
use {
    crate::StreamId,
    crate::store::encryption::MasterKey,
    crate::store::log::{catalog, run_index},
};

/// The writer, shared by all handles.
#[derive(Debug)]
pub(in crate::store) struct Writer {
    environment: Arc<Environment>,
    tail: Arc<Tail>,
    state: Mutex<State>,
    /// That of the last append that was dropped, for the next one.
    spare_draft: Mutex<Option<Draft>>,
}

/// When an append happens, by the host's clock.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Moment {
    /// The clock domain.
    pub(in crate::store) domain: u32,
    /// µs in the domain.
    pub(in crate::store) now_us: u64,
}

/// The clock domain of this boot, and its mapping to UTC as it is stored.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct OpenDomain {
    pub(in crate::store) number: u32,
    pub(in crate::store) mapping: Domain,
}

#[derive(Debug)]
struct State {
    block: BlockWriter,
    record: RecordWriter,
    known: KnownStreams,
    folder: Folder,
    domain: OpenDomain,
    sealing: Arc<Sealing>,
    /// When stale readers and the mapping were last looked after.
    upkeep_us: u64,
}

/// What an attempt to append came to.
enum Attempt<R> {
    /// It is written, as the commit of this number.
    Written(R, Committed, u64),
    /// It holds more than the tail takes.
    Outgrown,
}

impl Writer {
    /// A writer whose events are taken in by the clock of this boot.
    pub(in crate::store) fn new(
        environment: Arc<Environment>,
        tail: Arc<Tail>,
        domain: OpenDomain,
        sealing: Arc<Sealing>,
    ) -> Self {
        let folder = Folder::new(environment.clone(), tail.clone());
        let state = State {
            block: BlockWriter::new(),
            record: RecordWriter::new(),
            known: KnownStreams::default(),
            folder,
            domain,
            sealing,
            upkeep_us: HostClock.now_us(),
        };
        Self { environment, tail, state: Mutex::new(state), spare_draft: Mutex::default() }
    }

    /// An empty draft, whose memory was perhaps used before.
    pub(in crate::store) fn take_draft(&self) -> Draft {
        self.spare_draft.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Keeps the memory of a draft for the next append, where that is little.
    pub(in crate::store) fn give_draft(&self, mut draft: Draft) {
        draft.clear();
        if draft.capacity() <= SPARE_DRAFT_LEN_MAX {
            *self.spare_draft.lock().unwrap_or_else(PoisonError::into_inner) = Some(draft);
        }
    }

    /// What it seals by.
    #[cfg(all(test, feature = "encryption"))]
    pub(in crate::store) fn sealing(&self) -> Arc<Sealing> {
        self.lock().unwrap().sealing.clone()
    }

    /// The tail that it writes to.
    pub(in crate::store) fn tail(&self) -> &Arc<Tail> {
        &self.tail
    }

    /// Runs `body` and commits what it does, which is to take `len_min` bytes or more; returns once that is durable. Other
    /// threads may commit meanwhile, and share the flush. Where the tail has no room for it, `body` runs again, and LMDB
    /// takes it.
    pub(in crate::store) fn commit<R>(
        &self,
        len_min: usize,
        body: impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed), AppendError> {
        let _waking = self.tail.waking();
        let (result, committed, commit) = self.write(len_min, body)?;
        self.tail.wait(commit)?;
        Ok((result, committed))
    }

    /// As [`Writer::commit`], without waiting: it is durable, and readers see it, with the next commit that waits.
    pub(in crate::store) fn commit_relaxed<R>(
        &self,
        body: impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed), AppendError> {
        let _waking = self.tail.waking();
        let (result, committed, _) = self.write(0, body)?;
        Ok((result, committed))
    }

    /// Returns once everything that is written is durable.
    pub(in crate::store) fn flush(&self) -> Result<(), AppendError> {
        let _waking = self.tail.waking();
        self.tail.wait(self.tail.last_written())
    }

    /// Folds the tail into LMDB, runs `body` in the same transaction, and returns once that is durable. Where the map
    /// is full it grows, and `body` runs again.
    pub(in crate::store) fn maintain<R>(
        &self,
        mut body: impl FnMut(&mut RwTxn<'_>, &Tables) -> Result<R, AppendError>,
    ) -> Result<R, AppendError> {
        let _waking = self.tail.waking();
        self.maintain_in(&mut *self.lock()?, &mut body)
    }

    /// Destroys the key of a stream, once all that it holds is durable: what it takes afterwards gets another.
    #[cfg(feature = "encryption")]
    pub(in crate::store) fn shred(&self, name: &str, id: StreamId) -> Result<(), AppendError> {
        let _waking = self.tail.waking();
        let state = self.lock()?;
        self.tail.wait(self.tail.last_written())?;
        let (read, view) = self.environment.read_with(self.tail.written())?;
        let rows = Rows::new(self.environment.tables(), read.txn(), Some(&view), None);
        let stream = match catalog::name_number(rows, name)? {
            Some(name) => catalog::stream_number(rows, name, id)?,
            None => None,
        };
        let end = stream.map(|stream| run_index::stream_end(rows, stream)).transpose()?;
        Ok(state.sealing.shred(name, id, end.unwrap_or_default())?)
    }

    /// Wraps the keys by another master key.
    #[cfg(feature = "encryption")]
    pub(in crate::store) fn rotate_master(&self, master: &MasterKey) -> Result<(), AppendError> {
        Ok(self.lock()?.sealing.rotate_master(master)?)
    }

    /// Runs `body` and writes what it does, as the commit whose number it returns. Of `len_min` bytes it is known before
    /// whether they are more than the tail takes.
    fn write<R>(
        &self,
        len_min: usize,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed, u64), AppendError> {
        let mut state = self.lock()?;
        state.look_after(&self.environment, &self.tail)?;
        let written = loop {
            match self.try_write(&mut state, len_min, &mut body) {
                Err(AppendError::QuotaExceeded { .. }) if self.retire_surplus(&mut state)? => {}
                written => break written,
            }
        };
        drop(state);
        if written.as_ref().is_err_and(AppendError::tells_of_the_log) {
            // What it tells of may be written and not yet durable: whoever goes by it finds it, and no power cut takes it.
            self.flush()?;
        }
        written
    }

    fn try_write<R>(
        &self,
        state: &mut State,
        len_min: usize,
        body: &mut impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed, u64), AppendError> {
        if len_min <= RECORD_BODY_LEN_MAX
            && let Attempt::Written(result, committed, commit) =
                state.append(&self.environment, &self.tail, body)?
        {
            return Ok((result, committed, commit));
        }
        keep_freed(len_min);
        loop {
            match state.append_directly(&self.environment, &self.tail, body) {
                Err(AppendError::Storage(error)) if is_map_full(&error.0) => self.environment.grow()?,
                appended => return appended,
            }
        }
    }

    /// Retires what the configuration calls surplus, and tells whether anything went. A fold does so as well, but a store
    /// that takes no events has nothing to fold.
    fn retire_surplus(&self, state: &mut State) -> Result<bool, AppendError> {
        let tables = self.environment.tables();
        let (read, tail) = self.environment.read_with(self.tail.written())?;
        let before = first_retained(tables, read.txn())?;
        if !self.environment.has_surplus(Rows::new(tables, read.txn(), Some(&tail), None))? {
            return Ok(false);
        }
        // The map may have to grow.
        drop(read);
        let after = self.maintain_in(state, &mut |txn, tables| Ok(first_retained(tables, txn)?))?;
        Ok(after > before)
    }

    fn maintain_in<R>(
        &self,
        state: &mut State,
        body: &mut impl FnMut(&mut RwTxn<'_>, &Tables) -> Result<R, AppendError>,
    ) -> Result<R, AppendError> {
        loop {
            match state.maintain(&self.environment, &self.tail, body) {
                Err(AppendError::Storage(error)) if is_map_full(&error.0) => self.environment.grow()?,
                maintained => return maintained,
            }
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>, AppendError> {
        let state = lock_soon(&self.state);
        if self.tail.has_failed() || state.folder.is_poisoned() {
            return Err(AppendError::Poisoned);
        }
        Ok(state)
    }
}

impl State {
    /// Appends to the tail.
    fn append<R>(
        &mut self,
        environment: &Arc<Environment>,
        tail: &Tail,
        body: &mut impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<Attempt<R>, AppendError> {
        let Self { block, record, known, domain, sealing, .. } = self;
        record.begin();
        let moment = Moment { domain: domain.number, now_us: HostClock.now_us() };
        let target =
            Target::Tail { written: Written::new(environment, tail), delta: Delta::default(), record };
        let (tables, sealing) = (environment.tables(), sealing.append());
        let mut transaction = Transaction::begin(target, tables, block, sealing, known, moment)?;
        let result = body(&mut transaction);
        let closed = result.and_then(|result| transaction.close(environment.quota()).map(|()| result));
        let result = match closed {
            Err(_) if transaction.has_outgrown_the_tail() => return Ok(Attempt::Outgrown),
            result => result?,
        };
        let committed = transaction.finish(environment)?;
        if self.record.is_empty() {
            // What it read may be written and not yet durable: whoever waits for this commit waits for that.
            return Ok(Attempt::Written(result, committed, tail.last_written()));
        }
        let commit = self.write_record(tail, committed.events as u32)?;
        self.known.learn();
        Ok(Attempt::Written(result, committed, commit))
    }

    /// Appends to LMDB, behind the whole tail.
    fn append_directly<R>(
        &mut self,
        environment: &Arc<Environment>,
        tail: &Tail,
        body: &mut impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed, u64), AppendError> {
        let Self { folder, block, known, domain, sealing, .. } = self;
        let tables = environment.tables();
        let txn = folder.begin_direct(environment)?;
        let moment = Moment { domain: domain.number, now_us: HostClock.now_us() };
        let (target, sealing) = (Target::Direct(txn), sealing.append());
        let mut transaction = Transaction::begin(target, tables, block, sealing, known, moment)?;
        let result = body(&mut transaction)?;
        transaction.close(environment.quota())?;
        let mut is_unconfirmed = environment.hold_snapshots();
        let finished = transaction.finish(environment);
        // What LMDB holds after a commit that failed is not for the writer to guess.
        let committed = finished.inspect_err(|_| self.known = KnownStreams::default())?;
        self.known.learn();
        *is_unconfirmed = true;
        let next = GlobalSequence(committed.first.0 + committed.events);
        let commit = self.confirm(tail, next)?;
        *is_unconfirmed = false;
        Ok((result, committed, commit))
    }

    fn maintain<R>(
        &mut self,
        environment: &Arc<Environment>,
        tail: &Tail,
        body: &mut impl FnMut(&mut RwTxn<'_>, &Tables) -> Result<R, AppendError>,
    ) -> Result<R, AppendError> {
        let mut txn = self.folder.begin_direct(environment)?;
        let result = body(&mut txn, environment.tables())?;
        let next = Rows::new(environment.tables(), &txn, None, None).log_end()?;
        environment.commit(txn)?;
        self.confirm(tail, next)?;
        Ok(result)
    }

    /// Confirms what LMDB stored behind the whole tail by a record, and returns once that is durable: only then does a
    /// power cut leave it as it is. Where that fails, LMDB holds what was not acknowledged: nothing may follow it.
    fn confirm(&mut self, tail: &Tail, next: GlobalSequence) -> Result<u64, AppendError> {
        self.try_confirm(tail, next).map_err(|error| {
            self.folder.poison();
            error.unsettled()
        })
    }

    fn try_confirm(&mut self, tail: &Tail, next: GlobalSequence) -> Result<u64, AppendError> {
        self.folder.end_direct(next)?;
        self.record.begin();
        let commit = self.write_record(tail, 0)?;
        tail.wait(commit)?;
        Ok(commit)
    }

    /// Writes the record as the next commit, whose number it returns.
    fn write_record(&mut self, tail: &Tail, events: u32) -> Result<u64, AppendError> {
        loop {
            self.folder.make_room()?;
            match tail.write(&mut self.record, events)? {
                Some(commit) => return Ok(commit),
                None => self.folder.turn()?,
            }
        }
    }

    /// Looks after what slowly goes stale, now and then: the slots of readers whose process ended, and the mapping to
    /// UTC, where the system's clock was set since it was stored.
    fn look_after(&mut self, environment: &Environment, tail: &Tail) -> Result<(), AppendError> {
        let now_us = HostClock.now_us();
        if now_us.saturating_sub(self.upkeep_us) < UPKEEP_INTERVAL_US {
            return Ok(());
        }
        self.upkeep_us = now_us;
        environment.clear_stale_readers()?;
        let measured = Domain::measured(HostClock);
        if self.domain.mapping.differs(&measured) {
            let mapping = Domain { boot_id: self.domain.mapping.boot_id, ..measured };
            let table = &environment.tables().domain;
            self.record.begin();
            self.record.row(table.number, &self.domain.number.to_be_bytes(), &mapping.to_row());
            self.write_record(tail, 0)?;
            self.domain.mapping = mapping;
        }
        Ok(())
    }
}

impl Drop for Writer {
    /// With the last handle goes what relaxed commits left to be flushed. Where that fails nobody was promised anything.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

/// Locks what is most often free after some microseconds. A thread that sleeps until then has to be woken by the one that
/// frees it, which takes longer than the commit that it waits for: so it lets others run, and looks again.
fn lock_soon<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..LOOKS_MAX {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often a thread looks whether the writer is free before it sleeps: for about 20 µs where nothing else is to run.
const LOOKS_MAX: usize = 32;

/// How often a commit looks after what slowly goes stale.
const UPKEEP_INTERVAL_US: u64 = 60_000_000;

/// How many bytes of an append's buffers are kept for the next one.
const SPARE_DRAFT_LEN_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tail::PublishedFile;
    use crate::{Event, StreamId, StreamSequence, Varve};

    #[test]
    fn a_clock_that_was_set_is_noted_once_it_is_time_to_look() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut numbers = varve.stream::<u16, 2>("numbers").unwrap();
        let writer = varve.writer.clone();
        let stored = || {
            let (read, tail) = writer.environment.read_with(writer.tail.view()).unwrap();
            let tables = writer.environment.tables();
            let (_, row) =
                Rows::new(tables, read.txn(), Some(&tail), None).last(&tables.domain).unwrap().unwrap();
            Domain::from_row(row).unwrap()
        };
        let opened = stored();
        {
            let state = &mut *writer.lock().unwrap();
            // As though the clock had been set by an hour since, just after it was looked at.
            state.domain.mapping.utc_offset_us += 3_600_000_000;
            state.record.begin();
            let row = state.domain.mapping.to_row();
            state.record.row(
                writer.environment.tables().domain.number,
                &state.domain.number.to_be_bytes(),
                &row,
            );
            state.write_record(&writer.tail, 0).unwrap();
            state.upkeep_us = HostClock.now_us();
        }
        numbers.append(StreamId(0), &1).unwrap();
        assert!(stored().differs(&opened), "it is not time yet");
        writer.lock().unwrap().upkeep_us = HostClock.now_us() - UPKEEP_INTERVAL_US;
        numbers.append(StreamId(0), &2).unwrap();
        assert!(!stored().differs(&opened) && stored().boot_id == opened.boot_id);
        assert!(
            HostClock.now_us() - writer.lock().unwrap().upkeep_us < UPKEEP_INTERVAL_US,
            "not at each commit"
        );
    }

    #[test]
    fn events_past_the_last_place_of_a_stream_or_of_the_log_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let numbers = varve.stream::<u16, 2>("numbers").unwrap();
        let append = |id| {
            let mut append = varve.begin();
            append.event(&numbers, StreamId(id), &1).unwrap();
            append.commit()
        };
        append(7).unwrap();
        let writer = varve.writer.clone();
        {
            let known = &mut writer.lock().unwrap().known;
            let route = known.route("numbers", StreamId(7), u16::DESCRIPTOR_HASH).unwrap();
            known.begin();
            known.add(route.stream, StreamSequence(u64::MAX - 5));
            known.learn();
        }
        let space = |result| match result {
            Err(AppendError::Exhausted { space }) => space,
            other => panic!("{other:?}"),
        };
        assert_eq!(space(append(7)), "stream sequence");
        append(8).unwrap();
        writer.tail.skip_to(GlobalSequence(u64::MAX));
        assert_eq!(space(append(8)), "global sequence");
    }

    #[test]
    fn relaxed_commits_are_durable_once_the_last_handle_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let watermark = PublishedFile::open(dir.path(), varve.incarnation()).unwrap().unwrap();
        let durable_end = || watermark.read().unwrap().unwrap().next.0;
        let numbers = varve.stream::<u16, 2>("numbers").unwrap();
        let mut append = varve.begin();
        append.event(&numbers, StreamId(0), &1).unwrap();
        append.commit_relaxed().unwrap();
        drop((varve, append));
        assert_eq!(durable_end(), 0, "a handle is left");
        drop(numbers);
        assert_eq!(durable_end(), 1);
    }
}

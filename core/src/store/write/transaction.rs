//! One append: everything that it does happens here, or does not happen.

mod destinations;
mod devices;

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use heed::RwTxn;

use crate::store::error::{AppendError, ReadError};
use crate::store::files::environment::Environment;
use crate::store::files::environment::ReadTransaction;
use crate::store::follow::consumer;
use crate::store::log::block::{
    BlockWriter, EVENT_LEN_MAX, EventMeta, LatestRun, LocalEvent, LocalRun, PushError, RunKey,
};
use crate::store::log::block_rows;
use crate::store::log::rows::Rows;
use crate::store::log::tables::{Table, Tables};
use crate::store::sealing::AppendSealing;
use crate::store::tail::{RECORD_BODY_LEN_MAX, RecordWriter, Tail, TailView};
use crate::store::upkeep::quota::Quota;
use crate::store::write::append::Committed;
use crate::store::write::delta::Delta;
use crate::store::write::known_streams::KnownStreams;
use crate::store::write::writer::Moment;
use crate::{ArchiveError, DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};
use devices::OpenLane;

/// An append in progress.
pub(in crate::store) struct Transaction<'w> {
    target: Target<'w>,
    tables: &'w Tables,
    block: &'w mut BlockWriter,
    sealing: AppendSealing<'w>,
    /// The writer learns what is found, once the changes are written.
    known: &'w mut KnownStreams,
    moment: Moment,
    next: GlobalSequence,
    lanes: HashMap<(u32, Epoch, Lane), OpenLane>,
    committed: Committed,
    /// How many bytes of blocks went to LMDB.
    written: u64,
}

/// Where an append is going.
pub(in crate::store) enum Target<'w> {
    /// To the tail, as one record: its blocks stand there already, its rows come when the append is closed.
    Tail { written: Written<'w>, delta: Delta, record: &'w mut RecordWriter },
    /// To LMDB, which has taken the whole tail in the same transaction.
    Direct(RwTxn<'w>),
}

/// What the tail and LMDB hold, looked at once an append asks for a row: most know all that they need.
pub(in crate::store) struct Written<'w> {
    environment: &'w Arc<Environment>,
    tail: &'w Tail,
    view: OnceCell<(ReadTransaction, TailView)>,
}

/// Where an event goes: a stream and the descriptor of its bytes.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Destination {
    /// The key of the runs that its local events make.
    run: RunKey,
    /// Where the append keeps the stream's end.
    slot: usize,
}

impl<'w> Transaction<'w> {
    /// Begins an append whose events are taken in at `moment`.
    pub(in crate::store) fn begin(
        target: Target<'w>,
        tables: &'w Tables,
        block: &'w mut BlockWriter,
        sealing: AppendSealing<'w>,
        known: &'w mut KnownStreams,
        moment: Moment,
    ) -> Result<Self, AppendError> {
        let next = target.log_end(tables)?;
        block.begin(next, moment.domain);
        known.begin();
        Ok(Self {
            target,
            tables,
            block,
            sealing,
            known,
            moment,
            next,
            lanes: HashMap::new(),
            committed: Committed {
                first: next,
                events: 0,
                duplicates: 0,
                refused: Vec::new(),
                lanes: Vec::new(),
            },
            written: 0,
        })
    }

    /// Adds what is left, if there is room for it; nothing may follow.
    pub(in crate::store) fn close(&mut self, quota: &Quota) -> Result<(), AppendError> {
        self.write_block()?;
        self.write_lanes()?;
        self.committed.events = self.next.0 - self.committed.first.0;
        if self.committed.events > 0 {
            match &self.target {
                Target::Tail { .. } => quota.check()?,
                Target::Direct(txn) => quota.check_written(self.tables, txn)?,
            }
        }
        self.sealing.store_keys()?;
        if self.has_outgrown_the_tail() {
            return Err(AppendError::Full);
        }
        if let Target::Tail { delta, record, .. } = &mut self.target {
            std::mem::take(delta).emit(record);
        }
        Ok(())
    }

    /// Ends a closed append; nothing has happened before. Where its target is LMDB, that commits it; or else its record is
    /// to be written.
    pub(in crate::store) fn finish(self, environment: &Environment) -> Result<Committed, AppendError> {
        if let Target::Direct(mut txn) = self.target {
            environment.retire(&mut txn, self.written)?;
            environment.commit(txn)?;
        }
        Ok(self.committed)
    }

    /// Whether the append holds more than the tail takes, and is to begin anew with LMDB as its target. Until it does,
    /// it takes nothing more.
    pub(in crate::store) fn has_outgrown_the_tail(&self) -> bool {
        match &self.target {
            Target::Tail { delta, record, .. } => record.body_len() + delta.len() > RECORD_BODY_LEN_MAX,
            Target::Direct(_) => false,
        }
    }

    /// The rows as this append has left them.
    pub(in crate::store) fn rows(&self) -> Result<Rows<'_>, AppendError> {
        self.target.rows(self.tables)
    }

    /// Puts a row.
    pub(in crate::store) fn put(
        &mut self,
        table: &Table,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), AppendError> {
        match &mut self.target {
            Target::Tail { delta, .. } => delta.put(table.number, key, value),
            Target::Direct(txn) => table.put(txn, key, value)?,
        }
        Ok(())
    }

    /// Refuses to go on where a consumer does not stand at `expected`.
    pub(in crate::store) fn expect_consumer(
        &mut self,
        name: &str,
        expected: Option<GlobalSequence>,
    ) -> Result<(), AppendError> {
        let actual = consumer::next_of(self.rows()?, name)?;
        if actual == expected { Ok(()) } else { Err(AppendError::ConsumerMoved { expected, actual }) }
    }

    /// Moves a consumer to `next`, which is in the log or at its end.
    pub(in crate::store) fn consumer(&mut self, name: &str, next: GlobalSequence) -> Result<(), AppendError> {
        if next > self.next {
            return Err(AppendError::ConsumerAhead { next, end: self.next });
        }
        let table = self.tables.consumer.expect("the owner opened a store without it, and made it");
        self.put(&table, name.as_bytes(), &next.0.to_le_bytes())
    }

    /// Adds local events of at most `len_max` bytes each, which `archive` writes.
    pub(in crate::store) fn push_local<E>(
        &mut self,
        destination: &Destination,
        len_max: usize,
        mut events: &[E],
        mut archive: impl FnMut(&E, &mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<(), AppendError> {
        let (len_max, mut meta) =
            (len_max.min(EVENT_LEN_MAX), self.local_meta(destination, self.moment.now_us));
        let stream_end = self.check_sequences(meta.stream_seq, events.len())?;
        while !events.is_empty() {
            match self.block.extend(&destination.run, &meta, len_max, events, &mut archive) {
                Ok(added) => {
                    meta.stream_seq.0 += added as u64;
                    self.next.0 += added as u64;
                    events = &events[added..];
                }
                Err(error) => self.make_room(error, len_max)?,
            }
        }
        *self.known.end_mut(destination.slot) = stream_end;
        Ok(())
    }

    /// Adds local events that are archived already, and that `bytes` begin with. Their streams are numbers of `streams`.
    pub(in crate::store) fn push_archived(
        &mut self,
        streams: &mut [LocalRun],
        mut events: &[LocalEvent],
        mut bytes: &[u8],
    ) -> Result<(), AppendError> {
        successor(self.next.0, events.len(), "global sequence")?;
        loop {
            let (ends, ingest_us) = (self.known.ends_mut(), self.moment.now_us);
            let (pushed, len) = self.block.push_local(streams, ends, events, bytes, ingest_us);
            self.next.0 += pushed as u64;
            (events, bytes) = (&events[pushed..], &bytes[len..]);
            let Some(event) = events.first() else { return Ok(()) };
            self.make_room(PushError::Full, event.len as usize)?;
        }
    }

    /// The place of the next event of a destination's stream.
    pub(in crate::store) fn stream_next(&self, destination: &Destination) -> StreamSequence {
        self.known.end_at(destination.slot)
    }

    /// The place of the next event in the log.
    pub(in crate::store) fn next(&self) -> GlobalSequence {
        self.next
    }

    fn local_meta(&self, destination: &Destination, ingest_us: u64) -> EventMeta {
        EventMeta {
            stream_seq: self.stream_next(destination),
            device_seq: DeviceSequence(0),
            ticks: 0,
            ingest_us,
        }
    }

    /// Adds an archived event to the stream of a slot. `latest` is kept for the events of the key.
    #[inline]
    fn push(
        &mut self,
        slot: usize,
        key: &RunKey,
        latest: &mut LatestRun,
        meta: &EventMeta,
        event: &[u8],
    ) -> Result<(), AppendError> {
        let stream_end = self.check_sequences(meta.stream_seq, 1)?;
        while !self.block.push_archived(key, latest, meta, event) {
            self.make_room(PushError::Full, event.len())?;
        }
        self.next.0 += 1;
        *self.known.end_mut(slot) = stream_end;
        Ok(())
    }

    /// The place in a stream after `events` more from `first` on, which the log has room for too.
    fn check_sequences(&self, first: StreamSequence, events: usize) -> Result<StreamSequence, AppendError> {
        successor(self.next.0, events, "global sequence")?;
        successor(first.0, events, "stream sequence").map(StreamSequence)
    }

    /// Begins another block where the one in the making is full; any other error is that of the event.
    #[cold]
    fn make_room(&mut self, error: PushError, len_max: usize) -> Result<(), AppendError> {
        match error {
            PushError::Full if self.block.len() > 0 => self.write_block(),
            PushError::Full => unreachable!("an event of the largest size fits an empty block"),
            PushError::Archive(error) => Err(AppendError::of_archive(error, len_max)),
        }
    }

    /// Writes the block in the making, if it holds anything, and begins the next.
    fn write_block(&mut self) -> Result<(), AppendError> {
        if self.block.len() == 0 {
            return Ok(());
        }
        if self.block.is_to_be_sealed() {
            self.sealing.seal(self.target.rows(self.tables)?, self.block)?;
        }
        match &mut self.target {
            Target::Tail { record, .. } => record.block(|out| self.block.finish(out)),
            Target::Direct(txn) => {
                self.written += block_rows::put(self.tables, txn, self.block)? as u64;
            }
        }
        self.block.begin(self.next, self.moment.domain);
        if self.has_outgrown_the_tail() { Err(AppendError::Full) } else { Ok(()) }
    }

    fn allot(&self, table: &Table, space: &'static str) -> Result<u32, AppendError> {
        self.rows()?.next_number(table)?.ok_or(AppendError::Exhausted { space })
    }
}

impl Target<'_> {
    /// The rows as the append has left them.
    fn rows<'t>(&'t self, tables: &'t Tables) -> Result<Rows<'t>, AppendError> {
        match self {
            Self::Tail { written, delta, .. } => {
                let (read, tail) = written.view()?;
                Ok(Rows::new(tables, read.txn(), Some(tail), Some(delta)))
            }
            Self::Direct(txn) => Ok(Rows::new(tables, txn, None, None)),
        }
    }

    /// The place after the last event of the log, before the append.
    fn log_end(&self, tables: &Tables) -> Result<GlobalSequence, AppendError> {
        match self {
            Self::Tail { written, .. } => Ok(written.tail.next()),
            Self::Direct(_) => Ok(self.rows(tables)?.log_end()?),
        }
    }
}

impl<'w> Written<'w> {
    /// Nothing is looked at yet. The caller has the writer to itself, so that a late look finds what an early one would.
    pub(in crate::store) fn new(environment: &'w Arc<Environment>, tail: &'w Tail) -> Self {
        Self { environment, tail, view: OnceCell::new() }
    }

    fn view(&self) -> Result<&(ReadTransaction, TailView), ReadError> {
        if let Some(view) = self.view.get() {
            return Ok(view);
        }
        let view = self.environment.read_with(self.tail.written())?;
        Ok(self.view.get_or_init(|| view))
    }
}

#[inline]
fn successor(sequence: u64, events: usize, space: &'static str) -> Result<u64, AppendError> {
    sequence.checked_add(events as u64).ok_or_else(|| AppendError::Exhausted { space })
}

const _: () = assert!(crate::BATCH_EXTENT_MAX <= EVENT_LEN_MAX);

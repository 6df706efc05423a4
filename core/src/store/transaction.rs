//! One write transaction: everything that an append does happens here, or does not happen.

mod devices;
mod targets;

use std::collections::HashMap;

use heed::RwTxn;

use super::append::Committed;
use super::block::{Block, BlockWriter, EVENT_LEN_MAX, EventMeta, PushError, RunKey};
use super::consumer;
use super::environment::Environment;
use super::error::AppendError;
use super::run_index::RunIndex;
use super::tables::{Table, Tables, long_number};
use crate::{ArchiveError, DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};
use devices::OpenLane;

/// A write transaction in progress.
pub(super) struct Transaction<'w> {
    txn: RwTxn<'w>,
    tables: &'w Tables,
    block: &'w mut BlockWriter,
    encoded: &'w mut Vec<u8>,
    domain: u32,
    now_us: u64,
    next: GlobalSequence,
    /// The place of the next event in each stream that is a target.
    stream_ends: Vec<StreamSequence>,
    /// Where in `stream_ends` a stream stands, by its number.
    slots: HashMap<u32, usize>,
    lanes: HashMap<(u32, Epoch, Lane), OpenLane>,
    committed: Committed,
}

/// Where an event goes: a stream and the descriptor of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    stream: u32,
    /// Where the transaction keeps the stream's end.
    slot: usize,
    descriptor: u32,
}

impl<'w> Transaction<'w> {
    /// Begins a transaction whose events are taken in at `now_us` of the clock domain `domain`.
    pub(super) fn begin(
        environment: &'w Environment,
        block: &'w mut BlockWriter,
        encoded: &'w mut Vec<u8>,
        domain: u32,
        now_us: u64,
    ) -> Result<Self, AppendError> {
        let txn = environment.write()?;
        let tables = environment.tables();
        let next = log_end(tables, &txn)?;
        block.begin(next, domain);
        Ok(Self {
            txn,
            tables,
            block,
            encoded,
            domain,
            now_us,
            next,
            stream_ends: Vec::new(),
            slots: HashMap::new(),
            lanes: HashMap::new(),
            committed: Committed {
                first: next,
                events: 0,
                duplicates: 0,
                refused: Vec::new(),
                lanes: Vec::new(),
            },
        })
    }

    /// Writes what is left and commits; nothing has happened before.
    pub(super) fn finish(mut self) -> Result<Committed, FinishError> {
        self.write_block()?;
        self.write_lanes()?;
        self.committed.events = self.next.0 - self.committed.first.0;
        self.txn.commit().map_err(FinishError::Commit)?;
        Ok(self.committed)
    }

    /// The tables, and the transaction to write other rows.
    pub(super) fn rows(&mut self) -> (&Tables, &mut RwTxn<'w>) {
        (self.tables, &mut self.txn)
    }

    /// Refuses to go on where a consumer does not stand at `expected`.
    pub(super) fn expect_consumer(
        &mut self,
        name: &str,
        expected: Option<GlobalSequence>,
    ) -> Result<(), AppendError> {
        let actual = consumer::next_of(self.tables, &self.txn, name)?;
        if actual == expected { Ok(()) } else { Err(AppendError::ConsumerMoved { expected, actual }) }
    }

    /// Moves a consumer to `next`, which is in the log or at its end.
    pub(super) fn consumer(&mut self, name: &str, next: GlobalSequence) -> Result<(), AppendError> {
        if next > self.next {
            return Err(AppendError::ConsumerAhead { next, end: self.next });
        }
        let table = self.tables.consumer.expect("the owner opened a store without it, and made it");
        table.put(&mut self.txn, name.as_bytes(), &next.0.to_le_bytes())?;
        Ok(())
    }

    /// Adds a local event that `archive` writes, of at most `len_max` bytes.
    pub(super) fn push_local(
        &mut self,
        target: Target,
        len_max: usize,
        archive: impl FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<StreamSequence, AppendError> {
        let meta = self.local_meta(target, self.now_us);
        self.push(target, &local_run(target), meta, len_max.min(EVENT_LEN_MAX), archive)
    }

    /// Adds a local event that is archived already.
    pub(super) fn push_archived(
        &mut self,
        target: Target,
        event: &[u8],
    ) -> Result<StreamSequence, AppendError> {
        self.push_local(target, event.len(), |out| copy(event, out))
    }

    /// The place of the next event of a target's stream.
    pub(super) fn stream_next(&self, target: Target) -> StreamSequence {
        self.stream_ends[target.slot]
    }

    /// The place of the next event in the log.
    pub(super) fn next(&self) -> GlobalSequence {
        self.next
    }

    fn local_meta(&self, target: Target, ingest_us: u64) -> EventMeta {
        EventMeta { stream_seq: self.stream_next(target), device_seq: DeviceSequence(0), ticks: 0, ingest_us }
    }

    fn push(
        &mut self,
        target: Target,
        key: &RunKey,
        meta: EventMeta,
        len_max: usize,
        mut archive: impl FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<StreamSequence, AppendError> {
        let EventMeta { stream_seq, .. } = meta;
        let stream_end = successor(stream_seq.0, "stream sequence")?;
        let global_end = successor(self.next.0, "global sequence")?;
        match self.block.push(key, meta, len_max, &mut archive) {
            Ok(()) => {}
            Err(PushError::Full) if self.block.len() > 0 => {
                self.write_block()?;
                self.block.push(key, meta, len_max, archive).map_err(|error| push_error(error, len_max))?;
            }
            Err(error) => return Err(push_error(error, len_max)),
        }
        self.stream_ends[target.slot] = StreamSequence(stream_end);
        self.next = GlobalSequence(global_end);
        Ok(stream_seq)
    }

    /// Writes the block in the making, if it holds anything, and begins the next.
    fn write_block(&mut self) -> Result<(), AppendError> {
        if self.block.len() == 0 {
            return Ok(());
        }
        let block = self.block.first();
        self.block.finish(self.encoded);
        self.tables.block.append(&mut self.txn, &block.0.to_be_bytes(), self.encoded)?;
        for (run, (stream, first, count)) in self.block.runs().enumerate() {
            let index = RunIndex { stream, first, block, run: run as u16, count };
            self.tables.stream.put(&mut self.txn, &index.key(), &index.value())?;
        }
        self.block.begin(self.next, self.domain);
        Ok(())
    }

    fn allot(&self, table: &Table, space: &'static str) -> Result<u32, AppendError> {
        table.next_number(&self.txn)?.ok_or(AppendError::Exhausted { space })
    }
}

/// Why a transaction did not end well.
pub(super) enum FinishError {
    /// Before anything reached the disk.
    Append(AppendError),
    /// While it was written to the disk.
    Commit(heed::Error),
}

impl From<AppendError> for FinishError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

/// The place after the last event of the log.
pub(super) fn log_end(
    tables: &Tables,
    txn: &heed::RoTxn<'_>,
) -> Result<GlobalSequence, super::tables::RowError> {
    match tables.block.last(txn)? {
        None => Ok(GlobalSequence(0)),
        Some((key, value)) => {
            let first =
                long_number(key, 0).ok_or_else(|| tables.block.damage(key, "its key is no sequence"))?;
            Ok(Block::new_trusted(GlobalSequence(first), value)?.end()?)
        }
    }
}

fn local_run(target: Target) -> RunKey {
    let Target { stream, descriptor, .. } = target;
    RunKey { stream, descriptor, device: 0, epoch: Epoch(0), lane: Lane(0), timed: false, sealed: false }
}

fn successor(sequence: u64, space: &'static str) -> Result<u64, AppendError> {
    sequence.checked_add(1).ok_or(AppendError::Exhausted { space })
}

fn copy(event: &[u8], out: &mut [u8]) -> Result<usize, ArchiveError> {
    out.get_mut(..event.len()).ok_or(ArchiveError::TooLarge)?.copy_from_slice(event);
    Ok(event.len())
}

fn push_error(error: PushError, len_max: usize) -> AppendError {
    match error {
        PushError::Archive(error) => AppendError::of_archive(error, len_max),
        PushError::Full => unreachable!("an event of the largest size fits an empty block"),
    }
}

const _: () = assert!(crate::BATCH_EXTENT_MAX <= EVENT_LEN_MAX);

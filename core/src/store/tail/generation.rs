//! A generation of the tail in memory: its records, and where to find what they hold.

use std::collections::{BTreeMap, HashMap};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::{fmt, iter};

use foldhash::fast::RandomState;

use super::record::{Chunk, Record, TableNumber};
use crate::store::error::Damage;
use crate::store::log::block::Block;
use crate::{GlobalSequence, StreamSequence};

/// The records of one segment of the tail, from its first on. Records are only added, and stay where they are, so
/// that what one lends lives as long as the generation.
pub(in crate::store) struct Generation {
    number: u64,
    shelves: Box<[OnceLock<Shelf>]>,
    index: RwLock<Index>,
    runs: RwLock<Runs>,
}

/// So many records of a generation, for which there is room once the first of them comes.
type Shelf = Box<[OnceLock<Record>; SHELF_LEN]>;

/// Where a chunk stands in a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct ChunkAt {
    record: u32,
    chunk: u32,
}

/// A run of the tail.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct TailRun {
    /// The place of its first event in the stream.
    pub(in crate::store) first: StreamSequence,
    /// How many events it has.
    pub(in crate::store) count: u32,
    /// The run in its block.
    pub(in crate::store) run: u16,
    /// The block.
    pub(in crate::store) block: ChunkAt,
    /// The place of the block's first event in the log.
    pub(in crate::store) first_of_block: GlobalSequence,
}

#[derive(Debug, Default)]
struct Index {
    /// How many records there are.
    len: usize,
    blocks: Vec<(GlobalSequence, ChunkAt)>,
    /// By the table's number and the key: each value that the row has had.
    rows: BTreeMap<Vec<u8>, Vec<ChunkAt>>,
}

/// Where the events of each stream stand. A commit does not wait for it: who reads a stream adds what is missing.
#[derive(Debug, Default)]
struct Runs {
    /// How many of the generation's records it knows.
    records: usize,
    /// By the stream's number.
    of_streams: HashMap<u32, Vec<TailRun>, RandomState>,
}

impl Generation {
    /// A generation that takes up to `records_max` records.
    pub(in crate::store) fn new(number: u64, records_max: usize) -> Self {
        let shelves = iter::repeat_with(OnceLock::new).take(records_max.div_ceil(SHELF_LEN)).collect();
        Self { number, shelves, index: RwLock::default(), runs: RwLock::default() }
    }

    /// Its number; each is the one before plus 1.
    pub(in crate::store) fn number(&self) -> u64 {
        self.number
    }

    /// How many records it holds, whether they are flushed or not.
    pub(in crate::store) fn len(&self) -> usize {
        self.index().len
    }

    /// Adds a record that was read from the disk.
    ///
    /// # Errors
    ///
    /// [`Damage`] where a block in it is damaged.
    ///
    /// # Panics
    ///
    /// As [`Generation::push`].
    pub(in crate::store) fn push_checked(&self, record: Record) -> Result<(), Damage> {
        record.check()?;
        self.push(record)
    }

    /// Adds a record that was made here, or whose blocks were checked.
    ///
    /// # Errors
    ///
    /// [`Damage`] where its index cannot be told, which a check finds too.
    ///
    /// # Panics
    ///
    /// Where it holds as many records as it takes.
    pub(in crate::store) fn push(&self, record: Record) -> Result<(), Damage> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let at = index.len;
        let shelf = self.shelves.get(at / SHELF_LEN).expect("its segment has no room for more");
        let shelf = shelf.get_or_init(|| Box::new([const { OnceLock::new() }; SHELF_LEN]));
        index.add(at as u32, shelf[at % SHELF_LEN].get_or_init(|| record))?;
        index.len += 1;
        Ok(())
    }

    /// The first `visible` records.
    pub(in crate::store) fn records(&self, visible: usize) -> impl Iterator<Item = &Record> {
        let records = self.shelves.iter().map_while(OnceLock::get).flat_map(|shelf| shelf.iter());
        records.take(visible).map_while(OnceLock::get)
    }

    /// The record at `index`, which is below [`Generation::len`].
    pub(in crate::store) fn record(&self, index: usize) -> &Record {
        let shelf = self.shelves[index / SHELF_LEN].get();
        shelf.and_then(|shelf| shelf[index % SHELF_LEN].get()).expect("it is one of those there are")
    }

    /// The row at `key` of a table, among the first `visible` records.
    pub(in crate::store) fn row(&self, key: &RowKey, visible: usize) -> Option<(&[u8], &[u8])> {
        let index = self.index();
        let at = latest(index.rows.get(key.bytes())?, visible)?;
        drop(index);
        Some(self.row_at(at))
    }

    /// The last row at or before `key` of its table.
    pub(in crate::store) fn row_at_or_before(&self, key: &RowKey, visible: usize) -> Option<(&[u8], &[u8])> {
        let index = self.index();
        let from = [key.table()].to_vec();
        let mut rows = index.rows.range(from..=key.bytes().to_vec()).rev();
        let at = rows.find_map(|(_, versions)| latest(versions, visible))?;
        drop(index);
        Some(self.row_at(at))
    }

    /// The rows whose keys begin with `prefix`, in the order of the keys.
    pub(in crate::store) fn rows_within(&self, prefix: &RowKey, visible: usize) -> Vec<(&[u8], &[u8])> {
        let index = self.index();
        let rows = index.rows.range(prefix.bytes().to_vec()..);
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix.bytes()));
        let rows: Vec<_> = rows.filter_map(|(_, versions)| latest(versions, visible)).collect();
        drop(index);
        rows.into_iter().map(|at| self.row_at(at)).collect()
    }

    /// The block that holds the event at `global`, or else the last one before it.
    pub(in crate::store) fn block_at(
        &self,
        global: GlobalSequence,
        visible: usize,
    ) -> Option<(GlobalSequence, &[u8])> {
        let index = self.index();
        let blocks = &index.blocks[..index.blocks.partition_point(|&(first, _)| first <= global)];
        let &(first, at) = blocks.iter().rev().find(|(_, at)| at.is_visible(visible))?;
        drop(index);
        Some((first, self.block(at)))
    }

    /// The last run of a stream that begins at or before `seq`.
    pub(in crate::store) fn run_at_or_before(
        &self,
        stream: u32,
        seq: StreamSequence,
        visible: usize,
    ) -> Option<TailRun> {
        let runs = self.runs.read().unwrap_or_else(PoisonError::into_inner);
        if runs.records >= visible {
            return runs.at_or_before(stream, seq, visible);
        }
        drop(runs);
        let mut runs = self.runs.write().unwrap_or_else(PoisonError::into_inner);
        self.add_runs(&mut runs, visible);
        runs.at_or_before(stream, seq, visible)
    }

    /// The bytes of a block.
    pub(in crate::store) fn block(&self, at: ChunkAt) -> &[u8] {
        match self.chunk(at) {
            Chunk::Block(block) => block,
            Chunk::Row { .. } => unreachable!("the index tells blocks from rows"),
        }
    }

    /// Adds what is missing of the runs of the first `visible` records.
    fn add_runs(&self, runs: &mut Runs, visible: usize) {
        for (first, at) in self.blocks_between(runs.records, visible) {
            let block = Block::new_trusted(first, self.block(at));
            let added = block.and_then(|block| runs.add(at, &block));
            added.expect("its runs were read before the record was pushed, or it was made here");
        }
        runs.records = runs.records.max(visible);
    }

    /// The blocks of the records from `records` on, of the first `visible`.
    fn blocks_between(&self, records: usize, visible: usize) -> Vec<(GlobalSequence, ChunkAt)> {
        let blocks = &self.index().blocks;
        let end_of = |records| blocks.partition_point(|(_, at)| at.is_visible(records));
        blocks[end_of(records)..].iter().take_while(|(_, at)| at.is_visible(visible)).copied().collect()
    }

    fn row_at(&self, at: ChunkAt) -> (&[u8], &[u8]) {
        match self.chunk(at) {
            Chunk::Row { key, value, .. } => (key, value),
            Chunk::Block(_) => unreachable!("the index tells blocks from rows"),
        }
    }

    fn chunk(&self, at: ChunkAt) -> Chunk<'_> {
        self.record(at.record as usize).chunk(at.chunk as usize)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Generation {
    /// Which it is: its records are the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}

impl TailRun {
    /// The place after the run's last event.
    pub(in crate::store) fn end(&self) -> StreamSequence {
        StreamSequence(self.first.0.saturating_add(self.count.into()))
    }
}

impl ChunkAt {
    fn is_visible(&self, visible: usize) -> bool {
        (self.record as usize) < visible
    }
}

impl Index {
    /// Adds what a record holds, whose blocks were checked.
    fn add(&mut self, record: u32, held: &Record) -> Result<(), Damage> {
        let mut next = held.head().first;
        for chunk in 0..held.chunks() {
            let at = ChunkAt { record, chunk: chunk as u32 };
            match held.chunk(chunk) {
                Chunk::Row { table, key, .. } => {
                    self.rows.entry(RowKey::new(table, key).into_bytes()).or_default().push(at);
                }
                Chunk::Block(bytes) => {
                    self.blocks.push((next, at));
                    next = Block::new_trusted(next, bytes)?.end()?;
                }
            }
        }
        Ok(())
    }
}

impl Runs {
    /// Adds the next block.
    fn add(&mut self, at: ChunkAt, block: &Block<'_>) -> Result<(), Damage> {
        for number in 0..block.runs() {
            let run = block.run(number)?;
            self.of_streams.entry(run.stream()).or_default().push(TailRun {
                first: run.first(),
                count: run.count(),
                run: number as u16,
                block: at,
                first_of_block: block.first(),
            });
        }
        Ok(())
    }

    /// The last run of a stream that begins at or before `seq`, among the first `visible` records.
    fn at_or_before(&self, stream: u32, seq: StreamSequence, visible: usize) -> Option<TailRun> {
        let runs = self.of_streams.get(&stream)?;
        let runs = &runs[..runs.partition_point(|run| run.first <= seq)];
        runs.iter().rev().find(|run| run.block.is_visible(visible)).copied()
    }
}

/// A table's number and a key, as they sort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct RowKey(Vec<u8>);

impl RowKey {
    /// The key of a table.
    pub(in crate::store) fn new(table: TableNumber, key: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(key.len() + 1);
        bytes.push(table.0);
        bytes.extend_from_slice(key);
        Self(bytes)
    }

    /// The table's number, then the key.
    pub(in crate::store) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same, owned.
    pub(in crate::store) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn table(&self) -> u8 {
        self.0[0]
    }
}

fn latest(versions: &[ChunkAt], visible: usize) -> Option<ChunkAt> {
    versions.iter().rev().find(|at| at.is_visible(visible)).copied()
}

/// How many records share a piece of memory.
const SHELF_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::log::block::{BlockWriter, EventMeta, RunKey};
    use crate::store::tail::record::{RecordHead, RecordSeed, RecordWriter};
    use crate::{DeviceSequence, Epoch, Lane};

    /// A record whose own checksum holds, of a block of the event `seq` with the byte at `flipped` changed.
    fn record(seq: u64, flipped: Option<usize>) -> Record {
        let (epoch, lane) = (Epoch(0), Lane(0));
        let key = RunKey { stream: 1, descriptor: 1, device: 0, epoch, lane, timed: false, sealed: false };
        let (stream_seq, device_seq) = (StreamSequence(seq), DeviceSequence(0));
        let mut block = BlockWriter::new();
        let first = GlobalSequence(seq);
        block.begin(first, 1);
        let meta = EventMeta { stream_seq, device_seq, ticks: 0, ingest_us: 0 };
        block.push(&key, &meta, 1, |_| Ok(1)).unwrap();
        let mut bytes = Vec::new();
        block.finish(&mut bytes);
        if let Some(flipped) = flipped {
            bytes[flipped] ^= 1;
        }
        let mut record = RecordWriter::new();
        record.block(|out| out.extend_from_slice(&bytes));
        record.finish(RecordHead { first, events: 1, ..RecordHead::default() }, RecordSeed::new(1, 1));
        record.record()
    }

    #[test]
    fn runs_are_found_of_the_records_that_are_visible_whoever_asked_before() {
        let generation = Generation::new(1, 3);
        (0..3).for_each(|seq| generation.push_checked(record(seq, None)).unwrap());
        let found = |visible, seq| {
            let run = generation.run_at_or_before(1, StreamSequence(seq), visible)?;
            Some((run.first.0, run.first_of_block.0, run.block.record))
        };
        assert_eq!(found(0, 9), None);
        assert_eq!((found(2, 9), found(2, 0)), (Some((1, 1, 1)), Some((0, 0, 0))));
        assert_eq!((found(1, 9), found(3, 9)), (Some((0, 0, 0)), Some((2, 2, 2))));
        assert_eq!((found(2, 9), found(3, 1)), (Some((1, 1, 1)), Some((1, 1, 1))));
        let runs = generation.runs.read().unwrap();
        assert_eq!((runs.records, runs.of_streams[&1].len()), (3, 3), "each is added once");
    }

    #[test]
    fn a_record_from_the_disk_enters_with_whole_blocks_alone() {
        let generation = Generation::new(1, 1);
        let error = generation.push_checked(record(0, Some(70))).unwrap_err();
        assert_eq!((error.reason, generation.len()), ("its checksum is wrong", 0));
        generation.push_checked(record(0, None)).unwrap();
        assert_eq!(generation.len(), 1);
    }
}

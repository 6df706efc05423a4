//! The fold: records of the tail become rows of LMDB, and their blocks fewer and larger ones.
//!
//! ```text
//! records   [ block │ rows ][ block │ rows ][ block, block ][ rows ] …      one a commit
//!                    ╲ rows: put as they are, in order ╱
//! LMDB      … [ last block, less than half full ──► goes on ][ block of up to 65,520 bytes ] …
//! ```
//!
//! The bytes of an event, its places and its times stay what they are; only how events are grouped changes. So a fold
//! that was cut off is repeated or left out, and nobody who reads can tell.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::thread;

use heed::RwTxn;

use super::record::{Chunk, NUMBER_MAX, Record, TableNumber};
use crate::store::error::{AppendError, Damage, Place};
use crate::store::log::block::{
    BLOCK_LEN_MAX, Block, BlockWriter, EventMeta, LatestRun, Origin, RunEventsIter, RunKey, Stretch, Ticks,
};
use crate::store::log::block_rows;
use crate::store::log::clock::mapping_key;
use crate::store::log::format::FOLDED_KEY;
use crate::store::log::tables::{RowError, Table, Tables, array, long_number};
use crate::{DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};

/// How much of the tail LMDB holds. It is a row of the table `meta`, and changes with what it tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Folded {
    /// The last generation; 0 before the first.
    pub(in crate::store) generation: u64,
    /// The last commit; 0 before the first.
    pub(in crate::store) commit: u64,
}

impl Folded {
    /// What `txn` tells; nothing is folded in a store that does not say.
    pub(in crate::store) fn read(tables: &Tables, txn: &heed::RoTxn<'_>) -> Result<Self, RowError> {
        Ok(Self::find(tables, txn)?.unwrap_or_default())
    }

    /// What `txn` tells; `None` in a store that has yet to get its tail.
    pub(in crate::store) fn find(tables: &Tables, txn: &heed::RoTxn<'_>) -> Result<Option<Self>, RowError> {
        let Some(row) = tables.meta.get(txn, FOLDED_KEY)? else { return Ok(None) };
        let folded = Self::parse(row);
        folded.map(Some).ok_or_else(|| tables.meta.damage(FOLDED_KEY, "it tells no fold").into())
    }

    /// Reads the row's value.
    pub(in crate::store) fn parse(row: &[u8]) -> Option<Self> {
        if row.len() != FOLDED_LEN {
            return None;
        }
        let number = |at| array(row, at).map(u64::from_le_bytes).filter(|&number| number <= NUMBER_MAX);
        Some(Self { generation: number(0)?, commit: number(8)? })
    }

    /// The row's value.
    pub(in crate::store) fn to_row(self) -> [u8; FOLDED_LEN] {
        let mut row = [0; FOLDED_LEN];
        row[..8].copy_from_slice(&self.generation.to_le_bytes());
        row[8..].copy_from_slice(&self.commit.to_le_bytes());
        row
    }
}

/// Puts `records`, which follow what LMDB holds, into `txn`, which then holds the tail up to `folded`. They were made by
/// this process, or [checked](Record::check). The block's buffers are the caller's, to be used again.
///
/// # Errors
///
/// [`AppendError::Corrupt`] where a record holds what no commit writes, or does not follow; [`AppendError::Storage`].
/// The transaction is then to be aborted.
pub(in crate::store) fn fold<'r>(
    txn: &mut RwTxn<'_>,
    tables: &Tables,
    records: impl Iterator<Item = &'r Record>,
    folded: Folded,
    block: &mut BlockWriter,
) -> Result<(), AppendError> {
    let records: Vec<_> = records.collect();
    // The rows first: those of `clock` tell the merge where runs end.
    records.iter().try_for_each(|record| put_rows(txn, tables, record))?;
    let mut blocks = records.iter().flat_map(|record| blocks(record)).peekable();
    if blocks.peek().is_some() {
        let mut merge = Merge::begin(txn, tables, block)?;
        for block in blocks {
            merge.add(block)?;
            // A flush of the tail ends on whichever processor the system has chosen for that. Were it this one, a commit would
            // wait for the end of the fold's time slice: some milliseconds.
            thread::yield_now();
        }
        merge.write_block()?;
    }
    tables.meta.put(txn, FOLDED_KEY, &folded.to_row())?;
    Ok(())
}

/// Blocks on their way into larger ones.
struct Merge<'f, 't> {
    txn: &'f mut RwTxn<'t>,
    tables: &'f Tables,
    block: &'f mut BlockWriter,
    /// The clock domain of the block in the making.
    domain: u32,
    /// The place of the next event.
    next: GlobalSequence,
    lanes: Lanes,
}

/// A run of a block that is merged.
struct Source<'a> {
    key: RunKey,
    /// The place in the stream of the next event to be merged.
    next: StreamSequence,
    /// Those that are yet to be merged, and their ticks.
    events: RunEventsIter<'a>,
    ticks: Ticks<'a>,
    /// Whether any is merged.
    is_begun: bool,
    /// Where in [`Lanes`] its lane stands, and where in that the run begins.
    lane: Option<(usize, DeviceSequence)>,
    /// Where its events go.
    latest: LatestRun,
}

/// The lanes whose events were merged.
#[derive(Default)]
struct Lanes {
    lanes: Vec<OpenLane>,
    /// Where a lane stands in `lanes`.
    slots: HashMap<(u32, Epoch, Lane), usize>,
}

/// A lane of a device.
struct OpenLane {
    /// The place of the next event that would go on with its runs; `None` before the first.
    next: Option<DeviceSequence>,
    /// The places whose times one row of `clock` maps, or that come before all rows; known once `next` is.
    clock: RangeInclusive<u64>,
}

impl<'f, 't> Merge<'f, 't> {
    /// Begins where the log ends, or with its last block where that is to go on.
    fn begin(
        txn: &'f mut RwTxn<'t>,
        tables: &'f Tables,
        block: &'f mut BlockWriter,
    ) -> Result<Self, AppendError> {
        let (mut next, mut continued) = (GlobalSequence(0), None);
        if let Some((key, value)) = tables.block.last(txn)? {
            let first = long_number(key, 0).map(GlobalSequence);
            let first = first.ok_or_else(|| tables.block.damage(key, "its key is no sequence"))?;
            if goes_on(first, value) {
                (next, continued) = (first, Some(value.to_vec()));
            } else {
                next = Block::new_trusted(first, value)?.end()?;
            }
        }
        block.begin(next, NO_DOMAIN);
        let lanes = Lanes::default();
        let mut merge = Self { txn, tables, block, domain: NO_DOMAIN, next, lanes };
        if let Some(value) = continued {
            merge.add(&value)?;
        }
        Ok(merge)
    }

    /// Adds the events of a block, which follow those before.
    fn add(&mut self, bytes: &[u8]) -> Result<(), AppendError> {
        let block = Block::new_intact(self.next, bytes)?;
        block.end()?;
        if block.domain() != self.domain {
            self.write_block()?;
            self.domain = block.domain();
            self.block.begin(self.next, self.domain);
        }
        self.block.begin_source();
        if self.block.merge(&block)? {
            self.next.0 += u64::from(block.len());
            return Ok(());
        }
        let mut sources = self.sources(&block)?;
        if sources.iter().any(|source| source.key.sealed) {
            return self.join(&block);
        }
        for stretch in block.stretches() {
            let stretch = stretch?;
            self.add_stretch(&block, &mut sources[stretch.run], stretch)?;
        }
        Ok(())
    }

    /// Adds a block with sealed runs, none of which can be cut: its runs stay as they are.
    fn join(&mut self, block: &Block<'_>) -> Result<(), AppendError> {
        if !self.block.join(block)? {
            self.write_block()?;
            self.block.begin(self.next, self.domain);
            self.block.join(block)?;
        }
        self.next.0 += u64::from(block.len());
        Ok(())
    }

    fn sources<'a>(&mut self, block: &Block<'a>) -> Result<Vec<Source<'a>>, Damage> {
        let mut sources = Vec::with_capacity(block.runs());
        for index in 0..block.runs() {
            let run = block.run(index)?;
            let key = RunKey::of(&run);
            let lane = run.origin().map(|origin| (self.lanes.slot(&origin), origin.first));
            let (events, ticks) = (run.events().iter_range(0, run.count() as usize), run.ticks());
            let (next, latest) = (run.first(), LatestRun::default());
            sources.push(Source { key, next, events, ticks, is_begun: false, lane, latest });
        }
        Ok(sources)
    }

    fn add_stretch(
        &mut self,
        block: &Block<'_>,
        source: &mut Source<'_>,
        stretch: Stretch,
    ) -> Result<(), AppendError> {
        if !source.is_begun {
            source.is_begun = true;
            self.begin_run(source)?;
        }
        let mut left = stretch.len;
        while left > 0 && !self.push_alike(source, left, stretch.ingest_us) {
            self.push_next(block, source, stretch.ingest_us)?;
            left -= 1;
        }
        Ok(())
    }

    /// Ends the runs that the first event of `source` must not go on with.
    fn begin_run(&mut self, source: &mut Source<'_>) -> Result<(), AppendError> {
        let RunKey { device, epoch, lane, .. } = source.key;
        source.latest = self.block.begin_run_of_source(&source.key);
        if let Some((slot, first)) = source.lane {
            let open = &mut self.lanes.lanes[slot];
            if open.next != Some(first) || !open.clock.contains(&first.0) {
                self.block.close_runs(device, epoch, lane);
                open.clock = clock_range(self.tables, self.txn, &Origin { device, epoch, lane, first })?;
            }
            open.next = Some(first);
        }
        Ok(())
    }

    /// Adds the next `n` events of `source` at once, where they are of this host and go on with what is there.
    fn push_alike(&mut self, source: &mut Source<'_>, n: u32, ingest_us: u64) -> bool {
        let Source { next, events, lane: None, latest, .. } = source else { return false };
        let Some((len, bytes)) = events.alike() else { return false };
        let is_pushed = self.block.push_alike(latest, *next, len, n, bytes, ingest_us);
        if is_pushed {
            events.skip_alike(n as usize);
            next.0 += u64::from(n);
            self.next.0 += u64::from(n);
        }
        is_pushed
    }

    /// Adds the next event of `source`.
    fn push_next(
        &mut self,
        block: &Block<'_>,
        source: &mut Source<'_>,
        ingest_us: u64,
    ) -> Result<(), AppendError> {
        let (event, ticks) = source.next().ok_or_else(|| block.damage("its order column overdraws a run"))?;
        let device_seq = source.lane.map_or(DeviceSequence(0), |(lane, _)| self.lanes.advance(lane));
        let meta = EventMeta { stream_seq: source.next, device_seq, ticks, ingest_us };
        self.push(&source.key, &mut source.latest, &meta, event)?;
        source.next.0 += 1;
        Ok(())
    }

    fn push(
        &mut self,
        key: &RunKey,
        latest: &mut LatestRun,
        meta: &EventMeta,
        event: &[u8],
    ) -> Result<(), AppendError> {
        let mut is_pushed = self.block.push_archived(key, latest, meta, event);
        if !is_pushed && self.block.len() > 0 {
            self.write_block()?;
            self.block.begin(self.next, self.domain);
            is_pushed = self.block.push_archived(key, latest, meta, event);
        }
        if !is_pushed {
            let place = Place::Event(self.next);
            return Err(Damage { place, reason: "it is longer than an event may be" }.into());
        }
        self.next.0 += 1;
        Ok(())
    }

    /// Writes the block in the making, if it holds anything, and the rows that locate its runs.
    fn write_block(&mut self) -> Result<(), AppendError> {
        if self.block.len() == 0 {
            return Ok(());
        }
        block_rows::put(self.tables, self.txn, self.block)?;
        Ok(())
    }
}

impl<'a> Source<'a> {
    /// The bytes of the next event, and its ticks or 0.
    fn next(&mut self) -> Option<(&'a [u8], u64)> {
        let event = self.events.next()?;
        let ticks = if self.key.timed { self.ticks.next()? } else { 0 };
        Some((event, ticks))
    }
}

impl Lanes {
    /// Where the lane of `origin` stands.
    fn slot(&mut self, origin: &Origin) -> usize {
        let Self { lanes, slots } = self;
        *slots.entry((origin.device, origin.epoch, origin.lane)).or_insert_with(|| {
            lanes.push(OpenLane { next: None, clock: 0..=0 });
            lanes.len() - 1
        })
    }

    /// The place of the next event of a lane.
    fn advance(&mut self, lane: usize) -> DeviceSequence {
        let next = &mut self.lanes[lane].next;
        let seq = next.unwrap_or_default();
        *next = Some(DeviceSequence(seq.0.wrapping_add(1)));
        seq
    }
}

/// Whether the block `value`, which begins with `first` and is the last of the log, is to go on. A damaged one stays
/// as it is, and so does one that stands in for lost events.
fn goes_on(first: GlobalSequence, value: &[u8]) -> bool {
    value.len() < CONTINUED_LEN_MAX
        && Block::new_checked(first, value).is_ok_and(|block| !block.is_quarantined())
}

/// The places of a device's lane around `origin` whose times one row of `clock` maps.
fn clock_range(
    tables: &Tables,
    txn: &RwTxn<'_>,
    origin: &Origin,
) -> Result<RangeInclusive<u64>, AppendError> {
    let Origin { device, epoch, lane, first } = *origin;
    let key = mapping_key(device, epoch, lane, first);
    let (of_lane, _) = key.split_at(LANE_KEY_LEN);
    let place = |key: &[u8]| if key.starts_with(of_lane) { long_number(key, LANE_KEY_LEN) } else { None };
    let start = tables.clock.at_or_before(txn, &key)?.and_then(|(key, _)| place(key)).unwrap_or(0);
    let Some(after) = first.checked_add(1) else { return Ok(start..=u64::MAX) };
    let next = tables.clock.from(txn, &mapping_key(device, epoch, lane, after))?.next().transpose()?;
    // The next row's place is after `first`, and so is not 0.
    Ok(start..=next.and_then(|(key, _)| place(key)).map_or(u64::MAX, |next| next - 1))
}

/// Puts the rows of a record.
fn put_rows(txn: &mut RwTxn<'_>, tables: &Tables, record: &Record) -> Result<(), AppendError> {
    for index in 0..record.chunks() {
        if let Chunk::Row { table, key, value } = record.chunk(index) {
            let rows = table_of(tables, table).ok_or_else(|| Damage {
                place: Place::Row { table: "unknown", key: key.to_vec() },
                reason: "the tail puts it into a table that takes no rows from there",
            })?;
            rows.put(txn, key, value)?;
        }
    }
    Ok(())
}

/// The blocks of a record.
fn blocks(record: &Record) -> impl Iterator<Item = &[u8]> {
    (0..record.chunks()).filter_map(|index| match record.chunk(index) {
        Chunk::Block(block) => Some(block),
        Chunk::Row { .. } => None,
    })
}

/// The table that rows of the tail go to. Those of `block` and `stream` follow from the blocks.
pub(in crate::store) fn table_of(tables: &Tables, number: TableNumber) -> Option<&Table> {
    match number.0 {
        0 => Some(&tables.meta),
        3 => Some(&tables.name),
        4 => Some(&tables.stream_id),
        5 => Some(&tables.stream_info),
        6 => Some(&tables.layout),
        7 => Some(&tables.descriptor),
        8 => Some(&tables.hash),
        9 => Some(&tables.device),
        10 => Some(&tables.device_id),
        11 => Some(&tables.cursor),
        12 => Some(&tables.clock),
        13 => Some(&tables.domain),
        14 => tables.consumer.as_ref(),
        _ => None,
    }
}

/// A block that the log ends with goes on where it is shorter. It is then written again, once more than it would be
/// otherwise, and no block but a domain's last stays shorter.
const CONTINUED_LEN_MAX: usize = BLOCK_LEN_MAX / 2;

/// The clock domain of a block that holds nothing: a store counts them from 1.
const NO_DOMAIN: u32 = 0;

const FOLDED_LEN: usize = 16;

/// What the key of a row of `clock` tells before the place: device, epoch and lane.
const LANE_KEY_LEN: usize = 9;

#[cfg(test)]
mod tests;

//! Retention: which events a store may let go of, and how their blocks leave it from the front of the log.
//!
//! What is gone is a named absence. The row `retained` of the table `meta` tells where the log begins now, and a
//! stream whose runs are all gone keeps the row of its last one, which tells its end.

mod device_rows;

use std::time::Duration;

use heed::{RoTxn, RwTxn};

use crate::store::error::{AppendError, ReadError};
use crate::store::follow::consumer;
use crate::store::log::block::Block;
use crate::store::log::clock::{Domain, HostClock};
use crate::store::log::rows::Rows;
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::{RowError, Tables, array, key12, long_number, number};
use crate::store::log::time_index;
use crate::store::read::snapshot::Snapshot;
use crate::store::varve::Varve;
use crate::{GlobalSequence, StreamSequence};
use device_rows::DeviceRun;

/// What a store keeps: whatever no limit calls surplus, and whatever a named consumer has yet to see.
///
/// Whole blocks go, from the front of the log, while the block in front is surplus by any limit. Without a limit
/// nothing goes. The last block stays in any case, and so do the cursors of consumers, and of devices those of the epochs that
/// have events left, or are the latest: with the events of an epoch, or its gaps unless they are sealed, goes what the store
/// knows of the epochs before.
///
/// ```
/// use std::time::Duration;
/// use varve_core::{Config, RetentionPolicy};
///
/// let mut policy = RetentionPolicy::default();
/// policy.age_max = Some(Duration::from_secs(30 * 24 * 3600));
/// policy.bytes_max = Some(2 << 30);
/// policy.consumers = vec!["upstream".into()];
/// let mut config = Config::default();
/// config.retention = Some(policy); // the store keeps to it by itself
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetentionPolicy {
    /// Events that were taken in longer ago are surplus. Where it is not known when that was, as on a host whose
    /// clock was never set, it was before those behind them.
    pub age_max: Option<Duration>,
    /// While the blocks take more bytes of the data file, the oldest is surplus. The index of the streams, the tail
    /// and what LMDB keeps free are not counted: a quota is.
    pub bytes_max: Option<u64>,
    /// Events before the last so many are surplus. 0 with [`RetentionPolicy::consumers`]: whatever these have seen.
    pub events_max: Option<u64>,
    /// The consumers that must have seen an event before it goes. One that was never moved has seen nothing.
    pub consumers: Vec<String>,
}

/// What retention took from a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retired {
    /// How many blocks.
    pub blocks: u64,
    /// How many events.
    pub events: u64,
    /// How many bytes the blocks had.
    pub bytes: u64,
    /// The first event that is still there, or the end of an empty log.
    pub first: GlobalSequence,
}

/// What one transaction retired, and whether the policy asks for more.
#[derive(Debug)]
pub(in crate::store) struct Step {
    pub(in crate::store) retired: Retired,
    pub(in crate::store) is_done: bool,
}

/// Retires at most [`STEP_BLOCKS_MAX`] blocks. A block that is damaged stays, and is an error once it is the first:
/// nobody can tell whose events it holds.
pub(in crate::store) fn retire(
    txn: &mut RwTxn<'_>,
    tables: &Tables,
    policy: &RetentionPolicy,
    now_utc_us: Option<i64>,
) -> Result<Step, RowError> {
    let mut retired = Retired { first: first_retained(tables, txn)?, ..Retired::default() };
    let kept_from = kept_for_consumers(Rows::new(tables, txn, None, None), policy)?;
    let mut is_done = false;
    while !is_done && retired.blocks < STEP_BLOCKS_MAX {
        match surplus(txn, tables, policy, kept_from, now_utc_us) {
            Ok(Some(front)) => front.remove(txn, tables, &mut retired)?,
            Ok(None) => is_done = true,
            Err(RowError::Damage(_)) if retired.blocks > 0 => break,
            Err(error) => return Err(error),
        }
    }
    if retired.blocks > 0 {
        tables.meta.put(txn, RETAINED_KEY, &retired.first.0.to_le_bytes())?;
    }
    Ok(Step { retired, is_done })
}

/// Whether the policy calls the block in front of the log surplus.
pub(in crate::store) fn has_surplus(
    rows: Rows<'_>,
    policy: &RetentionPolicy,
    now_utc_us: Option<i64>,
) -> Result<bool, RowError> {
    let kept_from = kept_for_consumers(rows, policy)?;
    Ok(surplus(rows.txn, rows.tables, policy, kept_from, now_utc_us)?.is_some())
}

/// The first event that is still there; the end of the log where there is none.
pub(in crate::store) fn first_retained(tables: &Tables, txn: &RoTxn<'_>) -> Result<GlobalSequence, RowError> {
    let Some(row) = tables.meta.get(txn, RETAINED_KEY)? else { return Ok(GlobalSequence(0)) };
    let first = <[u8; 8]>::try_from(row).map(u64::from_le_bytes);
    Ok(first.map(GlobalSequence).map_err(|_| tables.meta.damage(RETAINED_KEY, "it is no sequence"))?)
}

/// What time it is, in µs since 1970; `None` where the host's clock was never set.
pub(in crate::store) fn now_utc_us() -> Option<i64> {
    let now = Domain::measured(HostClock).time(HostClock.now_us().into(), Some(0));
    now.uncertainty_us.map(|_| now.utc_us)
}

impl Varve {
    /// Retires what `policy` calls surplus, in steps of 64 blocks, each a commit of its own: other threads append
    /// between them. Space that it frees is used again, once no snapshot sees it any more; the data file does not
    /// shrink. Reading what is gone says [`ReadError::Absent`].
    ///
    /// [`Config::retention`](crate::Config::retention) does the same in the background.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, RetentionPolicy, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// let mut readings = varve.stream::<[u8; 4096], 4096>("frames")?;
    /// readings.append_batch(StreamId(7), &[[0; 4096]; 40])?;
    ///
    /// let mut policy = RetentionPolicy::default();
    /// policy.events_max = Some(20);
    /// let retired = varve.retain(&policy)?;
    /// assert_eq!(retired.first, GlobalSequence(15), "blocks of 15 events go whole");
    /// assert_eq!(varve.snapshot()?.first_global_seq()?, retired.first);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppendError::Corrupt`] where the block in front is damaged: it stays, and so does what follows. As [`Varve::fold`]
    /// otherwise; what earlier steps retired is gone all the same.
    pub fn retain(&self, policy: &RetentionPolicy) -> Result<Retired, AppendError> {
        let mut retired = Retired::default();
        loop {
            let step = self.maintain(|txn, tables| Ok(retire(txn, tables, policy, now_utc_us())?))?;
            retired.add(&step.retired);
            if step.is_done {
                return Ok(retired);
            }
        }
    }
}

impl Snapshot {
    /// The first event that retention left; the end of the log where there is none.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where its row is damaged.
    pub fn first_global_seq(&self) -> Result<GlobalSequence, ReadError> {
        self.check_age()?;
        Ok(first_retained(self.tables(), self.txn())?.min(self.end()))
    }
}

impl Retired {
    /// Adds what a later step took.
    pub(in crate::store) fn add(&mut self, later: &Self) {
        self.blocks += later.blocks;
        self.events += later.events;
        self.bytes += later.bytes;
        self.first = later.first;
    }
}

/// The block in front of the log, which is to go.
struct Front {
    first: GlobalSequence,
    end: GlobalSequence,
    len: usize,
    runs: Vec<RunIndex>,
    device_runs: Vec<DeviceRun>,
}

impl Front {
    fn remove(self, txn: &mut RwTxn<'_>, tables: &Tables, retired: &mut Retired) -> Result<(), RowError> {
        tables.block.delete(txn, &self.first.0.to_be_bytes())?;
        time_index::remove(tables, txn, self.first)?;
        self.runs.iter().try_for_each(|run| remove_run(txn, tables, run))?;
        self.device_runs.iter().try_for_each(|run| run.remove_rows_before(txn, tables))?;
        retired.blocks += 1;
        retired.events += self.end.0 - self.first.0;
        retired.bytes += self.len as u64;
        retired.first = self.end;
        Ok(())
    }
}

/// The block in front, where a limit calls it surplus and all consumers have seen it.
fn surplus(
    txn: &RoTxn<'_>,
    tables: &Tables,
    policy: &RetentionPolicy,
    kept_from: GlobalSequence,
    now_utc_us: Option<i64>,
) -> Result<Option<Front>, RowError> {
    let (Some((key, value)), Some((last_key, last))) = (tables.block.first(txn)?, tables.block.last(txn)?)
    else {
        return Ok(None);
    };
    if key == last_key {
        return Ok(None);
    }
    let block = block_of(tables, key, value)?;
    let end = block.end()?;
    let log_end = block_of(tables, last_key, last)?.end()?;
    let is_surplus = policy.events_max.is_some_and(|kept| log_end.0 - end.0.min(log_end.0) >= kept)
        || exceeds(policy.bytes_max, tables.block.len_on_disk(txn)?)
        || is_too_old(txn, tables, policy, &block, now_utc_us)?;
    if !is_surplus || end > kept_from {
        return Ok(None);
    }
    let block = Block::new_checked(block.first(), value)?;
    let (runs, device_runs) = (block.index_rows()?, DeviceRun::all(txn, tables, &block)?);
    Ok(Some(Front { first: block.first(), end, len: value.len(), runs, device_runs }))
}

/// Removes the row of a run whose block goes, and what is left of the stream before it. The last row of a stream
/// stays, since it tells where the stream goes on.
fn remove_run(txn: &mut RwTxn<'_>, tables: &Tables, run: &RunIndex) -> Result<(), RowError> {
    let StreamSequence(first) = run.first;
    while let Some(before) = first.checked_sub(1) {
        let row = tables.stream.at_or_before(txn, &key12(run.stream, before))?;
        let Some(key) = row.and_then(|(key, _)| array::<12>(key, 0)) else { break };
        if number(&key, 0) != Some(run.stream) {
            break;
        }
        tables.stream.delete(txn, &key)?;
    }
    let after = first.checked_add(1).map(|after| key12(run.stream, after));
    let next =
        after.map(|after| tables.stream.from(txn, &after).and_then(|mut rows| rows.next().transpose()));
    let has_next = next.transpose()?.flatten().is_some_and(|(key, _)| number(key, 0) == Some(run.stream));
    if has_next {
        tables.stream.delete(txn, &run.key())?;
    }
    Ok(())
}

/// The first event that a consumer of the policy has yet to see.
fn kept_for_consumers(rows: Rows<'_>, policy: &RetentionPolicy) -> Result<GlobalSequence, RowError> {
    let mut kept_from = GlobalSequence(u64::MAX);
    for name in &policy.consumers {
        kept_from = kept_from.min(consumer::next_of(rows, name)?.unwrap_or_default());
    }
    Ok(kept_from)
}

fn is_too_old(
    txn: &RoTxn<'_>,
    tables: &Tables,
    policy: &RetentionPolicy,
    block: &Block<'_>,
    now_utc_us: Option<i64>,
) -> Result<bool, RowError> {
    let Some((age_max, now)) = policy.age_max.zip(now_utc_us) else { return Ok(false) };
    let Some(latest) = latest_intake(txn, tables, block)? else { return Ok(false) };
    Ok(i128::from(now) - latest > age_max.as_micros().min(i128::MAX as u128) as i128)
}

/// When the events of a block had all been taken in, in µs since 1970. Where its own clock was never set, or it stands in
/// for lost events, that was before the first of those behind it of which it is known.
fn latest_intake(txn: &RoTxn<'_>, tables: &Tables, block: &Block<'_>) -> Result<Option<i128>, RowError> {
    let (mut at, mut ingest_us) = (*block, block.ingest_max());
    loop {
        if !at.is_quarantined()
            && let Some(latest) = intake_time(txn, tables, at.domain(), ingest_us)?
        {
            return Ok(Some(latest));
        }
        let Some(later) = first_of_later_domain(txn, tables, &at)? else { return Ok(None) };
        (at, ingest_us) = (later, later.ingest_min());
    }
}

/// A time of a domain's clock at the latest, in µs since 1970; `None` where that was never set.
fn intake_time(
    txn: &RoTxn<'_>,
    tables: &Tables,
    domain: u32,
    ingest_us: u64,
) -> Result<Option<i128>, RowError> {
    let key = domain.to_be_bytes();
    let domain = tables.domain.get(txn, &key)?.and_then(Domain::from_row);
    let domain = domain.ok_or_else(|| tables.domain.damage(&key, "it is no clock domain"))?;
    let time = domain.time(ingest_us.into(), Some(0));
    Ok(time.uncertainty_us.map(|uncertainty_us| i128::from(time.utc_us) + i128::from(uncertainty_us)))
}

/// The first block behind `block` of a later domain. Each boot has a later one than those before, so that it is found by
/// halves.
fn first_of_later_domain<'t>(
    txn: &'t RoTxn<'_>,
    tables: &Tables,
    block: &Block<'_>,
) -> Result<Option<Block<'t>>, RowError> {
    let Some((key, value)) = tables.block.last(txn)? else { return Ok(None) };
    let mut found = block_of(tables, key, value)?;
    if found.domain() <= block.domain() {
        return Ok(None);
    }
    let mut next = block.end()?.0;
    while next < found.first().0 {
        let middle = next.midpoint(found.first().0);
        let Some((key, value)) = tables.block.at_or_before(txn, &middle.to_be_bytes())? else { break };
        let at = block_of(tables, key, value)?;
        if at.domain() > block.domain() {
            found = at;
        } else {
            next = at.end()?.0.max(middle.saturating_add(1));
        }
    }
    Ok(Some(found))
}

fn exceeds(limit: Option<u64>, len: u64) -> bool {
    limit.is_some_and(|limit| len > limit)
}

fn block_of<'t>(tables: &Tables, key: &[u8], value: &'t [u8]) -> Result<Block<'t>, RowError> {
    let first = long_number(key, 0).ok_or_else(|| tables.block.damage(key, "its key is no sequence"))?;
    Ok(Block::new_trusted(GlobalSequence(first), value)?)
}

/// The row of `meta` that tells the first event that is still there; without it, that is event 0.
pub(in crate::store) const RETAINED_KEY: &[u8] = b"retained";

/// The most blocks that one transaction retires: 4 MiB of events.
pub(in crate::store) const STEP_BLOCKS_MAX: u64 = 64;

#[cfg(test)]
mod tests;

//! The index by time: when the events of each block happened, by the clocks that tell it.
//!
//! A row tells host times, not UTC: what a domain's clock maps to may be corrected at any time, and no row changes.
//! A block without a row is one that has to be looked into.

use heed::RwTxn;

use crate::GlobalSequence;
use crate::store::log::block::{Block, Origin, Run};
use crate::store::log::clock::{StoredMapping, mapping_key};
use crate::store::log::rows::Rows;
use crate::store::log::tables::{RowError, Tables, array, long_number};

/// When the events of some neighbours in the log happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct TimeRow {
    /// The first event.
    pub(in crate::store) first: GlobalSequence,
    /// How many events there are.
    pub(in crate::store) events: u32,
    /// For each domain by whose clock events happened, when the first and the last of them did.
    pub(in crate::store) spans: Vec<TimeSpan>,
}

/// Host times in a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct TimeSpan {
    /// The domain.
    pub(in crate::store) domain: u32,
    /// The first, in µs of the domain.
    pub(in crate::store) min: i64,
    /// The last.
    pub(in crate::store) max: i64,
}

impl TimeRow {
    /// The row of a block that was checked; `None` where it cannot be told without a key, or would be too long.
    pub(in crate::store) fn of(rows: Rows<'_>, block: &Block<'_>) -> Result<Option<Self>, RowError> {
        let mut row = Self { first: block.first(), events: block.len(), spans: Vec::new() };
        if block.is_quarantined() {
            return Ok(None);
        }
        for index in 0..block.runs() {
            let run = block.run(index)?;
            let span = match mapping(rows, &run)? {
                None => ingest_span(block),
                Some(_) if run.is_sealed() => return Ok(None),
                Some(mapping) => mapped_span(&run, &mapping),
            };
            row.add(span);
        }
        Ok((row.spans.len() <= SPANS_MAX).then_some(row))
    }

    /// Reads a row.
    pub(in crate::store) fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let first = long_number(key, 0).filter(|_| key.len() == 8).map(GlobalSequence)?;
        let events = array(value, 0).map(u32::from_le_bytes)?;
        let (spans, rest) = value.get(4..)?.as_chunks::<SPAN_LEN>();
        let span = |span: &[u8; SPAN_LEN]| {
            Some(TimeSpan {
                domain: array(span, 0).map(u32::from_le_bytes)?,
                min: array(span, 4).map(i64::from_le_bytes)?,
                max: array(span, 12).map(i64::from_le_bytes)?,
            })
        };
        let spans = spans.iter().map(span).collect::<Option<Vec<_>>>()?;
        (rest.is_empty() && spans.len() <= SPANS_MAX && first.0.checked_add(events.into()).is_some())
            .then_some(Self { first, events, spans })
    }

    /// The place after the last of its events.
    pub(in crate::store) fn end(&self) -> GlobalSequence {
        GlobalSequence(self.first.0.saturating_add(self.events.into()))
    }

    fn add(&mut self, span: TimeSpan) {
        match self.spans.iter_mut().find(|known| known.domain == span.domain) {
            Some(known) => (known.min, known.max) = (known.min.min(span.min), known.max.max(span.max)),
            None => self.spans.push(span),
        }
    }

    /// The row's value.
    pub(in crate::store) fn value(&self) -> Vec<u8> {
        let mut value = self.events.to_le_bytes().to_vec();
        for span in &self.spans {
            value.extend(span.domain.to_le_bytes());
            value.extend(span.min.to_le_bytes());
            value.extend(span.max.to_le_bytes());
        }
        value
    }
}

/// Writes the row of the block that stands at `first`, over that of one that it goes on with.
pub(in crate::store) fn put(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    first: GlobalSequence,
) -> Result<(), RowError> {
    let (Some(table), key) = (&tables.time, first.0.to_be_bytes()) else { return Ok(()) };
    let block = tables.block.get(txn, &key)?.expect("the block was put before");
    let block = Block::new_trusted(first, block)?;
    match TimeRow::of(Rows::new(tables, txn, None, None), &block)? {
        Some(row) => table.put(txn, &key, &row.value())?,
        None => remove(tables, txn, first)?,
    }
    Ok(())
}

/// Removes the row of a block that goes.
pub(in crate::store) fn remove(
    tables: &Tables,
    txn: &mut RwTxn<'_>,
    first: GlobalSequence,
) -> heed::Result<()> {
    if let Some(table) = &tables.time {
        table.delete(txn, &first.0.to_be_bytes())?;
    }
    Ok(())
}

/// What maps the ticks of a run; `None` where its events happened when they were taken in.
fn mapping(rows: Rows<'_>, run: &Run<'_>) -> Result<Option<StoredMapping>, RowError> {
    match run.origin() {
        Some(origin) if run.is_timed() => stored_mapping(rows, &origin),
        _ => Ok(None),
    }
}

/// How the ticks of events that come from `origin` map to the host's time; `None` before that was ever told.
pub(in crate::store) fn stored_mapping(
    rows: Rows<'_>,
    origin: &Origin,
) -> Result<Option<StoredMapping>, RowError> {
    let Origin { device, epoch, lane, first } = *origin;
    let clock = &rows.tables.clock;
    let wanted = mapping_key(device, epoch, lane, first);
    match rows.at_or_before(clock, &wanted)? {
        Some((key, value)) if key.len() == wanted.len() && key[..9] == wanted[..9] => {
            let mapping = StoredMapping::from_row(value);
            Ok(Some(mapping.ok_or_else(|| clock.damage(key, "it maps no ticks"))?))
        }
        _ => Ok(None),
    }
}

fn ingest_span(block: &Block<'_>) -> TimeSpan {
    let clamp = |host_us: u64| i64::try_from(host_us).unwrap_or(i64::MAX);
    TimeSpan { domain: block.domain(), min: clamp(block.ingest_min()), max: clamp(block.ingest_max()) }
}

fn mapped_span(run: &Run<'_>, mapping: &StoredMapping) -> TimeSpan {
    let mut span = TimeSpan { domain: mapping.domain, min: i64::MAX, max: i64::MIN };
    for ticks in run.ticks().take(run.count() as usize) {
        let host_us = mapping.host_us(ticks).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        (span.min, span.max) = (span.min.min(host_us), span.max.max(host_us));
    }
    span
}

/// The most domains that a row tells of. Events of so many boots of the host are seldom neighbours.
const SPANS_MAX: usize = 8;

const SPAN_LEN: usize = 20;

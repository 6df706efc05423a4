//! Which events happened between two times, and which blocks cannot hold any of them.

use std::collections::HashMap;
use std::ops::Range;

use crate::GlobalSequence;
use crate::store::error::ReadError;
use crate::store::log::block::Block;
use crate::store::log::clock::Domain;
use crate::store::log::time_index::{TimeRow, TimeSpan};
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;

/// Two times, and how the clocks map to them that were met so far.
pub(in crate::store) struct TimeFilter {
    utc_us: Range<i64>,
    domains: HashMap<u32, Domain>,
}

impl TimeFilter {
    /// The events within `utc_us`, in µs since 1970-01-01 UTC.
    pub(in crate::store) fn new(utc_us: Range<i64>) -> Self {
        Self { utc_us, domains: HashMap::new() }
    }

    /// Whether an event happened between the two.
    pub(in crate::store) fn takes(&self, event: &EventView<'_>) -> Result<bool, ReadError> {
        Ok(self.utc_us.contains(&event.time()?.utc_us))
    }

    /// Where the log goes on behind the block that begins at `first`, if the index alone tells that it holds no such
    /// event: by a row that tells of the whole block.
    pub(in crate::store) fn end_of_none(
        &mut self,
        snapshot: &Snapshot,
        first: GlobalSequence,
    ) -> Result<Option<GlobalSequence>, ReadError> {
        let Some(row) = snapshot.time_row(first)?.filter(|row| row.events > 0) else { return Ok(None) };
        let is_ruled_out = !self.may_take(snapshot, &row.spans)? && snapshot.is_boundary(row.end())?;
        Ok(is_ruled_out.then_some(row.end()))
    }

    /// Whether a block may hold such an event. One of the tail has no row.
    pub(in crate::store) fn may_be_in(
        &mut self,
        snapshot: &Snapshot,
        block: &Block<'_>,
    ) -> Result<bool, ReadError> {
        match TimeRow::of(snapshot.rows(), block)? {
            Some(row) => self.may_take(snapshot, &row.spans),
            None => Ok(true),
        }
    }

    fn may_take(&mut self, snapshot: &Snapshot, spans: &[TimeSpan]) -> Result<bool, ReadError> {
        for span in spans {
            let domain = match self.domains.get(&span.domain) {
                Some(domain) => *domain,
                None => *self.domains.entry(span.domain).or_insert(snapshot.domain(span.domain)?),
            };
            let utc_us = |host_us: i64| domain.time(host_us.into(), None).utc_us;
            if utc_us(span.min) < self.utc_us.end && utc_us(span.max) >= self.utc_us.start {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

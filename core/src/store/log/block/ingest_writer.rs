//! The ingest column in the making.

use std::io::{self, Write};
use std::iter;

use super::columns::{emit_varint, varint_len};
use super::writer::COUNT_LEN_MAX;
use crate::zigzag;

/// How many events came when.
#[derive(Debug, Default)]
pub(super) struct IngestWriter {
    /// A time, and how many events in a row came then.
    times: Vec<(u64, u32)>,
    /// What the column takes at most: the last count may still grow.
    len_max: usize,
}

impl IngestWriter {
    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.len_max = 0;
    }

    /// Adds `n` events, none or more.
    #[inline]
    pub(super) fn add(&mut self, time: u64, n: u32) {
        match self.times.last_mut() {
            Some((last, before)) if *last == time => *before += n,
            _ => self.add_time(time, n),
        }
    }

    fn add_time(&mut self, time: u64, n: u32) {
        self.len_max += match self.times.last() {
            Some(&(last, n)) => varint_len(n.into()) + varint_len(difference(last, time)),
            // It is told against the least of all, which is not known yet.
            None => TIME_LEN_MAX,
        };
        self.times.push((time, n));
    }

    /// What the column takes at most.
    pub(super) fn len_max(&self) -> usize {
        self.len_max
    }

    /// The least time and the greatest.
    pub(super) fn bounds(&self) -> (u64, u64) {
        let times = self.times.iter().map(|&(time, _)| time);
        (times.clone().min().unwrap_or(0), times.max().unwrap_or(0))
    }

    /// What the column takes; `min` is the least time.
    pub(super) fn len(&self, min: u64) -> usize {
        self.pairs(min).map(|(time, n)| varint_len(time) + varint_len(n)).sum()
    }

    /// Writes the column to `out`; `min` is the least time.
    pub(super) fn emit(&self, min: u64, out: &mut impl Write) -> io::Result<()> {
        for (time, n) in self.pairs(min) {
            emit_varint(time, out)?;
            emit_varint(n, out)?;
        }
        Ok(())
    }

    fn pairs(&self, min: u64) -> impl Iterator<Item = (u64, u64)> {
        let before = iter::once(min).chain(self.times.iter().map(|&(time, _)| time));
        before.zip(&self.times).map(|(before, &(time, n))| (difference(before, time), n.into()))
    }
}

fn difference(before: u64, time: u64) -> u64 {
    zigzag(time.wrapping_sub(before) as i64)
}

/// A time, and a count of events.
pub(super) const TIME_LEN_MAX: usize = crate::VARINT_LEN_MAX + COUNT_LEN_MAX;

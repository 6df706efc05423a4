//! The order column in the making.

use std::io::{self, Write};

use super::columns::{emit_varint, push_varint, varint_len};
use super::writer::COUNT_LEN_MAX;

/// Which run takes how many events in a row.
#[derive(Debug, Default)]
pub(super) struct OrderWriter {
    /// The pairs before the last.
    settled: Vec<u8>,
    run: usize,
    /// How many events the last pair has; 0: there is none.
    n: u32,
}

impl OrderWriter {
    pub(super) fn clear(&mut self) {
        self.settled.clear();
        self.n = 0;
    }

    /// Adds an event of a run.
    pub(super) fn add(&mut self, run: usize) {
        if self.n > 0 && self.run != run {
            push_varint(&mut self.settled, self.run as u64);
            push_varint(&mut self.settled, self.n.into());
            self.n = 0;
        }
        self.run = run;
        self.n += 1;
    }

    /// Adds `n` events of the run that took the last one, which takes no room.
    pub(super) fn repeat(&mut self, n: u32) {
        self.n += n;
    }

    /// What the column takes at most: the last count may still grow.
    pub(super) fn len_max(&self) -> usize {
        self.settled.len() + PAIR_LEN_MAX
    }

    /// What the column takes.
    pub(super) fn len(&self) -> usize {
        self.settled.len() + varint_len(self.run as u64) + varint_len(self.n.into())
    }

    /// Writes the column to `out`.
    pub(super) fn emit(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.settled)?;
        emit_varint(self.run as u64, out)?;
        emit_varint(self.n.into(), out)
    }
}

/// A pair of a run, of which a block has fewer than 2¹⁶, and a count of events.
const PAIR_LEN_MAX: usize = 3 + COUNT_LEN_MAX;

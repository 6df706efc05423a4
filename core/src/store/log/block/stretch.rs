//! A walk over a block in global order, a stretch at a time.

use super::{Block, IngestTimes, Pairs};
use crate::store::error::Damage;

/// Events that follow each other in the log and in their run, and were taken in at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The run.
    pub(crate) run: usize,
    /// How many events there are, 1 or more.
    pub(crate) len: u32,
    /// When the host took them in, in µs of the block's clock domain.
    pub(crate) ingest_us: u64,
}

/// The stretches of a block. They end with its events, or with the first damage.
pub(crate) struct Stretches<'a> {
    block: Block<'a>,
    order: Pairs<'a>,
    ingest: IngestTimes<'a>,
    /// The run whose turn it is, and for how many events more.
    turn: (usize, u32),
    /// The time that holds, and for how many events more.
    time: (u64, u32),
    /// How many events are to come.
    left: u32,
}

impl<'a> Stretches<'a> {
    pub(super) fn new(block: Block<'a>) -> Self {
        Self {
            block,
            order: block.order(),
            ingest: block.ingest_times(),
            turn: (0, 0),
            time: (0, 0),
            left: block.len(),
        }
    }

    #[inline(always)]
    fn advance(&mut self) -> Result<Stretch, Damage> {
        if self.turn.1 == 0 {
            self.turn = self.block.next_pair(&mut self.order)?;
        }
        if self.time.1 == 0 {
            let time = self.ingest.next();
            self.time = time.ok_or_else(|| self.block.damage("its ingest column breaks off"))?;
        }
        let len = self.turn.1.min(self.time.1).min(self.left);
        (self.turn.1, self.time.1, self.left) = (self.turn.1 - len, self.time.1 - len, self.left - len);
        Ok(Stretch { run: self.turn.0, len, ingest_us: self.time.0 })
    }
}

impl Iterator for Stretches<'_> {
    type Item = Result<Stretch, Damage>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let stretch = self.advance();
        if stretch.is_err() {
            self.left = 0;
        }
        Some(stretch)
    }
}

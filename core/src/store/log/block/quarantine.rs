//! A block that stands in for events that were lost to damage: it lists their runs, where these are known, and holds
//! no event.
//!
//! ```text
//! 0              64            64 + 16 × runs
//! ┌──────────────┬─────────────────────┐
//! │ header, 64 B │ runs, 16 bytes each │   run: stream 4 · first stream sequence 8 · count 4
//! └──────────────┴─────────────────────┘
//! ```

use super::writer::{put, seal};
use super::{BLOCK_LEN_MAX, Block, CODEC_QUARANTINED, MAGIC, VERSION, field};
use crate::store::error::Damage;
use crate::store::log::tables::array;
use crate::{GlobalSequence, StreamSequence};

/// Events of a stream that were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LostRun {
    /// The stream's number.
    pub(crate) stream: u32,
    /// The place of the first event in the stream.
    pub(crate) first: StreamSequence,
    /// How many events there are, not 0.
    pub(crate) count: u32,
}

/// The block that stands in for `events` events from `first` on, not 0, of which those of `runs` are known; at most
/// [`LOST_RUNS_MAX`] of them.
pub(crate) fn quarantined(first: GlobalSequence, events: u32, runs: &[LostRun]) -> Vec<u8> {
    let runs = &runs[..runs.len().min(LOST_RUNS_MAX)];
    let mut block = vec![0; field::RUNS];
    put(&mut block, field::MAGIC, &MAGIC);
    put(&mut block, field::VERSION, &VERSION.to_le_bytes());
    put(&mut block, field::CODEC, &CODEC_QUARANTINED.to_le_bytes());
    put(&mut block, field::FIRST, &first.0.to_le_bytes());
    put(&mut block, field::EVENTS, &events.to_le_bytes());
    put(&mut block, field::RUN_COUNT, &(runs.len() as u16).to_le_bytes());
    for run in runs {
        block.extend(run.stream.to_le_bytes());
        block.extend(run.first.0.to_le_bytes());
        block.extend(run.count.to_le_bytes());
    }
    seal(&mut block);
    block
}

impl Block<'_> {
    /// The lost run at `index`, where the block is a quarantined one.
    pub(super) fn lost_run(&self, index: usize) -> Result<LostRun, Damage> {
        let run = array::<LOST_RUN_LEN>(self.bytes, field::RUNS + index * LOST_RUN_LEN);
        let run = run.ok_or_else(|| self.damage("it lacks a run"))?;
        let number = |at: usize| u32::from_le_bytes([run[at], run[at + 1], run[at + 2], run[at + 3]]);
        let first = u64::from(number(4)) | u64::from(number(8)) << 32;
        Ok(LostRun { stream: number(0), first: StreamSequence(first), count: number(12) })
    }

    /// Checks what follows the header of a quarantined block, and that the header tells nothing of events.
    pub(super) fn check_lost_runs(&self) -> Result<(), &'static str> {
        let header = &self.header;
        if self.bytes.len() != field::RUNS + self.runs() * LOST_RUN_LEN {
            return Err("its length is not that of its runs");
        }
        if (header.ingest_min, header.ingest_max, header.domain) != (0, 0, 0)
            || (header.order_at, header.ingest_at) != (0, 0)
        {
            return Err("it tells of events that it does not hold");
        }
        let mut events = 0u64;
        for index in 0..self.runs() {
            let run = self.lost_run(index).map_err(|damage| damage.reason)?;
            if run.count == 0 || run.first.0.checked_add(run.count.into()).is_none() {
                return Err("a run's events are none, or too many");
            }
            events += u64::from(run.count);
        }
        if events <= header.events.into() { Ok(()) } else { Err("its runs have more events than it") }
    }
}

const LOST_RUN_LEN: usize = 16;

/// The most runs that a quarantined block lists: as many as a block of events can have.
pub(crate) const LOST_RUNS_MAX: usize = BLOCK_LEN_MAX / super::run::RUN_LEN;

const _: () = assert!(field::RUNS + LOST_RUNS_MAX * LOST_RUN_LEN <= BLOCK_LEN_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const RUNS: [LostRun; 2] = [
        LostRun { stream: 3, first: StreamSequence(0x0102_0304_0506_0708), count: 5 },
        LostRun { stream: 9, first: StreamSequence(0), count: 1 },
    ];

    #[test]
    fn a_quarantined_block_tells_its_range_and_its_runs_and_has_no_event() {
        let bytes = quarantined(GlobalSequence(40), 7, &RUNS);
        assert_eq!(bytes.len(), 64 + 2 * 16);
        let block = Block::new_checked(GlobalSequence(40), &bytes).unwrap();
        assert!(block.is_quarantined());
        assert_eq!(block.end().unwrap(), GlobalSequence(47));
        let rows = block.index_rows().unwrap();
        let told = rows.iter().map(|row| LostRun { stream: row.stream, first: row.first, count: row.count });
        assert_eq!(told.collect::<Vec<_>>(), RUNS);
        assert_eq!(rows[1].run, 1);
        assert!(block.run(0).is_err(), "a lost run has no bytes");
    }

    #[test]
    fn a_quarantined_block_of_unknown_runs_is_one() {
        let bytes = quarantined(GlobalSequence(0), u32::MAX, &[]);
        assert!(Block::new_checked(GlobalSequence(0), &bytes).unwrap().index_rows().unwrap().is_empty());
    }

    #[test]
    fn a_quarantined_block_that_contradicts_itself_is_damaged() {
        let check = |change: &dyn Fn(&mut Vec<u8>), reason: &str| {
            let mut bytes = quarantined(GlobalSequence(40), 7, &RUNS);
            change(&mut bytes);
            seal(&mut bytes);
            let found = Block::new_checked(GlobalSequence(40), &bytes).map(|_| ()).unwrap_err().reason;
            assert_eq!(found, reason);
        };
        check(&|block| block[field::EVENTS] = 5, "its runs have more events than it");
        check(&|block| block.truncate(64 + 16), "its length is not that of its runs");
        check(&|block| block[64 + 12] = 0, "a run's events are none, or too many");
        check(&|block| block[64 + 4..64 + 12].fill(0xff), "a run's events are none, or too many");
        check(&|block| block[field::DOMAIN] = 1, "it tells of events that it does not hold");
    }
}

//! What is missing from the log: ranges of lost events, and the runs that they belonged to.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::store::error::Damage;
use crate::store::log::block::{Block, LOST_RUNS_MAX, LostRun, quarantined};
use crate::store::log::run_index::RunIndex;
use crate::{GlobalSequence, StreamSequence};

/// Ranges of lost events, each as large as the block that was there where that is known.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// By the first event.
    holes: BTreeMap<u64, Hole>,
    /// The runs of blocks that were not found, by the block's first event, as the index has them.
    indexed: BTreeMap<u64, Vec<LostRun>>,
    /// The place of each stream's next event, and the block after which it is.
    streams: BTreeMap<u32, (u64, u64)>,
}

#[derive(Debug, Default)]
struct Hole {
    events: u32,
    runs: Vec<LostRun>,
}

impl Holes {
    /// Notes a run of a block that was not found.
    pub(super) fn note_run(&mut self, RunIndex { stream, first, block, count, .. }: RunIndex) {
        self.indexed.entry(block.0).or_default().push(LostRun { stream, first, count });
    }

    /// Notes that a stream begins at `next`: what came before is retired.
    pub(super) fn note_start(&mut self, stream: u32, next: StreamSequence) {
        self.streams.insert(stream, (next.0, 0));
    }

    /// Notes that the events of a range are lost: one hole for each block that the index knows of.
    pub(super) fn note_lost(&mut self, lost: Range<u64>) {
        let mut at = lost.start;
        while at < lost.end {
            let next = self.indexed.range(at + 1..lost.end).next().map_or(lost.end, |(&next, _)| next);
            let events = (next - at).min(u32::MAX.into()) as u32;
            let mut runs = self.indexed.remove(&at).unwrap_or_default();
            runs.truncate(LOST_RUNS_MAX);
            if events_of(&runs) > u64::from(events) {
                runs.clear();
            }
            runs.iter().for_each(|run| self.note_run_end(run, at));
            self.holes.insert(at, Hole { events, runs });
            at += u64::from(events);
        }
    }

    /// Where the last block ends that begins in a range, as far as the index knows.
    pub(super) fn indexed_end(&self, range: Range<u64>) -> Option<u64> {
        let ends = self.indexed.range(range).map(|(first, runs)| first.saturating_add(events_of(runs)));
        ends.max()
    }

    /// Goes on with a block that was found: where its streams have gaps before it, those events are in the holes since.
    pub(super) fn note_block(&mut self, block: &Block<'_>) -> Result<(), Damage> {
        let GlobalSequence(at) = block.first();
        for RunIndex { stream, first, count, .. } in block.index_rows()? {
            let run = LostRun { stream, first, count };
            let (next, since) = self.streams.get(&stream).copied().unwrap_or((0, 0));
            if first.0 > next {
                self.fill(stream, next..first.0, since..at);
            }
            self.note_run_end(&run, at);
        }
        Ok(())
    }

    /// The blocks that stand in for what is lost.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (GlobalSequence, Vec<u8>)> {
        self.holes.iter().map(|(&first, hole)| {
            let first = GlobalSequence(first);
            (first, quarantined(first, hole.events, &hole.runs))
        })
    }

    /// Gives a gap of a stream to the holes within `since`, as far as they have room for events of unknown runs.
    fn fill(&mut self, stream: u32, gap: Range<u64>, since: Range<u64>) {
        let mut next = gap.start;
        for hole in self.holes.range_mut(since).map(|(_, hole)| hole) {
            let room = u64::from(hole.events).saturating_sub(events_of(&hole.runs)).min(gap.end - next);
            if room > 0 && hole.runs.len() < LOST_RUNS_MAX {
                hole.runs.push(LostRun { stream, first: StreamSequence(next), count: room as u32 });
                next += room;
            }
        }
    }

    fn note_run_end(&mut self, run: &LostRun, at: u64) {
        let end = run.first.0.saturating_add(run.count.into());
        self.streams.insert(run.stream, (end, at));
    }
}

fn events_of(runs: &[LostRun]) -> u64 {
    runs.iter().map(|run| u64::from(run.count)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stream: u32, first: u64, count: u32) -> LostRun {
        LostRun { stream, first: StreamSequence(first), count }
    }

    fn index(block: u64, LostRun { stream, first, count }: LostRun) -> RunIndex {
        RunIndex { stream, first, block: GlobalSequence(block), run: 0, count }
    }

    /// Notes a block of which nothing but its runs matters.
    fn note(holes: &mut Holes, first: u64, events: u32, runs: &[LostRun]) {
        let bytes = quarantined(GlobalSequence(first), events, runs);
        holes.note_block(&Block::new_checked(GlobalSequence(first), &bytes).unwrap()).unwrap();
    }

    fn told(holes: &Holes) -> Vec<(u64, u32, Vec<LostRun>)> {
        let of = |(&first, hole): (&u64, &Hole)| (first, hole.events, hole.runs.clone());
        holes.holes.iter().map(of).collect()
    }

    #[test]
    fn the_index_tells_which_blocks_and_runs_a_hole_had() {
        let mut holes = Holes::default();
        holes.note_run(index(10, run(1, 10, 4)));
        holes.note_run(index(10, run(2, 0, 1)));
        holes.note_run(index(15, run(1, 14, 5)));
        assert_eq!((holes.indexed_end(0..99), holes.indexed_end(0..10)), (Some(20), None));
        holes.note_lost(10..20);
        assert_eq!(told(&holes), [(10, 5, vec![run(1, 10, 4), run(2, 0, 1)]), (15, 5, vec![run(1, 14, 5)])]);
    }

    #[test]
    fn gaps_of_streams_go_to_the_holes_between_their_runs() {
        let mut holes = Holes::default();
        note(&mut holes, 0, 10, &[run(1, 0, 6), run(2, 0, 4)]);
        holes.note_lost(10..20);
        note(&mut holes, 20, 5, &[run(1, 13, 5)]);
        holes.note_lost(25..30);
        note(&mut holes, 30, 5, &[run(2, 9, 5)]);
        let first = vec![run(1, 6, 7), run(2, 4, 3)];
        assert_eq!(told(&holes), [(10, 10, first), (25, 5, vec![run(2, 7, 2)])]);
    }

    #[test]
    fn runs_that_a_hole_cannot_have_had_are_not_believed() {
        let mut holes = Holes::default();
        holes.note_run(index(10, run(1, 10, 400)));
        holes.note_lost(10..20);
        assert_eq!(told(&holes), [(10, 10, vec![])]);
    }
}

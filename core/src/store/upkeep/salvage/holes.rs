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

    /// Sees to it that no event to come takes a place of a stream that a lost one may have had: behind all that is known of
    /// each of `streams`, there are as many such places as events of unknown runs in the holes since. One stream alone has
    /// them in these holes; for more there is no telling, and they get the blocks that are returned, at the log's `end`.
    pub(super) fn reserve(
        &mut self,
        streams: impl IntoIterator<Item = u32>,
        end: u64,
    ) -> Vec<(GlobalSequence, Vec<u8>)> {
        let room = self.room_from_each();
        let reserved: Vec<_> = streams
            .into_iter()
            .filter_map(|stream| {
                let (next, since) = self.streams.get(&stream).copied().unwrap_or((0, 0));
                let (_, &room) = room.range(since..).next().filter(|(_, room)| **room > 0)?;
                let count = room.min(u32::MAX.into()) as u32;
                Some((LostRun { stream, first: StreamSequence(next), count }, since))
            })
            .collect();
        match reserved.as_slice() {
            [(run, since)] => {
                let lost = run.first.0..run.first.0 + u64::from(run.count);
                self.fill(run.stream, lost, *since..end);
                Vec::new()
            }
            several => blocks_of(several.iter().map(|(run, _)| *run), end),
        }
    }

    /// How many events of unknown runs there are in each hole and those behind it.
    fn room_from_each(&self) -> BTreeMap<u64, u64> {
        let rooms = self.holes.iter().rev().scan(0_u64, |sum, (&first, hole)| {
            *sum = sum.saturating_add(hole.room());
            Some((first, *sum))
        });
        rooms.collect()
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
            let room = hole.room().min(gap.end - next);
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

impl Hole {
    /// How many of its events are of unknown runs.
    fn room(&self) -> u64 {
        u64::from(self.events).saturating_sub(events_of(&self.runs))
    }
}

/// Blocks of these runs alone, from `first` on.
fn blocks_of(runs: impl Iterator<Item = LostRun>, first: u64) -> Vec<(GlobalSequence, Vec<u8>)> {
    let (mut blocks, mut next, mut block) = (Vec::new(), first, Vec::new());
    let mut runs = runs.peekable();
    while let Some(run) = runs.next() {
        block.push(run);
        let events = events_of(&block);
        let has_room = |run: &LostRun| events + u64::from(run.count) <= u32::MAX.into();
        if block.len() == LOST_RUNS_MAX || !runs.peek().is_some_and(has_room) {
            let first = GlobalSequence(next);
            blocks.push((first, quarantined(first, events as u32, &block)));
            next += events;
            block.clear();
        }
    }
    blocks
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

    /// The runs of each block, by its first event and how many it has.
    fn runs_of(blocks: &[(GlobalSequence, Vec<u8>)]) -> Vec<(u64, u32, Vec<LostRun>)> {
        let of = |(first, bytes): &(GlobalSequence, Vec<u8>)| {
            let block = Block::new_checked(*first, bytes).unwrap();
            let lost = |RunIndex { stream, first, count, .. }| LostRun { stream, first, count };
            (first.0, block.len(), block.index_rows().unwrap().into_iter().map(lost).collect())
        };
        blocks.iter().map(of).collect()
    }

    #[test]
    fn the_places_of_lost_events_are_those_of_the_one_stream_that_can_have_had_them() {
        let mut holes = Holes::default();
        note(&mut holes, 0, 10, &[run(1, 0, 6), run(2, 0, 4)]);
        holes.note_lost(10..20);
        note(&mut holes, 20, 5, &[run(1, 16, 5)]);
        assert_eq!(holes.reserve([1, 2], 25), [], "all of the hole is the first stream's");
        holes.note_lost(25..28);
        assert_eq!(holes.reserve([1], 28), []);
        assert_eq!(told(&holes)[1], (25, 3, vec![run(1, 21, 3)]));
    }

    #[test]
    fn places_that_several_streams_can_have_had_stand_behind_the_log() {
        let mut holes = Holes::default();
        note(&mut holes, 0, 10, &[run(1, 0, 6), run(2, 0, 4)]);
        holes.note_lost(10..20);
        note(&mut holes, 20, 5, &[run(1, 9, 5)]);
        holes.note_lost(25..28);
        let reserved = runs_of(&holes.reserve([1, 2, 3], 28));
        assert_eq!(reserved, [(28, 23, vec![run(1, 14, 3), run(2, 4, 10), run(3, 0, 10)])]);
    }

    #[test]
    fn a_block_of_places_has_no_more_than_a_block_may_have() {
        let mut holes = Holes::default();
        holes.note_lost(0..2 * u64::from(u32::MAX));
        let streams = 1 + LOST_RUNS_MAX as u32;
        let blocks = runs_of(&holes.reserve([1, 2], 7));
        assert_eq!(
            blocks,
            [
                (7, u32::MAX, vec![run(1, 0, u32::MAX)]),
                (7 + u64::from(u32::MAX), u32::MAX, vec![run(2, 0, u32::MAX)])
            ]
        );
        let mut holes = Holes::default();
        holes.note_lost(0..1);
        let lens: Vec<_> =
            runs_of(&holes.reserve(0..streams, 1)).iter().map(|(_, events, _)| *events).collect();
        assert_eq!(lens, [LOST_RUNS_MAX as u32, 1]);
    }

    #[test]
    fn runs_that_a_hole_cannot_have_had_are_not_believed() {
        let mut holes = Holes::default();
        holes.note_run(index(10, run(1, 10, 400)));
        holes.note_lost(10..20);
        assert_eq!(told(&holes), [(10, 10, vec![])]);
    }
}

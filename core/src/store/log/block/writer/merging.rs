//! Takes blocks over into a larger one: event by event where [`BlockWriter::push_archived`] takes them, whole where that
//! is possible.

use super::{BlockWriter, LatestRun, PAIRS_LEN_PER_STRETCH_MAX, RunKey};
use crate::store::error::Damage;
use crate::store::log::block::arrivals::PAIR_LEN_MAX;
use crate::store::log::block::ingest_writer::TIME_LEN_MAX;
use crate::store::log::block::run::{RUN_LEN, Run};
use crate::store::log::block::{BLOCK_LEN_MAX, Block, Stretch};
use crate::{DeviceSequence, StreamSequence};

/// A run of a block that is taken over as it is: local events of one length.
struct AlikeRun<'a> {
    key: RunKey,
    first: StreamSequence,
    n: u32,
    stride: usize,
    bytes: &'a [u8],
}

impl BlockWriter {
    /// Tells that the runs which begin next are those of another block, which is merged into this one.
    pub(crate) fn begin_source(&mut self) {
        self.source += 1;
    }

    /// Tells that a run of that block begins with the next event of a key. It goes on with what other blocks had, in the run
    /// that is returned, if there is one. Where its own had some, it was split for a reason, which may be seen no more: there
    /// it stays split.
    pub(crate) fn begin_run_of_source(&mut self, key: &RunKey) -> LatestRun {
        let Some(index) = self.runs.latest(key.stream) else { return LatestRun::default() };
        let run = &mut self.runs[index];
        run.is_open &= run.source != self.source;
        run.source = self.source;
        if run.key == *key {
            LatestRun { block: self.number, run: index as u16 }
        } else {
            LatestRun::default()
        }
    }

    /// Takes over a block that follows, and follows [`BlockWriter::begin_source`], where nothing is to be decided event by
    /// event: its events are local, each as long as those that its run goes on with, and there is room for all. `false`
    /// where it is not so, and nothing has changed.
    pub(crate) fn merge(&mut self, block: &Block<'_>) -> Result<bool, Damage> {
        let Some(runs) = self.alike_runs(block)? else { return Ok(false) };
        self.left_min = 0;
        let indices: Vec<_> = runs.iter().map(|run| self.take_over_alike(run)).collect();
        for stretch in block.stretches() {
            let Stretch { run, len, ingest_us } = stretch?;
            self.arrivals.add_turn(indices[run], len);
            self.ingest.add(ingest_us, len);
        }
        self.events += block.len();
        Ok(true)
    }

    /// The runs of a block that can be taken over as they are; `None` where one cannot, or there is no room for all.
    fn alike_runs<'a>(&self, block: &Block<'a>) -> Result<Option<Vec<AlikeRun<'a>>>, Damage> {
        let (turns_max, times_max) = block.pairs_max();
        let mut len = self.len_bound() + turns_max * PAIR_LEN_MAX + times_max * TIME_LEN_MAX;
        let mut runs = Vec::with_capacity(block.runs());
        for index in 0..block.runs() {
            let run = block.run(index)?;
            let (key, first, n) = (RunKey::of(&run), run.first(), run.count());
            let (stride, bytes) = (run.stride(), run.body());
            let goes_on = self.run_of(&key, first);
            let is_alike = goes_on.is_none_or(|run| self.runs[run].is_strided_with(stride));
            len += RUN_LEN + bytes.len();
            if key.device != 0 || key.timed || key.sealed || stride == 0 || !is_alike || len > BLOCK_LEN_MAX {
                return Ok(None);
            }
            runs.push(AlikeRun { key, first, n, stride, bytes });
        }
        Ok(Some(runs))
    }

    /// Takes over the events of a run, but for their places in the log, and returns the index of the run that has them.
    fn take_over_alike(&mut self, run: &AlikeRun<'_>) -> usize {
        let &AlikeRun { ref key, first, n, stride, bytes } = run;
        let latest = self.begin_run_of_source(key);
        let goes_on =
            latest.block == self.number && self.runs[usize::from(latest.run)].add_alike(first, stride, n);
        let index = if goes_on {
            latest.run.into()
        } else {
            let index = self.runs.open(key, first, DeviceSequence(0), self.source);
            self.runs_len += RUN_LEN;
            self.runs[index].add(stride, n);
            index
        };
        self.runs_len += bytes.len();
        self.arrivals.spare(bytes.len()).copy_from_slice(bytes);
        self.arrivals.add_piece(index, n, bytes.len());
        index
    }

    /// Takes over the runs of a block that follows, each whole and closed, the sealed ones sealed; `false` where they do
    /// not fit, and nothing has changed.
    pub(crate) fn join(&mut self, block: &Block<'_>) -> Result<bool, Damage> {
        self.left_min = 0;
        let taken = self.len_bound() + joined_len_max(block)?;
        // A block alone has the length that it had.
        if self.events > 0 && taken > BLOCK_LEN_MAX {
            return Ok(false);
        }
        let runs: Vec<_> = (0..block.runs()).map(|index| block.run(index)).collect::<Result<_, _>>()?;
        let mut sources: Vec<_> = runs
            .iter()
            .map(|run| (self.open_joined(run), run.events().iter_range(0, run.count() as usize), run.ticks()))
            .collect();
        for stretch in block.stretches() {
            let Stretch { run, len, ingest_us } = stretch?;
            let (run, events, ticks) = &mut sources[run];
            let RunKey { timed, sealed, .. } = self.runs[*run].key;
            if sealed {
                self.place(*run, len, 0, ingest_us);
                continue;
            }
            for _ in 0..len {
                let event = events.next().ok_or_else(|| block.damage("it lacks an event"))?;
                let ticks = if timed { ticks.next() } else { Some(0) };
                self.arrivals.spare(event.len()).copy_from_slice(event);
                self.add(*run, event.len(), ticks.ok_or_else(|| block.damage("it lacks ticks"))?);
                self.place(*run, 1, event.len(), ingest_us);
            }
        }
        self.close_all_runs();
        Ok(true)
    }

    /// Begins a run that takes over one of another block. Of a sealed one it has the unit, all others are yet to get
    /// their events.
    fn open_joined(&mut self, run: &Run<'_>) -> usize {
        let device_first = run.origin().map_or(DeviceSequence(0), |origin| origin.first);
        let index = self.runs.open(&RunKey::of(run), run.first(), device_first, self.source);
        self.runs_len += RUN_LEN;
        if run.is_sealed() {
            self.runs_len += run.body().len();
            self.runs[index].take_unit(run, &mut self.units);
        }
        index
    }
}

/// What the runs of a block add to another at most.
fn joined_len_max(block: &Block<'_>) -> Result<usize, Damage> {
    let mut len = 0;
    for index in 0..block.runs() {
        let run = block.run(index)?;
        let ticks = run.ticks_column().map_err(|reason| block.damage(reason))?;
        len += RUN_LEN + run.body().len() + run.ends().len() + ticks.len();
    }
    for stretch in block.stretches() {
        stretch?;
        len += PAIRS_LEN_PER_STRETCH_MAX;
    }
    Ok(len)
}

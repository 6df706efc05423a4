//! Reads the whole log, in global order.

mod backward;

use std::fmt;
use std::sync::Arc;

use super::block::{Block, IngestTimes, Pairs, Run, Ticks};
use super::block_walk::BlockWalk;
use super::catalog::StreamRow;
use super::error::ReadError;
use super::event_view::{EventView, GlobalEvent};
use super::pinned::Pinned;
use super::snapshot::Snapshot;
use super::view::Store;
use crate::{DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};
pub use backward::{GlobalEventsBack, GlobalIterBack};

/// Reads events of all streams in global order. Clones are cheap, and each may go to a thread of its own.
#[derive(Clone)]
pub struct GlobalReader {
    store: Arc<Store>,
}

/// The log from a place on, as it was when it was asked for. Iterate over a reference.
#[derive(Debug)]
pub struct GlobalEvents {
    snapshot: Snapshot,
    from: GlobalSequence,
}

/// Iterates over the log in global order. In the place of an event that cannot be had it gives an error that
/// [is an absence](ReadError::is_absence), and goes on; after any other error it ends.
pub struct GlobalIter<'s> {
    snapshot: &'s Snapshot,
    blocks: Option<BlockWalk<'s>>,
    /// The next event must have this place: the log has no gaps.
    next: GlobalSequence,
    cursor: Option<BlockCursor<'s>>,
}

impl GlobalReader {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// A copy of the event at `global_seq`; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where it is damaged.
    pub fn get(&mut self, global_seq: GlobalSequence) -> Result<Option<GlobalEvent>, ReadError> {
        let snapshot = self.snapshot()?;
        let Some(block) = snapshot.block_at(global_seq)? else { return Ok(None) };
        let position = block.position(global_seq)?;
        let run = snapshot.open_run(&block, position.run)?;
        let payload = run.event(position.index).ok_or_else(|| block.damage("an event exceeds its run"))?;
        let stream = snapshot.stream_row(run.stream())?;
        Ok(Some(GlobalEvent {
            global_seq,
            stream_name: stream.name.into(),
            stream_id: stream.id,
            stream_seq: StreamSequence(run.first().0 + position.index as u64),
            payload: payload.to_vec(),
        }))
    }

    /// The bytes of the event at `global_seq`, borrowed from the map; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// [`ReadError::Corrupt`] where it is damaged.
    pub fn get_bytes(&mut self, global_seq: GlobalSequence) -> Result<Option<Pinned<'_, [u8]>>, ReadError> {
        Pinned::find(self.snapshot()?, |snapshot| {
            let Some(block) = snapshot.block_at(global_seq)? else { return Ok(None) };
            let position = block.position(global_seq)?;
            let bytes = snapshot.open_run(&block, position.run)?.event(position.index);
            Ok(Some(bytes.ok_or_else(|| block.damage("an event exceeds its run"))?))
        })
    }

    /// The events from `from` on.
    pub fn iter_from(&self, from: GlobalSequence) -> Result<GlobalEvents, ReadError> {
        Ok(GlobalEvents { snapshot: self.snapshot()?, from })
    }

    /// Waits for commits to the store, of whichever process.
    #[cfg(feature = "notify")]
    pub fn watcher(&self) -> super::watcher::WriteWatcher {
        self.store.watcher()
    }

    fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Snapshot::new(self.store.clone())
    }
}

impl GlobalEvents {
    /// Iterates over the events, borrowed from the map.
    pub fn iter(&self) -> Result<GlobalIter<'_>, ReadError> {
        self.snapshot.iter_from(self.from)
    }

    /// Copies every event.
    pub fn collect_all(self) -> Result<Vec<GlobalEvent>, ReadError> {
        self.iter()?.map(|event| event.map(|event| event.to_event())).collect()
    }
}

impl<'s> GlobalIter<'s> {
    pub(super) fn new(snapshot: &'s Snapshot, from: GlobalSequence) -> Result<Self, ReadError> {
        let Some(block) = snapshot.block_at(from)? else {
            return Ok(Self { snapshot, blocks: None, next: from, cursor: None });
        };
        let blocks = BlockWalk::new(snapshot, block.first())?;
        let mut iter = Self { snapshot, blocks: Some(blocks), next: block.first(), cursor: None };
        while iter.next < from && iter.step()?.is_some() {}
        Ok(iter)
    }

    fn advance(&mut self) -> Result<Option<EventView<'s>>, ReadError> {
        let global_seq = self.next;
        let Some(step) = self.step()? else { return Ok(None) };
        let Some(cursor) = &mut self.cursor else { return Ok(None) };
        cursor.view(self.snapshot, global_seq, step).map(Some)
    }

    /// Goes past the next event, in the next block if this one has ended.
    fn step(&mut self) -> Result<Option<Step>, ReadError> {
        loop {
            if let Some(cursor) = &mut self.cursor
                && let Some(step) = cursor.step()?
            {
                self.next.0 += 1;
                return Ok(Some(step));
            }
            let Some(block) = self.blocks.as_mut().and_then(Iterator::next) else { return Ok(None) };
            self.cursor = Some(BlockCursor::new(self.snapshot, block?)?);
        }
    }
}

impl<'s> Iterator for GlobalIter<'s> {
    type Item = Result<EventView<'s>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.advance();
        if event.as_ref().is_err_and(|error| !error.is_absence()) {
            (self.blocks, self.cursor) = (None, None);
        }
        event.transpose()
    }
}

impl fmt::Debug for GlobalReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalReader").finish_non_exhaustive()
    }
}

impl fmt::Debug for GlobalIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GlobalIter").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The place in a block: in the order column, in the ingest times, and in each run.
struct BlockCursor<'s> {
    block: Block<'s>,
    runs: Vec<RunCursor<'s>>,
    /// The lanes that the runs come from, and the place of the next event in each.
    lanes: Vec<(LaneKey, DeviceSequence)>,
    left: u32,
    order: Pairs<'s>,
    /// The run whose turn it is, and how many of its events come next.
    turn: (usize, u32),
    ingest: IngestTimes<'s>,
    /// A time, and how many of the events to come have it.
    time: (u64, u32),
}

/// The place in a run.
struct RunCursor<'s> {
    run: Run<'s>,
    stream: StreamRow<'s>,
    ticks: Ticks<'s>,
    next: usize,
    /// The run's lane, in the list of lanes.
    lane: usize,
}

/// An event that a cursor went past.
struct Step {
    run: usize,
    /// Its place in the run.
    index: usize,
    device_seq: DeviceSequence,
    /// `None` without ticks, and where the run is sealed.
    ticks: Option<u64>,
    ingest_us: u64,
}

/// A device's number, its epoch and its lane; that of this host's events is 0.
type LaneKey = (u32, Epoch, Lane);

impl<'s> BlockCursor<'s> {
    fn new(snapshot: &'s Snapshot, block: Block<'s>) -> Result<Self, ReadError> {
        let mut runs = Vec::with_capacity(block.runs());
        let mut lanes: Vec<(LaneKey, DeviceSequence)> = Vec::new();
        for index in 0..block.runs() {
            let run = block.run(index)?;
            let stream = snapshot.stream_row(run.stream())?;
            let key = run.origin().map_or((0, Epoch(0), Lane(0)), |run| (run.device, run.epoch, run.lane));
            let lane = lanes.iter().position(|&(other, _)| other == key).unwrap_or(lanes.len());
            if lane == lanes.len() {
                lanes.push((key, DeviceSequence(0)));
            }
            runs.push(RunCursor { run, stream, ticks: run.ticks(), next: 0, lane });
        }
        Ok(Self {
            block,
            runs,
            lanes,
            left: block.len(),
            order: block.order(),
            turn: (0, 0),
            ingest: block.ingest_times(),
            time: (0, 0),
        })
    }

    /// Goes past the next event; `None` after the last.
    fn step(&mut self) -> Result<Option<Step>, ReadError> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.turn.1 == 0 {
            self.turn = self.block.next_pair(&mut self.order)?;
        }
        if self.time.1 == 0 {
            self.time =
                self.ingest.next().ok_or_else(|| self.block.damage("its ingest column breaks off"))?;
        }
        (self.left, self.turn.1, self.time.1) = (self.left - 1, self.turn.1 - 1, self.time.1 - 1);
        let run = self.turn.0;
        let cursor = &mut self.runs[run];
        let index = cursor.next;
        cursor.next += 1;
        let lane_next = &mut self.lanes[cursor.lane].1;
        let device_seq = match cursor.run.origin() {
            Some(origin) if index == 0 => origin.first,
            _ => *lane_next,
        };
        *lane_next = DeviceSequence(device_seq.0.wrapping_add(1));
        let ticks = cursor.next_ticks();
        Ok(Some(Step { run, index, device_seq, ticks, ingest_us: self.time.0 }))
    }

    /// The event that was gone past last, whose place is `global_seq`. Its run is opened where it is sealed.
    fn view(
        &mut self,
        snapshot: &'s Snapshot,
        global_seq: GlobalSequence,
        step: Step,
    ) -> Result<EventView<'s>, ReadError> {
        let Step { run, index, device_seq, mut ticks, ingest_us } = step;
        let cursor = &mut self.runs[run];
        if cursor.run.is_sealed() {
            cursor.run = snapshot.open_run(&self.block, run)?;
            cursor.ticks = cursor.run.ticks();
            ticks = (0..=index).filter_map(|_| cursor.next_ticks()).last();
        }
        let run = &cursor.run;
        let payload =
            run.event(index).ok_or_else(|| self.block.damage("its order column overdraws a run"))?;
        if run.is_timed() && ticks.is_none() {
            return Err(self.block.damage("a run's ticks break off").into());
        }
        Ok(EventView {
            global_seq,
            stream_name: cursor.stream.name,
            stream_id: cursor.stream.id,
            stream_seq: StreamSequence(run.first().0 + index as u64),
            payload,
            snapshot,
            descriptor: run.descriptor(),
            origin: run.origin(),
            device_seq,
            ticks,
            ingest_us,
            domain: self.block.domain(),
        })
    }
}

impl RunCursor<'_> {
    /// The ticks of the next event, if they can be told.
    fn next_ticks(&mut self) -> Option<u64> {
        if self.run.is_timed() { self.ticks.next() } else { None }
    }
}

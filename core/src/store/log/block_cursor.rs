//! A walk over the events of a block in global order, with all that its columns tell of them.

use crate::store::error::{Damage, ReadError};
use crate::store::log::block::{Block, IngestTimes, Pairs, Run, Ticks};
use crate::store::log::catalog::StreamRow;
use crate::store::read::event_view::EventView;
use crate::store::read::snapshot::Snapshot;
use crate::{DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};

/// The place in a block: in the order column, in the ingest times, and in each run.
pub(in crate::store) struct BlockCursor<'s> {
    block: Block<'s>,
    runs: Vec<RunCursor<'s>>,
    /// The lanes that the runs come from, and the place of the next event in each.
    lanes: Vec<(LaneKey, DeviceSequence)>,
    /// The place of the event to come.
    next: GlobalSequence,
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
    /// The stream, once an event of it was asked for.
    stream: Option<StreamRow<'s>>,
    ticks: Ticks<'s>,
    /// The ticks of the event before; `None` where they are sealed.
    tick: Option<u64>,
    next: usize,
    /// The run's lane, in the list of lanes.
    lane: usize,
}

/// A device's number, its epoch and its lane; that of this host's events is 0.
type LaneKey = (u32, Epoch, Lane);

impl<'s> BlockCursor<'s> {
    /// The walk over the events before `end` of a block that was checked.
    pub(in crate::store) fn new(block: Block<'s>, end: GlobalSequence) -> Result<Self, Damage> {
        let mut runs = Vec::with_capacity(block.runs());
        let mut lanes: Vec<(LaneKey, DeviceSequence)> = Vec::new();
        for index in 0..block.runs() {
            let run = block.run(index)?;
            let key = run.origin().map_or((0, Epoch(0), Lane(0)), |run| (run.device, run.epoch, run.lane));
            let lane = lanes.iter().position(|&(other, _)| other == key).unwrap_or(lanes.len());
            if lane == lanes.len() {
                lanes.push((key, DeviceSequence(0)));
            }
            runs.push(RunCursor { run, stream: None, ticks: run.ticks(), tick: None, next: 0, lane });
        }
        let left = u32::try_from(end.0.saturating_sub(block.first().0)).unwrap_or(u32::MAX);
        Ok(Self {
            block,
            runs,
            lanes,
            next: block.first(),
            left: left.min(block.len()),
            order: block.order(),
            turn: (0, 0),
            ingest: block.ingest_times(),
            time: (0, 0),
        })
    }

    /// The block.
    pub(in crate::store) fn block(&self) -> &Block<'s> {
        &self.block
    }

    /// The place of the event to come, or the end of the walk.
    pub(in crate::store) fn next_place(&self) -> GlobalSequence {
        self.next
    }

    /// The stream whose turn it is, and for how many events; `None` after the last.
    pub(in crate::store) fn turn(&mut self) -> Result<Option<(u32, u32)>, Damage> {
        if self.left == 0 {
            return Ok(None);
        }
        self.begin_stretch()?;
        let (run, len) = self.turn;
        Ok(Some((self.runs[run].run.stream(), len.min(self.left))))
    }

    /// The next event, or `None` after the last. Its run is opened where it is sealed; where that is an error, it stands
    /// for all events whose turn it is, and the next event is the one behind them.
    pub(in crate::store) fn next(
        &mut self,
        snapshot: &'s Snapshot,
    ) -> Result<Option<EventView<'s>>, ReadError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.begin_stretch()?;
        let (place, global_seq, ingest_us) = (self.turn.0, self.next, self.time.0);
        let index = self.runs[place].next;
        let device_seq = self.pass(1)?;
        if self.runs[place].run.is_sealed() {
            match snapshot.open_run(&self.block, place) {
                Ok(run) => self.runs[place].open(run),
                Err(error) => {
                    self.skip(self.turn.1.into())?;
                    let len = self.next.0 - global_seq.0;
                    return Err(error.of_stretch(global_seq, index as u64, len));
                }
            }
        }
        let cursor = &mut self.runs[place];
        let (run, stream) = (cursor.run, cursor.stream(snapshot)?);
        let payload =
            run.event(index).ok_or_else(|| self.block.damage("its order column overdraws a run"))?;
        Ok(Some(EventView {
            global_seq,
            stream_name: stream.name,
            stream_id: stream.id,
            stream_seq: StreamSequence(run.first().0 + index as u64),
            payload,
            snapshot,
            descriptor: run.descriptor(),
            origin: run.origin(),
            device_seq,
            ticks: cursor.tick,
            ingest_us,
            domain: self.block.domain(),
        }))
    }

    /// Passes over the next `n` events, or all that are left.
    pub(in crate::store) fn skip(&mut self, n: u64) -> Result<(), Damage> {
        let mut n = u32::try_from(n).unwrap_or(u32::MAX).min(self.left);
        while n > 0 {
            self.begin_stretch()?;
            let len = n.min(self.turn.1).min(self.time.1);
            self.pass(len)?;
            n -= len;
        }
        Ok(())
    }

    /// Takes up the next turn and the next time where the last one is used up.
    fn begin_stretch(&mut self) -> Result<(), Damage> {
        if self.turn.1 == 0 {
            self.turn = self.block.next_pair(&mut self.order)?;
        }
        if self.time.1 == 0 {
            let time = self.ingest.next();
            self.time = time.ok_or_else(|| self.block.damage("its ingest column breaks off"))?;
        }
        Ok(())
    }

    /// Passes over `len` events of one turn and one time, and returns the place of the first of them in its lane.
    fn pass(&mut self, len: u32) -> Result<DeviceSequence, Damage> {
        let cursor = &mut self.runs[self.turn.0];
        let lane_next = &mut self.lanes[cursor.lane].1;
        let device_seq = match cursor.run.origin() {
            Some(origin) if cursor.next == 0 => origin.first,
            _ => *lane_next,
        };
        *lane_next = DeviceSequence(device_seq.0.wrapping_add(len.into()));
        cursor.next += len as usize;
        if cursor.run.is_timed() && !cursor.run.is_sealed() {
            cursor.tick = cursor.ticks.nth(len as usize - 1);
            cursor.tick.ok_or_else(|| self.block.damage("a run's ticks break off"))?;
        }
        self.next = GlobalSequence(self.next.0.saturating_add(len.into()));
        (self.left, self.turn.1, self.time.1) = (self.left - len, self.turn.1 - len, self.time.1 - len);
        Ok(device_seq)
    }
}

impl<'s> RunCursor<'s> {
    /// Takes the place of the sealed run, of which an event was passed: `run` is the same, opened.
    fn open(&mut self, run: Run<'s>) {
        (self.run, self.ticks) = (run, run.ticks());
        if run.is_timed() {
            self.tick = self.ticks.nth(self.next - 1);
        }
    }

    fn stream(&mut self, snapshot: &'s Snapshot) -> Result<StreamRow<'s>, ReadError> {
        match self.stream {
            Some(stream) => Ok(stream),
            None => Ok(*self.stream.insert(snapshot.stream_row(self.run.stream())?)),
        }
    }
}

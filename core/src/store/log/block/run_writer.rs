//! A run in the making, and those of a block.

use std::ops::{Deref, DerefMut};

use super::columns::{TickState, push_varint};
#[cfg(any(test, feature = "encryption"))]
use super::run::shape;
use super::run::{END_LEN, Origin, Run};
#[cfg(any(test, feature = "encryption"))]
use super::sealed_run::{SealedRun, UNIT_FRONT_LEN, UNIT_OVERHEAD};
use super::writer::{EventMeta, PushError, RunKey};
use crate::{ArchiveError, DeviceSequence, Epoch, Lane, StreamSequence};

/// The runs of a block in the making. Those of the blocks before are kept behind them, so that their buffers are used
/// again.
#[derive(Debug, Default)]
pub(super) struct RunWriters {
    all: Vec<RunWriter>,
    len: usize,
    /// The bytes that the buffers of those behind `len` hold.
    spare_len: usize,
}

impl RunWriters {
    /// Begins another block, and keeps buffers of up to [`SPARE_LEN_MAX`].
    pub(super) fn clear(&mut self) {
        self.spare_len += self.iter().map(RunWriter::capacity).sum::<usize>();
        self.len = 0;
        while self.spare_len > SPARE_LEN_MAX {
            self.spare_len -= self.all.pop().map_or(self.spare_len, |run| run.capacity());
        }
    }

    /// Adds a run that is yet to begin, and returns its index.
    pub(super) fn add(&mut self) -> usize {
        match self.all.get(self.len) {
            Some(run) => self.spare_len -= run.capacity(),
            None => self.all.push(RunWriter::new()),
        }
        self.len += 1;
        self.len - 1
    }

    /// Forgets the last run.
    pub(super) fn pop(&mut self) {
        self.len -= 1;
        self.spare_len += self.all[self.len].capacity();
    }
}

impl Deref for RunWriters {
    type Target = [RunWriter];

    fn deref(&self) -> &[RunWriter] {
        &self.all[..self.len]
    }
}

impl DerefMut for RunWriters {
    fn deref_mut(&mut self) -> &mut [RunWriter] {
        &mut self.all[..self.len]
    }
}

/// A run in the making.
#[derive(Debug)]
pub(super) struct RunWriter {
    pub(super) key: RunKey,
    pub(super) first: StreamSequence,
    device_first: DeviceSequence,
    pub(super) count: u32,
    /// Whether it may grow.
    pub(super) is_open: bool,
    /// The run that took the event after its last one: perhaps this one. Any, before it is known.
    pub(super) then: usize,
    /// The events, then room that was zeroed once.
    events: Vec<u8>,
    events_len: usize,
    /// The length of every event, while they have one.
    pub(super) stride: Option<usize>,
    /// The end of every event, once their lengths differ.
    pub(super) ends: Vec<u16>,
    pub(super) ticks: Vec<u8>,
    tick_state: TickState,
    /// What stands for events and columns once they are sealed.
    pub(super) unit: Vec<u8>,
}

impl RunWriter {
    fn new() -> Self {
        Self {
            key: RunKey {
                stream: 0,
                descriptor: 0,
                device: 0,
                epoch: Epoch(0),
                lane: Lane(0),
                timed: false,
                sealed: false,
            },
            first: StreamSequence(0),
            device_first: DeviceSequence(0),
            count: 0,
            is_open: false,
            then: 0,
            events: Vec::new(),
            events_len: 0,
            stride: None,
            ends: Vec::new(),
            ticks: Vec::new(),
            tick_state: TickState::default(),
            unit: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, key: RunKey, meta: &EventMeta) {
        self.key = key;
        self.first = meta.stream_seq;
        self.device_first = meta.device_seq;
        self.count = 0;
        self.is_open = true;
        self.then = 0;
        self.events_len = 0;
        self.stride = None;
        self.ends.clear();
        self.ticks.clear();
        self.tick_state = TickState::default();
        self.unit.clear();
    }

    /// Takes over a run of a block as it is.
    pub(super) fn copy(&mut self, run: &Run<'_>) -> Result<(), &'static str> {
        let device_seq = run.origin().map_or(DeviceSequence(0), |origin| origin.first);
        self.begin(
            RunKey::of(run),
            &EventMeta { stream_seq: run.first(), device_seq, ticks: 0, ingest_us: 0 },
        );
        self.count = run.count();
        self.stride = (run.stride() > 0).then_some(run.stride());
        if run.is_sealed() {
            self.unit.extend_from_slice(run.body());
            return Ok(());
        }
        self.spare(run.body().len()).copy_from_slice(run.body());
        self.events_len = run.body().len();
        let ends = run.ends().chunks_exact(END_LEN).map(|end| u16::from_le_bytes([end[0], end[1]]));
        self.ends.extend(ends);
        self.ticks.extend_from_slice(run.ticks_column()?);
        Ok(())
    }

    /// Makes the unit of a run that is to be sealed, and wipes what it holds plain.
    #[cfg(any(test, feature = "encryption"))]
    pub(super) fn seal<E>(
        &mut self,
        seal: &mut impl FnMut(&RunKey, &SealedRun, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { key, first, count, .. } = *self;
        let shape = shape(self.stride.unwrap_or(0), key.lane, key.timed, true);
        self.unit.resize(UNIT_FRONT_LEN, 0);
        self.ends.iter().for_each(|end| self.unit.extend_from_slice(&end.to_le_bytes()));
        self.unit.extend_from_slice(&self.events[..self.events_len]);
        self.unit.extend_from_slice(&self.ticks);
        let len = self.unit.len() - UNIT_FRONT_LEN + UNIT_OVERHEAD;
        let sealed = seal(&key, &SealedRun { first, count, shape, origin: self.origin() }, &mut self.unit);
        if sealed.is_ok() {
            assert_eq!(self.unit.len(), len, "a unit has the length that was counted");
        } else {
            self.unit.fill(0);
            self.unit.clear();
        }
        self.events[..self.events_len].fill(0);
        sealed
    }

    /// Whether it may be written: what is to be sealed is.
    pub(super) fn is_ready(&self) -> bool {
        self.key.sealed != self.unit.is_empty()
    }

    /// What stands where its events do.
    pub(super) fn events(&self) -> &[u8] {
        if self.unit.is_empty() { &self.events[..self.events_len] } else { &self.unit }
    }

    /// Whether it takes the event at `next` of a stream, as its next one.
    pub(super) fn takes(&self, key: &RunKey, next: StreamSequence) -> bool {
        self.is_open && self.first.0 + u64::from(self.count) == next.0 && self.key == *key
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        let RunKey { device, epoch, lane, .. } = self.key;
        (device != 0).then_some(Origin { device, epoch, lane, first: self.device_first })
    }

    /// The bytes of its columns, which are in the unit of a sealed run.
    pub(super) fn columns_len(&self) -> usize {
        if self.unit.is_empty() { self.ends.len() * END_LEN + self.ticks.len() } else { 0 }
    }

    /// Archives an event into at most `room` bytes and returns how many bytes the run has grown by, which are at
    /// most `grow_max` beside the columns of this event.
    pub(super) fn push(
        &mut self,
        ticks: u64,
        room: usize,
        grow_max: usize,
        archive: impl FnOnce(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<usize, PushError> {
        let len = archive(self.spare(room)).map_err(PushError::Archive)?;
        assert!(len <= room, "an archived event stays in its slice");
        let columns_len = self.columns_len();
        let is_strided = if self.count == 0 { len > 0 } else { self.stride == Some(len) };
        if !is_strided {
            let missing = self.count as usize - self.ends.len();
            if missing * END_LEN + len > grow_max {
                return Err(PushError::Full);
            }
            self.give_up_stride();
            self.ends.push((self.events_len + len) as u16);
        } else if self.count == 0 {
            self.stride = Some(len);
        }
        if self.key.timed {
            let (value, state) = self.tick_state.encode(ticks);
            push_varint(&mut self.ticks, value);
            self.tick_state = state;
        }
        self.events_len += len;
        self.count += 1;
        Ok(len + self.columns_len() - columns_len)
    }

    /// Archives further events, as long as each goes into what is left of `room` and does not end the run's stride.
    /// Returns how many it took, and by how many bytes the run has grown.
    pub(super) fn extend<E>(
        &mut self,
        room: usize,
        len_max: usize,
        events: &[E],
        mut archive: impl FnMut(&E, &mut [u8]) -> Result<usize, ArchiveError>,
    ) -> (u32, usize) {
        self.spare(room.min(len_max.saturating_mul(events.len())));
        let (stride, end_len) = (self.stride, if self.stride.is_some() { 0 } else { END_LEN });
        let (mut end, mut left, mut added) = (self.events_len, room, 0);
        for event in events {
            let out = &mut self.events[end..][..left.min(len_max)];
            let Ok(len) = archive(event, out) else { break };
            if stride.is_some_and(|stride| stride != len) || left < len + end_len {
                break;
            }
            end += len;
            left -= len + end_len;
            added += 1;
            if stride.is_none() {
                self.ends.push(end as u16);
            }
        }
        self.events_len = end;
        self.count += added;
        (added, room - left)
    }

    /// How many bytes it holds, used or not.
    fn capacity(&self) -> usize {
        size_of::<Self>()
            + self.events.capacity()
            + self.ends.capacity() * END_LEN
            + self.ticks.capacity()
            + self.unit.capacity()
    }

    /// Room for an event behind those there are.
    fn spare(&mut self, room: usize) -> &mut [u8] {
        let end = self.events_len + room;
        if self.events.len() < end {
            self.events.resize(end.next_power_of_two(), 0);
        }
        &mut self.events[self.events_len..end]
    }

    /// Lists the ends of the events so far, which had one length.
    fn give_up_stride(&mut self) {
        if let Some(stride) = self.stride.take() {
            self.ends.extend((1..=self.count as usize).map(|events| (events * stride) as u16));
        }
    }
}

/// How many bytes of runs' buffers are kept for later blocks: those of several large runs, or of all the small runs of
/// one block.
const SPARE_LEN_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_kept_up_to_the_bound() {
        let mut runs = RunWriters::default();
        for round in 1..40 {
            for _ in 0..round {
                let index = runs.add();
                runs[index].spare(1024 * round * (1 + index % 3));
            }
            runs.pop();
            runs.clear();
            assert_eq!(runs.len(), 0);
            let kept = runs.all.iter().map(RunWriter::capacity).sum::<usize>();
            assert_eq!(runs.spare_len, kept, "round {round}");
            assert!(kept <= SPARE_LEN_MAX, "round {round}");
        }
        assert!(runs.spare_len > SPARE_LEN_MAX / 2, "and none is given up without need");
    }
}

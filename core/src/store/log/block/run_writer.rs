//! A run in the making, and those of a block.

use std::ops::{Deref, DerefMut, Range};

use super::arrivals::RunRoom;
use super::columns::{TickState, varint_len};
#[cfg(any(test, feature = "encryption"))]
use super::run::shape;
use super::run::{END_LEN, Origin, Run, RunHeader};
#[cfg(any(test, feature = "encryption"))]
use super::sealed_run::{SealedRun, UNIT_FRONT_LEN, UNIT_OVERHEAD};
use super::writer::RunKey;
#[cfg(any(test, feature = "encryption"))]
use super::writer::wipe;
use crate::{DeviceSequence, StreamSequence};

/// The runs of a block in the making.
#[derive(Debug)]
pub(super) struct RunWriters {
    runs: Vec<RunWriter>,
    /// The last run of the streams of a number modulo [`PLACES`]: one of an earlier block, where that is no run of such a
    /// stream.
    latest: Box<[u16]>,
}

/// A run in the making. [`Arrivals`](super::arrivals::Arrivals) have its events.
#[derive(Debug)]
pub(super) struct RunWriter {
    pub(super) key: RunKey,
    pub(super) first: StreamSequence,
    device_first: DeviceSequence,
    pub(super) count: u32,
    /// Whether it may grow.
    pub(super) is_open: bool,
    /// The merged block that the last event came from.
    pub(super) source: u64,
    /// The length of the first event, and how many of the first ones have it.
    first_len: usize,
    strided: u32,
    events_len: usize,
    /// What its column of ticks takes.
    ticks_len: usize,
    tick_state: TickState,
    /// Where among the units that stands which stands for events and columns, once they are sealed.
    pub(super) unit: Range<usize>,
    /// What `latest` told before.
    before: u16,
}

impl RunWriters {
    pub(super) fn new() -> Self {
        Self { runs: Vec::new(), latest: vec![NO_RUN; PLACES].into() }
    }

    pub(super) fn clear(&mut self) {
        self.runs.clear();
    }

    /// The last run of a stream: the only one that may take its next event.
    #[inline]
    pub(super) fn latest(&self, stream: u32) -> Option<usize> {
        let place = place_of(stream);
        let mut index = self.latest[place];
        loop {
            let run = self.runs.get(usize::from(index)).filter(|run| place_of(run.key.stream) == place)?;
            if run.key.stream == stream {
                return Some(index.into());
            }
            index = run.before;
        }
    }

    /// Begins a run and returns its index.
    pub(super) fn open(
        &mut self,
        key: &RunKey,
        first: StreamSequence,
        device_first: DeviceSequence,
        source: u64,
    ) -> usize {
        let index = self.runs.len() as u16;
        let before = std::mem::replace(&mut self.latest[place_of(key.stream)], index);
        self.runs.push(RunWriter {
            key: *key,
            first,
            device_first,
            count: 0,
            is_open: true,
            source,
            first_len: 0,
            strided: 0,
            events_len: 0,
            ticks_len: 0,
            tick_state: TickState::default(),
            unit: 0..0,
            // One of an earlier block may be the number of a later run of this one, which is not before it.
            before: if before < index { before } else { NO_RUN },
        });
        index.into()
    }
}

impl Deref for RunWriters {
    type Target = [RunWriter];

    fn deref(&self) -> &[RunWriter] {
        &self.runs
    }
}

impl DerefMut for RunWriters {
    fn deref_mut(&mut self) -> &mut [RunWriter] {
        &mut self.runs
    }
}

impl RunWriter {
    /// Whether it takes the event of a key that has this place in its stream.
    #[inline]
    pub(super) fn takes(&self, key: &RunKey, stream_seq: StreamSequence) -> bool {
        self.goes_on_at(stream_seq) && self.key == *key
    }

    /// Whether it takes an event of its key that has this place in the stream.
    #[inline]
    pub(super) fn goes_on_at(&self, stream_seq: StreamSequence) -> bool {
        self.is_open && self.first.0 + u64::from(self.count) == stream_seq.0
    }

    /// Whether events of `len` bytes leave it with one length.
    #[inline]
    pub(super) fn is_strided_with(&self, len: usize) -> bool {
        self.strided == self.count && (self.first_len == len || self.count == 0)
    }

    /// By how much the ends of the events so far make it longer where one of `len` bytes follows.
    #[inline]
    pub(super) fn ends_owed(&self, len: usize) -> usize {
        if self.is_strided_with(len) || self.stride() == 0 { 0 } else { self.count as usize * END_LEN }
    }

    /// Adds `n` events of `len` bytes each, if it takes the one that has this place in its stream, and so far all have that
    /// length and no ticks: then it grows by their bytes alone.
    #[inline]
    pub(super) fn add_alike(&mut self, stream_seq: StreamSequence, len: usize, n: u32) -> bool {
        let is_alike = self.goes_on_at(stream_seq)
            && self.strided == self.count
            && self.first_len == len
            && len > 0
            && !self.key.timed;
        if is_alike {
            self.strided += n;
            self.count += n;
            self.events_len += len * n as usize;
        }
        is_alike
    }

    /// Adds `n` events of `len` bytes each, and returns by how many bytes it has grown.
    #[inline]
    pub(super) fn add(&mut self, len: usize, n: u32) -> usize {
        let grown = len * n as usize;
        self.events_len += grown;
        if self.is_strided_with(len) {
            self.first_len = len;
            self.strided += n;
            self.count += n;
            return if len == 0 { n as usize * END_LEN } else { grown };
        }
        let owed = self.ends_owed(len);
        self.count += n;
        grown + owed + n as usize * END_LEN
    }

    /// Adds the ticks of the last event, and returns by how many bytes it has grown.
    pub(super) fn add_ticks(&mut self, ticks: u64) -> usize {
        let (value, state) = self.tick_state.encode(ticks);
        self.tick_state = state;
        self.ticks_len += varint_len(value);
        varint_len(value)
    }

    /// Takes over what a sealed run of a block holds, and its unit behind `units`.
    pub(super) fn take_unit(&mut self, run: &Run<'_>, units: &mut Vec<u8>) {
        self.count = run.count();
        (self.first_len, self.strided) = (run.stride(), run.count());
        self.unit = units.len()..units.len() + run.body().len();
        units.extend_from_slice(run.body());
    }

    /// Makes the unit of a run that is to be sealed from its plain columns and events, and puts it behind `units`.
    #[cfg(any(test, feature = "encryption"))]
    pub(super) fn seal<E>(
        &mut self,
        plain: &[u8],
        units: &mut Vec<u8>,
        seal: &mut impl FnMut(&RunKey, &SealedRun, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { key, first, count, .. } = *self;
        let shape = shape(self.stride(), key.lane, key.timed, true);
        let len = plain.len() + UNIT_OVERHEAD;
        let mut unit = Vec::with_capacity(len);
        unit.resize(UNIT_FRONT_LEN, 0);
        unit.extend_from_slice(plain);
        let sealed = seal(&key, &SealedRun { first, count, shape, origin: self.origin() }, &mut unit);
        if sealed.is_ok() {
            assert_eq!(unit.len(), len, "a unit has the length that was counted");
            self.unit = units.len()..units.len() + len;
            units.extend_from_slice(&unit);
        } else {
            wipe(&mut unit);
        }
        sealed
    }

    /// Its header, where its events and columns are to stand there.
    #[inline]
    pub(super) fn header(&self, events_at: usize, columns_at: usize) -> RunHeader {
        RunHeader {
            stream: self.key.stream,
            descriptor: self.key.descriptor,
            first: self.first,
            count: self.count,
            stride: self.stride(),
            timed: self.key.timed,
            sealed: self.key.sealed,
            origin: self.origin(),
            events_at,
            columns_at: match self.columns_len() {
                0 if self.key.sealed => events_at + self.body_len(),
                0 => 0,
                _ => columns_at,
            },
        }
    }

    /// Where its events go, its ends and its ticks, if they are wanted.
    pub(super) fn room(&self, is_wanted: bool, events_at: usize, ends_at: usize, ticks_at: usize) -> RunRoom {
        RunRoom {
            is_wanted,
            strided: self.strided,
            first_len: self.first_len as u16,
            has_ends: self.stride() == 0,
            // Of one that was sealed before it came here nothing arrived.
            is_timed: self.ticks_len > 0,
            events_at,
            ends_at,
            ticks_at,
            end: 0,
            tick_state: TickState::default(),
        }
    }

    /// Whether it has nothing but events, all of one length.
    pub(super) fn is_bare(&self) -> bool {
        !self.key.sealed && self.columns_len() == 0
    }

    /// Whether it may be written: what is to be sealed is.
    pub(super) fn is_ready(&self) -> bool {
        self.key.sealed != self.unit.is_empty()
    }

    pub(super) fn origin(&self) -> Option<Origin> {
        let RunKey { device, epoch, lane, .. } = self.key;
        (device != 0).then_some(Origin { device, epoch, lane, first: self.device_first })
    }

    /// The length of every event; 0 where they differ, or have none.
    #[inline]
    pub(super) fn stride(&self) -> usize {
        if self.strided == self.count { self.first_len } else { 0 }
    }

    /// The bytes of what stands where its events do.
    pub(super) fn body_len(&self) -> usize {
        if self.unit.is_empty() { self.events_len } else { self.unit.len() }
    }

    /// The bytes of its columns, which are in the unit of a sealed run.
    pub(super) fn columns_len(&self) -> usize {
        if self.unit.is_empty() { self.ends_len() + self.ticks_len } else { 0 }
    }

    pub(super) fn ends_len(&self) -> usize {
        if self.stride() == 0 { self.count as usize * END_LEN } else { 0 }
    }
}

/// The place of a stream among [`PLACES`], which it shares with others.
fn place_of(stream: u32) -> usize {
    stream as usize % PLACES
}

/// As many streams as most blocks have at the most.
const PLACES: usize = 1_024;

/// No block has so many runs.
const NO_RUN: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Lane};

    #[test]
    fn the_last_run_of_each_stream_is_found_whichever_share_a_place() {
        let mut runs = RunWriters::new();
        let places = PLACES as u32;
        for round in 0..4 {
            let order = [7, places + 7, 8, 7, 2 * places + 7, 9, places + 7, 3 * places + 7]
                .map(|stream| stream + round % 2 * 2);
            runs.clear();
            for (index, &stream) in order.iter().enumerate() {
                let last = |stream| order[..index].iter().rposition(|&before| before == stream);
                assert!(order.iter().all(|&stream| runs.latest(stream) == last(stream)), "{round}, {index}");
                let (epoch, lane) = (Epoch(0), Lane(0));
                let key =
                    RunKey { stream, descriptor: 1, device: 0, epoch, lane, timed: false, sealed: false };
                assert_eq!(runs.open(&key, StreamSequence(0), DeviceSequence(0), 0), index);
            }
            assert_eq!(runs.latest(order[0] + 4 * places), None, "one of an earlier block leads nowhere");
        }
    }
}

//! A run: neighbours of one stream, with one descriptor and one origin, whose bytes stand together.

use super::columns::Ticks;
#[cfg(any(test, feature = "encryption"))]
use super::columns::check_ends;
use super::run_events::RunEvents;
#[cfg(any(test, feature = "encryption"))]
use super::sealed_run::SealedRun;
use super::sealed_run::UNIT_OVERHEAD;
use crate::store::log::tables::array;
use crate::{DeviceSequence, Epoch, Lane, StreamSequence};

/// A view of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    stream: u32,
    descriptor: u32,
    first: StreamSequence,
    count: u32,
    stride: usize,
    timed: bool,
    origin: Option<Origin>,
    events_at: usize,
    columns_at: usize,
    /// None where they are sealed.
    events: RunEvents<'a>,
    ticks: &'a [u8],
    /// What stands for events and columns where they are sealed.
    unit: Option<&'a [u8]>,
}

/// Where the events of a run come from, if not from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// The device's number in this store.
    pub(crate) device: u32,
    /// The device's epoch.
    pub(crate) epoch: Epoch,
    /// The lane.
    pub(crate) lane: Lane,
    /// The place of the run's first event in the lane.
    pub(crate) first: DeviceSequence,
}

impl<'a> Run<'a> {
    /// Reads the run whose header stands at `at` of the block `bytes`.
    pub(super) fn parse(bytes: &'a [u8], at: usize) -> Result<Self, &'static str> {
        let head: [u8; RUN_LEN] = array(bytes, at).ok_or("a run's header exceeds it")?;
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let shape = u32_at(field::SHAPE);
        if shape & !SHAPE_KNOWN != 0 {
            return Err("a run's shape is unknown");
        }
        let mut run = Self {
            stream: u32_at(field::STREAM),
            descriptor: u32_at(field::DESCRIPTOR),
            first: StreamSequence(u64_at(field::FIRST)),
            count: u32_at(field::COUNT),
            stride: (shape & STRIDE_MASK) as usize,
            timed: shape & SHAPE_TIMED != 0,
            origin: None,
            events_at: u32_at(field::EVENTS_AT) as usize,
            columns_at: u32_at(field::COLUMNS_AT) as usize,
            events: RunEvents::default(),
            ticks: &[],
            unit: None,
        };
        let (device, lane) = (u32_at(field::DEVICE), (shape >> LANE_SHIFT & LANE_MASK) as u8);
        let (epoch, first) = (u32_at(field::EPOCH), u64_at(field::DEVICE_FIRST));
        if device != 0 {
            run.origin =
                Some(Origin { device, epoch: Epoch(epoch), lane: Lane(lane), first: DeviceSequence(first) });
        } else if (epoch, first, lane) != (0, 0, 0) {
            return Err("a run of no device names its place in one");
        }
        if run.count == 0 || run.first.0.checked_add(run.count.into()).is_none() {
            return Err("a run's events are none, or too many");
        }
        if shape & SHAPE_SEALED != 0 {
            return run.locate_unit(bytes);
        }
        run.locate(bytes).ok_or("a run exceeds it")
    }

    /// The stream's number in this store.
    pub(crate) fn stream(&self) -> u32 {
        self.stream
    }

    /// The descriptor's number in this store.
    pub(crate) fn descriptor(&self) -> u32 {
        self.descriptor
    }

    /// The place of the first event in the stream.
    pub(crate) fn first(&self) -> StreamSequence {
        self.first
    }

    /// How many events there are.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The device that the events come from.
    pub(crate) fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Whether each event has ticks.
    pub(crate) fn is_timed(&self) -> bool {
        self.timed
    }

    /// The ticks of the events, in order.
    pub(crate) fn ticks(&self) -> Ticks<'a> {
        Ticks::new(self.ticks)
    }

    /// Whether events and columns are sealed: only [`Run::opened`] has them.
    pub(crate) fn is_sealed(&self) -> bool {
        self.unit.is_some()
    }

    /// What stands for events and columns where they are sealed, and what it was sealed as.
    #[cfg(any(test, feature = "encryption"))]
    pub(crate) fn sealed(&self) -> Option<(SealedRun, &'a [u8])> {
        let Self { first, count, origin, .. } = *self;
        Some((SealedRun { first, count, shape: self.shape(), origin }, self.unit?))
    }

    /// The same run with its events and columns, which are `text` once its unit is opened.
    #[cfg(any(test, feature = "encryption"))]
    pub(crate) fn opened<'t>(&self, text: &'t [u8]) -> Result<Run<'t>, &'static str> {
        const EXCEEDED: &str = "what a run's unit held is not its events";
        let count = self.count as usize;
        let ends_len = if self.stride == 0 { count.checked_mul(END_LEN).ok_or(EXCEEDED)? } else { 0 };
        let (ends, rest) = text.split_at_checked(ends_len).ok_or(EXCEEDED)?;
        let events = RunEvents::locate(rest, ends, self.stride, count).ok_or(EXCEEDED)?;
        let ticks = &rest[events.bytes().len()..];
        let run = Run { events, ticks, unit: None, events_at: 0, columns_at: 0, ..*self };
        if self.stride == 0 {
            check_ends(ends, events.bytes().len())?;
        }
        if run.ticks_column()?.len() == ticks.len() { Ok(run) } else { Err(EXCEEDED) }
    }

    /// The bytes of the ticks, which are found by walking over them.
    pub(super) fn ticks_column(&self) -> Result<&'a [u8], &'static str> {
        if !self.timed || self.unit.is_some() {
            return Ok(&[]);
        }
        let mut ticks = self.ticks();
        for _ in 0..self.count {
            ticks.next().ok_or("a run's ticks break off")?;
        }
        Ok(&self.ticks[..ticks.read_len()])
    }

    /// The events; none where they are sealed.
    #[inline]
    pub(crate) fn events(&self) -> RunEvents<'a> {
        self.events
    }

    /// The bytes of the event at `index`, or `None` past the last or where its end is damaged.
    #[inline]
    pub(crate) fn event(&self, index: usize) -> Option<&'a [u8]> {
        self.events.get(index)
    }

    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn events_at(&self) -> usize {
        self.events_at
    }

    /// What stands where its events do: they, or its unit.
    pub(super) fn body(&self) -> &'a [u8] {
        self.unit.unwrap_or(self.events.bytes())
    }

    pub(super) fn columns_at(&self) -> usize {
        self.columns_at
    }

    /// Whether columns stand behind the events of all runs.
    pub(super) fn has_columns(&self) -> bool {
        self.unit.is_none() && (self.stride == 0 || self.timed)
    }

    pub(super) fn ends(&self) -> &'a [u8] {
        self.events.ends()
    }

    /// Finds the events and the columns of the run in the block.
    fn locate(mut self, bytes: &'a [u8]) -> Option<Self> {
        let count = self.count as usize;
        let mut ends: &[u8] = &[];
        if self.has_columns() {
            let columns = bytes.get(self.columns_at..)?;
            let ends_len = if self.stride == 0 { count.checked_mul(END_LEN)? } else { 0 };
            (ends, self.ticks) = columns.split_at_checked(ends_len)?;
        }
        self.events = RunEvents::locate(bytes.get(self.events_at..)?, ends, self.stride, count)?;
        Some(self)
    }

    /// Finds the unit of a sealed run in the block: it ends where a plain run's columns would begin.
    fn locate_unit(mut self, bytes: &'a [u8]) -> Result<Self, &'static str> {
        let unit = bytes.get(self.events_at..self.columns_at).ok_or("a sealed run exceeds it")?;
        let text_len =
            unit.len().checked_sub(UNIT_OVERHEAD).ok_or("a sealed run is shorter than its seal")?;
        // So that a count is never larger than what is there.
        let len_min = (self.count as usize).checked_mul(if self.stride == 0 { END_LEN } else { self.stride });
        if len_min.is_none_or(|len_min| text_len < len_min) {
            return Err("a sealed run is shorter than its events");
        }
        self.unit = Some(unit);
        Ok(self)
    }

    #[cfg(any(test, feature = "encryption"))]
    fn shape(&self) -> u32 {
        let lane = self.origin.map_or(Lane(0), |origin| origin.lane);
        shape(self.stride, lane, self.timed, self.unit.is_some())
    }
}

/// What the writer puts into a run's header.
pub(super) struct RunHeader {
    pub(super) stream: u32,
    pub(super) descriptor: u32,
    pub(super) first: StreamSequence,
    pub(super) count: u32,
    pub(super) stride: usize,
    pub(super) timed: bool,
    pub(super) sealed: bool,
    pub(super) origin: Option<Origin>,
    pub(super) events_at: usize,
    pub(super) columns_at: usize,
}

impl RunHeader {
    /// Writes the header.
    #[inline]
    pub(super) fn put(&self, header: &mut [u8; RUN_LEN]) {
        let lane = self.origin.map_or(Lane(0), |origin| origin.lane);
        let shape = shape(self.stride, lane, self.timed, self.sealed);
        let (device, epoch, first) = match self.origin {
            Some(origin) => (origin.device, origin.epoch.0, origin.first.0),
            None => (0, 0, 0),
        };
        let mut put = |at: usize, field: &[u8]| header[at..at + field.len()].copy_from_slice(field);
        put(field::STREAM, &self.stream.to_le_bytes());
        put(field::DESCRIPTOR, &self.descriptor.to_le_bytes());
        put(field::FIRST, &self.first.0.to_le_bytes());
        put(field::COUNT, &self.count.to_le_bytes());
        put(field::SHAPE, &shape.to_le_bytes());
        put(field::EVENTS_AT, &(self.events_at as u32).to_le_bytes());
        put(field::COLUMNS_AT, &(self.columns_at as u32).to_le_bytes());
        put(field::DEVICE, &device.to_le_bytes());
        put(field::EPOCH, &epoch.to_le_bytes());
        put(field::DEVICE_FIRST, &first.to_le_bytes());
    }
}

/// The bits of a run's shape.
pub(super) fn shape(stride: usize, lane: Lane, timed: bool, sealed: bool) -> u32 {
    let timed = if timed { SHAPE_TIMED } else { 0 };
    let sealed = if sealed { SHAPE_SEALED } else { 0 };
    stride as u32 | u32::from(lane.0) << LANE_SHIFT | timed | sealed
}

/// A run's header.
pub(super) const RUN_LEN: usize = 48;

/// An end of an event: a u16.
pub(super) const END_LEN: usize = 2;

const STRIDE_MASK: u32 = 0x00ff_ffff;
const LANE_SHIFT: u32 = 24;
const LANE_MASK: u32 = 3;
const SHAPE_TIMED: u32 = 1 << 26;
const SHAPE_SEALED: u32 = 1 << 27;
const SHAPE_KNOWN: u32 = STRIDE_MASK | LANE_MASK << LANE_SHIFT | SHAPE_TIMED | SHAPE_SEALED;

pub(super) mod field {
    //! Where the fields of a run's header stand.
    pub(super) const STREAM: usize = 0;
    pub(super) const DESCRIPTOR: usize = 4;
    pub(super) const FIRST: usize = 8;
    pub(super) const COUNT: usize = 16;
    pub(super) const SHAPE: usize = 20;
    pub(in super::super) const EVENTS_AT: usize = 24;
    pub(in super::super) const COLUMNS_AT: usize = 28;
    pub(super) const DEVICE: usize = 32;
    pub(super) const EPOCH: usize = 36;
    pub(super) const DEVICE_FIRST: usize = 40;
}

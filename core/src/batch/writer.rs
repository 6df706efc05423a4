//! Making a batch, event by event.

use core::ops::Range;

use super::columns::Column;
use super::{
    BATCH_EVENTS_MAX, BATCH_EXTENT_MAX, CHANNELS_MAX, HEADER_LEN_MAX, LengthColumn, RUN_LEN, Shape,
    TimeColumn, field,
};
use crate::varint::{VARINT_LEN_MAX, write_varint, zigzag};
use crate::{Channel, Lane};

/// An open batch. It holds the columns; the events go into a region of memory that the caller passes to each call,
/// so that a writer can live beside a ring. The region must be the same memory from the first push to the seal.
///
/// Besides its own size (about 0.5 KiB) it needs a region of the batch's length plus at most 1 byte.
///
/// ```
/// use varve_core::{Batch, BatchWriter, Channel, Lane, TimeColumn};
///
/// let mut region = [0; 64];
/// let mut writer = BatchWriter::new(Lane(0), TimeColumn::Delta);
/// for (ticks, value) in [(1_000, 7u8), (1_010, 8)] {
///     writer.try_push(&mut region, Channel(0), ticks, |room| {
///         room.first_mut().map(|byte| *byte = value).map(|()| 1)
///     })?;
/// }
/// let range = writer.seal(&mut region);
/// let batch = Batch::new_checked(&region[range])?;
/// assert_eq!(batch.events().map(|event| event.ticks).collect::<Vec<_>>(), [Some(1_000), Some(1_010)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchWriter {
    lane: Lane,
    time: TimeColumn,
    count: usize,
    extent: usize,
    /// Channels in the order of first appearance, with the length of their events while that is one.
    seen: [ChannelLength; CHANNELS_MAX],
    seen_len: usize,
    length_column: LengthColumn,
    lengths: Column<LENGTHS_LEN_MAX>,
    runs: Column<RUNS_LEN_MAX>,
    ticks: Column<TICKS_LEN_MAX>,
    last_ticks: u64,
    last_delta: u64,
}

#[derive(Clone, Copy, Debug)]
struct ChannelLength {
    channel: Channel,
    len: u16,
}

/// Why an event did not go into a batch. The batch is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// The batch has no room for it: seal the batch and push the event into a new one.
    Full,
    /// The event does not fit an empty batch in a region of this length.
    TooLarge,
    /// The channel is not below [`CHANNELS_MAX`].
    Channel,
}

impl core::fmt::Display for PushError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "the batch is full",
            Self::TooLarge => "the event is larger than a batch",
            Self::Channel => "the channel is not below 16",
        })
    }
}

impl core::error::Error for PushError {}

impl BatchWriter {
    /// An empty batch of one lane.
    pub const fn new(lane: Lane, time: TimeColumn) -> Self {
        assert!((lane.0 as usize) < Lane::COUNT);
        Self {
            lane,
            time,
            count: 0,
            extent: 0,
            seen: [ChannelLength { channel: Channel(0), len: 0 }; CHANNELS_MAX],
            seen_len: 0,
            length_column: LengthColumn::Stride,
            lengths: Column::new(),
            runs: Column::new(),
            ticks: Column::new(),
            last_ticks: 0,
            last_delta: 0,
        }
    }

    /// How many events the batch holds.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether the batch holds no event.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The length that the batch would have if it were sealed now; 0 if it is empty.
    pub fn sealed_len(&self) -> usize {
        if self.count == 0 { 0 } else { self.header_len() + self.extent + self.columns_len() }
    }

    /// Appends one event. `archive` writes it to the front of the room that it is given and returns its length, or
    /// `None` where the room is too small.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the batch is as it was.
    pub fn try_push(
        &mut self,
        region: &mut [u8],
        channel: Channel,
        ticks: u64,
        archive: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> Result<(), PushError> {
        if usize::from(channel.0) >= CHANNELS_MAX {
            return Err(PushError::Channel);
        }
        let full = if self.count == 0 { PushError::TooLarge } else { PushError::Full };
        if self.count == BATCH_EVENTS_MAX {
            return Err(full);
        }
        let room = region.get_mut(HEADER_LEN_MAX + self.extent..).ok_or(full)?;
        let len = archive(room).filter(|len| *len <= room.len()).ok_or(full)?;
        if self.extent + len > BATCH_EXTENT_MAX {
            return Err(full);
        }
        let before = self.mark();
        let fits = self.push_length(channel, len)
            && self.push_channel(channel)
            && self.push_ticks(ticks)
            && HEADER_LEN_MAX + self.extent + len + self.columns_len() <= region.len();
        if !fits {
            self.undo(before);
            return Err(full);
        }
        self.count += 1;
        self.extent += len;
        Ok(())
    }

    /// Ends the batch: writes header and columns around the events and returns where in the region the batch stands
    /// (from byte 0 or 1). The writer is empty again. The range is empty if the batch was.
    pub fn seal(&mut self, region: &mut [u8]) -> Range<usize> {
        if self.count == 0 {
            return 0..0;
        }
        let start = HEADER_LEN_MAX - self.header_len();
        self.write_header(&mut region[start..HEADER_LEN_MAX]);
        let mut at = HEADER_LEN_MAX + self.extent;
        let mut put = |bytes: &[u8]| {
            region[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if self.seen_len > 1 {
            put(self.runs.bytes());
        }
        match self.length_column {
            LengthColumn::Stride => {}
            LengthColumn::PerChannel => {
                for seen in &self.seen[..self.seen_len] {
                    let mut varint = [0; VARINT_LEN_MAX];
                    let len = write_varint(seen.len.into(), &mut varint).unwrap_or(0);
                    put(&varint[..len]);
                }
            }
            LengthColumn::PerEvent => put(self.lengths.bytes()),
        }
        put(self.ticks.bytes());
        self.clear();
        start..at
    }

    fn clear(&mut self) {
        self.count = 0;
        self.extent = 0;
        self.seen_len = 0;
        self.length_column = LengthColumn::Stride;
        self.lengths.clear();
        self.runs.clear();
        self.ticks.clear();
    }

    fn write_header(&self, header: &mut [u8]) {
        let several_channels = self.seen_len > 1;
        let shape = Shape { time: self.time, lengths: self.length_column, several_channels, lane: self.lane };
        header[field::SHAPE] = shape.to_byte();
        header[field::COUNT] = (self.count - 1) as u8;
        header[field::CHANNEL] =
            if several_channels { (self.runs.len() / RUN_LEN - 1) as u8 } else { self.seen[0].channel.0 };
        write_varint(self.extent_field() as u64, &mut header[field::EXTENT..]);
    }

    fn header_len(&self) -> usize {
        field::EXTENT + varint_len(self.extent_field())
    }

    fn extent_field(&self) -> usize {
        match self.length_column {
            LengthColumn::Stride => self.seen[0].len.into(),
            _ => self.extent,
        }
    }

    fn columns_len(&self) -> usize {
        let lengths = match self.length_column {
            LengthColumn::Stride => 0,
            LengthColumn::PerChannel => {
                self.seen[..self.seen_len].iter().map(|seen| varint_len(seen.len.into())).sum()
            }
            LengthColumn::PerEvent => self.lengths.len(),
        };
        let channels = if self.seen_len > 1 { self.runs.len() } else { 0 };
        lengths + channels + self.ticks.len()
    }

    /// Notes the length of the next event, and goes over to a wider length column where the present one cannot tell it.
    fn push_length(&mut self, channel: Channel, len: usize) -> bool {
        let known = self.seen[..self.seen_len].iter().find(|seen| seen.channel == channel).copied();
        match known {
            Some(seen) if usize::from(seen.len) == len => {}
            Some(_) => {
                if self.length_column != LengthColumn::PerEvent && !self.spell_out_lengths() {
                    return false;
                }
            }
            None => {
                self.seen[self.seen_len] = ChannelLength { channel, len: len as u16 };
                self.seen_len += 1;
                if self.length_column == LengthColumn::Stride && usize::from(self.seen[0].len) != len {
                    self.length_column = LengthColumn::PerChannel;
                }
            }
        }
        self.length_column != LengthColumn::PerEvent || self.lengths.try_push_varint(len as u64)
    }

    /// Writes the length of every event so far, each that of its channel, since the next one differs.
    fn spell_out_lengths(&mut self) -> bool {
        self.length_column = LengthColumn::PerEvent;
        self.lengths.clear();
        for run in self.runs.bytes().chunks_exact(RUN_LEN) {
            let seen = self.seen[..self.seen_len].iter().find(|seen| seen.channel.0 == run[0]);
            let len = seen.map_or(0, |seen| seen.len);
            for _ in 0..=run[1] {
                if !self.lengths.try_push_varint(len.into()) {
                    return false;
                }
            }
        }
        true
    }

    fn push_channel(&mut self, channel: Channel) -> bool {
        let runs = self.runs.bytes();
        let same = runs.len() >= RUN_LEN && runs[runs.len() - RUN_LEN] == channel.0;
        if same && let Some(more) = self.runs.last_mut() {
            *more += 1;
            return true;
        }
        self.runs.try_push(&[channel.0, 0])
    }

    fn push_ticks(&mut self, ticks: u64) -> bool {
        let delta = ticks.wrapping_sub(self.last_ticks);
        let pushed = match (self.time, self.count) {
            (TimeColumn::None, _) => true,
            (_, 0) => self.ticks.try_push_varint(ticks),
            (TimeColumn::One, _) => delta == 0,
            (TimeColumn::Delta, _) | (TimeColumn::DeltaOfDeltas, 1) => {
                self.ticks.try_push_varint(zigzag(delta as i64))
            }
            (TimeColumn::DeltaOfDeltas, _) => {
                self.ticks.try_push_varint(zigzag(delta.wrapping_sub(self.last_delta) as i64))
            }
        };
        self.last_ticks = ticks;
        self.last_delta = delta;
        pushed
    }

    fn mark(&self) -> Mark {
        let runs = self.runs.bytes();
        Mark {
            seen_len: self.seen_len,
            length_column: self.length_column,
            lengths_len: self.lengths.len(),
            runs_len: runs.len(),
            last_run: runs.last().copied(),
            ticks_len: self.ticks.len(),
            last_ticks: self.last_ticks,
            last_delta: self.last_delta,
        }
    }

    fn undo(&mut self, mark: Mark) {
        self.seen_len = mark.seen_len;
        self.length_column = mark.length_column;
        self.lengths.truncate(mark.lengths_len);
        self.runs.truncate(mark.runs_len);
        if let (Some(last), Some(before)) = (self.runs.last_mut(), mark.last_run) {
            *last = before;
        }
        self.ticks.truncate(mark.ticks_len);
        self.last_ticks = mark.last_ticks;
        self.last_delta = mark.last_delta;
    }
}

/// What a push that does not fit has to restore.
struct Mark {
    seen_len: usize,
    length_column: LengthColumn,
    lengths_len: usize,
    runs_len: usize,
    last_run: Option<u8>,
    ticks_len: usize,
    last_ticks: u64,
    last_delta: u64,
}

const fn varint_len(value: usize) -> usize {
    if value < 0x80 { 1 } else { 2 }
}

/// Room for the lengths of 64 events of 128 bytes and more, or 128 smaller ones.
const LENGTHS_LEN_MAX: usize = 128;
/// Room for 64 channel runs.
const RUNS_LEN_MAX: usize = 64 * RUN_LEN;
/// Room for a base and 64 differences of 2 bytes.
const TICKS_LEN_MAX: usize = 160;

const _: () = assert!(varint_len(BATCH_EXTENT_MAX) == HEADER_LEN_MAX - field::EXTENT);
const _: () = assert!(RUNS_LEN_MAX / RUN_LEN <= BATCH_EVENTS_MAX);

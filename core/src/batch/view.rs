//! The checked view of a batch.

use super::{BATCH_EXTENT_MAX, CHANNELS_MAX, LengthColumn, RUN_LEN, Shape, TimeColumn, field};
use crate::varint::{read_varint, unzigzag};
use crate::{Channel, Lane};

/// A batch whose every byte has been checked: what it yields needs no further test but that of the events' own
/// layout.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    shape: Shape,
    count: usize,
    /// The channel of all events, if there is but one.
    channel: Channel,
    events: &'a [u8],
    runs: &'a [u8],
    lengths: &'a [u8],
    /// The length of each channel's events, unless each event has its own.
    strides: [u16; CHANNELS_MAX],
    time: &'a [u8],
}

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEvent<'a> {
    /// The device's channel that emitted it.
    pub channel: Channel,
    /// When, in the device's ticks, if the batch tells.
    pub ticks: Option<u64>,
    /// The archived event, as the device wrote it.
    pub bytes: &'a [u8],
}

/// Why bytes are not a batch, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// What is wrong.
    pub kind: BatchErrorKind,
    /// At which byte of the batch.
    pub at: usize,
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchErrorKind {
    /// The bytes end inside a field.
    Short,
    /// The shape is one that no batch has.
    Shape,
    /// The channel is not below [`CHANNELS_MAX`].
    Channel,
    /// An integer is not in its shortest form, or too large for its field.
    Varint,
    /// The lengths do not add up to the extent.
    Lengths,
    /// The channel runs do not add up to the count, or two neighbours are of one channel.
    Runs,
    /// Bytes are left over behind the last column.
    Trailing,
}

impl core::fmt::Display for BatchError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let what = match self.kind {
            BatchErrorKind::Short => "the batch ends inside a field",
            BatchErrorKind::Shape => "the batch has an unknown shape",
            BatchErrorKind::Channel => "a channel is not below 16",
            BatchErrorKind::Varint => "an integer is malformed",
            BatchErrorKind::Lengths => "the lengths do not meet the extent",
            BatchErrorKind::Runs => "the channel runs do not meet the count",
            BatchErrorKind::Trailing => "bytes are left over",
        };
        write!(f, "{what} (at byte {})", self.at)
    }
}

impl core::error::Error for BatchError {}

impl<'a> Batch<'a> {
    /// Checks `bytes`, which must be one batch and nothing else.
    ///
    /// # Errors
    ///
    /// [`BatchError`] with the byte at which it is none.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let mut input = Input { bytes, at: 0 };
        let shape =
            Shape::from_byte(input.byte()?).ok_or(input.error_at(field::SHAPE, BatchErrorKind::Shape))?;
        let count = usize::from(input.byte()?) + 1;
        let channel = input.byte()?;
        let extent = input.length()?;
        let events_len = if shape.lengths == LengthColumn::Stride { extent * count } else { extent };
        if events_len > BATCH_EXTENT_MAX {
            return Err(input.error_at(field::EXTENT, BatchErrorKind::Lengths));
        }
        let events = input.take(events_len)?;
        let (runs, census) = check_runs(&mut input, shape, count, channel)?;
        let (lengths, strides) = check_lengths(&mut input, shape, &census, count, extent)?;
        let time = check_time(&mut input, shape, count)?;
        if input.at != bytes.len() {
            return Err(input.error(BatchErrorKind::Trailing));
        }
        Ok(Self { bytes, shape, count, channel: Channel(channel), events, runs, lengths, strides, time })
    }

    /// The batch as it was checked.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many events it holds: 1 to 256.
    #[expect(clippy::len_without_is_empty, reason = "a batch is never empty")]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// The lane of all its events.
    pub const fn lane(&self) -> Lane {
        self.shape.lane
    }

    /// Its events in the device's order.
    pub const fn events(&self) -> BatchEvents<'a> {
        let run_left = if self.shape.several_channels { 0 } else { self.count };
        BatchEvents { batch: *self, index: 0, run_left, ticks: 0, delta: 0 }
    }
}

/// The events of a batch, in the device's order.
#[derive(Clone, Debug)]
pub struct BatchEvents<'a> {
    /// What is left of it: each column shrinks as it is read.
    batch: Batch<'a>,
    index: usize,
    run_left: usize,
    ticks: u64,
    delta: u64,
}

impl<'a> Iterator for BatchEvents<'a> {
    type Item = BatchEvent<'a>;

    fn next(&mut self) -> Option<BatchEvent<'a>> {
        if self.index == self.batch.count {
            return None;
        }
        let channel = self.next_channel()?;
        let len = match self.batch.shape.lengths {
            LengthColumn::PerEvent => usize::try_from(next_varint(&mut self.batch.lengths)?).ok()?,
            _ => usize::from(self.batch.strides[usize::from(channel.0)]),
        };
        let (bytes, rest) = self.batch.events.split_at_checked(len)?;
        self.batch.events = rest;
        let ticks = if self.batch.shape.time == TimeColumn::None { None } else { Some(self.next_ticks()?) };
        self.index += 1;
        Some(BatchEvent { channel, ticks, bytes })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.count - self.index;
        (left, Some(left))
    }
}

impl ExactSizeIterator for BatchEvents<'_> {}

impl BatchEvents<'_> {
    fn next_channel(&mut self) -> Option<Channel> {
        if self.run_left == 0 {
            let ([channel, more], rest) = self.batch.runs.split_first_chunk::<RUN_LEN>()?;
            self.batch.channel = Channel(*channel);
            self.batch.runs = rest;
            self.run_left = usize::from(*more) + 1;
        }
        self.run_left -= 1;
        Some(self.batch.channel)
    }

    fn next_ticks(&mut self) -> Option<u64> {
        let first = self.index == 0;
        match self.batch.shape.time {
            _ if first => self.ticks = next_varint(&mut self.batch.time)?,
            TimeColumn::None | TimeColumn::One => {}
            TimeColumn::Delta => self.delta = unzigzag(next_varint(&mut self.batch.time)?) as u64,
            TimeColumn::DeltaOfDeltas => {
                let change = unzigzag(next_varint(&mut self.batch.time)?) as u64;
                self.delta = self.delta.wrapping_add(change);
            }
        }
        self.ticks = if first { self.ticks } else { self.ticks.wrapping_add(self.delta) };
        Some(self.ticks)
    }
}

fn next_varint(column: &mut &[u8]) -> Option<u64> {
    let (value, len) = read_varint(column)?;
    *column = column.get(len..)?;
    Some(value)
}

/// How many events each channel has, and the channels in the order of first appearance.
struct Census {
    events: [u16; CHANNELS_MAX],
    order: [Channel; CHANNELS_MAX],
    channels: usize,
}

impl Census {
    /// Counts a run in; `false` where the channel is not below [`CHANNELS_MAX`].
    fn count(&mut self, channel: u8, events: usize) -> bool {
        let Some(known) = self.events.get_mut(usize::from(channel)) else { return false };
        if *known == 0 {
            self.order[self.channels] = Channel(channel);
            self.channels += 1;
        }
        *known += events as u16;
        true
    }
}

fn check_runs<'a>(
    input: &mut Input<'a>,
    shape: Shape,
    count: usize,
    channel: u8,
) -> Result<(&'a [u8], Census), BatchError> {
    let mut census = Census { events: [0; CHANNELS_MAX], order: [Channel(0); CHANNELS_MAX], channels: 0 };
    if !shape.several_channels {
        if !census.count(channel, count) {
            return Err(input.error_at(field::CHANNEL, BatchErrorKind::Channel));
        }
        return Ok((&[], census));
    }
    let start = input.at;
    let runs = input.take((usize::from(channel) + 1) * RUN_LEN)?;
    let (mut total, mut before) = (0, None);
    for (index, run) in runs.chunks_exact(RUN_LEN).enumerate() {
        let at = start + index * RUN_LEN;
        let events = usize::from(run[1]) + 1;
        total += events;
        if before == Some(run[0]) || total > count {
            return Err(input.error_at(at, BatchErrorKind::Runs));
        }
        if !census.count(run[0], events) {
            return Err(input.error_at(at, BatchErrorKind::Channel));
        }
        before = Some(run[0]);
    }
    if total != count {
        return Err(input.error_at(start, BatchErrorKind::Runs));
    }
    Ok((runs, census))
}

fn check_lengths<'a>(
    input: &mut Input<'a>,
    shape: Shape,
    census: &Census,
    count: usize,
    extent: usize,
) -> Result<(&'a [u8], [u16; CHANNELS_MAX]), BatchError> {
    let start = input.at;
    let mut strides = [0; CHANNELS_MAX];
    let mut total = 0;
    match shape.lengths {
        LengthColumn::Stride => return Ok((&[], [extent as u16; CHANNELS_MAX])),
        LengthColumn::PerChannel => {
            for channel in &census.order[..census.channels] {
                let channel = usize::from(channel.0);
                let len = input.length()?;
                strides[channel] = len as u16;
                total += len * usize::from(census.events[channel]);
            }
        }
        LengthColumn::PerEvent => {
            for _ in 0..count {
                total += input.length()?;
            }
        }
    }
    if total != extent {
        return Err(input.error_at(start, BatchErrorKind::Lengths));
    }
    Ok((&input.bytes[start..input.at], strides))
}

fn check_time<'a>(input: &mut Input<'a>, shape: Shape, count: usize) -> Result<&'a [u8], BatchError> {
    let start = input.at;
    let values = match shape.time {
        TimeColumn::None => 0,
        TimeColumn::One => 1,
        TimeColumn::Delta | TimeColumn::DeltaOfDeltas => count,
    };
    for _ in 0..values {
        input.varint()?;
    }
    Ok(&input.bytes[start..input.at])
}

/// The bytes under check and how far the check has come.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    const fn error(&self, kind: BatchErrorKind) -> BatchError {
        self.error_at(self.at, kind)
    }

    const fn error_at(&self, at: usize, kind: BatchErrorKind) -> BatchError {
        BatchError { kind, at }
    }

    fn byte(&mut self) -> Result<u8, BatchError> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], BatchError> {
        let taken = self.bytes.get(self.at..self.at + len).ok_or(self.error(BatchErrorKind::Short))?;
        self.at += len;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, BatchError> {
        let rest = &self.bytes[self.at..];
        let ends = rest.iter().any(|byte| *byte < 0x80);
        let kind = if ends { BatchErrorKind::Varint } else { BatchErrorKind::Short };
        let (value, len) = read_varint(rest).ok_or(self.error(kind))?;
        self.at += len;
        Ok(value)
    }

    /// A length: at most [`BATCH_EXTENT_MAX`], so that sums of 256 of them stay far from overflow.
    fn length(&mut self) -> Result<usize, BatchError> {
        let at = self.at;
        let value = self.varint()?;
        match usize::try_from(value) {
            Ok(len) if len <= BATCH_EXTENT_MAX => Ok(len),
            _ => Err(self.error_at(at, BatchErrorKind::Varint)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], kind: BatchErrorKind, at: usize) {
        assert_eq!(Batch::new_checked(bytes).unwrap_err(), BatchError { kind, at });
    }

    #[test]
    fn every_error_names_its_place() {
        check(&[], BatchErrorKind::Short, 0);
        check(&[0x80, 0, 0, 1, 9], BatchErrorKind::Shape, 0);
        check(&[0x0c, 0, 0, 1, 9], BatchErrorKind::Shape, 0);
        check(&[0, 0, 16, 1, 9], BatchErrorKind::Channel, 2);
        check(&[0, 0, 0, 2, 9], BatchErrorKind::Short, 4);
        check(&[0, 0, 0, 0x80], BatchErrorKind::Short, 3);
        check(&[0, 0, 0, 0x81, 0, 9], BatchErrorKind::Varint, 3);
        check(&[0, 0, 0, 0x80, 0x80, 1], BatchErrorKind::Varint, 3);
        check(&[0, 255, 0, 65], BatchErrorKind::Lengths, 3);
        check(&[0, 0, 0, 1, 9, 9], BatchErrorKind::Trailing, 5);
        check(&[0x10, 1, 0, 1, 9, 9, 0, 0], BatchErrorKind::Runs, 6);
        check(&[0x10, 1, 0, 1, 9, 9, 0, 2], BatchErrorKind::Runs, 6);
        check(&[0x10, 1, 1, 1, 9, 9, 0, 0, 0, 0], BatchErrorKind::Runs, 8);
        check(&[0x10, 1, 1, 1, 9, 9, 0, 0, 16, 0], BatchErrorKind::Channel, 8);
        check(&[0x08, 1, 0, 3, 9, 9, 9, 1, 1], BatchErrorKind::Lengths, 7);
        check(&[0x14, 1, 1, 3, 9, 9, 9, 0, 0, 1, 0, 1, 1], BatchErrorKind::Lengths, 11);
        check(&[0x02, 1, 0, 1, 9, 9, 5], BatchErrorKind::Short, 7);
    }

    #[test]
    fn runs_that_claim_more_events_than_a_counter_holds_are_refused() {
        let mut bytes = [0; 4 + 256 * RUN_LEN];
        bytes[..4].copy_from_slice(&[0x10, 255, 255, 0]);
        for (index, run) in bytes[4..].chunks_exact_mut(RUN_LEN).enumerate() {
            run.copy_from_slice(&[(index % 2) as u8, 255]);
        }
        check(&bytes, BatchErrorKind::Runs, 6);
    }
}

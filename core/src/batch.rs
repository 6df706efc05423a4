//! The batch: the one unit that a device seals, the wire carries and the store takes in.
//!
//! ```text
//! 0      1          2                         3 … 4          …                    …
//! ┌───────┬───────────┬─────────────────────────┬──────────────┬────────────────────┬───────────────────────────┐
//! │ shape │ count − 1 │ channel │ channel runs−1 │ extent varint │ archived events    │ channels · lengths · time │
//! └───────┴───────────┴─────────────────────────┴──────────────┴────────────────────┴───────────────────────────┘
//! ```
//!
//! FORMAT.md, section 3, specifies it. [`BatchWriter`] makes one in a region of memory without ever moving an event;
//! [`Batch`] is the checked view of one that came from a wire or a disk.

mod columns;
mod view;
mod writer;

pub use view::{Batch, BatchError, BatchErrorKind, BatchEvent, BatchEvents};
pub use writer::{BatchWriter, PushError};

/// The most events of one batch.
pub const BATCH_EVENTS_MAX: usize = 256;

/// The most channels of one device: a batch names channels 0 to 15.
pub const CHANNELS_MAX: usize = 16;

/// The most bytes that the events of one batch take together: the extent is a varint of at most 2 bytes.
pub const BATCH_EXTENT_MAX: usize = 0x3fff;

/// What a batch tells of the time of its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeColumn {
    /// Nothing.
    None,
    /// One value, that of every event.
    One,
    /// Differences between neighbours: 1 to 2 bytes an event where they are small.
    Delta,
    /// Differences between neighbouring differences: about 1 byte an event for a periodic source.
    DeltaOfDeltas,
}

/// How a batch tells the length of each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LengthColumn {
    /// All events have the length that the header names.
    Stride,
    /// All events of one channel have one length.
    PerChannel,
    /// Each event has a length of its own.
    PerEvent,
}

/// The first byte of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    time: TimeColumn,
    lengths: LengthColumn,
    several_channels: bool,
    lane: crate::Lane,
}

impl Shape {
    const fn to_byte(self) -> u8 {
        let time = match self.time {
            TimeColumn::None => 0,
            TimeColumn::One => 1,
            TimeColumn::Delta => 2,
            TimeColumn::DeltaOfDeltas => 3,
        };
        let lengths = match self.lengths {
            LengthColumn::Stride => 0,
            LengthColumn::PerChannel => 1,
            LengthColumn::PerEvent => 2,
        };
        time | lengths << 2 | (self.several_channels as u8) << 4 | self.lane.0 << 5
    }

    /// The shape that `byte` names, or `None` for one that no batch has.
    const fn from_byte(byte: u8) -> Option<Self> {
        let time = match byte & 3 {
            0 => TimeColumn::None,
            1 => TimeColumn::One,
            2 => TimeColumn::Delta,
            _ => TimeColumn::DeltaOfDeltas,
        };
        let lengths = match byte >> 2 & 3 {
            0 => LengthColumn::Stride,
            1 => LengthColumn::PerChannel,
            2 => LengthColumn::PerEvent,
            _ => return None,
        };
        if byte & 0x80 != 0 {
            return None;
        }
        Some(Self { time, lengths, several_channels: byte & 0x10 != 0, lane: crate::Lane(byte >> 5 & 3) })
    }
}

mod field {
    //! Where the fields of a batch's header stand.
    pub(super) const SHAPE: usize = 0;
    pub(super) const COUNT: usize = 1;
    pub(super) const CHANNEL: usize = 2;
    pub(super) const EXTENT: usize = 3;
}

/// The longest header: shape, count, channel, and an extent of 2 bytes.
const HEADER_LEN_MAX: usize = field::EXTENT + 2;

/// A channel run: its channel, its events − 1.
const RUN_LEN: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_survives_its_byte() {
        for byte in 0..=u8::MAX {
            match Shape::from_byte(byte) {
                Some(shape) => assert_eq!(shape.to_byte(), byte),
                None => assert!(byte & 0x80 != 0 || byte & 0x0c == 0x0c),
            }
        }
    }
}

//! Frames: how messages and batches stand on a byte stream.
//!
//! ```text
//!          0      1                             n        n + 4
//!          ┌──────┬─────────────────────────────┬─────────┐
//!    COBS( │ kind │ body                        │ trailer │ ) 00
//!          └──────┴─────────────────────────────┴─────────┘
//!    trailer = CRC-32C( seal ‖ kind ‖ body ), little-endian
//! ```
//!
//! WIRE.md, section 1, specifies it. COBS leaves no zero byte inside, so 00 ends a frame and nothing else.

mod decoder;
mod encoder;

pub use decoder::{FrameDecoder, FrameError};
pub use encoder::{FrameEncoder, FrameSource};

use varve_core::{Crc32c, DeviceSequence};

/// The longest decoded frame: kind, body and trailer.
pub const FRAME_LEN_MAX: usize = 2048;

/// The longest decoded frame that a host sends; a device needs no larger buffer.
pub const HOST_FRAME_LEN_MAX: usize = 256;

/// The longest trailer that a later version may negotiate. Today's has [`TRAILER_LEN`] bytes.
pub const TRAILER_LEN_MAX: usize = 8;

/// The length of the trailer: a CRC-32C.
pub const TRAILER_LEN: usize = 4;

/// The longest batch that fits a frame, whatever the trailer.
pub const BATCH_LEN_MAX: usize = FRAME_LEN_MAX - KIND_LEN - SHORT_SEQUENCE_LEN - TRAILER_LEN_MAX;

/// The length of the 16 low bits of a batch's first sequence, which stand before it in its frame.
pub const SHORT_SEQUENCE_LEN: usize = 2;

const KIND_LEN: usize = 1;
/// Bit 7 of a kind: the frame goes from host to device.
const FROM_HOST: u8 = 0x80;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u8)]
pub enum Kind {
    /// The device's identity, what it holds, and its channels.
    Hello = 0x01,
    /// Where the device starts to send in a new session.
    Start = 0x02,
    /// A sealed batch.
    Batch = 0x03,
    /// Sequences that no event will ever have.
    Gap = 0x04,
    /// A piece of a descriptor.
    Descriptor = 0x05,
    /// The device is alive: its next sequences and its clock.
    Status = 0x06,
    /// The host asks who is there.
    Discover = 0x81,
    /// The host admits the device and names the session.
    Welcome = 0x82,
    /// What the host has received, what is durable, and how much it will take.
    Ack = 0x83,
    /// The host asks for a piece of a descriptor.
    Fetch = 0x84,
    /// The host does not admit the device.
    Refuse = 0x85,
}

impl Kind {
    /// The kind that `byte` names, or `None` for one that this version does not know.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0x01 => Self::Hello,
            0x02 => Self::Start,
            0x03 => Self::Batch,
            0x04 => Self::Gap,
            0x05 => Self::Descriptor,
            0x06 => Self::Status,
            0x81 => Self::Discover,
            0x82 => Self::Welcome,
            0x83 => Self::Ack,
            0x84 => Self::Fetch,
            0x85 => Self::Refuse,
            _ => return None,
        })
    }
}

/// What a frame's trailer covers besides its bytes. Nothing of it travels: both ends know it, and a frame of another
/// session or of another turn of the 16-bit sequence fails its check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// `Discover`, `Hello`, `Welcome`, `Refuse`: no session yet.
    Handshake,
    /// A message inside the session of this number.
    Session(u32),
    /// A batch inside a session: the 48 bits of its first sequence that do not travel.
    Batch(u32, DeviceSequence),
}

impl Seal {
    /// A checksum that has taken in the seal, ready for the kind.
    pub fn begin(self) -> Crc32c {
        match self {
            Self::Handshake => Crc32c::seeded(0),
            Self::Session(session) => Crc32c::seeded(session),
            Self::Batch(session, first) => {
                let mut crc = Crc32c::seeded(session);
                crc.update(&first.0.to_le_bytes()[SHORT_SEQUENCE_LEN..]);
                crc
            }
        }
    }
}

/// A decoded frame, cut into its parts; its trailer has not been checked.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    sealed: &'a [u8],
    trailer: u32,
}

impl<'a> Frame<'a> {
    /// Cuts a decoded frame into its parts, or `None` where it is too short to have them.
    pub fn new_checked(decoded: &'a [u8]) -> Option<Self> {
        let (sealed, trailer) = decoded.split_last_chunk::<TRAILER_LEN>()?;
        (sealed.len() >= KIND_LEN).then_some(Self { sealed, trailer: u32::from_le_bytes(*trailer) })
    }

    /// The first byte: see [`Kind::from_byte`].
    pub fn kind_byte(&self) -> u8 {
        self.sealed[0]
    }

    /// Whether a host sent the frame. Each side ignores frames of its own direction: they are its echo.
    pub fn is_from_host(&self) -> bool {
        self.kind_byte() & FROM_HOST != 0
    }

    /// What stands between kind and trailer.
    pub fn body(&self) -> &'a [u8] {
        &self.sealed[KIND_LEN..]
    }

    /// Whether the trailer is that of this seal.
    pub fn is_sealed_with(&self, seal: Seal) -> bool {
        let mut crc = seal.begin();
        crc.update(self.sealed);
        crc.finish() == self.trailer
    }
}

const _: () = assert!(HOST_FRAME_LEN_MAX <= FRAME_LEN_MAX);
const _: () = assert!(TRAILER_LEN <= TRAILER_LEN_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn seal(seal: Seal, sealed: &[u8]) -> Vec<u8> {
        let mut crc = seal.begin();
        crc.update(sealed);
        [sealed, &crc.finish().to_le_bytes()].concat()
    }

    #[test]
    fn a_kind_survives_its_byte() {
        let known = (0..=u8::MAX).filter_map(|byte| Kind::from_byte(byte).map(|kind| (byte, kind)));
        assert_eq!(known.map(|(byte, kind)| assert_eq!(kind as u8, byte)).count(), 11);
    }

    #[test]
    fn a_frame_of_another_session_fails_its_check() {
        let decoded = seal(Seal::Session(7), &[Kind::Status as u8, 1, 2]);
        let frame = Frame::new_checked(&decoded).unwrap();
        assert!(frame.is_sealed_with(Seal::Session(7)));
        assert!(!frame.is_sealed_with(Seal::Session(8)));
        assert!(!frame.is_sealed_with(Seal::Handshake));
        assert_eq!((frame.kind_byte(), frame.body(), frame.is_from_host()), (6, &[1, 2][..], false));
    }

    #[test]
    fn a_batch_of_another_turn_of_the_short_sequence_fails_its_check() {
        let decoded = seal(Seal::Batch(7, DeviceSequence(5)), &[Kind::Batch as u8, 5, 0]);
        let frame = Frame::new_checked(&decoded).unwrap();
        assert!(frame.is_sealed_with(Seal::Batch(7, DeviceSequence(5))));
        assert!(!frame.is_sealed_with(Seal::Batch(7, DeviceSequence(5 + 0x1_0000))));
        assert!(!frame.is_sealed_with(Seal::Session(7)));
    }

    #[test]
    fn a_frame_has_at_least_a_kind_and_a_trailer() {
        assert!(Frame::new_checked(&[1, 2, 3, 4]).is_none());
        assert!(Frame::new_checked(&[1, 2, 3, 4, 5]).is_some_and(|frame| frame.body().is_empty()));
    }
}

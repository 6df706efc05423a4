//! The messages, as WIRE.md, section 2, lists them. Their bodies are postcard.
//!
//! **Invariant:** a field is only ever added at the end of a message, and a reader ignores bytes that it does not know.
//! The first five fields of [`Hello`] are the same in every version, so that a host can refuse a version that it cannot
//! read. Codes are one byte, and one that the reader does not know is kept as `Other`.

pub(crate) mod number;

use heapless::Vec;
use serde::{Deserialize, Serialize};
use varve_core::{CHANNELS_MAX, DeviceId, DeviceSequence, Epoch, GapReason, Lane};

/// The oldest version of the protocol that this code speaks.
pub const VERSION_MIN: u8 = 1;

/// The newest version of the protocol that this code speaks.
pub const VERSION_MAX: u8 = 1;

/// The longest name of a channel's stream, in bytes.
pub const CHANNEL_NAME_LEN_MAX: usize = 64;

/// Host → device: who is there?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Discover {
    /// The oldest version that the host speaks.
    pub version_min: u8,
    /// The newest version that the host speaks.
    pub version_max: u8,
    /// New for every `Discover`, never 0.
    pub nonce: u32,
}

/// Device → host: who the device is, what it holds, what its channels are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello<'a> {
    /// The oldest version that the device speaks.
    pub version_min: u8,
    /// The newest version that the device speaks.
    pub version_max: u8,
    /// Bits that name what the device can do beyond the version; none is defined yet.
    pub features: u32,
    /// The nonce of the [`Discover`] that this answers; 0: unsolicited, and the host answers with a `Discover`.
    pub discover: u32,
    /// The nonce of this attempt of the device to enter a session; 0 in an unsolicited one.
    pub nonce: u32,
    /// The session that the device is in, 0: none.
    pub session: u32,
    /// The device.
    #[serde(with = "number")]
    pub device: DeviceId,
    /// The store that allotted the epoch, 0: none yet.
    pub incarnation: u64,
    /// The epoch of what the device holds, 0: none yet.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// Why the device started.
    pub reset: ResetReason,
    /// Ticks per second of the device's clock.
    pub tick_hz: u32,
    /// The device's clock when it made this message.
    pub now: u64,
    /// What the device holds, lane by lane: 1 to 4.
    pub lanes: Vec<HeldLane, { Lane::COUNT }>,
    /// The channel table: 1 to 16.
    #[serde(borrow)]
    pub channels: Vec<HelloChannel<'a>, CHANNELS_MAX>,
}

/// What a device holds of one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLane {
    /// The oldest sequence that it holds.
    #[serde(with = "number")]
    pub oldest: DeviceSequence,
    /// The sequence that its next event will have.
    #[serde(with = "number")]
    pub next: DeviceSequence,
}

/// One row of a device's channel table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloChannel<'a> {
    /// The stream that the channel's events go to: 1 to 64 bytes, which do not begin with `varve.`.
    pub name: &'a str,
    /// Tells channels of one name apart.
    pub instance: u8,
    /// The lane of its events.
    #[serde(with = "number")]
    pub lane: Lane,
    /// See [`HelloChannel::is_external`].
    pub flags: u8,
    /// The hash of the descriptor of its events.
    pub descriptor: [u8; 8],
}

impl HelloChannel<'_> {
    /// Bit 0 of the flags.
    pub const EXTERNAL: u8 = 1;

    /// Whether the device does not hold the descriptor: it comes to the store by another way.
    pub const fn is_external(&self) -> bool {
        self.flags & Self::EXTERNAL != 0
    }
}

/// Host → device: admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The nonce of the [`Hello`] that this answers.
    pub nonce: u32,
    /// The version that both will speak.
    pub version: u8,
    /// The features that both will use.
    pub features: u32,
    /// The session, never 0.
    pub session: u32,
    /// The store that allotted the epoch, never 0.
    pub incarnation: u64,
    /// The epoch of what the device holds.
    #[serde(with = "number")]
    pub epoch: Epoch,
    /// The epoch is new to the device, which numbers what it holds from 0.
    pub rebase: bool,
    /// The next sequence that the host lacks, lane by lane, after the rebase if any.
    pub lanes: Vec<NextSequence, { Lane::COUNT }>,
}

/// A lane's next sequence. On the wire it is the number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextSequence(#[serde(with = "number")] pub DeviceSequence);

/// Host → device: not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// The nonce of the [`Hello`] that this answers.
    pub nonce: u32,
    /// Why.
    pub reason: Refusal,
}

/// Device → host: the first message inside a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Where each lane starts.
    pub lanes: Vec<LaneStart, { Lane::COUNT }>,
}

/// Where a device starts to send one lane: the host's next sequence, or the oldest that the device holds where that is
/// later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStart {
    /// The first sequence that it will send.
    #[serde(with = "number")]
    pub first: DeviceSequence,
    /// The chain at that sequence.
    pub chain: u32,
}

/// Device → host: sequences that no event will ever have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The lane.
    #[serde(with = "number")]
    pub lane: Lane,
    /// The first of them.
    #[serde(with = "number")]
    pub first: DeviceSequence,
    /// How many: never 0.
    pub len: u64,
    /// Why, as its code.
    #[serde(with = "number")]
    pub reason: GapReason,
}

/// Device → host: a piece of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorPiece<'a> {
    /// Which descriptor.
    pub hash: [u8; 8],
    /// Where the piece stands in it.
    pub offset: u16,
    /// The length of the whole descriptor; 0: the device has none of this hash.
    pub total: u16,
    /// The piece.
    pub bytes: &'a [u8],
}

/// Device → host: alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The sequence that the next event of each lane will have.
    pub lanes: Vec<NextSequence, { Lane::COUNT }>,
    /// The device's clock when it made this message.
    pub now: u64,
}

/// Host → device: what has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The lane.
    #[serde(with = "number")]
    pub lane: Lane,
    /// Everything below is in the host's memory.
    #[serde(with = "number")]
    pub received: DeviceSequence,
    /// Everything below is stored for good; the device forgets it.
    #[serde(with = "number")]
    pub durable: DeviceSequence,
    /// How many bytes of batches beyond `received` may be under way.
    pub credit: u32,
    /// See [`Ack::is_out_of_order`].
    pub flags: u8,
}

impl Ack {
    /// Bit 0 of the flags.
    pub const OUT_OF_ORDER: u8 = 1;

    /// Whether something beyond `received` came and was dropped, so that the device should go back at once.
    pub const fn is_out_of_order(&self) -> bool {
        self.flags & Self::OUT_OF_ORDER != 0
    }
}

/// Host → device: a piece of a descriptor is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Which descriptor.
    pub hash: [u8; 8],
    /// From which byte.
    pub offset: u16,
}

macro_rules! code {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[serde(from = "u8", into = "u8")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A code of a later version.
            Other(u8),
        }

        impl From<u8> for $name {
            fn from(code: u8) -> Self {
                match code {
                    $($code => Self::$variant,)+
                    other => Self::Other(other),
                }
            }
        }

        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value {
                    $($name::$variant => $code,)+
                    $name::Other(other) => other,
                }
            }
        }
    };
}

code! {
    /// Why a device started.
    ResetReason {
        /// The device does not tell.
        Unknown = 0,
        /// Its power came.
        Power = 1,
        /// Its reset pin.
        Pin = 2,
        /// Its watchdog.
        Watchdog = 3,
        /// Its own software asked for it.
        Software = 4,
        /// Its power was too low.
        BrownOut = 5,
    }
}

code! {
    /// Why a host does not admit a device, or ends its session.
    Refusal {
        /// No version is common to both.
        Version = 1,
        /// The chain is another: a clone, or a device that lost its memory and kept its name.
        Chain = 2,
        /// The epoch is closed: a later one has begun.
        EpochClosed = 3,
        /// The host has more of this epoch than the device ever emitted.
        Behind = 4,
        /// A message or batch was sound on the wire and wrong in itself.
        Malformed = 5,
        /// A device of this id is live on another port.
        DuplicateDevice = 6,
        /// The host's number space or store is full.
        Full = 7,
        /// A descriptor is missing, too long, or not that of its hash.
        Descriptor = 8,
        /// What the host has stored of the device, or of a stream of its events, is damaged.
        Damaged = 9,
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Version => "no common version",
            Self::Chain => "another history than the stored one (a clone?)",
            Self::EpochClosed => "its epoch is closed",
            Self::Behind => "it has emitted less than is stored",
            Self::Malformed => "a malformed message",
            Self::DuplicateDevice => "the device is live on another port",
            Self::Full => "no room for another epoch",
            Self::Descriptor => "a descriptor that is missing or not that of its hash",
            Self::Damaged => "what is stored of it is damaged",
            Self::Other(code) => return write!(f, "reason {code}"),
        })
    }
}

impl core::error::Error for Refusal {}

/// Reads a message from the front of a body. Bytes behind it belong to a later version.
pub(crate) fn read<'a, M: Deserialize<'a>>(body: &'a [u8]) -> Option<M> {
    postcard::take_from_bytes(body).ok().map(|(message, _)| message)
}

/// Appends a message to `out`; `false` where it does not fit, and then `out` is as it was.
pub(crate) fn append<const N: usize>(message: &impl Serialize, out: &mut Vec<u8, N>) -> bool {
    let before = out.len();
    let _ = out.resize(N, 0);
    let written = postcard::to_slice(message, &mut out[before..]).map(|bytes| bytes.len()).ok();
    out.truncate(before + written.unwrap_or(0));
    written.is_some()
}

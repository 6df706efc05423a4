//! The wire of Varve: frames, messages, the two machines that speak them, and the outbox that a device sends from.
//!
//! ```text
//!  device                                                         host
//!  OutboxChannel::try_push ─► Outbox ─► DeviceLink ══ bytes ══ HostLink ─► HostEvent
//!                             ring      poll_transmit          handle_bytes    Hello, Batch, Gap …
//!                                       handle_bytes           poll_transmit ◄─ admit, handle_durable, set_credit
//! ```
//!
//! Both machines do no input or output and know no clock. WIRE.md specifies every byte and every timer.
#![no_std]
#![forbid(unsafe_code)]

pub mod admission;
mod chain;
mod channel;
mod device;
mod frame;
mod host;
mod message;
mod nonce;
mod outbox;
mod round_trip;
mod short_sequence;
mod timing;

pub use admission::{Admission, KnownDevice, KnownEpoch, LaneCursor};
pub use chain::Chain;
pub use channel::ChannelInfo;
pub use device::{DeviceConfig, DeviceEvent, DeviceLink, DeviceState, DeviceStats};
pub use frame::{
    BATCH_LEN_MAX, FRAME_LEN_MAX, Frame, FrameDecoder, FrameEncoder, FrameError, FrameSource,
    HOST_FRAME_LEN_MAX, Kind, SHORT_SEQUENCE_LEN, Seal, TRAILER_LEN, TRAILER_LEN_MAX,
};
pub use host::{ClockSample, HostConfig, HostEvent, HostLink, HostState, HostStats, LostReason, Session};
pub use message::{
    Ack, CHANNEL_NAME_LEN_MAX, DescriptorPiece, Discover, Fetch, Gap, HeldLane, Hello, HelloChannel,
    LaneStart, NextSequence, Refusal, Refuse, ResetReason, Start, Status, VERSION_MAX, VERSION_MIN, Welcome,
};
pub use outbox::{Dropped, GAP_CREDIT, Outbox, OutboxChannel, OutboxStats, PUSHERS_MAX};
pub use short_sequence::IN_FLIGHT_MAX;
pub use timing::{
    ACK_INTERVAL_MS, HANDSHAKE_RETRY_MAX_MS, HANDSHAKE_RETRY_MS, LINGER_MS, RETRANSMIT_INITIAL_MS,
    RETRANSMIT_MAX_MS, RETRANSMIT_MIN_MS, SILENCE_MS, STATUS_INTERVAL_MS, TRIES_MAX,
};
#[doc(no_inline)]
pub use varve_core::GapReason;

//! The kind and body of the frame that a device is sending, made piece by piece.

use embassy_sync::blocking_mutex::raw::RawMutex;
use heapless::Vec;
use serde::Serialize;
use varve_core::{Crc32c, DeviceId, DeviceSequence, Epoch, Lane};

use crate::frame::{FrameSource, Kind};
use crate::message::{self, CHANNEL_NAME_LEN_MAX, HeldLane, ResetReason};
use crate::outbox::Outbox;
use crate::short_sequence::ShortSequence;

/// A few bytes at hand, and where the rest comes from.
#[derive(Debug)]
pub(super) struct Body {
    head: Vec<u8, HEAD_LEN_MAX>,
    read: usize,
    tail: Tail,
}

#[derive(Debug)]
enum Tail {
    Nothing,
    /// The rows of the channel table from this one on.
    Channels(usize),
    Descriptor(&'static [u8]),
    /// Bytes of a batch in the ring.
    Batch {
        first: DeviceSequence,
        offset: usize,
        left: usize,
        crc: Crc32c,
    },
}

/// All of a [`Hello`](crate::Hello) before its channel table.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HelloHead {
    pub(super) version_min: u8,
    pub(super) version_max: u8,
    pub(super) features: u32,
    pub(super) discover: u32,
    pub(super) nonce: u32,
    pub(super) session: u32,
    #[serde(serialize_with = "message::number::serialize")]
    pub(super) device: DeviceId,
    pub(super) incarnation: u64,
    #[serde(serialize_with = "message::number::serialize")]
    pub(super) epoch: Epoch,
    pub(super) reset: ResetReason,
    pub(super) tick_hz: u32,
    pub(super) now: u64,
    pub(super) lanes: Vec<HeldLane, { Lane::COUNT }>,
}

impl Body {
    pub(super) const fn empty() -> Self {
        Self { head: Vec::new(), read: 0, tail: Tail::Nothing }
    }

    /// A message that is small enough for the head.
    pub(super) fn message(kind: Kind, message: &impl Serialize) -> Self {
        let mut body = Self::empty();
        body.put(kind as u8);
        let fits = message::append(message, &mut body.head);
        debug_assert!(fits, "a message of a device fits the head");
        body
    }

    /// A hello with `channels` rows behind it.
    pub(super) fn hello(head: &HelloHead, channels: usize) -> Self {
        let mut body = Self::message(Kind::Hello, head);
        body.put(channels as u8);
        body.tail = Tail::Channels(0);
        body
    }

    /// A piece of a descriptor, whose message ends with those bytes.
    pub(super) fn descriptor(head: &impl Serialize, piece: &'static [u8]) -> Self {
        let mut body = Self::message(Kind::Descriptor, head);
        let counted = message::append(&(piece.len() as u16), &mut body.head);
        debug_assert!(counted, "a length fits the head");
        body.tail = Tail::Descriptor(piece);
        body
    }

    /// A batch of `len` bytes at `offset` in the ring.
    pub(super) fn batch(first: DeviceSequence, offset: usize, len: usize) -> Self {
        let mut body = Self::empty();
        body.put(Kind::Batch as u8);
        for byte in ShortSequence::of(first).0.to_le_bytes() {
            body.put(byte);
        }
        body.tail = Tail::Batch { first, offset, left: len, crc: Crc32c::new() };
        body
    }

    /// The body as a source of bytes.
    pub(super) fn reader<'b, M: RawMutex, const RING: usize, const SLOTS: usize>(
        &'b mut self,
        outbox: &'b Outbox<M, RING, SLOTS>,
    ) -> impl FrameSource + use<'b, M, RING, SLOTS> {
        BodyReader { body: self, outbox }
    }

    fn put(&mut self, byte: u8) {
        let kept = self.head.push(byte);
        debug_assert!(kept.is_ok(), "the head has room for a few bytes");
    }
}

struct BodyReader<'b, M: RawMutex, const RING: usize, const SLOTS: usize> {
    body: &'b mut Body,
    outbox: &'b Outbox<M, RING, SLOTS>,
}

impl<M: RawMutex, const RING: usize, const SLOTS: usize> FrameSource for BodyReader<'_, M, RING, SLOTS> {
    fn read(&mut self, out: &mut [u8]) -> usize {
        let body = &mut *self.body;
        if let Tail::Channels(row) = body.tail
            && body.read == body.head.len()
        {
            body.next_channel(self.outbox.channels(), row);
        }
        let mut head = &body.head[body.read..];
        if !head.is_empty() {
            let len = head.read(out);
            body.read += len;
            return len;
        }
        match &mut body.tail {
            Tail::Nothing | Tail::Channels(_) => 0,
            Tail::Descriptor(piece) => piece.read(out),
            Tail::Batch { first, offset, left, crc } => {
                let len = out.len().min(*left);
                self.outbox.copy(*offset, &mut out[..len]);
                crc.update(&out[..len]);
                *offset += len;
                *left -= len;
                if *left == 0 {
                    self.outbox.set_crc(*first, crc.clone().finish());
                }
                len
            }
        }
    }
}

impl Body {
    /// Puts the next row of the channel table into the head.
    fn next_channel(&mut self, channels: &[crate::ChannelInfo], row: usize) {
        if let Some(info) = channels.get(row) {
            self.head.clear();
            self.read = 0;
            let fits = message::append(&info.announced(), &mut self.head);
            debug_assert!(fits, "a channel's row fits the head");
            self.tail = Tail::Channels(row + 1);
        }
    }
}

/// Room for a kind and the longest small message, which is a hello before its channel table.
const HEAD_LEN_MAX: usize = 96;

const U32_LEN_MAX: usize = 5;
const U64_LEN_MAX: usize = 10;
const HELLO_HEAD_LEN_MAX: usize = 1 + 3 + 6 * U32_LEN_MAX + 3 * U64_LEN_MAX + 1 + 2 * U64_LEN_MAX + 1;
const CHANNEL_LEN_MAX: usize = 1 + CHANNEL_NAME_LEN_MAX + 3 + 8;

const _: () = assert!(HELLO_HEAD_LEN_MAX <= HEAD_LEN_MAX);
const _: () = assert!(CHANNEL_LEN_MAX <= HEAD_LEN_MAX);
const _: () = assert!(
    HELLO_HEAD_LEN_MAX + varve_core::CHANNELS_MAX * CHANNEL_LEN_MAX + crate::frame::TRAILER_LEN_MAX
        <= crate::frame::FRAME_LEN_MAX
);

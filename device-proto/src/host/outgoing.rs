//! The frame that a host is sending.

use heapless::Vec;
use serde::Serialize;

use crate::frame::{FrameEncoder, FrameSource, HOST_FRAME_LEN_MAX, Kind, Seal, TRAILER_LEN_MAX};
use crate::message;

/// A host's messages are small: the frame's kind and body are made at once.
#[derive(Debug)]
pub(super) struct Outgoing {
    encoder: FrameEncoder,
    body: Vec<u8, BODY_LEN_MAX>,
    read: usize,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { encoder: FrameEncoder::new(), body: Vec::new(), read: 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.encoder.is_idle()
    }

    /// Begins the frame of a message.
    pub(super) fn begin(&mut self, kind: Kind, seal: Seal, message: &impl Serialize) {
        self.body.clear();
        self.read = 0;
        let fits = self.body.push(kind as u8).is_ok() && message::append(message, &mut self.body);
        debug_assert!(fits, "a host's message fits its frame");
        match seal {
            Seal::Handshake => self.encoder.begin_apart(seal),
            _ => self.encoder.begin(seal),
        }
    }

    /// Writes the next bytes of the frame to `out` and returns how many.
    pub(super) fn poll(&mut self, out: &mut [u8]) -> usize {
        let Self { encoder, body, read } = self;
        encoder.poll(&mut Unread { body, read }, out)
    }
}

struct Unread<'b> {
    body: &'b [u8],
    read: &'b mut usize,
}

impl FrameSource for Unread<'_> {
    fn read(&mut self, out: &mut [u8]) -> usize {
        let len = (&self.body[*self.read..]).read(out);
        *self.read += len;
        len
    }
}

/// The longest message of a host, a `Welcome` of 4 lanes, takes 74 bytes.
const BODY_LEN_MAX: usize = 96;

const _: () = assert!(BODY_LEN_MAX + TRAILER_LEN_MAX <= HOST_FRAME_LEN_MAX);

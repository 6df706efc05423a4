//! From a frame's parts to a byte stream, in pieces of any size.

use varve_core::Crc32c;

use super::{Seal, TRAILER_LEN};

/// Where an encoder pulls a frame's kind and body from.
pub trait FrameSource {
    /// Copies the next bytes to the front of `out` and returns how many they are: 0 only at the end.
    fn read(&mut self, out: &mut [u8]) -> usize;
}

impl FrameSource for &[u8] {
    fn read(&mut self, out: &mut [u8]) -> usize {
        let (piece, rest) = self.split_at(self.len().min(out.len()));
        out[..piece.len()].copy_from_slice(piece);
        *self = rest;
        piece.len()
    }
}

/// Encodes one frame after another. It holds one COBS block and one piece of the source, never a whole frame, so that
/// a frame leaves as the port takes it, a byte at a time if need be.
#[derive(Debug)]
pub struct FrameEncoder {
    /// What was pulled and is not yet in a block.
    piece: [u8; PIECE_LEN],
    piece_read: u8,
    piece_len: u8,
    /// A code byte and up to 254 others.
    block: [u8; BLOCK_LEN],
    block_len: u8,
    block_sent: u8,
    crc: Crc32c,
    state: State,
    /// Bytes of the present frame have left.
    begun: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// The source has more.
    Body,
    /// The piece holds the trailer.
    Trailer,
    /// The last block is made; the 00 is to follow it.
    End,
    /// The last byte is in the block.
    Flush,
}

impl FrameEncoder {
    /// An idle encoder.
    pub fn new() -> Self {
        Self {
            piece: [0; PIECE_LEN],
            piece_read: 0,
            piece_len: 0,
            block: [0; BLOCK_LEN],
            block_len: 0,
            block_sent: 0,
            crc: Crc32c::new(),
            state: State::Idle,
            begun: false,
        }
    }

    /// Whether no frame is under way.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Begins a frame; the source is passed to each [`poll`](Self::poll). A frame under way is given up.
    pub fn begin(&mut self, seal: Seal) {
        self.abort();
        if self.state == State::Flush {
            // The 00 that ends the abandoned frame leaves before this one.
            self.begun = false;
        } else {
            self.block_len = 0;
            self.block_sent = 0;
        }
        self.piece_read = 0;
        self.piece_len = 0;
        self.crc = seal.begin();
        self.state = State::Body;
    }

    /// Begins a frame behind a 00, which ends whatever noise the receiver has heard before.
    pub fn begin_apart(&mut self, seal: Seal) {
        self.begin(seal);
        self.block[0] = 0;
        self.block_len = 1;
    }

    /// Gives the frame under way up. If bytes of it have left, a 00 follows them, and the receiver drops the cut frame.
    pub fn abort(&mut self) {
        if self.state == State::Idle {
            return;
        }
        if !self.begun {
            self.state = State::Idle;
            return;
        }
        self.block[0] = 0;
        self.block_len = 1;
        self.block_sent = 0;
        self.state = State::Flush;
    }

    /// Writes the next bytes of the frame to `out` and returns how many. The frame is complete when the encoder is idle.
    pub fn poll(&mut self, source: &mut impl FrameSource, out: &mut [u8]) -> usize {
        let mut written = 0;
        while self.state != State::Idle {
            if self.block_sent == self.block_len {
                self.next_block(source);
                continue;
            }
            if written == out.len() {
                break;
            }
            let left = &self.block[usize::from(self.block_sent)..usize::from(self.block_len)];
            let len = left.len().min(out.len() - written);
            out[written..written + len].copy_from_slice(&left[..len]);
            written += len;
            self.block_sent += len as u8;
            self.begun = true;
        }
        written
    }

    /// Fills the block with what comes next, or goes idle where nothing does.
    fn next_block(&mut self, source: &mut impl FrameSource) {
        self.block_sent = 0;
        self.block_len = 0;
        match self.state {
            State::Idle => {}
            State::Flush => {
                self.state = State::Idle;
                self.begun = false;
            }
            State::End => {
                self.block[0] = 0;
                self.block_len = 1;
                self.state = State::Flush;
            }
            State::Body | State::Trailer => self.encode_block(source),
        }
    }

    /// Moves bytes into the block up to the next zero, which the block's code stands for, up to its 254, or to the end.
    fn encode_block(&mut self, source: &mut impl FrameSource) {
        let mut len = 1;
        while len < BLOCK_LEN {
            match self.next_byte(source) {
                Some(0) => break,
                Some(byte) => {
                    self.block[len] = byte;
                    len += 1;
                }
                None => {
                    self.state = State::End;
                    break;
                }
            }
        }
        self.block[0] = len as u8;
        self.block_len = len as u8;
    }

    fn next_byte(&mut self, source: &mut impl FrameSource) -> Option<u8> {
        if self.piece_read == self.piece_len && !self.next_piece(source) {
            return None;
        }
        let byte = self.piece[usize::from(self.piece_read)];
        self.piece_read += 1;
        Some(byte)
    }

    /// Pulls the next piece, or makes the trailer once the source has ended.
    fn next_piece(&mut self, source: &mut impl FrameSource) -> bool {
        if self.state == State::Trailer {
            return false;
        }
        let mut len = source.read(&mut self.piece).min(PIECE_LEN);
        self.crc.update(&self.piece[..len]);
        if len == 0 {
            let trailer = core::mem::take(&mut self.crc).finish().to_le_bytes();
            self.piece[..TRAILER_LEN].copy_from_slice(&trailer);
            len = TRAILER_LEN;
            self.state = State::Trailer;
        }
        self.piece_read = 0;
        self.piece_len = len as u8;
        true
    }
}

impl Default for FrameEncoder {
    fn default() -> Self {
        Self::new()
    }
}

/// How much is pulled at once: what a source copies under its lock.
const PIECE_LEN: usize = 64;
/// The longest COBS block with its code.
const BLOCK_LEN: usize = 255;

const _: () = assert!(PIECE_LEN >= TRAILER_LEN && PIECE_LEN <= u8::MAX as usize);
const _: () = assert!(BLOCK_LEN <= u8::MAX as usize);

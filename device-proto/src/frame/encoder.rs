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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonce::mix;

    extern crate std;
    use std::{vec, vec::Vec};

    fn encode(encoder: &mut FrameEncoder, mut source: &[u8], piece_len: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut piece = vec![0; piece_len];
        encoder.begin(Seal::Session(9));
        while !encoder.is_idle() {
            let len = encoder.poll(&mut source, &mut piece);
            wire.extend(&piece[..len]);
        }
        wire
    }

    fn sealed(bytes: &[u8]) -> Vec<u8> {
        let mut crc = Seal::Session(9).begin();
        crc.update(bytes);
        [bytes, &crc.finish().to_le_bytes()].concat()
    }

    /// Bytes of which about one in `zero_in` is zero.
    fn content(len: usize, zero_in: u64) -> Vec<u8> {
        (0..len as u64)
            .map(|at| if mix(at ^ zero_in).is_multiple_of(zero_in) { 0 } else { mix(at) as u8 | 1 })
            .collect()
    }

    #[test]
    fn any_content_in_pieces_of_any_size_is_decoded_by_the_cobs_crate() {
        let mut encoder = FrameEncoder::new();
        for len in [0, 1, 2, 59, 60, 64, 249, 250, 251, 253, 254, 255, 503, 504, 505, 1_287] {
            for zero_in in [1, 2, 300, u64::MAX] {
                let content = content(len, zero_in);
                let whole = encode(&mut encoder, &content, 4_096);
                let (end, body) = whole.split_last().unwrap();
                assert_eq!((*end, body.contains(&0)), (0, false));
                assert_eq!(cobs::decode_vec(body).unwrap(), sealed(&content), "{len} bytes");
                for piece_len in [1, 7, 255] {
                    assert_eq!(encode(&mut encoder, &content, piece_len), whole);
                }
            }
        }
    }

    #[test]
    fn cobs_adds_a_byte_for_every_254_at_most() {
        let mut encoder = FrameEncoder::new();
        for len in 0..1_300 {
            let wire = encode(&mut encoder, &content(len, u64::MAX), 4_096);
            assert!(wire.len() <= len + TRAILER_LEN + (len + TRAILER_LEN) / 254 + 2);
        }
    }

    #[test]
    fn an_abandoned_frame_is_cut_by_a_zero_and_the_next_one_is_whole() {
        let content = [7; 300];
        let mut encoder = FrameEncoder::new();
        let mut wire = [0; 100];
        encoder.begin(Seal::Handshake);
        assert_eq!(encoder.poll(&mut &content[..], &mut wire), 100);
        encoder.abort();
        assert!(!encoder.is_idle());
        let next = encode(&mut encoder, &[1, 2, 3], 64);
        assert_eq!(next[0], 0);
        assert_eq!(cobs::decode_vec(&next[1..next.len() - 1]).unwrap(), sealed(&[1, 2, 3]));
        assert!(encoder.is_idle());
    }

    #[test]
    fn an_abandoned_frame_ends_even_if_none_follows() {
        let mut encoder = FrameEncoder::new();
        let mut wire = [0; 10];
        encoder.begin(Seal::Handshake);
        encoder.poll(&mut &[7; 300][..], &mut wire);
        encoder.abort();
        assert_eq!(encoder.poll(&mut &[][..], &mut wire), 1);
        assert_eq!((wire[0], encoder.is_idle()), (0, true));
    }

    #[test]
    fn a_frame_of_which_nothing_has_left_is_given_up_without_a_trace() {
        let mut encoder = FrameEncoder::new();
        encoder.begin(Seal::Handshake);
        encoder.abort();
        assert!(encoder.is_idle());
        assert_eq!(encoder.poll(&mut &[1][..], &mut [0; 10]), 0);
    }

    #[test]
    fn a_frame_apart_follows_a_zero() {
        let mut encoder = FrameEncoder::new();
        let mut wire = [9; 32];
        encoder.begin_apart(Seal::Session(9));
        let len = encoder.poll(&mut &[1, 2][..], &mut wire);
        assert_eq!(wire[0], 0);
        assert_eq!(cobs::decode_vec(&wire[1..len - 1]).unwrap(), sealed(&[1, 2]));
    }
}

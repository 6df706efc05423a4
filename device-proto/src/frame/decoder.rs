//! From a byte stream to decoded frames, in a buffer of a fixed size.

/// Undoes COBS byte by byte. `LEN` is the longest decoded frame that it takes; longer ones are skipped to their end.
#[derive(Clone, Debug)]
pub struct FrameDecoder<const LEN: usize> {
    buffer: [u8; LEN],
    len: usize,
    /// Bytes that the present COBS block still has.
    block_left: u8,
    /// The present block stands for a zero behind it, unless it is the frame's last.
    zero_due: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No byte of the next frame has come.
    Empty,
    Inside,
    /// The frame is longer than the buffer.
    Skipping,
}

/// Why the bytes up to a 00 were no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The decoded frame is longer than the buffer.
    TooLong,
    /// The bytes ended inside a COBS block: a cut, or the sender gave the frame up.
    Cut,
}

impl<const LEN: usize> FrameDecoder<LEN> {
    /// A decoder at the start of a frame.
    pub const fn new() -> Self {
        Self { buffer: [0; LEN], len: 0, block_left: 0, zero_due: false, state: State::Empty }
    }

    /// Takes in bytes up to the end of the next frame at most. Returns how many it took, and what ended there: a frame
    /// of that length, to be read with [`frame`](Self::frame) before the next call, or an error. Empty frames are
    /// passed over.
    pub fn decode(&mut self, bytes: &[u8]) -> (usize, Option<Result<usize, FrameError>>) {
        for (at, &byte) in bytes.iter().enumerate() {
            if byte != 0 {
                self.take(byte);
            } else if let Some(outcome) = self.end() {
                return (at + 1, Some(outcome));
            }
        }
        (bytes.len(), None)
    }

    /// The first `len` bytes of the buffer: the frame that [`decode`](Self::decode) announced.
    pub fn frame(&self, len: usize) -> &[u8] {
        &self.buffer[..len.min(LEN)]
    }

    fn take(&mut self, byte: u8) {
        if self.state == State::Skipping {
            return;
        }
        self.state = State::Inside;
        if self.block_left > 0 {
            self.block_left -= 1;
            self.put(byte);
            return;
        }
        if self.zero_due {
            self.put(0);
        }
        self.block_left = byte - 1;
        self.zero_due = byte < u8::MAX;
    }

    fn put(&mut self, byte: u8) {
        match self.buffer.get_mut(self.len) {
            Some(place) => {
                *place = byte;
                self.len += 1;
            }
            None => self.state = State::Skipping,
        }
    }

    fn end(&mut self) -> Option<Result<usize, FrameError>> {
        let outcome = match self.state {
            State::Empty => None,
            State::Skipping => Some(Err(FrameError::TooLong)),
            State::Inside if self.block_left > 0 => Some(Err(FrameError::Cut)),
            State::Inside => Some(Ok(self.len)),
        };
        self.len = 0;
        self.block_left = 0;
        self.zero_due = false;
        self.state = State::Empty;
        outcome
    }
}

impl<const LEN: usize> Default for FrameDecoder<LEN> {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the frame is longer than any may be",
            Self::Cut => "the frame was cut",
        })
    }
}

impl core::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate std;
    use std::vec::Vec;

    fn decode_all<const LEN: usize>(mut bytes: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
        let mut decoder = FrameDecoder::<LEN>::new();
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let (taken, outcome) = decoder.decode(bytes);
            bytes = &bytes[taken..];
            frames.extend(outcome.map(|outcome| outcome.map(|len| decoder.frame(len).to_vec())));
        }
        frames
    }

    #[test]
    fn frames_end_at_zeros_and_empty_ones_are_passed_over() {
        assert_eq!(
            decode_all::<8>(&[0, 0, 3, 1, 2, 0, 0, 1, 2, 5, 0]),
            [Ok([1, 2].to_vec()), Ok([0, 5].to_vec())]
        );
    }

    #[test]
    fn a_frame_that_fills_the_buffer_fits_and_a_longer_one_is_skipped_to_its_end() {
        assert_eq!(decode_all::<2>(&[3, 1, 2, 0]), [Ok([1, 2].to_vec())]);
        assert_eq!(decode_all::<2>(&[4, 1, 2, 3, 0, 2, 9, 0]), [Err(FrameError::TooLong), Ok([9].to_vec())]);
    }

    #[test]
    fn a_cut_frame_is_an_error_and_the_next_one_is_not() {
        assert_eq!(decode_all::<8>(&[5, 1, 2, 0, 2, 9, 0]), [Err(FrameError::Cut), Ok([9].to_vec())]);
    }

    #[test]
    fn garbage_never_panics_and_agrees_with_the_cobs_crate() {
        let mut random = 1u64;
        for _ in 0..20_000 {
            let mut frame = Vec::new();
            random = crate::nonce::mix(random);
            for at in 0..random % 40 {
                frame.push((crate::nonce::mix(random ^ at << 32) % 7) as u8 + 1);
            }
            let expected = cobs::decode_vec(&frame).ok();
            frame.push(0);
            let decoded = decode_all::<64>(&frame);
            let decoded = decoded.first().and_then(|decoded| decoded.clone().ok());
            assert_eq!(decoded.unwrap_or_default(), expected.unwrap_or_default(), "{frame:?}");
        }
    }
}

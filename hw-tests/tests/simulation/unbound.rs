//! A man in the middle who takes the session out of the frames.

use varve_core::DeviceSequence;
use varve_device_proto::{FRAME_LEN_MAX, Frame, FrameDecoder, Kind, Seal, TRAILER_LEN, Welcome};
use varve_hw_tests::simulation::Tap;

/// Seals the frames of earlier sessions anew for the present one, as if trailers did not name the session.
#[derive(Default)]
pub(crate) struct Unbound {
    /// The sessions of each line, as their welcomes came.
    sessions: [Vec<u32>; 2],
}

impl Tap for Unbound {
    fn pass_up(&mut self, line: usize, frame: &mut Vec<u8>) {
        self.unbind(line, frame);
    }

    fn pass_down(&mut self, line: usize, frame: &mut Vec<u8>) {
        self.unbind(line, frame);
        self.note_welcome(line, frame);
    }
}

impl Unbound {
    fn unbind(&mut self, line: usize, frame: &mut Vec<u8>) {
        let Some((&present, earlier)) = self.sessions[line].split_last() else { return };
        let mut decoder = FrameDecoder::<FRAME_LEN_MAX>::new();
        let (_, Some(Ok(len))) = decoder.decode(frame) else { return };
        let decoded = decoder.frame(len);
        let Some(stale) = Frame::new_checked(decoded) else { return };
        for turn in 0..TURNS {
            let first = DeviceSequence(turn << 16);
            for &session in earlier {
                let (was, is) = match Kind::from_byte(stale.kind_byte()) {
                    Some(Kind::Batch) => (Seal::Batch(session, first), Seal::Batch(present, first)),
                    _ => (Seal::Session(session), Seal::Session(present)),
                };
                if stale.is_sealed_with(was) {
                    *frame = sealed_anew(decoded, is);
                    return;
                }
            }
        }
    }

    fn note_welcome(&mut self, line: usize, frame: &[u8]) {
        let mut decoder = FrameDecoder::<FRAME_LEN_MAX>::new();
        let (_, Some(Ok(len))) = decoder.decode(frame) else { return };
        let welcome = Frame::new_checked(decoder.frame(len));
        let welcome = welcome.filter(|frame| frame.is_sealed_with(Seal::Handshake));
        if let Some(welcome) = welcome.filter(|frame| frame.kind_byte() == Kind::Welcome as u8)
            && let Ok((Welcome { session, .. }, _)) = postcard::take_from_bytes(welcome.body())
            && self.sessions[line].last() != Some(&session)
        {
            self.sessions[line].push(session);
        }
    }
}

/// The frame on the wire with a trailer of that seal.
fn sealed_anew(decoded: &[u8], seal: Seal) -> Vec<u8> {
    let (sealed, _) = decoded.split_at(decoded.len() - TRAILER_LEN);
    let mut crc = seal.begin();
    crc.update(sealed);
    let mut frame = cobs::encode_vec(&[sealed, &crc.finish().to_le_bytes()].concat());
    frame.push(0);
    frame
}

/// How many turns of 16 bits the sequences of a run may have made.
const TURNS: u64 = 8;

//! A stretch of a byte stream: its frames, and the same frames made and taken apart again.

use varve_device_proto::{FRAME_LEN_MAX, Frame, FrameDecoder, FrameEncoder, HOST_FRAME_LEN_MAX, Seal};

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let frames = decode::<FRAME_LEN_MAX>(bytes);
    let short: Vec<_> = frames.iter().filter(|frame| frame.len() <= HOST_FRAME_LEN_MAX).cloned().collect();
    assert_eq!(decode::<HOST_FRAME_LEN_MAX>(bytes), short, "a smaller buffer loses the longer frames alone");
    for frame in &frames {
        if let Some(view) = Frame::new_checked(frame) {
            assert_eq!(view.is_from_host(), view.kind_byte() & 0x80 != 0);
            assert_eq!(view.body().len() + 5, frame.len());
        }
        if frame.len() + TRAILER_LEN <= FRAME_LEN_MAX && !frame.is_empty() {
            check_round_trip(frame);
        }
    }
    if frames.is_empty() { Verdict::Refused } else { Verdict::Accepted }
}

/// Seals the bytes into a frame of their own, and finds them in it again.
fn check_round_trip(sealed: &[u8]) {
    let wire = encode(Seal::Session(7), sealed);
    let frames = decode::<FRAME_LEN_MAX>(&wire);
    let [frame] = &frames[..] else { panic!("one frame went in, {} came out", frames.len()) };
    let view = Frame::new_checked(frame).expect("it has a trailer");
    assert!(view.is_sealed_with(Seal::Session(7)) && !view.is_sealed_with(Seal::Handshake));
    assert_eq!(&frame[..sealed.len()], sealed);
}

/// A frame of a kind and its body, as it stands on the wire.
pub(crate) fn encode(seal: Seal, sealed: &[u8]) -> Vec<u8> {
    let mut wire = vec![0; 2 * FRAME_LEN_MAX];
    let mut encoder = FrameEncoder::new();
    encoder.begin(seal);
    let len = encoder.poll(&mut &sealed[..], &mut wire);
    assert!(encoder.is_idle(), "a frame is at most twice as long as what it carries");
    wire.truncate(len);
    wire
}

/// The decoded frames of a byte stream; what is broken is passed over.
pub(crate) fn decode<const LEN: usize>(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::<LEN>::new();
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (taken, outcome) = decoder.decode(bytes);
        bytes = &bytes[taken..];
        if let Some(Ok(len)) = outcome {
            frames.push(decoder.frame(len).to_vec());
        }
    }
    frames
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let long = [1u8; 600];
    let mut zeros = vec![3; 255];
    zeros.extend([0; 5]);
    [&[6u8, 1, 2][..], &[3, 0, 0, 0], &long, &zeros].map(|sealed| encode(Seal::Session(1), sealed)).to_vec()
}

const TRAILER_LEN: usize = varve_device_proto::TRAILER_LEN;

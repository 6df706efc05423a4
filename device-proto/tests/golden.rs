//! The bytes of every message, as commented hex in `tests/golden/`. They were worked out from WIRE.md, not by this code.

use serde::{Deserialize, Serialize};
use varve_core::{Batch, DeviceId, DeviceSequence, Epoch, Lane, crc32c};
use varve_device_proto::{
    Ack, Chain, DescriptorPiece, Discover, Fetch, Frame, FrameDecoder, FrameEncoder, Gap, GapReason,
    HeldLane, Hello, HelloChannel, Kind, LaneStart, NextSequence, Refusal, Refuse, ResetReason, Seal, Start,
    Status, Welcome,
};

const SESSION: u32 = 0x51a2_b3c4;
const HASH: [u8; 8] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
const OTHER_HASH: [u8; 8] = [0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x00];

/// The bytes of a golden file, row by row.
fn rows(name: &str) -> Vec<Vec<u8>> {
    let path = format!("{}/tests/golden/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let bytes = |line: &str| {
        let digits = line.split('#').next().unwrap_or("").split_whitespace();
        digits.map(|byte| u8::from_str_radix(byte, 16).expect("two hex digits")).collect::<Vec<_>>()
    };
    text.lines().map(bytes).filter(|row| !row.is_empty()).collect()
}

fn golden(name: &str) -> Vec<u8> {
    rows(name).concat()
}

/// The message becomes the golden bytes, and they become the message, whatever a later version adds behind it.
fn check<'a, M>(name: &str, kind: Kind, seal: Seal, message: &M, decoded: &'a mut Vec<u8>)
where
    M: Serialize + Deserialize<'a> + PartialEq + core::fmt::Debug,
{
    let mut sealed = vec![kind as u8];
    sealed.extend(postcard::to_slice(message, &mut [0; 2048]).unwrap().iter());
    assert_eq!(encode(seal, &sealed), golden(name), "{name}");

    *decoded = golden(name);
    let frame = Frame::new_checked(decoded).unwrap();
    assert!(frame.is_sealed_with(seal) && Kind::from_byte(frame.kind_byte()) == Some(kind), "{name}");
    let len = frame.body().len();
    decoded.truncate(1 + len);
    decoded.extend([1, 2, 3]);
    let (read, rest) = postcard::take_from_bytes::<M>(&decoded[1..]).unwrap();
    assert_eq!((&read, rest), (message, &[1, 2, 3][..]), "{name}");
}

/// A frame through the encoder and the decoder.
fn encode(seal: Seal, sealed: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new();
    let mut decoder = FrameDecoder::<2048>::new();
    let mut wire = vec![0; 4096];
    encoder.begin(seal);
    let len = encoder.poll(&mut &sealed[..], &mut wire);
    let (taken, outcome) = decoder.decode(&wire[..len]);
    assert_eq!(taken, len);
    decoder.frame(outcome.unwrap().unwrap()).to_vec()
}

fn hello_first() -> Hello<'static> {
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        discover: 0x0102_0304,
        nonce: 0x0a0b_0c0d,
        session: 0,
        device: DeviceId(0x00ab_cdef_0123_4567),
        incarnation: 0,
        epoch: Epoch(0),
        reset: ResetReason::Power,
        tick_hz: 1_000_000,
        now: 123_456,
        lanes: [held(0, 300)].into_iter().collect(),
        channels: [channel(0, 0, HASH)].into_iter().collect(),
    }
}

fn held(oldest: u64, next: u64) -> HeldLane {
    HeldLane { oldest: DeviceSequence(oldest), next: DeviceSequence(next) }
}

fn channel(instance: u8, flags: u8, descriptor: [u8; 8]) -> HelloChannel<'static> {
    HelloChannel { name: "temperature", instance, lane: Lane(0), flags, descriptor }
}

#[test]
fn the_handshake_has_its_golden_bytes() {
    let seal = Seal::Handshake;
    let discover = Discover { version_min: 1, version_max: 1, nonce: 0x0102_0304 };
    check("discover", Kind::Discover, seal, &discover, &mut vec![]);
    check("hello_first", Kind::Hello, seal, &hello_first(), &mut vec![]);
    let hello = Hello {
        session: SESSION,
        incarnation: 0xfeed_face_cafe_beef,
        epoch: Epoch(7),
        reset: ResetReason::Watchdog,
        tick_hz: 32_768,
        now: 1 << 40,
        lanes: [held(65_535, 70_000)].into_iter().collect(),
        channels: [channel(0, 0, HASH), channel(1, HelloChannel::EXTERNAL, OTHER_HASH)].into_iter().collect(),
        ..hello_first()
    };
    check("hello", Kind::Hello, seal, &hello, &mut vec![]);
    let welcome = Welcome {
        nonce: 0x0a0b_0c0d,
        version: 1,
        features: 0,
        session: SESSION,
        incarnation: 0xfeed_face_cafe_beef,
        epoch: Epoch(7),
        rebase: false,
        lanes: [NextSequence(DeviceSequence(65_800))].into_iter().collect(),
    };
    check("welcome", Kind::Welcome, seal, &welcome, &mut vec![]);
    let refuse = Refuse { nonce: 0x0a0b_0c0d, reason: Refusal::Chain };
    check("refuse", Kind::Refuse, seal, &refuse, &mut vec![]);
}

#[test]
fn the_session_has_its_golden_bytes() {
    let seal = Seal::Session(SESSION);
    let lanes = [LaneStart { first: DeviceSequence(65_800), chain: 0xdead_beef }].into_iter().collect();
    check("start", Kind::Start, seal, &Start { lanes }, &mut vec![]);
    let gap =
        Gap { lane: Lane(0), first: DeviceSequence(65_802), len: 200_000, reason: GapReason::OutboxFull };
    check("gap", Kind::Gap, seal, &gap, &mut vec![]);
    check("fetch", Kind::Fetch, seal, &Fetch { hash: HASH, offset: 512 }, &mut vec![]);
    let piece = DescriptorPiece { hash: HASH, offset: 512, total: 515, bytes: b"abc" };
    check("descriptor", Kind::Descriptor, seal, &piece, &mut vec![]);
    let none = DescriptorPiece { hash: OTHER_HASH, offset: 0, total: 0, bytes: b"" };
    check("descriptor_none", Kind::Descriptor, seal, &none, &mut vec![]);
    let lanes = [NextSequence(DeviceSequence(265_802))].into_iter().collect();
    check("status", Kind::Status, seal, &Status { lanes, now: 1 << 40 }, &mut vec![]);
    let ack = Ack {
        lane: Lane(0),
        received: DeviceSequence(65_802),
        durable: DeviceSequence(65_800),
        credit: 16_384,
        flags: Ack::OUT_OF_ORDER,
    };
    check("ack", Kind::Ack, seal, &ack, &mut vec![]);
}

#[test]
fn a_batch_frame_has_its_golden_bytes() {
    let decoded = golden("batch");
    let frame = Frame::new_checked(&decoded).unwrap();
    assert!(frame.is_sealed_with(Seal::Batch(SESSION, DeviceSequence(65_800))));
    assert!(!frame.is_sealed_with(Seal::Batch(SESSION, DeviceSequence(65_800 - 65_536))));
    let batch = Batch::new_checked(&frame.body()[2..]).unwrap();
    let values: Vec<_> = batch.events().map(|event| event.bytes.to_vec()).collect();
    assert_eq!(values, [[1, 0, 0, 0], [2, 0, 0, 0]]);
}

#[test]
fn frames_stand_on_the_line_as_the_golden_bytes_say() {
    let mut encoder = FrameEncoder::new();
    let mut wire = [0; 128];
    let mut line = Vec::new();
    let (discover, batch) = (golden("discover"), golden("batch"));
    encoder.begin_apart(Seal::Handshake);
    let len = encoder.poll(&mut &discover[..discover.len() - 4], &mut wire);
    line.extend_from_slice(&wire[..len]);
    encoder.begin(Seal::Batch(SESSION, DeviceSequence(65_800)));
    let len = encoder.poll(&mut &batch[..batch.len() - 4], &mut wire);
    line.extend_from_slice(&wire[..len]);
    assert_eq!(line, golden("line"));
}

#[test]
fn the_chain_has_its_golden_bytes() {
    let rows = rows("chain");
    let behind_batch = Chain::START.after_batch(crc32c(&rows[0]));
    assert_eq!(behind_batch.0.to_le_bytes()[..], rows[2]);
    let behind_gap = behind_batch.after_gap(DeviceSequence(2), 200_000, GapReason::OutboxFull);
    assert_eq!(behind_gap.0.to_le_bytes()[..], rows[7]);
}

#[test]
fn a_code_of_a_later_version_is_kept() {
    let reasons =
        (0..=u8::MAX).map(|code| (code, u8::from(Refusal::from(code)), u8::from(GapReason::from(code))));
    assert!(reasons.into_iter().all(|(code, refusal, gap)| refusal == code && gap == code));
    assert_eq!(GapReason::from(9), GapReason::Other(9));
}

#[test]
fn the_session_of_the_page_is_sound() {
    let kinds = [
        Kind::Discover,
        Kind::Hello,
        Kind::Welcome,
        Kind::Start,
        Kind::Ack,
        Kind::Batch,
        Kind::Ack,
        Kind::Ack,
    ];
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/WIRE.md")).unwrap();
    let words: Vec<_> = page.split_whitespace().filter(|word| *word != "│").collect();
    let page = words.join(" ");
    for (row, kind) in rows("session").iter().zip(kinds) {
        let mut decoder = FrameDecoder::<2048>::new();
        let len = decoder.decode(row).1.unwrap().unwrap();
        let frame = Frame::new_checked(decoder.frame(len)).unwrap();
        let seal = match kind {
            Kind::Discover | Kind::Hello | Kind::Welcome => Seal::Handshake,
            Kind::Batch => Seal::Batch(SESSION, DeviceSequence(0)),
            _ => Seal::Session(SESSION),
        };
        assert!(frame.is_sealed_with(seal) && frame.kind_byte() == kind as u8);
        let hex: Vec<_> = decoder.frame(len).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(page.contains(&hex.join(" ")), "the page shows another {kind:?}");
    }
}

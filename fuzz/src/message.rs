//! The body of a message, whichever the first byte names.

use varve_core::{DeviceId, DeviceSequence, Epoch, GapReason, Lane};
use varve_device_proto::{
    Ack, DescriptorPiece, Discover, FRAME_LEN_MAX, Fetch, Gap, HeldLane, Hello, HelloChannel, Kind,
    LaneStart, NextSequence, Refusal, Refuse, ResetReason, Start, Status, Welcome,
};

use crate::Verdict;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let is_message = bytes.split_first().is_some_and(|(&kind, body)| is_message(kind, body));
    if is_message { Verdict::Accepted } else { Verdict::Refused }
}

/// Reads a message, writes it, and reads it again: nothing changes, and the writer's form is no longer.
macro_rules! reads_back {
    ($message:ident, $body:ident) => {
        match postcard::take_from_bytes::<$message>($body) {
            Ok((message, rest)) => {
                let mut out = vec![0; FRAME_LEN_MAX];
                let written = postcard::to_slice(&message, &mut out).expect("it is within its limits");
                assert!(written.len() <= $body.len() - rest.len());
                assert_eq!(postcard::from_bytes::<$message>(written), Ok(message));
                true
            }
            Err(_) => false,
        }
    };
}

fn is_message(kind: u8, body: &[u8]) -> bool {
    let body = &body[..body.len().min(FRAME_LEN_MAX)];
    match Kind::from_byte(kind) {
        Some(Kind::Hello) => reads_back!(Hello, body),
        Some(Kind::Start) => reads_back!(Start, body),
        Some(Kind::Gap) => reads_back!(Gap, body),
        Some(Kind::Descriptor) => reads_back!(DescriptorPiece, body),
        Some(Kind::Status) => reads_back!(Status, body),
        Some(Kind::Discover) => reads_back!(Discover, body),
        Some(Kind::Welcome) => reads_back!(Welcome, body),
        Some(Kind::Ack) => reads_back!(Ack, body),
        Some(Kind::Fetch) => reads_back!(Fetch, body),
        Some(Kind::Refuse) => reads_back!(Refuse, body),
        Some(Kind::Batch) | None => false,
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let lanes = [NextSequence(DeviceSequence(300))].into_iter().collect();
    let start = LaneStart { first: DeviceSequence(300), chain: 0x1234_5678 };
    let gap = Gap { lane: Lane(0), first: DeviceSequence(7), len: 9, reason: GapReason::OutboxFull };
    let sequence = DeviceSequence;
    let ack = Ack { lane: Lane(1), received: sequence(400), durable: sequence(300), credit: 9_000, flags: 1 };
    vec![
        body(Kind::Hello, &hello()),
        body(Kind::Start, &Start { lanes: [start].into_iter().collect() }),
        body(Kind::Gap, &gap),
        body(Kind::Descriptor, &DescriptorPiece { hash: [7; 8], offset: 0, total: 5, bytes: b"piece" }),
        body(Kind::Status, &Status { lanes, now: 1 << 40 }),
        body(Kind::Discover, &Discover { version_min: 1, version_max: 1, nonce: 9 }),
        body(Kind::Welcome, &welcome()),
        body(Kind::Ack, &ack),
        body(Kind::Fetch, &Fetch { hash: [7; 8], offset: 200 }),
        body(Kind::Refuse, &Refuse { nonce: 9, reason: Refusal::Chain }),
    ]
}

/// A device with two lanes and two channels, which remembers an epoch.
pub(crate) fn hello() -> Hello<'static> {
    let channel =
        |name, lane| HelloChannel { name, instance: 0, lane: Lane(lane), flags: 0, descriptor: [7; 8] };
    let held = |oldest, next| HeldLane { oldest: DeviceSequence(oldest), next: DeviceSequence(next) };
    Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
        discover: 1,
        nonce: 1,
        session: 0,
        device: DeviceId(1),
        incarnation: 0,
        epoch: Epoch(0),
        reset: ResetReason::Power,
        tick_hz: 1_000,
        now: 1,
        lanes: [held(0, 9), held(3, 3)].into_iter().collect(),
        channels: [channel("climate", 0), channel("alarm", 1)].into_iter().collect(),
    }
}

fn welcome() -> Welcome {
    Welcome {
        nonce: 9,
        version: 1,
        features: 0,
        session: 77,
        incarnation: 1 << 50,
        epoch: Epoch(3),
        rebase: true,
        lanes: [NextSequence(DeviceSequence(300))].into_iter().collect(),
    }
}

/// A message behind the byte of its kind.
pub(crate) fn body(kind: Kind, message: &impl serde::Serialize) -> Vec<u8> {
    let mut out = [0; FRAME_LEN_MAX];
    let body = postcard::to_slice(message, &mut out).expect("it is within its limits");
    [&[kind as u8], &*body].concat()
}

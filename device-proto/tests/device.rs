//! The device's machine against a host whose every message is written by hand.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use varve_core::{DeviceId, DeviceSequence, Epoch, Lane, TimeColumn};
use varve_device_proto::{
    Ack, ChannelInfo, DescriptorPiece, DeviceConfig, DeviceEvent, DeviceLink, Discover, FRAME_LEN_MAX, Fetch,
    Frame, FrameDecoder, FrameEncoder, Gap, Hello, Kind, NextSequence, Outbox, Refusal, Refuse, ResetReason,
    Seal, Start, Welcome,
};

static CHANNELS: [ChannelInfo; 2] = [ChannelInfo::of::<u8>(0), ChannelInfo::of::<u32>(0)];

const SESSION: u32 = 0x7777;

struct Bench<const RING: usize, const SLOTS: usize> {
    outbox: &'static Outbox<NoopRawMutex, RING, SLOTS>,
    link: DeviceLink<'static, NoopRawMutex, RING, SLOTS>,
    now: u64,
}

type SmallBench = Bench<512, 8>;

impl<const RING: usize, const SLOTS: usize> Bench<RING, SLOTS> {
    fn new() -> Self {
        let outbox = Box::leak(Box::new(Outbox::new(&CHANNELS, TimeColumn::None)));
        let config =
            DeviceConfig { device: DeviceId(1), tick_hz: 1_000, reset: ResetReason::Unknown, seed: 5 };
        Self { outbox, link: DeviceLink::new(config, outbox, 0), now: 0 }
    }

    /// In a session in which the device may send so much.
    fn with_credit(credit: u32) -> Self {
        let mut bench = Self::new();
        let nonce = bench.greet(1).nonce;
        bench.hear(Seal::Handshake, Kind::Welcome, &welcome(nonce));
        bench.sent();
        bench.ack(0, 0, credit);
        bench
    }

    fn push(&self, count: usize) {
        let channel = self.outbox.channel::<u8>(0).unwrap();
        for _ in 0..count {
            channel.try_push(0, &7).unwrap();
        }
    }

    /// Pushes until one event is dropped.
    fn overfill(&self) -> DeviceSequence {
        let channel = self.outbox.channel::<u8>(0).unwrap();
        core::iter::repeat_with(|| channel.try_push(0, &7)).find_map(Result::err).unwrap().sequence
    }

    fn hear(&mut self, seal: Seal, kind: Kind, message: &impl serde::Serialize) {
        let mut sealed = vec![kind as u8];
        sealed.extend_from_slice(postcard::to_slice(message, &mut [0; 256]).unwrap());
        let mut wire = [0; 512];
        let mut encoder = FrameEncoder::new();
        encoder.begin(seal);
        let len = encoder.poll(&mut &sealed[..], &mut wire);
        self.link.handle_bytes(self.now, &wire[..len]);
    }

    fn ack(&mut self, received: u64, durable: u64, credit: u32) {
        let (received, durable) = (DeviceSequence(received), DeviceSequence(durable));
        let ack = Ack { lane: Lane(0), received, durable, credit, flags: 0 };
        self.hear(Seal::Session(SESSION), Kind::Ack, &ack);
    }

    /// The frames that the device sends now, by kind and body.
    fn sent(&mut self) -> Vec<(Kind, Vec<u8>)> {
        let mut wire = vec![0; 1 << 17];
        let len = self.link.poll_transmit(self.now, &mut wire);
        let mut decoder = FrameDecoder::<FRAME_LEN_MAX>::new();
        let mut rest = &wire[..len];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (taken, outcome) = decoder.decode(rest);
            rest = &rest[taken..];
            let Some(Ok(len)) = outcome else { continue };
            let frame = Frame::new_checked(decoder.frame(len)).unwrap();
            frames.push((Kind::from_byte(frame.kind_byte()).unwrap(), frame.body().to_vec()));
        }
        frames
    }

    fn kinds_sent(&mut self) -> Vec<Kind> {
        self.sent().into_iter().map(|(kind, _)| kind).collect()
    }

    fn greet(&mut self, nonce: u32) -> Greeting {
        self.hear(Seal::Handshake, Kind::Discover, &Discover { version_min: 1, version_max: 1, nonce });
        let frames = self.sent();
        let body = &frames.iter().find(|(kind, _)| *kind == Kind::Hello).expect("the device answers").1;
        let hello = postcard::from_bytes::<Hello<'_>>(body).unwrap();
        Greeting {
            discover: hello.discover,
            nonce: hello.nonce,
            session: hello.session,
            epoch: hello.epoch.0,
        }
    }

    fn ignored(&self) -> u32 {
        self.link.stats().ignored
    }
}

struct Greeting {
    discover: u32,
    nonce: u32,
    session: u32,
    epoch: u32,
}

fn welcome(nonce: u32) -> Welcome {
    Welcome {
        nonce,
        version: 1,
        features: 0,
        session: SESSION,
        incarnation: 9,
        epoch: Epoch(3),
        rebase: false,
        lanes: [NextSequence(DeviceSequence(0))].into_iter().collect(),
    }
}

#[test]
fn an_attempt_has_one_nonce_until_it_succeeds() {
    let mut bench = SmallBench::new();
    let (one, two) = (bench.greet(1), bench.greet(2));
    assert_eq!((one.discover, two.discover), (1, 2));
    assert_eq!(one.nonce, two.nonce);
    bench.hear(Seal::Handshake, Kind::Welcome, &welcome(one.nonce));
    let three = bench.greet(3);
    assert_ne!(three.nonce, one.nonce);
    assert_eq!((three.session, three.epoch), (SESSION, 3));
}

#[test]
fn a_device_of_poor_entropy_takes_it_from_the_host() {
    let (one, other) = (SmallBench::new().greet(1), SmallBench::new().greet(2));
    assert_ne!(one.nonce, other.nonce);
}

fn check_ignored(change: impl FnOnce(&mut Welcome)) {
    let mut bench = SmallBench::new();
    bench.push(5);
    let mut terms = welcome(bench.greet(1).nonce);
    change(&mut terms);
    bench.hear(Seal::Handshake, Kind::Welcome, &terms);
    assert_eq!((bench.ignored(), bench.link.stats().sessions), (1, 0));
    bench.hear(Seal::Handshake, Kind::Welcome, &welcome(terms.nonce));
}

#[test]
fn a_welcome_that_the_device_cannot_follow_is_ignored() {
    check_ignored(|welcome| welcome.nonce ^= 1);
    check_ignored(|welcome| welcome.version = 2);
    check_ignored(|welcome| welcome.session = 0);
    check_ignored(|welcome| welcome.incarnation = 0);
    check_ignored(|welcome| welcome.epoch = Epoch(0));
    check_ignored(|welcome| welcome.lanes.clear());
    check_ignored(|welcome| welcome.lanes[0].0.0 = 6);
}

#[test]
fn an_epoch_is_changed_by_a_rebase_alone() {
    let mut bench = SmallBench::with_credit(0);
    let nonce = bench.greet(2).nonce;
    let other = Welcome { session: 8, epoch: Epoch(4), ..welcome(nonce) };
    bench.hear(Seal::Handshake, Kind::Welcome, &other);
    assert_eq!((bench.ignored(), bench.link.epoch()), (1, Some((9, Epoch(3)))));
    bench.hear(Seal::Handshake, Kind::Welcome, &Welcome { rebase: true, ..other });
    assert_eq!((bench.ignored(), bench.link.epoch()), (1, Some((9, Epoch(4)))));
}

#[test]
fn a_start_between_boundaries_is_at_the_one_before() {
    let mut bench = SmallBench::with_credit(1_000);
    bench.push(5);
    assert_eq!(bench.kinds_sent(), [Kind::Batch]);
    let nonce = bench.greet(2).nonce;
    let lanes = [NextSequence(DeviceSequence(3))].into_iter().collect();
    bench.hear(Seal::Handshake, Kind::Welcome, &Welcome { session: 8, lanes, ..welcome(nonce) });
    let (kind, body) = bench.sent().pop().unwrap();
    assert_eq!(kind, Kind::Start);
    assert_eq!(postcard::from_bytes::<Start>(&body).unwrap().lanes[0].first, DeviceSequence(0));
}

#[test]
fn nothing_follows_a_gap_before_it_was_received() {
    let mut bench = SmallBench::with_credit(10_000);
    let gap = bench.overfill();
    let sent = bench.sent();
    let (last, body) = sent.last().unwrap();
    assert_eq!(*last, Kind::Gap);
    assert_eq!(postcard::from_bytes::<Gap>(body).unwrap().first, gap);
    bench.ack(gap.0, gap.0, 10_000);
    bench.push(5);
    for _ in 0..2 {
        bench.now += 25;
        assert_eq!(bench.kinds_sent(), [], "not even after the linger");
    }
    bench.ack(gap.0 + 1, gap.0, 10_000);
    assert_eq!(bench.kinds_sent(), [Kind::Batch]);
}

#[test]
fn no_more_than_half_a_turn_of_the_short_sequence_is_under_way() {
    let mut bench = Bench::<65_536, 256>::with_credit(u32::MAX);
    bench.push(40_000);
    let batches = bench.sent().len() as u64;
    assert_eq!(batches, 32_767 / 256);
    bench.ack(256, 0, u32::MAX);
    assert_eq!(bench.kinds_sent(), [Kind::Batch]);
}

fn check_senseless(received: u64, durable: u64) {
    let mut bench = SmallBench::with_credit(1_000);
    bench.push(5);
    assert_eq!(bench.kinds_sent(), [Kind::Batch]);
    bench.push(5);
    bench.ack(received, durable, 0);
    assert_eq!((bench.ignored(), bench.outbox.stats().held_events), (1, 10));
    bench.ack(5, 5, 1_000);
    assert_eq!(bench.outbox.stats().held_events, 5);
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_is_ignored() {
    check_senseless(10, 0);
    check_senseless(0, 5);
    check_senseless(3, 0);
}

#[test]
fn an_older_acknowledgement_gives_no_credit() {
    let mut bench = SmallBench::with_credit(1_000);
    bench.push(5);
    bench.sent();
    bench.push(5);
    bench.ack(5, 0, 0);
    bench.ack(0, 0, 1_000);
    bench.now += 19;
    assert_eq!(bench.kinds_sent(), []);
    bench.ack(5, 5, 1_000);
    assert_eq!(bench.kinds_sent(), [Kind::Batch]);
}

#[test]
fn what_turns_out_to_be_received_is_not_sent_again() {
    let mut bench = SmallBench::with_credit(1_000);
    bench.push(5);
    assert_eq!(bench.kinds_sent(), [Kind::Batch]);
    bench.now += 500;
    bench.link.poll_transmit(bench.now, &mut []);
    assert_eq!(bench.link.stats().timeouts, 1);
    bench.ack(5, 0, 1_000);
    assert_eq!(bench.kinds_sent(), []);
}

#[test]
fn a_refusal_ends_the_session_that_its_hello_led_to() {
    let mut bench = SmallBench::new();
    let nonce = bench.greet(1).nonce;
    bench.hear(Seal::Handshake, Kind::Welcome, &welcome(nonce));
    let refuse = Refuse { nonce: nonce ^ 1, reason: Refusal::Chain };
    bench.hear(Seal::Handshake, Kind::Refuse, &refuse);
    assert_eq!((bench.ignored(), bench.link.stats().refusals), (1, 0));
    bench.hear(Seal::Handshake, Kind::Refuse, &Refuse { nonce, ..refuse });
    let events: Vec<_> = core::iter::from_fn(|| bench.link.poll_event()).collect();
    assert_eq!(events, [DeviceEvent::Connected { session: SESSION }, DeviceEvent::Refused(Refusal::Chain)]);
    assert_eq!(bench.link.poll_timeout(), Some(4_000));
}

#[test]
fn a_descriptor_is_served_from_any_byte() {
    let mut bench = SmallBench::with_credit(0);
    let info = &CHANNELS[1];
    for (hash, offset, expected) in [
        (info.descriptor_hash.0, 0, info.descriptor),
        (info.descriptor_hash.0, 2, &info.descriptor[2..]),
        (info.descriptor_hash.0, u16::MAX, &[][..]),
        ([0; 8], 0, &[][..]),
    ] {
        bench.hear(Seal::Session(SESSION), Kind::Fetch, &Fetch { hash, offset });
        let (kind, body) = bench.sent().pop().unwrap();
        let piece = postcard::from_bytes::<DescriptorPiece<'_>>(&body).unwrap();
        assert_eq!((kind, piece.hash, piece.bytes), (Kind::Descriptor, hash, expected));
        assert_eq!(usize::from(piece.total), if hash == [0; 8] { 0 } else { info.descriptor.len() });
    }
}

#[test]
fn a_device_alone_speaks_up_at_longer_and_longer_intervals() {
    let mut bench = SmallBench::new();
    let mut spoken = Vec::new();
    for _ in 0..7 {
        bench.now = bench.link.poll_timeout().unwrap();
        assert_eq!(bench.kinds_sent(), [Kind::Hello]);
        spoken.push(bench.now);
    }
    assert_eq!(spoken, [250, 500, 1_000, 2_000, 4_000, 8_000, 12_000]);
}

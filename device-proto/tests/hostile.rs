//! A peer that says anything: no bytes make either machine panic, and none makes the host accept what is not next.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use varve_core::{DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, TimeColumn};
use varve_device_proto::admission::decide;
use varve_device_proto::{
    Ack, Admission, ChannelInfo, DescriptorPiece, DeviceConfig, DeviceLink, Discover, FRAME_LEN_MAX, Frame,
    FrameDecoder, FrameEncoder, HeldLane, Hello, HelloChannel, HostConfig, HostEvent, HostLink, Kind,
    KnownDevice, LaneCursor, LaneStart, NextSequence, Outbox, Refusal, ResetReason, Seal, Start, Status,
    Welcome,
};

static CHANNELS: [ChannelInfo; 1] = [ChannelInfo::of::<u32>(0)];

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 20
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        // Small numbers and zeros reach deeper than noise.
        (0..len).map(|_| if self.below(3) == 0 { self.next() as u8 } else { self.below(4) as u8 }).collect()
    }
}

fn frame(seal: Seal, kind: u8, body: &[u8]) -> Vec<u8> {
    let sealed = [&[kind], body].concat();
    let mut encoder = FrameEncoder::new();
    let mut wire = vec![0; 2 * FRAME_LEN_MAX];
    encoder.begin(seal);
    let len = encoder.poll(&mut &sealed[..], &mut wire);
    wire.truncate(len);
    wire
}

fn message(seal: Seal, kind: Kind, message: &impl serde::Serialize) -> Vec<u8> {
    let frame = frame(seal, kind as u8, postcard::to_slice(message, &mut [0; FRAME_LEN_MAX]).unwrap());
    // Whatever came before ends here.
    [&[0], &frame[..]].concat()
}

/// The bodies of the frames of one kind in what a machine sent.
fn bodies(wire: &[u8], kind: Kind) -> Vec<Vec<u8>> {
    let mut decoder = FrameDecoder::<FRAME_LEN_MAX>::new();
    let mut bodies = Vec::new();
    let mut rest = wire;
    while !rest.is_empty() {
        let (taken, outcome) = decoder.decode(rest);
        rest = &rest[taken..];
        if let Some(Ok(len)) = outcome {
            let frame = Frame::new_checked(decoder.frame(len)).unwrap();
            if frame.kind_byte() == kind as u8 {
                bodies.push(frame.body().to_vec());
            }
        }
    }
    bodies
}

/// A host with a device that lies.
struct Victim {
    host: HostLink,
    now: u64,
    nonce: u32,
    /// The next sequence that the host may accept.
    next: u64,
    refused: Vec<Refusal>,
}

impl Victim {
    fn new() -> Self {
        Self { host: HostLink::new(HostConfig { seed: 3 }), now: 0, nonce: 0, next: 0, refused: Vec::new() }
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut wire = vec![0; 4096];
        let len = self.host.poll_transmit(self.now, &mut wire);
        wire.truncate(len);
        wire
    }

    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.host.handle_bytes(self.now, bytes);
            bytes = &bytes[taken..];
            self.check_events();
        }
    }

    fn check_events(&mut self) {
        loop {
            let Self { host, next, refused, .. } = self;
            let admission = match host.poll_event() {
                None => return,
                Some(event) => check_event(event, next, refused),
            };
            admission.into_iter().for_each(|admission| host.admit(admission));
        }
    }

    fn hello(&mut self) -> Hello<'static> {
        self.now += 5_000_000;
        let mut wire = self.sent();
        self.check_events();
        wire.extend(self.sent());
        let discover = bodies(&wire, Kind::Discover).pop().expect("the host asks");
        self.nonce += 1;
        let discover = postcard::from_bytes::<Discover>(&discover).unwrap().nonce;
        Hello { discover, nonce: self.nonce, ..plain_hello() }
    }

    /// Says hello and start, and returns the session.
    fn connect(&mut self) -> u32 {
        let hello = self.hello();
        self.hear(&message(Seal::Handshake, Kind::Hello, &hello));
        let welcome = bodies(&self.sent(), Kind::Welcome).pop().expect("the host admits");
        let session = postcard::from_bytes::<Welcome>(&welcome).unwrap().session;
        let lanes = [LaneStart { first: DeviceSequence(0), chain: 0 }].into_iter().collect();
        self.hear(&message(Seal::Session(session), Kind::Start, &Start { lanes }));
        assert_eq!(self.host.session(), Some(session));
        self.host.set_credit(Lane(0), 100_000);
        session
    }
}

fn plain_hello() -> Hello<'static> {
    let channel = HelloChannel { name: "x", instance: 0, lane: Lane(0), flags: 0, descriptor: [0; 8] };
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
        reset: ResetReason::Unknown,
        tick_hz: 1,
        now: 0,
        lanes: [held(0, 9)].into_iter().collect(),
        channels: [channel].into_iter().collect(),
    }
}

/// Holds an event against what may come next, and decides on a hello.
fn check_event(event: HostEvent<'_>, next: &mut u64, refused: &mut Vec<Refusal>) -> Option<Admission> {
    match event {
        HostEvent::Hello(hello) => {
            let known = KnownDevice { incarnation: 1, latest: None, live_elsewhere: false };
            return decide(&known, &hello).ok();
        }
        HostEvent::Session(_) => *next = 0,
        HostEvent::Batch { first, batch, .. } => {
            assert_eq!(first.0, *next);
            *next += batch.len() as u64;
        }
        HostEvent::Gap { first, len, .. } => {
            assert_eq!(first.0, *next);
            *next = next.checked_add(len).unwrap();
        }
        HostEvent::Refused(reason) => refused.push(reason),
        _ => {}
    }
    None
}

fn check_hello(change: impl FnOnce(&mut Hello<'static>), refused: &[Refusal]) {
    let mut victim = Victim::new();
    let mut hello = victim.hello();
    change(&mut hello);
    victim.hear(&message(Seal::Handshake, Kind::Hello, &hello));
    assert_eq!(victim.refused, refused);
    let refusals = bodies(&victim.sent(), Kind::Refuse);
    assert_eq!(refusals.len(), refused.len());
}

#[test]
fn a_hello_that_makes_no_sense_is_refused() {
    check_hello(|_| {}, &[]);
    check_hello(|hello| hello.version_min = 2, &[Refusal::Version]);
    check_hello(|hello| (hello.version_min, hello.version_max) = (2, 9), &[Refusal::Version]);
    check_hello(|hello| (hello.version_min, hello.version_max) = (0, 0), &[Refusal::Version]);
    check_hello(|hello| hello.device = DeviceId(1 << 56), &[Refusal::Malformed]);
    check_hello(|hello| hello.epoch = Epoch(1), &[Refusal::Malformed]);
    check_hello(|hello| hello.tick_hz = 0, &[Refusal::Malformed]);
    check_hello(|hello| hello.lanes.clear(), &[Refusal::Malformed]);
    check_hello(|hello| hello.lanes[0].oldest.0 = 10, &[Refusal::Malformed]);
    check_hello(|hello| hello.channels.clear(), &[Refusal::Malformed]);
    check_hello(|hello| hello.channels[0].name = "", &[Refusal::Malformed]);
    check_hello(|hello| hello.channels[0].name = "varve.gap", &[Refusal::Malformed]);
    check_hello(|hello| hello.channels[0].lane = Lane(1), &[Refusal::Malformed]);
}

#[test]
fn a_hello_of_a_version_that_this_one_cannot_read_is_refused_by_its_first_fields() {
    let mut victim = Victim::new();
    let hello = victim.hello();
    let prefix = (9u8, 9u8, 0u32, hello.discover, 77u32, "whatever comes later");
    victim.hear(&message(Seal::Handshake, Kind::Hello, &prefix));
    assert_eq!(victim.refused, [Refusal::Version]);
}

/// A device that is admitted at `next` and starts as `start` says.
fn check_start(next: u64, oldest: u64, start: LaneStart, refused: &[Refusal]) {
    let cursor = LaneCursor { next: DeviceSequence(next), chain: varve_device_proto::Chain(5) };
    assert_eq!(started(cursor, false, held(oldest, 9), start).refused, refused);
}

/// A host that has heard the start of a device that held so much, and that it admitted at `cursor`.
fn started(cursor: LaneCursor, rebase: bool, held: HeldLane, start: LaneStart) -> Victim {
    let mut victim = Victim::new();
    let hello = Hello { incarnation: 1, epoch: Epoch(1), ..victim.hello() };
    let hello = Hello { lanes: [held].into_iter().collect(), ..hello };
    victim.hear_undecided(&message(Seal::Handshake, Kind::Hello, &hello));
    victim.host.admit(Admission {
        incarnation: 1,
        epoch: Epoch(1),
        rebase,
        lanes: [cursor].into_iter().collect(),
        opens: false,
        closes: None,
    });
    let welcome = bodies(&victim.sent(), Kind::Welcome).pop().expect("the host admits");
    let session = postcard::from_bytes::<Welcome>(&welcome).unwrap().session;
    victim.next = cursor.next.0;
    let start = Start { lanes: [start].into_iter().collect() };
    let taken = victim.host.handle_bytes(victim.now, &message(Seal::Session(session), Kind::Start, &start));
    assert!(taken > 0);
    while let Some(event) = victim.host.poll_event() {
        if let HostEvent::Refused(reason) = event {
            victim.refused.push(reason);
        }
    }
    victim
}

fn held(oldest: u64, next: u64) -> HeldLane {
    HeldLane { oldest: DeviceSequence(oldest), next: DeviceSequence(next) }
}

impl Victim {
    fn hear_undecided(&mut self, bytes: &[u8]) {
        assert_eq!(self.host.handle_bytes(self.now, bytes), bytes.len());
        assert!(matches!(self.host.poll_event(), Some(HostEvent::Hello(_))));
    }
}

#[test]
fn a_start_elsewhere_than_agreed_is_refused() {
    let start = |first, chain| LaneStart { first: DeviceSequence(first), chain };
    check_start(5, 3, start(5, 5), &[]);
    check_start(5, 3, start(5, 6), &[Refusal::Chain]);
    check_start(5, 3, start(4, 5), &[Refusal::Chain]);
    check_start(2, 3, start(3, 99), &[]);
    check_start(1, 3, start(2, 99), &[Refusal::Malformed]);
}

#[test]
fn after_a_rebase_only_what_was_heard_in_the_session_counts() {
    let start = LaneStart { first: DeviceSequence(0), chain: 0 };
    let heard = |rebase, held| started(LaneCursor::default(), rebase, held, start).host.heard(Lane(0));
    assert_eq!(heard(true, held(3, 9)), Some(DeviceSequence(0)));
    assert_eq!(heard(false, held(0, 9)), Some(DeviceSequence(9)));
}

#[test]
fn a_device_may_forget_more_between_its_hello_and_its_start() {
    let start = |first| LaneStart { first: DeviceSequence(first), chain: 99 };
    check_start(2, 3, start(4), &[]);
    check_start(5, 3, start(6), &[]);
    check_start(5, 3, start(9), &[]);
    check_start(5, 3, start(10), &[Refusal::Malformed]);
}

fn check_refused(kind: Kind, body: &[u8], refused: Refusal) {
    let mut victim = Victim::new();
    let session = victim.connect();
    let seal =
        if kind == Kind::Batch { Seal::Batch(session, DeviceSequence(0)) } else { Seal::Session(session) };
    victim.hear(&frame(seal, kind as u8, body));
    assert_eq!(victim.refused, [refused]);
    assert_eq!(victim.host.session(), None);
}

#[test]
fn what_no_honest_device_sends_ends_the_session() {
    check_refused(Kind::Batch, &[0, 0, 0, 0, 0, 9, 1], Refusal::Malformed);
    check_refused(Kind::Batch, &[0, 0, 0, 0, 7, 1, 1], Refusal::Malformed);
    check_refused(Kind::Gap, &[0, 0, 0, 1], Refusal::Malformed);
    check_refused(Kind::Gap, &[1, 0, 1, 1], Refusal::Malformed);
    check_refused(Kind::Gap, &[0], Refusal::Malformed);
    check_refused(Kind::Status, &[], Refusal::Malformed);
}

#[test]
fn what_begins_inside_what_the_host_has_ends_the_session() {
    let mut victim = Victim::new();
    let session = victim.connect();
    victim.hear(&frame(Seal::Session(session), Kind::Gap as u8, &[0, 0, 9, 1]));
    assert_eq!(victim.next, 9);
    victim.hear(&frame(Seal::Session(session), Kind::Gap as u8, &[0, 8, 2, 1]));
    assert_eq!(victim.refused, [Refusal::Chain]);
}

/// The credit of the latest acknowledgement.
fn credit(wire: &[u8]) -> u32 {
    let ack = bodies(wire, Kind::Ack).pop().expect("the host acknowledges");
    postcard::from_bytes::<Ack>(&ack).unwrap().credit
}

#[test]
fn nothing_is_granted_or_accepted_while_descriptors_are_wanted() {
    let mut victim = Victim::new();
    let session = victim.connect();
    let hash = DescriptorHash::of(b"what it means");
    assert!(victim.host.fetch_descriptor(hash));
    assert_eq!(credit(&victim.sent()), 0);
    let gap = frame(Seal::Session(session), Kind::Gap as u8, &[0, 0, 9, 1]);
    victim.hear(&gap);
    assert_eq!((victim.next, victim.host.stats().over_credit), (0, 1));
    let piece = DescriptorPiece { hash: hash.0, offset: 0, total: 13, bytes: b"what it means" };
    victim.hear(&message(Seal::Session(session), Kind::Descriptor, &piece));
    assert_eq!(credit(&victim.sent()), 100_000);
    victim.hear(&gap);
    assert_eq!(victim.next, 9);
}

#[test]
fn a_descriptor_that_never_comes_ends_the_session() {
    let mut victim = Victim::new();
    let session = victim.connect();
    assert!(victim.host.fetch_descriptor(DescriptorHash([7; 8])));
    let start = victim.now;
    for after_us in [0, 250_000, 750_000, 1_750_000] {
        victim.now = start + after_us;
        assert_eq!(bodies(&victim.sent(), Kind::Fetch).len(), 1);
    }
    let lanes = [NextSequence(DeviceSequence(0))].into_iter().collect();
    victim.hear(&message(Seal::Session(session), Kind::Status, &Status { lanes, now: 0 }));
    victim.now = start + 3_750_000;
    assert_eq!(bodies(&victim.sent(), Kind::Refuse).len(), 1);
    victim.check_events();
    assert_eq!(victim.refused, [Refusal::Descriptor]);
}

#[test]
fn a_welcome_is_sent_four_times_and_then_the_host_asks_anew() {
    let mut victim = Victim::new();
    let hello = victim.hello();
    victim.hear(&message(Seal::Handshake, Kind::Hello, &hello));
    let start = victim.now;
    for after_us in [0, 250_000, 750_000, 1_750_000] {
        victim.now = start + after_us;
        assert_eq!(bodies(&victim.sent(), Kind::Welcome).len(), 1);
    }
    assert_eq!(victim.host.poll_timeout(), Some(start + 3_750_000));
    victim.now = start + 3_750_000;
    assert_eq!(bodies(&victim.sent(), Kind::Discover).len(), 1);
}

#[test]
fn what_was_durable_in_another_session_does_not_count_in_this_one() {
    let mut victim = Victim::new();
    let session = victim.connect();
    victim.hear(&frame(Seal::Session(session), Kind::Gap as u8, &[0, 0, 9, 1]));
    victim.host.handle_durable(session ^ 1, Lane(0), DeviceSequence(9));
    let durable = |wire: &[u8]| {
        let ack = bodies(wire, Kind::Ack).pop().expect("the host acknowledges");
        postcard::from_bytes::<Ack>(&ack).unwrap().durable.0
    };
    assert_eq!(durable(&victim.sent()), 0);
    victim.host.handle_durable(session, Lane(0), DeviceSequence(9));
    assert_eq!(durable(&victim.sent()), 9);
}

#[test]
fn what_the_hello_tells_of_is_heard_of() {
    let mut victim = Victim::new();
    victim.connect();
    assert_eq!(victim.host.heard(Lane(0)), Some(DeviceSequence(9)));
    assert_eq!(victim.host.heard(Lane(1)), None);
}

#[test]
fn a_hello_of_the_live_session_answers_the_question_who_is_there() {
    let mut victim = Victim::new();
    let session = victim.connect();
    victim.sent();
    let stranger = Hello { discover: 0, nonce: 0, ..plain_hello() };
    victim.hear(&message(Seal::Handshake, Kind::Hello, &stranger));
    victim.now += 250_000;
    assert_eq!(bodies(&victim.sent(), Kind::Discover).len(), 1);
    victim.hear(&message(Seal::Handshake, Kind::Hello, &Hello { session, ..plain_hello() }));
    for _ in 0..2 {
        victim.now += 1_000_000;
        assert_eq!(bodies(&victim.sent(), Kind::Discover).len(), 0);
    }
    assert_eq!(victim.host.session(), Some(session));
}

#[test]
fn sequences_end_with_their_number_space() {
    let mut victim = Victim::new();
    let session = victim.connect();
    let gap = |first: u64, len: u64| message(Seal::Session(session), Kind::Gap, &(0u8, first, len, 1u8));
    victim.hear(&gap(0, u64::MAX));
    assert_eq!(victim.next, u64::MAX);
    victim.hear(&gap(u64::MAX, 1));
    assert_eq!(victim.refused, [Refusal::Malformed]);
}

#[test]
fn a_host_bears_any_bytes() {
    let mut random = Random(1);
    let mut victim = Victim::new();
    for _ in 0..20_000 {
        let session = victim.host.session().unwrap_or_else(|| victim.connect());
        let kind = random.below(9) as u8;
        let len = random.below(40);
        let mut body = random.bytes(len);
        let first = DeviceSequence(victim.next);
        if random.below(2) == 0 {
            // Sound as far as the first fields go.
            body.splice(..0, [first.0 as u8, (first.0 >> 8) as u8, 0, 0, 0, 1, 7]);
            body.truncate(7 + random.below(2));
        }
        let seal = match (random.below(8), Kind::from_byte(kind)) {
            (0, _) => Seal::Handshake,
            (_, Some(Kind::Batch)) => Seal::Batch(session, first),
            _ => Seal::Session(session),
        };
        let mut wire = frame(seal, kind, &body);
        if random.below(4) == 0 {
            wire = random.bytes(60);
        }
        victim.hear(&wire);
        victim.sent();
        victim.check_events();
    }
    assert!(victim.host.stats().batches > 100 && victim.host.stats().sessions > 1_000);
}

#[test]
fn a_device_bears_any_bytes_and_forgets_nothing_that_was_not_sent() {
    let outbox = Outbox::<NoopRawMutex, 512, 8>::new(Box::leak(Box::new(CHANNELS)), TimeColumn::None);
    let config = DeviceConfig { device: DeviceId(1), tick_hz: 1_000, reset: ResetReason::Unknown, seed: 1 };
    let mut link = DeviceLink::new(config, &outbox, 0);
    let channel = outbox.channel::<u32>(0).unwrap();
    let mut random = Random(1);
    let mut wire = vec![0; 4096];
    for round in 1..200u64 {
        let now = round * 100_000;
        link.handle_bytes(
            now,
            &message(Seal::Handshake, Kind::Discover, &Discover { version_min: 1, version_max: 1, nonce: 1 }),
        );
        let len = link.poll_transmit(now, &mut wire);
        let hello = bodies(&wire[..len], Kind::Hello).pop().expect("the device answers");
        let hello = postcard::from_bytes::<Hello<'_>>(&hello).unwrap();
        let next = hello.lanes[0].oldest;
        let welcome = Welcome {
            nonce: hello.nonce,
            version: 1,
            features: 0,
            session: round as u32,
            incarnation: 1,
            epoch: Epoch(1),
            rebase: random.below(4) == 0,
            lanes: [NextSequence(next)].into_iter().collect(),
        };
        link.handle_bytes(now, &message(Seal::Handshake, Kind::Welcome, &welcome));
        for _ in 0..50 {
            let _ = channel.try_push(now, &7);
            let kind = 0x80 + random.below(8) as u8;
            let len = random.below(12);
            let body = random.bytes(len);
            let seal = if random.below(4) == 0 { Seal::Handshake } else { Seal::Session(round as u32) };
            link.handle_bytes(now, &frame(seal, kind, &body));
            let noise = random.bytes(9);
            link.handle_bytes(now, &noise);
            let some = random.below(64);
            link.poll_transmit(now, &mut wire[..some]);
        }
        let stats = outbox.stats();
        assert!(stats.held_events <= stats.offered - stats.dropped);
    }
    assert!(link.stats().sessions > 20);
}

#[test]
fn the_streamed_hello_is_the_message() {
    let outbox = Outbox::<NoopRawMutex, 512, 8>::new(&CHANNELS, TimeColumn::None);
    let config = DeviceConfig { device: DeviceId(1), tick_hz: 1_000, reset: ResetReason::Pin, seed: 1 };
    let mut link = DeviceLink::new(config, &outbox, 0);
    let discover = Discover { version_min: 1, version_max: 1, nonce: 99 };
    link.handle_bytes(7, &message(Seal::Handshake, Kind::Discover, &discover));
    let mut wire = vec![0; 4096];
    let len = link.poll_transmit(7, &mut wire);
    let body = bodies(&wire[..len], Kind::Hello).pop().unwrap();
    let hello = postcard::from_bytes::<Hello<'_>>(&body).unwrap();
    assert_eq!((hello.discover, hello.now, hello.reset), (99, 7, ResetReason::Pin));
    assert_eq!(hello.channels[0].descriptor, CHANNELS[0].descriptor_hash.0);
    assert_eq!(postcard::to_slice(&hello, &mut [0; 512]).unwrap(), body);
}

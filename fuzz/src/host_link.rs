//! The host's link machine, whose device says anything: what is accepted is always what comes next.

use varve_core::{DescriptorHash, DeviceSequence, Lane};
use varve_device_proto::admission::decide;
use varve_device_proto::{
    Admission, Discover, FRAME_LEN_MAX, Frame, Gap, Hello, HostConfig, HostEvent, HostLink, Kind,
    KnownDevice, LaneStart, Seal, Start, Welcome,
};

use crate::Verdict;
use crate::exchange::{Step, step, steps, what};
use crate::frame::{decode, encode};
use crate::message::{body, hello};

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let mut host = Host::new();
    steps(bytes).for_each(|step| host.take(step));
    if host.accepted > 0 { Verdict::Accepted } else { Verdict::Refused }
}

/// A host, and what its device knows.
struct Host {
    link: HostLink,
    now_us: u64,
    /// The next sequence that the host may accept, of each lane.
    next: [u64; Lane::COUNT],
    nonce: u32,
    /// How many sessions, batches and gaps it accepted.
    accepted: u64,
}

impl Host {
    fn new() -> Self {
        let link = HostLink::new(HostConfig { seed: 3 });
        Self { link, now_us: 0, next: [0; Lane::COUNT], nonce: 0, accepted: 0 }
    }

    fn take(&mut self, step: Step<'_>) {
        let session = self.link.session().unwrap_or(1);
        match step {
            Step::Bytes(bytes) => self.hear(bytes),
            Step::Handshake(sealed) => self.hear(&encode(Seal::Handshake, sealed)),
            Step::Session(sealed) => self.hear(&encode(Seal::Session(session), sealed)),
            Step::Batch(sealed) => {
                let next = DeviceSequence(self.next[0]);
                let short = &next.0.to_le_bytes()[..2];
                let sealed = [&[Kind::Batch as u8], short, sealed].concat();
                self.hear(&encode(Seal::Batch(session, next), &sealed));
            }
            Step::Wait(ms) => self.now_us += ms * 1_000,
            Step::Listen(len) => drop(self.sent(len)),
            Step::Connect => self.connect(),
            Step::Use(which, number) => self.command(which, number),
        }
        self.check_events();
        assert!(self.link.poll_timeout().is_none_or(|due_us| due_us < self.now_us + HORIZON_US));
    }

    /// Enters a session as an honest device does, where the host is willing.
    fn connect(&mut self) {
        self.now_us += 5_000_000;
        let Some(discover) = self.last_sent(Kind::Discover) else { return };
        let Ok(discover) = postcard::from_bytes::<Discover>(&discover) else {
            panic!("it sends what it means")
        };
        self.nonce += 1;
        let hello = Hello { discover: discover.nonce, nonce: self.nonce, ..hello() };
        self.hear(&encode(Seal::Handshake, &body(Kind::Hello, &hello)));
        let Some(welcome) = self.last_sent(Kind::Welcome) else { return };
        let Ok(welcome) = postcard::from_bytes::<Welcome>(&welcome) else { panic!("it sends what it means") };
        let starts = hello.lanes.iter().map(|lane| LaneStart { first: lane.oldest, chain: 0 });
        let start = body(Kind::Start, &Start { lanes: starts.collect() });
        self.hear(&encode(Seal::Session(welcome.session), &start));
        assert_eq!(self.link.session(), Some(welcome.session));
        (0..2).for_each(|lane| self.link.set_credit(Lane(lane), 100_000));
    }

    fn command(&mut self, which: u8, number: u8) {
        let session = self.link.session().unwrap_or(0);
        match which % 3 {
            0 => drop(self.link.fetch_descriptor(DescriptorHash([number; 8]))),
            1 => self.link.set_credit(Lane(number % 4), u32::from(number) << 8),
            // A host may say durable of what it took alone.
            _ => self.link.handle_durable(session, Lane(0), DeviceSequence(self.next[0].min(number.into()))),
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        let mut bytes = [&[0], bytes].concat();
        while !bytes.is_empty() {
            let taken = self.link.handle_bytes(self.now_us, &bytes);
            bytes.drain(..taken);
            let events = self.check_events();
            assert!(taken > 0 || events > 0, "it takes bytes, or says why not");
        }
    }

    fn sent(&mut self, len: usize) -> Vec<u8> {
        let mut wire = vec![0; len];
        let len = self.link.poll_transmit(self.now_us, &mut wire);
        wire.truncate(len);
        wire
    }

    /// The body of the last message of a kind in all that the host has to send.
    fn last_sent(&mut self, kind: Kind) -> Option<Vec<u8>> {
        let mut wire = self.sent(2 * FRAME_LEN_MAX);
        self.check_events();
        wire.extend(self.sent(2 * FRAME_LEN_MAX));
        let frames = decode::<FRAME_LEN_MAX>(&wire);
        let mut views = frames.iter().filter_map(|frame| Frame::new_checked(frame));
        views.rfind(|view| view.kind_byte() == kind as u8).map(|view| view.body().to_vec())
    }

    /// Holds each event against what may come next, decides on a hello, and returns how many there were.
    fn check_events(&mut self) -> usize {
        let mut count = 0;
        loop {
            let Self { link, next, accepted, .. } = self;
            let admission = match link.poll_event() {
                None => return count,
                Some(event) => check_event(event, next, accepted),
            };
            count += 1;
            admission.into_iter().for_each(|admission| link.admit(admission));
        }
    }
}

fn check_event(event: HostEvent<'_>, next: &mut [u64; Lane::COUNT], accepted: &mut u64) -> Option<Admission> {
    match event {
        HostEvent::Hello(hello) => {
            let known = KnownDevice { incarnation: 1, latest: None, live_elsewhere: false };
            return decide(&known, &hello).ok();
        }
        HostEvent::Session(_) => *next = [0; Lane::COUNT],
        HostEvent::Batch { lane, first, batch, .. } => {
            assert_eq!((first.0, batch.lane()), (next[usize::from(lane.0)], lane));
            next[usize::from(lane.0)] += batch.events().count() as u64;
        }
        HostEvent::Gap { lane, first, len, .. } => {
            let next = &mut next[usize::from(lane.0)];
            assert_eq!(first.0, *next);
            *next = next.checked_add(len).expect("a gap stays in the number space");
        }
        HostEvent::FetchedDescriptor { hash, bytes } => assert_eq!(hash, DescriptorHash::of(bytes)),
        _ => return None,
    }
    *accepted += 1;
    None
}

/// A session with batches and gaps; one with a descriptor; one that is lost.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let connect = step(what::CONNECT, &[]);
    let batch = |byte| step(what::BATCH, &[0x00, 1, 0, 2, byte, byte, byte, byte]);
    let gap = |first| {
        let gap = Gap { lane: Lane(0), first: DeviceSequence(first), len: 9, reason: 1.into() };
        step(what::SESSION, &body(Kind::Gap, &gap))
    };
    let listen = step(what::LISTEN, &[255]);
    let fetch = step(what::USE, &[0, 7]);
    let hello = step(what::HANDSHAKE, &body(Kind::Hello, &hello()));
    vec![
        [&connect, &batch(1), &gap(2), &listen, &step(what::USE, &[2, 11]), &listen]
            .map(|s| s.clone())
            .concat(),
        [&connect, &fetch, &listen, &step(what::WAIT, &[255; 30]), &listen, &connect]
            .map(|s| s.clone())
            .concat(),
        [&connect, &step(what::BYTES, &[1, 2, 3, 0]), &hello, &listen, &connect].map(|s| s.clone()).concat(),
    ]
}

/// How far ahead a timer may lie.
const HORIZON_US: u64 = 60_000_000;

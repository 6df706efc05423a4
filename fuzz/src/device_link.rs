//! The device's link machine, whose host says anything: nothing is forgotten that was not sent.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use varve_core::{DeviceId, DeviceSequence, Epoch, Lane, TimeColumn};
use varve_device_proto::{
    Ack, ChannelInfo, DeviceConfig, DeviceLink, Discover, Fetch, Frame, HOST_FRAME_LEN_MAX, Hello, Kind,
    NextSequence, Outbox, ResetReason, Seal, Welcome,
};

use crate::Verdict;
use crate::exchange::{Step, step, steps, what};
use crate::frame::{decode, encode};
use crate::message::body;

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let outbox = SmallOutbox::new(&CHANNELS, TimeColumn::Delta);
    let config = DeviceConfig { device: DeviceId(1), tick_hz: 1_000, reset: ResetReason::Unknown, seed: 1 };
    let link = DeviceLink::new(config, &outbox, 0);
    let mut device = Device { link, outbox: &outbox, now: 0, session: 1, rounds: 0 };
    steps(bytes).for_each(|step| device.take(step));
    if device.link.stats().sessions > 0 { Verdict::Accepted } else { Verdict::Refused }
}

type SmallOutbox = Outbox<NoopRawMutex, 512, 8>;

static CHANNELS: [ChannelInfo; 1] = [ChannelInfo::of::<u32>(0)];

/// A device, and what its host knows.
struct Device<'o> {
    link: DeviceLink<'o, NoopRawMutex, 512, 8>,
    outbox: &'o SmallOutbox,
    /// In ticks of a millisecond.
    now: u64,
    session: u32,
    rounds: u32,
}

impl Device<'_> {
    fn take(&mut self, step: Step<'_>) {
        match step {
            Step::Bytes(bytes) => self.hear(bytes),
            Step::Handshake(sealed) => self.hear(&encode(Seal::Handshake, sealed)),
            Step::Session(sealed) | Step::Batch(sealed) => {
                self.hear(&encode(Seal::Session(self.session), sealed));
            }
            Step::Wait(ms) => self.now += ms,
            Step::Listen(len) => drop(self.sent(len)),
            Step::Connect => self.connect(),
            Step::Use(count, value) => self.push(count, value),
        }
        while self.link.poll_event().is_some() {}
        let stats = self.outbox.stats();
        assert!(stats.held_events + stats.dropped <= stats.offered);
        assert!(stats.held_bytes <= 512);
    }

    fn push(&self, count: u8, value: u8) {
        let channel = self.outbox.channel::<u32>(0).expect("the table has this type there");
        for _ in 0..count % 32 {
            // What finds no room is counted.
            let _ = channel.try_push(self.now, &value.into());
        }
    }

    /// Admits the device as an honest host does, from the oldest that it holds.
    fn connect(&mut self) {
        self.rounds += 1;
        let discover = Discover { version_min: 1, version_max: 1, nonce: self.rounds };
        self.hear(&encode(Seal::Handshake, &body(Kind::Discover, &discover)));
        let sent = self.sent(4 * HOST_FRAME_LEN_MAX);
        let frames = decode::<{ 4 * HOST_FRAME_LEN_MAX }>(&sent);
        let mut views = frames.iter().filter_map(|frame| Frame::new_checked(frame));
        let Some(view) = views.rfind(|view| view.kind_byte() == Kind::Hello as u8) else { return };
        let hello = postcard::from_bytes::<Hello<'_>>(view.body()).expect("it sends what it means");
        let welcome = Welcome {
            nonce: hello.nonce,
            version: 1,
            features: 0,
            session: self.rounds,
            incarnation: 1,
            epoch: Epoch(1),
            rebase: hello.epoch != Epoch(1) && hello.epoch != Epoch(0),
            lanes: hello.lanes.iter().map(|lane| NextSequence(lane.oldest)).collect(),
        };
        self.session = self.rounds;
        self.hear(&encode(Seal::Handshake, &body(Kind::Welcome, &welcome)));
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.link.handle_bytes(self.now, &[&[0], bytes].concat());
    }

    fn sent(&mut self, len: usize) -> Vec<u8> {
        let mut wire = vec![0; len];
        let len = self.link.poll_transmit(self.now, &mut wire);
        wire.truncate(len);
        wire
    }
}

/// Sessions with events sent, acknowledged and asked for again, and with a descriptor asked for.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let connect = step(what::CONNECT, &[]);
    let push = step(what::USE, &[20, 7]);
    let listen = step(what::LISTEN, &[255, 255, 255]);
    let ack = |received, durable, flags| {
        let (received, durable) = (DeviceSequence(received), DeviceSequence(durable));
        let ack = Ack { lane: Lane(0), received, durable, credit: 400, flags };
        step(what::SESSION, &body(Kind::Ack, &ack))
    };
    let hash = CHANNELS[0].descriptor_hash.0;
    let fetch = step(what::SESSION, &body(Kind::Fetch, &Fetch { hash, offset: 0 }));
    let wait = step(what::WAIT, &[200; 20]);
    vec![
        [&push, &connect, &ack(0, 0, 0), &listen, &ack(20, 20, 0), &push, &listen]
            .map(|s| s.clone())
            .concat(),
        [&push, &connect, &ack(0, 0, 0), &listen, &ack(0, 0, 1), &wait, &listen].map(|s| s.clone()).concat(),
        [&connect, &fetch, &listen, &wait, &listen, &push, &connect, &listen].map(|s| s.clone()).concat(),
    ]
}

use std::sync::mpsc::Receiver;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use varve_core::{DeviceSequence, Epoch, Event, TimeColumn};
use varve_device_proto::{
    ChannelInfo, DeviceConfig, DeviceLink, KnownDevice, KnownEpoch, Outbox, ResetReason,
};

use super::*;
use crate::answers::Answers;
use crate::port_line;
use crate::quota::BYTES_MAX;
use crate::request::Envelope;

static CHANNELS: [ChannelInfo; 2] =
    [ChannelInfo::of::<u32>(3), ChannelInfo::of::<u64>(0).named("external").external()];

/// More than a port's quota.
const RING_LEN: usize = 300_000;

const _: () = assert!(RING_LEN > BYTES_MAX + (1 << 16));

type DeviceOutbox = Outbox<NoopRawMutex, RING_LEN, 512>;

/// A constant, so that it is not made on the stack of a test, where it would be copied from call to call.
#[expect(clippy::declare_interior_mutable_const, reason = "each test takes a copy of its own")]
const EMPTY_OUTBOX: DeviceOutbox = Outbox::new(&CHANNELS, TimeColumn::None);

/// A device, and the session of the port that it is on; the test is the writer.
struct Pair<'t> {
    device: DeviceLink<'t, NoopRawMutex, RING_LEN, 512>,
    session: PortSession<'t>,
    requests: &'t Receiver<Envelope>,
    /// The number of the latest question.
    question: u64,
}

impl Pair<'_> {
    /// Carries bytes both ways until neither has more to say, and returns what the writer is asked for.
    fn talk(&mut self) -> Vec<Request> {
        let mut buf = [0; 4096];
        loop {
            let to_device = self.session.poll_transmit(&mut buf);
            self.device.handle_bytes(HostClock.now_us(), &buf[..to_device]);
            let to_host = self.device.poll_transmit(HostClock.now_us(), &mut buf);
            self.session.handle_bytes(&buf[..to_host]);
            if to_device + to_host == 0 {
                let requests: Vec<_> = self.requests.try_iter().map(|envelope| envelope.request).collect();
                for request in &requests {
                    if let Request::Know { question, .. } = request {
                        self.question = *question;
                    }
                }
                return requests;
            }
        }
    }

    fn tell_known(&mut self, latest: Option<KnownEpoch>, missing: Vec<DescriptorHash>) {
        let device = KnownDevice { incarnation: 77, latest, live_elsewhere: false };
        let known = Known { question: self.question, device: Ok(device), missing };
        self.session.handle_news(News { known: Some(known), ..News::default() });
    }

    fn tell_durable(&mut self, next: u64) {
        let durable = [Some(DeviceSequence(next)), None, None, None];
        self.session.handle_news(News { durable, ..News::default() });
    }
}

fn with_pair(test: impl FnOnce(&DeviceOutbox, &mut Pair<'_>)) {
    let outbox = Box::new(EMPTY_OUTBOX);
    let config = DeviceConfig { device: DeviceId(9), tick_hz: 1_000_000, reset: ResetReason::Power, seed: 3 };
    let (lines, _answers, requests): (Vec<PortLine>, Vec<Arc<Answers>>, _) = port_line::lines(1);
    let counters = PortCounters::default();
    let mut pair = Pair {
        device: DeviceLink::new(config, &outbox, HostClock.now_us()),
        session: PortSession::new(5, &lines[0], &counters, Path::new("/dev/test")),
        requests: &requests,
        question: u64::MAX,
    };
    test(&outbox, &mut pair);
}

fn push(outbox: &DeviceOutbox, events: u32) {
    for n in 0..events {
        outbox.channel::<u32>(0).unwrap().try_push(0, &n).unwrap();
    }
}

#[test]
fn a_device_is_known_then_admitted_then_described_and_then_heard() {
    with_pair(|outbox, pair| {
        push(outbox, 3);
        let asked = pair.talk();
        let [Request::Know { device: DeviceId(9), descriptors, .. }] = &asked[..] else {
            panic!("{asked:?}")
        };
        assert_eq!(descriptors[..], [u32::DESCRIPTOR_HASH, u64::DESCRIPTOR_HASH]);

        pair.tell_known(None, descriptors.clone());
        let said = pair.talk();
        let [Request::Begin(terms), Request::Descriptor(descriptor), Request::Batch { first, events: 3, .. }] =
            &said[..]
        else {
            panic!("{said:?}")
        };
        assert_eq!((terms.epoch, terms.opens, terms.closes), (Epoch(1), true, None));
        assert_eq!((terms.lanes[0].stored, terms.lanes[0].heard), (DeviceSequence(0), DeviceSequence(3)));
        assert_eq!(terms.channels[0].id, StreamId::of_device(DeviceId(9), 3));
        assert_eq!((terms.channels[1].name.as_str(), terms.channels[1].external), ("external", true));
        assert_eq!(descriptor, u32::DESCRIPTOR, "an external descriptor is not asked for");
        assert_eq!(*first, DeviceSequence(0));
    });
}

#[test]
fn a_device_forgets_its_events_when_it_is_told_that_they_are_durable() {
    with_pair(|outbox, pair| {
        push(outbox, 3);
        pair.talk();
        pair.tell_known(None, Vec::new());
        pair.talk();
        assert_eq!(outbox.stats().held_events, 3);
        pair.tell_durable(3);
        pair.talk();
        assert!(outbox.is_empty());
    });
}

#[test]
fn a_device_goes_no_further_than_its_ports_quota_until_the_writer_is_done() {
    with_pair(|outbox, pair| {
        push(outbox, 60_000);
        pair.talk();
        pair.tell_known(None, Vec::new());
        pair.session.handle_bytes(&[]);
        // The requests stay in the queue: the writer does nothing.
        let mut buf = [0; 4096];
        for _ in 0..1_000 {
            let len = pair.session.poll_transmit(&mut buf);
            pair.device.handle_bytes(HostClock.now_us(), &buf[..len]);
            let len = pair.device.poll_transmit(HostClock.now_us(), &mut buf);
            pair.session.handle_bytes(&buf[..len]);
        }
        let left = pair.session.line.quota().bytes_left();
        assert!(left > 0 && left <= 2 * BATCH_LEN_MAX, "{left} of {BYTES_MAX} bytes are left");
        let waiting = pair.talk();
        assert!(!waiting.is_empty());
        assert_eq!(pair.session.line.quota().bytes_left(), BYTES_MAX);
        pair.session.handle_news(News::default());
        assert!(!pair.talk().is_empty(), "with room again, the device goes on");
    });
}

#[test]
fn what_the_store_refuses_ends_the_session_with_what_was_heard() {
    with_pair(|outbox, pair| {
        push(outbox, 1);
        pair.talk();
        pair.tell_known(None, Vec::new());
        pair.talk();
        pair.session.handle_news(News {
            refused: Some(StoreRefusal { reason: Refusal::Malformed, detail: String::new() }),
            ..News::default()
        });
        let said = pair.talk();
        let [Request::End { heard }] = &said[..] else { panic!("{said:?}") };
        assert_eq!(heard[..], [DeviceSequence(1)]);
        assert_eq!(pair.device.stats().refusals, 1);
    });
}

#[test]
fn an_answer_that_nobody_waits_for_changes_nothing() {
    with_pair(|outbox, pair| {
        pair.tell_known(None, Vec::new());
        assert!(matches!(pair.session.state, State::Waiting));
        push(outbox, 1);
        pair.talk();
        pair.tell_known(None, Vec::new());
        pair.talk();
        pair.tell_known(None, Vec::new());
        assert!(matches!(pair.session.state, State::Live { .. }));
        assert_eq!(pair.talk().len(), 0);
    });
}

#[test]
fn an_answer_to_an_earlier_question_is_not_taken_for_that_to_the_present_one() {
    with_pair(|_, pair| {
        pair.talk();
        let asked = std::mem::replace(&mut pair.question, u64::MAX);
        pair.tell_known(None, Vec::new());
        assert!(matches!(pair.session.state, State::Asked(..)));
        pair.question = asked;
        pair.tell_known(None, Vec::new());
        assert!(matches!(pair.session.state, State::Offered(..)));
    });
}

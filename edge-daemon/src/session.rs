//! What one port's link says, turned into requests to the writer, and the writer's answers told to the link.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};
use varve_core::{DescriptorHash, DeviceId, HostClock, Lane, StreamId};
use varve_device_proto::{
    BATCH_LEN_MAX, Hello, HelloChannel, HostConfig, HostEvent, HostLink, HostStats, LaneCursor, LostReason,
    Refusal, Session, admission,
};

use crate::answers::{Known, News};
use crate::counters::PortCounters;
use crate::device_name::DeviceName;
use crate::port_line::PortLine;
use crate::rate_limit::RateLimit;
use crate::request::{ChannelTerms, ClockReading, LaneTerms, Request, Terms};

/// The sessions of one port, one after another, for as long as it is open.
#[derive(Debug)]
pub(crate) struct PortSession<'p> {
    link: HostLink,
    line: &'p PortLine,
    counters: &'p PortCounters,
    port: &'p Path,
    state: State,
    counted: HostStats,
    malformed: RateLimit,
    new_refusals: RateLimit,
    same_refusals: RateLimit,
    refused: Option<(DeviceId, Refusal)>,
}

/// How far the present session is.
#[derive(Debug)]
enum State {
    /// Nobody has said hello.
    Waiting,
    /// The writer was asked what it knows of the device.
    Asked(Candidate),
    /// The device was offered terms.
    Offered(Candidate, Known),
    /// The session of this number runs, of a device with so many lanes.
    Live { number: u32, device: DeviceId, lanes: usize },
}

/// A device that wants to be admitted.
#[derive(Debug)]
struct Candidate {
    /// What it said, without its channel table.
    hello: Hello<'static>,
    channels: Vec<ChannelTerms>,
}

/// What a link says, apart from the frame that said it.
#[derive(Debug)]
enum Heard {
    Candidate(Box<Candidate>),
    Session(Box<Session>),
    /// Something to store.
    Events(Request),
    Lost(LostReason),
    Refused(Refusal),
    /// A clock reading in mid-session, which the store does not keep.
    Nothing,
}

impl<'p> PortSession<'p> {
    /// Begins to ask who is at `port`.
    pub(crate) fn new(seed: u64, line: &'p PortLine, counters: &'p PortCounters, port: &'p Path) -> Self {
        Self {
            link: HostLink::new(HostConfig { seed }),
            line,
            counters,
            port,
            state: State::Waiting,
            counted: HostStats::default(),
            malformed: RateLimit::new(COMPLAINT_PERIOD),
            new_refusals: RateLimit::new(NEW_COMPLAINT_PERIOD),
            same_refusals: RateLimit::new(COMPLAINT_PERIOD),
            refused: None,
        }
    }

    /// Whether there is room for all that one read of the port may bring.
    pub(crate) fn has_room(&self) -> bool {
        self.line.quota().requests_left() >= REQUESTS_PER_READ_MAX
    }

    /// Takes in what the port brought.
    pub(crate) fn handle_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.link.handle_bytes(HostClock.now_us(), bytes);
            bytes = &bytes[taken..];
            self.handle_events();
        }
        self.grant_credit();
        self.count();
    }

    /// Takes in what the writer told.
    pub(crate) fn handle_news(&mut self, news: News) {
        if let Some(reason) = news.refused {
            self.end();
            self.link.refuse(reason);
        }
        if let Some(known) = news.known {
            self.decide(known);
        }
        if let State::Live { number, .. } = self.state {
            for (lane, durable) in (0..).map(Lane).zip(news.durable) {
                if let Some(durable) = durable {
                    self.link.handle_durable(number, lane, durable);
                }
            }
        }
        self.grant_credit();
    }

    /// Writes the next bytes for the device to `out`, and returns how many.
    pub(crate) fn poll_transmit(&mut self, out: &mut [u8]) -> usize {
        let len = self.link.poll_transmit(HostClock.now_us(), out);
        self.handle_events();
        len
    }

    /// How long until [`poll_transmit`](Self::poll_transmit) has something to do, if nothing happens before.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let due_us = self.link.poll_timeout()?;
        Some(Duration::from_micros(due_us.saturating_sub(HostClock.now_us())))
    }

    fn handle_events(&mut self) {
        while let Some(heard) = self.link.poll_event().map(Heard::from) {
            match heard {
                Heard::Candidate(candidate) => {
                    let descriptors = candidate.channels.iter().map(|channel| channel.descriptor).collect();
                    self.line.send(Request::Know { device: candidate.hello.device, descriptors });
                    self.state = State::Asked(*candidate);
                }
                Heard::Session(session) => self.begin(*session),
                Heard::Events(request) => self.line.send(request),
                Heard::Lost(reason) => {
                    info!(port = %self.port.display(), ?reason, "the session is over");
                    self.end();
                }
                Heard::Refused(reason) => {
                    let device = self.device();
                    self.end();
                    self.complain_of_refusal(device, reason);
                }
                Heard::Nothing => {}
            }
        }
    }

    fn decide(&mut self, known: Known) {
        let State::Asked(candidate) = std::mem::replace(&mut self.state, State::Waiting) else { return };
        match admission::decide(&known.device, &candidate.hello) {
            Ok(admission) => {
                self.link.admit(admission);
                self.state = State::Offered(candidate, known);
            }
            Err(reason) => {
                self.line.send(Request::End { heard: Vec::new() });
                self.link.refuse(reason);
                self.complain_of_refusal(Some(candidate.hello.device), reason);
            }
        }
    }

    /// The device has taken its terms.
    fn begin(&mut self, session: Session) {
        let State::Offered(candidate, known) = std::mem::replace(&mut self.state, State::Waiting) else {
            return;
        };
        let Session { number, device, admission, clock } = session;
        let lanes = admission.lanes.len();
        let lane_terms = |(lane, cursor): (Lane, &LaneCursor)| LaneTerms {
            stored: cursor.next,
            heard: self.link.heard(lane).unwrap_or(cursor.next),
        };
        let terms = Terms {
            device,
            epoch: admission.epoch,
            opens: admission.opens,
            closes: admission.closes,
            lanes: (0..).map(Lane).zip(&admission.lanes).map(lane_terms).collect(),
            clock: ClockReading {
                ticks: clock.ticks,
                tick_hz: clock.tick_hz.max(1),
                host_us: clock.host_us,
                uncertainty_us: u32::try_from(clock.uncertainty_us).unwrap_or(u32::MAX),
            },
            begun_us: HostClock.now_us(),
            channels: candidate.channels,
        };
        let channels = terms.channels.len();
        info!(port = %self.port.display(), device = %DeviceName(device), epoch = %terms.epoch, channels, "the session begins");
        self.counters.sessions.add(1);
        for channel in terms.channels.iter().filter(|channel| !channel.external) {
            if known.missing.contains(&channel.descriptor) {
                self.link.fetch_descriptor(channel.descriptor);
            }
        }
        self.line.send(Request::Begin(Arc::new(terms)));
        self.refused = None;
        self.state = State::Live { number, device, lanes };
        self.grant_credit();
    }

    /// The session is over, or will not be.
    fn end(&mut self) {
        let heard = match self.state {
            State::Waiting => return,
            State::Live { lanes, .. } => {
                (0..).map(Lane).take(lanes).map(|lane| self.link.heard(lane).unwrap_or_default()).collect()
            }
            State::Asked(_) | State::Offered(..) => Vec::new(),
        };
        self.state = State::Waiting;
        self.line.send(Request::End { heard });
    }

    /// Lets the device send what its port's quota has room for.
    fn grant_credit(&mut self) {
        if let State::Live { lanes, .. } = self.state {
            let bytes = (self.line.quota().bytes_left() / lanes.max(1)).saturating_sub(BATCH_LEN_MAX);
            for lane in (0..).map(Lane).take(lanes) {
                self.link.set_credit(lane, u32::try_from(bytes).unwrap_or(u32::MAX));
            }
        }
    }

    const fn device(&self) -> Option<DeviceId> {
        match &self.state {
            State::Waiting => None,
            State::Asked(candidate) | State::Offered(candidate, _) => Some(candidate.hello.device),
            State::Live { device, .. } => Some(*device),
        }
    }

    fn complain_of_refusal(&mut self, device: Option<DeviceId>, reason: Refusal) {
        let refused = device.map(|device| (device, reason));
        let is_same = refused == self.refused;
        self.refused = refused;
        let limit = if is_same { &mut self.same_refusals } else { &mut self.new_refusals };
        if let Some(times) = limit.admit(Instant::now(), 1) {
            let device = device.map(DeviceName).map_or_else(|| "unknown".into(), |name| name.to_string());
            warn!(port = %self.port.display(), device, %reason, times, "the device is refused");
        }
    }

    fn count(&mut self) {
        let stats = self.link.stats();
        let before = std::mem::replace(&mut self.counted, stats);
        self.counters.bytes_received.add(stats.bytes_received - before.bytes_received);
        self.counters.frames.add(stats.frames_received - before.frames_received);
        self.counters.duplicates.add(stats.duplicates - before.duplicates);
        let malformed = |stats: HostStats| stats.bad_frames + stats.ignored + stats.unknown_kinds;
        let new = malformed(stats) - malformed(before);
        self.counters.frames_malformed.add(new);
        if let Some(frames) = self.malformed.admit(Instant::now(), new) {
            warn!(port = %self.port.display(), frames, "frames that cannot be read were dropped");
        }
    }
}

impl Drop for PortSession<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl From<HostEvent<'_>> for Heard {
    fn from(event: HostEvent<'_>) -> Self {
        match event {
            HostEvent::Hello(hello) => Self::Candidate(Box::new(Candidate::new(hello))),
            HostEvent::Session(session) => Self::Session(Box::new(session)),
            HostEvent::FetchedDescriptor { bytes, .. } => Self::Events(Request::Descriptor(bytes.to_vec())),
            HostEvent::Batch { first, chain, batch, .. } => Self::Events(Request::Batch {
                first,
                events: batch.len() as u64,
                chain: chain.0,
                ingest_us: HostClock.now_us(),
                bytes: batch.bytes().to_vec(),
            }),
            HostEvent::Gap { lane, first, len, reason, chain } => Self::Events(Request::Gap {
                lane,
                first,
                len,
                reason: reason.into(),
                chain: chain.0,
                ingest_us: HostClock.now_us(),
            }),
            HostEvent::Lost(reason) => Self::Lost(reason),
            HostEvent::Refused(reason) => Self::Refused(reason),
            _ => Self::Nothing,
        }
    }
}

impl Candidate {
    fn new(hello: Hello<'_>) -> Self {
        let channel = |channel: &HelloChannel<'_>| ChannelTerms {
            name: channel.name.to_owned(),
            id: StreamId::of_device(hello.device, channel.instance),
            descriptor: DescriptorHash(channel.descriptor),
            external: channel.is_external(),
        };
        let channels = hello.channels.iter().map(channel).collect();
        Self { hello: Hello { channels: Default::default(), ..hello }, channels }
    }
}

/// The most requests that a read of [`INPUT_LEN`](crate::port::INPUT_LEN) bytes may bring: no frame is shorter than 8.
const REQUESTS_PER_READ_MAX: usize = crate::port::INPUT_LEN / 8;

const _: () = assert!(REQUESTS_PER_READ_MAX <= crate::quota::REQUESTS_MAX / 2);
const _: () = assert!(4 * BATCH_LEN_MAX * Lane::COUNT <= crate::quota::BYTES_MAX);

/// How often the log tells of what goes on being wrong, and of what is newly so.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(10);
const NEW_COMPLAINT_PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
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
                    return self.requests.try_iter().map(|envelope| envelope.request).collect();
                }
            }
        }

        fn tell_known(&mut self, latest: Option<KnownEpoch>, missing: Vec<DescriptorHash>) {
            let device = KnownDevice { incarnation: 77, latest, live_elsewhere: false };
            self.session.handle_news(News { known: Some(Known { device, missing }), ..News::default() });
        }

        fn tell_durable(&mut self, next: u64) {
            let durable = [Some(DeviceSequence(next)), None, None, None];
            self.session.handle_news(News { durable, ..News::default() });
        }
    }

    fn with_pair(test: impl FnOnce(&DeviceOutbox, &mut Pair<'_>)) {
        let outbox = Box::new(EMPTY_OUTBOX);
        let config =
            DeviceConfig { device: DeviceId(9), tick_hz: 1_000_000, reset: ResetReason::Power, seed: 3 };
        let (lines, _answers, requests): (Vec<PortLine>, Vec<Arc<Answers>>, _) = port_line::lines(1);
        let counters = PortCounters::default();
        let mut pair = Pair {
            device: DeviceLink::new(config, &outbox, HostClock.now_us()),
            session: PortSession::new(5, &lines[0], &counters, Path::new("/dev/test")),
            requests: &requests,
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
            let [Request::Know { device: DeviceId(9), descriptors }] = &asked[..] else {
                panic!("{asked:?}")
            };
            assert_eq!(descriptors[..], [u32::DESCRIPTOR_HASH, u64::DESCRIPTOR_HASH]);

            pair.tell_known(None, descriptors.clone());
            let said = pair.talk();
            let [
                Request::Begin(terms),
                Request::Descriptor(descriptor),
                Request::Batch { first, events: 3, .. },
            ] = &said[..]
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
            pair.session.handle_news(News { refused: Some(Refusal::Malformed), ..News::default() });
            let said = pair.talk();
            let [Request::End { heard }] = &said[..] else { panic!("{said:?}") };
            assert_eq!(heard[..], [DeviceSequence(1)]);
            assert_eq!(pair.device.stats().refusals, 1);
        });
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_no_admission() {
        with_pair(|_, pair| {
            pair.tell_known(None, Vec::new());
            assert!(matches!(pair.session.state, State::Waiting));
        });
    }
}

//! What one port's link says, turned into requests to the writer, and the writer's answers told to the link.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::info;
use varve_core::{DescriptorHash, DeviceId, HostClock, Lane, StreamId};
use varve_device_proto::{
    BATCH_LEN_MAX, Hello, HelloChannel, HostConfig, HostEvent, HostLink, HostState, HostStats, LaneCursor,
    LostReason, Refusal, Session, admission,
};

use crate::answers::{Known, News, StoreRefusal};
use crate::complaints::Complaints;
use crate::counters::PortCounters;
use crate::device_name::DeviceName;
use crate::port_line::PortLine;
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
    complaints: Complaints,
}

/// How far the present session is.
#[derive(Debug)]
enum State {
    /// Nobody has said hello.
    Waiting,
    /// The writer was asked what it knows of the device, by the question of this number.
    Asked(Candidate, u64),
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
            complaints: Complaints::new(),
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
        if let State::Live { .. } = self.state
            && let Some(StoreRefusal { reason, detail }) = news.refused
        {
            self.link.refuse(reason);
            self.end_refused(reason, &detail);
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
                    let question = self.line.next_question();
                    let device = candidate.hello.device;
                    self.line.send(Request::Know { question, device, descriptors });
                    self.state = State::Asked(*candidate, question);
                }
                Heard::Session(session) => self.begin(&session),
                Heard::Events(request) => self.line.send(request),
                Heard::Lost(reason) => {
                    info!(port = %self.port.display(), ?reason, "the session is over");
                    self.end();
                }
                Heard::Refused(reason) => self.end_refused(reason, "by its link"),
                Heard::Nothing => {}
            }
        }
        // A device that takes its terms no more leaves its link without a word.
        if self.link.state() == HostState::Apart {
            self.end();
        }
    }

    /// Answers the device that asked, now that it is known what the store has of it. While the store is full an answer
    /// may be late, and about a device that has gone.
    fn decide(&mut self, known: Known) {
        let (candidate, question) = match std::mem::replace(&mut self.state, State::Waiting) {
            State::Asked(candidate, question) if question == known.question => (candidate, question),
            other => return self.state = other,
        };
        let admitted = known.device.as_ref().map_err(StoreRefusal::clone).and_then(|device| {
            admission::decide(device, &candidate.hello)
                .map_err(|reason| StoreRefusal { reason, detail: "at its admission".into() })
        });
        match admitted {
            Ok(admission) => {
                self.link.admit(admission);
                self.state = State::Offered(candidate, known);
            }
            Err(StoreRefusal { reason, detail }) => {
                self.state = State::Asked(candidate, question);
                self.link.refuse(reason);
                self.end_refused(reason, &detail);
            }
        }
    }

    /// The device has taken its terms.
    fn begin(&mut self, session: &Session) {
        let (candidate, known) = match std::mem::replace(&mut self.state, State::Waiting) {
            State::Offered(candidate, known) => (candidate, known),
            other => return self.state = other,
        };
        let terms = self.terms(session, candidate.channels);
        let (port, device, channels) =
            (self.port.display(), DeviceName(session.device), terms.channels.len());
        info!(%port, %device, epoch = %terms.epoch, channels, "the session begins");
        self.counters.sessions.add(1);
        self.complaints.forget_refusal();
        for channel in terms.channels.iter().filter(|channel| !channel.external) {
            if known.missing.contains(&channel.descriptor) {
                self.link.fetch_descriptor(channel.descriptor);
            }
        }
        let (number, device, lanes) = (session.number, session.device, terms.lanes.len());
        self.state = State::Live { number, device, lanes };
        self.line.send(Request::Begin(Arc::new(terms)));
    }

    fn terms(&self, session: &Session, channels: Vec<ChannelTerms>) -> Terms {
        let Session { device, admission, clock, .. } = session;
        let lane = |(lane, cursor): (Lane, &LaneCursor)| LaneTerms {
            stored: cursor.next,
            heard: self.link.heard(lane).unwrap_or(cursor.next),
        };
        Terms {
            device: *device,
            epoch: admission.epoch,
            opens: admission.opens,
            closes: admission.closes,
            channels,
            lanes: (0..).map(Lane).zip(&admission.lanes).map(lane).collect(),
            clock: ClockReading {
                ticks: clock.ticks,
                tick_hz: clock.tick_hz,
                host_us: clock.host_us,
                uncertainty_us: u32::try_from(clock.uncertainty_us).unwrap_or(u32::MAX),
            },
            begun_us: HostClock.now_us(),
        }
    }

    /// The session is over, or will not be.
    fn end(&mut self) {
        let heard = match self.state {
            State::Waiting => return,
            State::Live { lanes, .. } => {
                (0..).map(Lane).take(lanes).map(|lane| self.link.heard(lane).unwrap_or_default()).collect()
            }
            State::Asked(..) | State::Offered(..) => Vec::new(),
        };
        self.state = State::Waiting;
        self.line.send(Request::End { heard });
    }

    /// As [`end`](Self::end), since the device is refused.
    fn end_refused(&mut self, reason: Refusal, detail: &str) {
        if let Some(device) = self.device() {
            self.complaints.tell_refused(self.port, device, reason, detail);
        }
        self.end();
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
            State::Asked(candidate, _) | State::Offered(candidate, _) => Some(candidate.hello.device),
            State::Live { device, .. } => Some(*device),
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
        self.complaints.tell_malformed(self.port, new);
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
                reason,
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

#[cfg(test)]
mod tests;

//! A gateway of the simulation: a real host's link for each port, the real admission, group commit, and power that may
//! fail at any moment.

use std::sync::Arc;

use fastrand::Rng;
use varve_core::{DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, StreamId};
use varve_device_proto::{
    BATCH_LEN_MAX, Hello, HostConfig, HostEvent, HostLink, HostState, KnownDevice, Session, admission,
};

use super::coverage::Coverage;
use super::log::{Binding, Log, Record, RecordPlace, Standing};

/// A host with some ports. Times are µs of the world.
pub(super) struct Gateway<L> {
    log: L,
    /// An older copy of the log.
    copy: Option<L>,
    ports: Vec<Port>,
    queue: Vec<Queued>,
    /// What the log is flushing.
    flushing: Option<Flush>,
    flush_us_max: u64,
    /// It is without power until then.
    down_until_us: u64,
    rng: Rng,
}

struct Port {
    link: HostLink,
    /// The channels of the device that said hello last.
    announced: Arc<[Binding]>,
    /// A hello that waits for an answer.
    hello: Option<Box<Hello<'static>>>,
    live: Option<Live>,
    queued_len: usize,
}

/// A session that has begun.
#[derive(Clone)]
struct Live {
    number: u32,
    device: DeviceId,
    epoch: Epoch,
    channels: Arc<[Binding]>,
}

struct Queued {
    record: Record,
    receipt: Option<Receipt>,
}

/// What to tell whom once a record is durable.
#[derive(Clone, Copy)]
struct Receipt {
    port: usize,
    session: u32,
    lane: Lane,
    durable: DeviceSequence,
    len: usize,
}

struct Flush {
    done_us: u64,
    records: Vec<Record>,
    receipts: Vec<Receipt>,
}

/// What a port's event comes to.
enum Reaction {
    Consider(Box<Hello<'static>>, Arc<[Binding]>),
    Begin(Session),
    Keep { record: Record, durable: DeviceSequence, lane: Lane, len: usize },
    Note(Record),
    End,
    Nothing,
}

impl<L: Log> Gateway<L> {
    /// A gateway with an open port for each of `ports` lines.
    pub(super) fn new(log: L, ports: usize, flush_us_max: u64, mut rng: Rng) -> Self {
        let ports = (0..ports).map(|_| Port::open(&mut rng)).collect();
        let (copy, queue, flushing) = (None, Vec::new(), None);
        Self { log, copy, ports, queue, flushing, flush_us_max, down_until_us: 0, rng }
    }

    /// The log.
    pub(super) fn log(&self) -> &L {
        &self.log
    }

    /// How far the link of a port is on its way into a session.
    pub(super) fn state(&self, port: usize) -> HostState {
        self.ports[port].link.state()
    }

    /// Takes in bytes that came to a port and returns how many sessions began.
    pub(super) fn handle_bytes(
        &mut self,
        now_us: u64,
        port: usize,
        mut bytes: &[u8],
        coverage: &mut Coverage,
    ) -> u64 {
        let mut began = 0;
        while !bytes.is_empty() && self.down_until_us <= now_us {
            let taken = self.ports[port].link.handle_bytes(now_us, bytes);
            bytes = &bytes[taken..];
            began += self.drain_events(port, coverage);
        }
        began
    }

    /// The next bytes for the line at a port.
    pub(super) fn poll_transmit(
        &mut self,
        now_us: u64,
        port: usize,
        out: &mut [u8],
        coverage: &mut Coverage,
    ) -> usize {
        if self.down_until_us > now_us {
            return 0;
        }
        let len = self.ports[port].link.poll_transmit(now_us, out);
        self.drain_events(port, coverage);
        len
    }

    /// When a port's link wants to be polled.
    pub(super) fn poll_port_timeout(&self, port: usize) -> Option<u64> {
        self.ports[port].link.poll_timeout().map(|timeout_us| timeout_us.max(self.down_until_us))
    }

    /// When a flush is done.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.flushing.as_ref().map(|flush| flush.done_us)
    }

    /// Ends a flush whose time has come and begins the next one.
    pub(super) fn poll(&mut self, now_us: u64) {
        if self.flushing.as_ref().is_some_and(|flush| flush.done_us <= now_us) {
            self.end_flush();
        }
        if self.flushing.is_none() && !self.queue.is_empty() {
            self.begin_flush(now_us);
        }
        for port in 0..self.ports.len() {
            self.answer_hello(port);
        }
    }

    /// Opens a port anew, as if its cable had been pulled. What came before stays queued.
    pub(super) fn reopen(&mut self, port: usize, coverage: &mut Coverage) {
        self.note_state(port, coverage);
        let queued_len = self.ports[port].queued_len;
        self.note_heard(port);
        self.ports[port] = Port { queued_len, ..Port::open(&mut self.rng) };
    }

    /// The power fails. What was being flushed may have been written in time, though nobody was told.
    pub(super) fn crash(&mut self, until_us: u64, coverage: &mut Coverage) {
        if self.flushing.is_some() && self.rng.bool() {
            self.log.flush();
        }
        self.log.crash();
        self.queue.clear();
        self.flushing = None;
        self.down_until_us = until_us;
        for port in 0..self.ports.len() {
            self.note_state(port, coverage);
            self.ports[port] = Port::open(&mut self.rng);
        }
    }

    /// Keeps a copy of what is durable.
    pub(super) fn copy_log(&mut self) {
        self.copy = Some(self.log.fork());
    }

    /// Whether there is a copy to go back to.
    pub(super) fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    /// Goes on with the copy, if there is one. The power must have failed just before.
    pub(super) fn restore_log(&mut self) {
        if let Some(copy) = &self.copy {
            self.log = copy.fork();
        }
    }

    /// Goes on with an empty log of another incarnation. The power must have failed just before.
    pub(super) fn replace_log(&mut self) {
        self.copy = None;
        self.log.replace();
    }

    fn begin_flush(&mut self, now_us: u64) {
        let count = self.queue.len().min(FLUSH_RECORDS_MAX);
        let queued: Vec<Queued> = self.queue.drain(..count).collect();
        let records: Vec<Record> = queued.iter().map(|queued| queued.record.clone()).collect();
        let receipts: Vec<Receipt> = queued.iter().filter_map(|queued| queued.receipt).collect();
        if self.log.write(now_us, &records) == Standing::Durable {
            receipts.iter().for_each(|receipt| self.acknowledge(receipt));
        }
        let done_us =
            now_us.saturating_add(self.rng.u64(self.flush_us_max / 4..=self.flush_us_max)).max(now_us + 1);
        self.flushing = Some(Flush { done_us, records, receipts });
    }

    fn end_flush(&mut self) {
        self.log.flush();
        let flush = self.flushing.take();
        for receipt in flush.iter().flat_map(|flush| &flush.receipts) {
            self.acknowledge(receipt);
            self.ports[receipt.port].queued_len -= receipt.len;
            self.grant_credit(receipt.port);
        }
    }

    fn acknowledge(&mut self, receipt: &Receipt) {
        self.ports[receipt.port].link.handle_durable(receipt.session, receipt.lane, receipt.durable);
    }

    fn drain_events(&mut self, port: usize, coverage: &mut Coverage) -> u64 {
        let mut began = 0;
        while let Some(reaction) = self.poll_reaction(port) {
            match reaction {
                Reaction::Consider(hello, channels) => {
                    self.ports[port].announced = channels;
                    self.ports[port].hello = Some(hello);
                }
                Reaction::Begin(session) => {
                    began += 1;
                    coverage.sessions += 1;
                    self.begin_session(port, session);
                }
                Reaction::Keep { record, durable, lane, len } => self.keep(port, record, durable, lane, len),
                Reaction::Note(record) => self.queue.push(Queued { record, receipt: None }),
                Reaction::End => {
                    self.note_heard(port);
                    self.ports[port].live = None;
                }
                Reaction::Nothing => {}
            }
        }
        began
    }

    /// The next event of a port, in terms of what is to be done about it.
    fn poll_reaction(&mut self, port: usize) -> Option<Reaction> {
        let Port { link, live: session, .. } = &mut self.ports[port];
        let place = |lane, first, chain| {
            let live = session.as_ref().expect("batches and gaps come within sessions");
            (
                RecordPlace { device: live.device, epoch: live.epoch, lane, first, chain },
                live.channels.clone(),
            )
        };
        Some(match link.poll_event()? {
            HostEvent::Hello(hello) => {
                let channels = bindings(&hello);
                Reaction::Consider(Box::new(Hello { channels: Default::default(), ..hello }), channels)
            }
            HostEvent::Session(session) => Reaction::Begin(session),
            HostEvent::FetchedDescriptor { hash, bytes } => {
                Reaction::Note(Record::Descriptor { hash, bytes: bytes.to_vec() })
            }
            HostEvent::Batch { lane, first, chain, batch } => {
                let (place, channels) = place(lane, first, chain);
                let durable = DeviceSequence(first.0 + batch.len() as u64);
                let bytes = batch.bytes().to_vec();
                let len = bytes.len();
                Reaction::Keep { record: Record::Batch { place, channels, bytes }, durable, lane, len }
            }
            HostEvent::Gap { lane, first, len, reason, chain } => {
                let (place, _) = place(lane, first, chain);
                let durable = DeviceSequence(first.0 + len);
                Reaction::Keep { record: Record::Gap { place, len, reason }, durable, lane, len: 0 }
            }
            HostEvent::Lost(_) | HostEvent::Refused(_) => Reaction::End,
            _ => Reaction::Nothing,
        })
    }

    /// Decides on a hello, once the log holds all that came from its device: what is on its way there could move the
    /// cursors, and open or close an epoch.
    fn answer_hello(&mut self, port: usize) {
        let hello = self.ports[port].hello.take_if(|hello| {
            let of_device = |record: &Record| record.device() == Some(hello.device);
            let flushing = self.flushing.iter().flat_map(|flush| &flush.records);
            !self.queue.iter().map(|queued| &queued.record).chain(flushing).any(of_device)
        });
        let Some(hello) = hello else { return };
        let mut live = self.ports.iter().enumerate().filter(|(other, _)| *other != port);
        let known = KnownDevice {
            incarnation: self.log.incarnation(),
            latest: self.log.latest_epoch(hello.device),
            live_elsewhere: live
                .any(|(_, port)| port.live.as_ref().is_some_and(|live| live.device == hello.device)),
        };
        match admission::decide(&known, &hello) {
            Ok(admission) => self.ports[port].link.admit(admission),
            Err(refusal) => self.ports[port].link.refuse(refusal),
        }
    }

    /// From now on the terms of the session may be stored, and the device may send.
    fn begin_session(&mut self, port: usize, session: Session) {
        let Session { number, device, admission, .. } = session;
        let channels = self.ports[port].announced.clone();
        for binding in channels.iter().filter(|binding| !self.log.knows(binding.descriptor)) {
            assert!(
                self.ports[port].link.fetch_descriptor(binding.descriptor),
                "a device has at most 16 channels"
            );
        }
        self.ports[port].live = Some(Live { number, device, epoch: admission.epoch, channels });
        self.queue.push(Queued { record: Record::Terms { device, admission }, receipt: None });
        self.note_heard(port);
        self.grant_credit(port);
    }

    fn keep(&mut self, port: usize, record: Record, durable: DeviceSequence, lane: Lane, len: usize) {
        let session = self.ports[port].live.as_ref().map_or(0, |live| live.number);
        self.ports[port].queued_len += len;
        assert!(self.ports[port].queued_len <= QUOTA_LEN, "the link took more than the credit");
        self.queue.push(Queued { record, receipt: Some(Receipt { port, session, lane, durable, len }) });
        self.grant_credit(port);
    }

    fn grant_credit(&mut self, port: usize) {
        let Port { link, queued_len, .. } = &mut self.ports[port];
        let credit = (QUOTA_LEN - BATCH_LEN_MAX).saturating_sub(*queued_len);
        link.set_credit(Lane(0), credit as u32);
    }

    /// What the device of the present session spoke of may never come.
    fn note_heard(&mut self, port: usize) {
        let Port { link, live, .. } = &self.ports[port];
        if let (Some(live), Some(next)) = (live, link.heard(Lane(0))) {
            let record = Record::Heard { device: live.device, epoch: live.epoch, lane: Lane(0), next };
            self.queue.push(Queued { record, receipt: None });
        }
    }

    fn note_state(&self, port: usize, coverage: &mut Coverage) {
        Coverage::count(&mut coverage.host_states_at_reset, self.ports[port].link.state());
    }
}

impl Port {
    fn open(rng: &mut Rng) -> Self {
        let link = HostLink::new(HostConfig { seed: rng.u64(..) });
        Self { link, announced: Arc::new([]), hello: None, live: None, queued_len: 0 }
    }
}

/// The streams of the channels that a device announces.
fn bindings(hello: &Hello<'_>) -> Arc<[Binding]> {
    let channels = hello.channels.iter().map(|channel| Binding {
        stream: channel.name.to_owned(),
        id: StreamId::of_device(hello.device, channel.instance),
        descriptor: DescriptorHash(channel.descriptor),
    });
    channels.collect()
}

/// The most bytes of batches that wait for the log at one port.
const QUOTA_LEN: usize = 16 * 1024;

/// The most records of one flush.
const FLUSH_RECORDS_MAX: usize = 64;

const _: () = assert!(QUOTA_LEN > 2 * BATCH_LEN_MAX);

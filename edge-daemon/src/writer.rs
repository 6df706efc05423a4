//! The one thread that writes the store.
//!
//! **Invariant:** a port is told that something is durable only after the commit that holds it has returned.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use tracing::warn;
use varve_core::{
    APPEND_BYTES_MAX, Append, AppendError, Batch, ClockMapping, Committed, DescriptorHash, DeviceBatch,
    DeviceGap, DeviceId, Lane, LaneMark, LaneRecord, ReadError, RefusedReason, Varve,
};
use varve_device_proto::{Chain, KnownDevice, KnownEpoch, LaneCursor, Refusal};

use crate::answers::{Answers, Known, StoreRefusal};
use crate::counters::{PortCounters, WriterCounters};
use crate::request::{Envelope, PortNumber, Request, Terms};
use crate::request_queue::{Arrival, RequestQueue};
use crate::store_room::{StoreRoom, is_full};

/// Takes in what the ports admit, and commits it in groups: one flush for all that came within a window.
#[derive(Debug)]
pub(crate) struct Writer {
    varve: Arc<Varve>,
    append: Append,
    store_room: StoreRoom,
    requests: RequestQueue,
    ports: Vec<WriterPort>,
    /// What the append is made of.
    group: Vec<Staged>,
    window: Duration,
    counters: Arc<WriterCounters>,
}

/// A port as the writer sees it.
#[derive(Debug)]
pub(crate) struct WriterPort {
    answers: Arc<Answers>,
    counters: Arc<PortCounters>,
    /// The device that is live on the port.
    device: Option<DeviceId>,
    /// Its terms, once it has taken them.
    terms: Option<Arc<Terms>>,
}

/// A request of the append: it holds its room until that is committed.
#[derive(Debug)]
struct Staged {
    envelope: Envelope,
    /// The terms that it is under.
    terms: Arc<Terms>,
}

/// The store takes in nothing more.
#[derive(Debug)]
pub(crate) enum StoreError {
    /// It has no room, and no port is left to wait for some.
    Full(AppendError),
    /// It could not be written.
    Append(AppendError),
    /// It could not be read.
    Read(ReadError),
}

impl WriterPort {
    /// A port on which no device is live.
    pub(crate) fn new(answers: Arc<Answers>, counters: Arc<PortCounters>) -> Self {
        Self { answers, counters, device: None, terms: None }
    }
}

impl Writer {
    /// A writer of `varve` that takes the `requests` of `ports`, each named by its place there. A request waits for
    /// others at most for the `window`.
    pub(crate) fn new(
        varve: Arc<Varve>,
        store_room: StoreRoom,
        requests: Receiver<Envelope>,
        ports: Vec<WriterPort>,
        window: Duration,
        counters: Arc<WriterCounters>,
    ) -> Self {
        let append = varve.begin();
        let requests = RequestQueue::new(requests);
        Self { varve, append, store_room, requests, ports, group: Vec::new(), window, counters }
    }

    /// Writes until every port is gone and all that they left is committed, or there is no room for it. What was not
    /// committed by then was acknowledged to no device.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        match self.write_all() {
            Err(StoreError::Full(error)) => {
                warn!(%error, "what was not stored stays with the devices");
                Ok(())
            }
            ended => ended,
        }
    }

    fn write_all(&mut self) -> Result<(), StoreError> {
        loop {
            match self.requests.next_before(self.store_room.due()) {
                Arrival::Request(first) => self.write_group(first)?,
                Arrival::Nothing => self.store_room.handle_due(&self.varve),
                Arrival::Ended => return Ok(()),
            }
        }
    }

    fn write_group(&mut self, first: Envelope) -> Result<(), StoreError> {
        let end = Instant::now() + self.window;
        self.take_in(first)?;
        while self.append.bytes_len() < COMMIT_BYTES_MAX
            && let Arrival::Request(next) = self.requests.next_before(end)
        {
            self.take_in(next)?;
        }
        self.commit()
    }

    fn take_in(&mut self, envelope: Envelope) -> Result<(), StoreError> {
        match &envelope.request {
            Request::Know { question, device, descriptors } => {
                // What the device sent before must be in the record that is asked for.
                self.commit()?;
                let (device, missing) = match self.known(envelope.port, *device, descriptors) {
                    Ok((device, missing)) => (Ok(device), missing),
                    Err(error @ ReadError::Corrupt(_)) => (Err(damaged(&error)), Vec::new()),
                    Err(error) => return Err(error.into()),
                };
                let known = Known { question: *question, device, missing };
                self.ports[envelope.port.0].answers.tell_known(known);
                Ok(())
            }
            Request::End { .. } => {
                let port = envelope.port.0;
                self.stage(envelope)?;
                (self.ports[port].device, self.ports[port].terms) = (None, None);
                Ok(())
            }
            Request::Begin(terms) => {
                self.ports[envelope.port.0].terms = Some(terms.clone());
                self.stage(envelope)
            }
            Request::Descriptor(_) | Request::Batch { .. } | Request::Gap { .. } => self.stage(envelope),
        }
    }

    /// What the store knows of a device that shows up at `port`, and which descriptors it lacks. Unless the device is live
    /// elsewhere, it is live there now.
    fn known(
        &mut self,
        port: PortNumber,
        device: DeviceId,
        descriptors: &[DescriptorHash],
    ) -> Result<(KnownDevice, Vec<DescriptorHash>), ReadError> {
        self.ports[port.0].device = None;
        self.ports[port.0].terms = None;
        let live_elsewhere = self.ports.iter().any(|other| other.device == Some(device));
        if !live_elsewhere {
            self.ports[port.0].device = Some(device);
        }
        let latest = self.varve.device(device)?.map(|record| KnownEpoch {
            epoch: record.epoch,
            closed: record.is_closed(),
            lanes: (0..Lane::COUNT as u8).map(|lane| cursor(record.lane(Lane(lane)))).collect(),
        });
        let mut missing = Vec::new();
        for &hash in descriptors {
            if self.varve.schema(hash)?.is_none() {
                missing.push(hash);
            }
        }
        let incarnation = self.varve.incarnation();
        Ok((KnownDevice { incarnation, latest, live_elsewhere }, missing))
    }

    fn stage(&mut self, envelope: Envelope) -> Result<(), StoreError> {
        let mut added = self.add(&envelope);
        if matches!(added, Err(AppendError::Full)) {
            self.commit()?;
            added = self.add(&envelope);
        }
        match added {
            Ok(Some(terms)) => self.group.push(Staged { envelope, terms }),
            Ok(None) => {}
            Err(error) if is_the_devices_fault(&error) => self.refuse(envelope.port, &error),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Adds a request to the append, and returns the terms that it is under; one of a session that was refused meanwhile
    /// has none, and adds nothing.
    fn add(&mut self, envelope: &Envelope) -> Result<Option<Arc<Terms>>, AppendError> {
        let terms = self.ports[envelope.port.0].terms.clone();
        if let Some(terms) = &terms {
            add_request(&mut self.append, terms, &envelope.request)?;
        }
        Ok(terms)
    }

    /// Commits what is staged, and tells the ports.
    fn commit(&mut self) -> Result<(), StoreError> {
        let group = std::mem::take(&mut self.group);
        if self.append.is_empty() {
            return Ok(());
        }
        match self.commit_once_there_is_room() {
            Ok(committed) => self.tell(group, &committed),
            Err(StoreError::Append(AppendError::Corrupt(_))) => self.commit_apart(group)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Commits what was staged port by port, since some of it touches what is damaged: whose part does, is refused, and
    /// the others go on.
    fn commit_apart(&mut self, group: Vec<Staged>) -> Result<(), StoreError> {
        self.append.clear();
        // Where even this meets damage, it is that of no device: nothing can be stored any more.
        self.varve.fold().or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })?;
        let mut parts = BTreeMap::<_, Vec<_>>::new();
        for staged in group {
            parts.entry(staged.envelope.port).or_default().push(staged);
        }
        for (port, part) in parts {
            for Staged { envelope, terms } in &part {
                add_request(&mut self.append, terms, &envelope.request)?;
            }
            match self.commit_once_there_is_room() {
                Ok(committed) => self.tell(part, &committed),
                Err(StoreError::Append(error @ AppendError::Corrupt(_))) => {
                    self.append.clear();
                    self.end_session(port, damaged(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Commits what is staged. While the store is full, what the ports ask is kept: it holds their quotas, so that they give
    /// the devices no more credit, and the devices drop what they cannot hold, and tell so.
    fn commit_once_there_is_room(&mut self) -> Result<Committed, StoreError> {
        let start = Instant::now();
        loop {
            let error = match self.append.commit() {
                Ok(committed) => {
                    self.counters.commits.add(1);
                    let took_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.counters.commit_us.add(took_us);
                    self.store_room.handle_room();
                    return Ok(committed);
                }
                Err(error) if is_full(&error) => error,
                Err(error) => return Err(error.into()),
            };
            let delay = self.store_room.handle_full(&self.varve, &error);
            if !self.requests.keep_until(Instant::now() + delay) {
                return Err(StoreError::Full(error));
            }
        }
    }

    /// Tells the ports what is durable now. By then the group has given back its room.
    fn tell(&mut self, group: Vec<Staged>, committed: &Committed) {
        group.iter().for_each(|staged| self.count(&staged.envelope));
        drop(group);
        for mark in &committed.lanes {
            if let Some(port) = self.port_of(mark) {
                self.ports[port.0].answers.tell_durable(mark.lane, mark.next);
            }
        }
        for refused in &committed.refused {
            if let Some(port) = self.port_of(&refused.lane) {
                let (first, next, reason) = (refused.first, refused.lane.next, refused.reason);
                let detail = format!("{reason:?}: it begins at {first}, and {next} comes next");
                self.end_session(port, StoreRefusal { reason: refusal(reason), detail });
            }
        }
    }

    fn count(&self, envelope: &Envelope) {
        let counters = &self.ports[envelope.port.0].counters;
        match &envelope.request {
            Request::Batch { events, .. } => counters.events.add(*events),
            Request::Gap { len, .. } => counters.gap_events.add(*len),
            _ => {}
        }
    }

    /// The port on which the lane's device is live under the lane's epoch.
    fn port_of(&self, mark: &LaneMark) -> Option<PortNumber> {
        let is_of = |terms: &Arc<Terms>| terms.device == mark.device && terms.epoch == mark.epoch;
        self.ports.iter().position(|port| port.terms.as_ref().is_some_and(is_of)).map(PortNumber)
    }

    fn refuse(&mut self, port: PortNumber, error: &AppendError) {
        let is_descriptor = matches!(error, AppendError::Descriptor(_));
        let reason = if is_descriptor { Refusal::Descriptor } else { Refusal::Malformed };
        self.end_session(port, StoreRefusal { reason, detail: error.to_string() });
    }

    fn end_session(&mut self, port: PortNumber, refusal: StoreRefusal) {
        self.ports[port.0].terms = None;
        self.ports[port.0].answers.tell_refused(refusal);
    }
}

/// The most bytes that one commit takes in, beside the request that passes it.
const COMMIT_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(COMMIT_BYTES_MAX + crate::quota::BYTES_MAX <= APPEND_BYTES_MAX);

fn add_request(append: &mut Append, terms: &Terms, request: &Request) -> Result<(), AppendError> {
    match request {
        Request::Begin(terms) => add_terms(append, terms),
        Request::Descriptor(bytes) => append.descriptor(bytes).map(drop),
        Request::Batch { first, chain, ingest_us, bytes, .. } => append.device_batch(DeviceBatch {
            device: terms.device,
            epoch: terms.epoch,
            first: *first,
            chain: *chain,
            ingest_us: *ingest_us,
            channels: &terms.bindings(),
            batch: Batch::new_checked(bytes).expect("the link gave the batch out of a checked view"),
        }),
        Request::Gap { lane, first, len, reason, chain, ingest_us } => append.device_gap(DeviceGap {
            device: terms.device,
            epoch: terms.epoch,
            lane: *lane,
            first: *first,
            len: *len,
            reason: *reason,
            chain: *chain,
            ingest_us: *ingest_us,
        }),
        Request::End { heard } => (0..)
            .map(Lane)
            .zip(heard)
            .try_for_each(|(lane, &next)| append.heard(terms.device, terms.epoch, lane, next)),
        Request::Know { .. } => Ok(()),
    }
}

fn add_terms(append: &mut Append, terms: &Terms) -> Result<(), AppendError> {
    if let Some(closed) = terms.closes {
        append.close_epoch(terms.device, closed, &[], terms.begun_us)?;
    }
    if terms.opens {
        append.open_epoch(terms.device, terms.epoch)?;
    }
    for channel in terms.channels.iter().filter(|channel| channel.external) {
        append.external(channel.descriptor)?;
    }
    for (lane, ends) in (0..).map(Lane).zip(&terms.lanes) {
        append.heard(terms.device, terms.epoch, lane, ends.heard)?;
        append.clock(ClockMapping {
            device: terms.device,
            epoch: terms.epoch,
            lane,
            first: ends.stored,
            ticks: terms.clock.ticks,
            host_us: terms.clock.host_us,
            tick_hz: terms.clock.tick_hz,
            uncertainty_us: terms.clock.uncertainty_us,
        })?;
    }
    Ok(())
}

fn cursor(lane: Option<&LaneRecord>) -> LaneCursor {
    lane.map_or_else(LaneCursor::default, |lane| LaneCursor { next: lane.next, chain: Chain(lane.chain) })
}

/// What a device is told whose events, or whose past, meet damage.
fn damaged(error: &dyn fmt::Display) -> StoreRefusal {
    StoreRefusal { reason: Refusal::Damaged, detail: error.to_string() }
}

/// Whether a request cannot be stored, though the store is well.
const fn is_the_devices_fault(error: &AppendError) -> bool {
    use AppendError::{Descriptor, StreamName, SystemStream, UnboundChannel};
    matches!(error, Descriptor(_) | StreamName { .. } | SystemStream { .. } | UnboundChannel { .. })
}

const fn refusal(reason: RefusedReason) -> Refusal {
    match reason {
        RefusedReason::UnknownDescriptor => Refusal::Descriptor,
        RefusedReason::Exhausted | RefusedReason::KeysFull => Refusal::Full,
        _ => Refusal::Malformed,
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(error) | Self::Append(error) => error.fmt(f),
            Self::Read(error) => error.fmt(f),
        }
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

#[cfg(test)]
mod tests;

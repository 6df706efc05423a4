//! A store and its oracle, which have the same done to them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use varve_core::{
    Append, AppendError, Committed, DeviceGap, DeviceId, DeviceSequence, Epoch, Event, ExpectedVersion,
    GapReason, GlobalSequence, Lane, Refused, RetentionPolicy, StreamId, StreamSequence, TAIL_LEN_MIN, Varve,
    restore,
};

use super::operation::{BatchPlace, CONSUMERS, DEVICES, Expected, Operation, Outcome, Part};
use super::oracle::Oracle;
use crate::{
    Door, Reading, archived, binding, device_batch, door, new_dir_in_memory, reading, relaxed, sealed,
};

/// A store with a small tail, and what it must hold.
pub(super) struct Subject {
    /// Where the store lies.
    path: PathBuf,
    /// What holds it, and those that it was restored from.
    dirs: Vec<TempDir>,
    /// `None` only while it is opened again.
    pub(super) varve: Option<Varve>,
    pub(super) oracle: Oracle,
    /// Decides what is looked at; the same for every case.
    pub(super) random: fastrand::Rng,
}

impl Subject {
    pub(super) fn new() -> Self {
        let dir = new_dir_in_memory();
        let path = dir.path().to_path_buf();
        let (varve, random) = (Some(open(&path)), fastrand::Rng::with_seed(1));
        let mut subject = Self { path, dirs: vec![dir], varve, oracle: Oracle::default(), random };
        let mut append = subject.varve().begin();
        append.descriptor(Reading::DESCRIPTOR).unwrap();
        append.descriptor(Door::DESCRIPTOR).unwrap();
        append.commit().unwrap();
        (1..=DEVICES).for_each(|device| subject.open_epoch(device));
        subject
    }

    pub(super) fn varve(&mut self) -> &mut Varve {
        self.varve.as_mut().expect("it is open")
    }

    pub(super) fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::Append { id, lengths, expected } => self.append(*id, lengths, *expected),
            Operation::Burst { id, commits } => {
                (0..*commits).for_each(|n| self.append(*id, &[n], Expected::Any))
            }
            Operation::Bulk { id } => self.append(*id, &[BULK_EVENT_LEN; BULK_EVENTS], Expected::Right),
            Operation::Commit { parts, outcome } => self.commit(parts, *outcome),
            Operation::OpenEpoch { device } => self.open_epoch(*device),
            Operation::CloseEpoch { device, unheard } => self.close_epoch(*device, *unheard),
            Operation::Fold => self.varve().fold().unwrap(),
            Operation::Retain { percent, consumer } => self.retain(*percent, *consumer),
            Operation::Reopen => self.reopen(),
            Operation::Restore => self.restore(),
        }
        self.check_some();
    }

    fn append(&mut self, id: u64, lengths: &[usize], expected: Expected) {
        let (version, next) = (self.oracle.version("doors", id), self.oracle.next());
        let events: Vec<_> = lengths.iter().map(|&len| door(&"x".repeat(len))).collect();
        let mut doors = self.varve().stream::<Door, 4_000>("doors").unwrap();
        let id = StreamId(id);
        let appended = match expected {
            Expected::Any if events.len() == 1 => {
                let places = doors.append(id, &events[0]).unwrap();
                assert_eq!(places, (StreamSequence(version), GlobalSequence(next)));
                None
            }
            Expected::Any => Some(doors.append_batch(id, &events).unwrap()),
            Expected::Right => {
                let right = ExpectedVersion::Exact(version);
                Some(doors.append_batch_expecting(id, right, &events).unwrap())
            }
            Expected::Wrong => {
                let wrong = ExpectedVersion::Exact(version + 1);
                let error = doors.append_batch_expecting(id, wrong, &events).unwrap_err();
                assert!(
                    matches!(error, AppendError::ConcurrencyConflict { actual, .. } if actual == version)
                );
                return;
            }
        };
        if let Some(appended) = appended {
            let places: Vec<_> = appended.iter().map(|(seq, global)| (seq.0, global.0)).collect();
            assert!(places.into_iter().eq((version..).zip(next..).take(events.len())));
        }
        events.iter().for_each(|event| self.oracle.push_local("doors", id.0, archived(event)));
    }

    fn commit(&mut self, parts: &[Part], outcome: Outcome) {
        let mut append = self.varve().begin();
        let mut after = self.oracle.clone();
        let mut refused = Vec::new();
        for part in parts {
            refused.extend(self.add(&mut append, &mut after, part));
        }
        let committed = match outcome {
            Outcome::Abandoned => return,
            Outcome::Committed => append.commit().unwrap(),
            Outcome::Relaxed => {
                let committed = append.commit_relaxed().unwrap();
                let shown = self.varve().next_global_seq().unwrap().0;
                assert_eq!(shown, self.oracle.next(), "readers see what is durable alone");
                self.varve().flush().unwrap();
                committed
            }
        };
        let Committed { first, events, refused: told, .. } = committed;
        assert_eq!((first.0, events), (self.oracle.next(), after.next() - self.oracle.next()));
        assert_eq!(told.iter().map(|Refused { reason, .. }| *reason).collect::<Vec<_>>(), refused);
        self.oracle = after;
    }

    /// Adds a part to an append and to the oracle, which says why it is refused if it is.
    fn add(
        &mut self,
        append: &mut Append,
        after: &mut Oracle,
        part: &Part,
    ) -> Option<varve_core::RefusedReason> {
        match part {
            Part::Event { id, len } => {
                let (stream, event) =
                    (self.varve().stream::<Door, 4_000>("doors").unwrap(), door(&"y".repeat(*len)));
                append
                    .expect(&stream, StreamId(*id), ExpectedVersion::Exact(after.version("doors", *id)))
                    .unwrap();
                append.event(&stream, StreamId(*id), &event).unwrap();
                after.push_local("doors", *id, archived(&event));
                None
            }
            Part::Consumer { name, percent } => {
                let next = after.next() * percent / 100;
                append.consumer(CONSUMERS[*name], GlobalSequence(next)).unwrap();
                after.consumers.insert(CONSUMERS[*name], next);
                None
            }
            Part::Gap { device, lane, len, reason } => {
                let key = (*device, after.epochs[device], *lane);
                let first = after.lanes.get(&key).map_or(0, |account| account.next);
                let (reason, chain) = (GapReason::from(*reason), first as u32);
                append.device_gap(gap(key, first, *len, reason, chain)).unwrap();
                after.push_gap(key, *len, chain, reason)
            }
            Part::Batch { device, lane, texts, time, place } => {
                let events: Vec<_> = (0..).zip(texts).map(|(n, text)| channel_event(n, *text)).collect();
                let batch = sealed(Lane(*lane), *time, &events);
                let key = (*device, after.epochs[device], *lane);
                let first = after.first_of_batch(key, events.len() as u64, *place);
                let chain = add_batch(append, key, first, &batch);
                let named =
                    events.into_iter().map(|(channel, _, bytes)| (CHANNELS[usize::from(channel)], bytes));
                let refused = after.push_batch(key, first, chain, &named.collect::<Vec<_>>());
                assert!(refused.is_none() || *place == BatchPlace::Ahead || after.lanes[&key].closed);
                refused
            }
        }
    }

    fn open_epoch(&mut self, device: u64) {
        let epoch = self.oracle.epochs.entry(device).or_default();
        *epoch += 1;
        let epoch = Epoch(*epoch);
        let mut append = self.varve().begin();
        append.open_epoch(DeviceId(device), epoch).unwrap();
        // An earlier one never comes back.
        append.open_epoch(DeviceId(device), Epoch(epoch.0 - 1)).unwrap();
        append.commit().unwrap();
    }

    fn close_epoch(&mut self, device: u64, unheard: u64) {
        let heard = DeviceSequence(self.oracle.heard_with(device, unheard));
        let epoch = Epoch(self.oracle.epochs[&device]);
        let mut append = self.varve().begin();
        append.close_epoch(DeviceId(device), epoch, &[(Lane(0), heard)], 7).unwrap();
        append.commit().unwrap();
        self.oracle.close_epoch(device, unheard);
    }

    fn retain(&mut self, percent: u64, consumer: Option<usize>) {
        let (kept, mut policy) = (self.oracle.next() * percent / 100, RetentionPolicy::default());
        policy.events_max = Some(kept);
        policy.consumers = consumer.map(|consumer| CONSUMERS[consumer].to_owned()).into_iter().collect();
        let seen =
            consumer.map(|consumer| self.oracle.consumers.get(CONSUMERS[consumer]).copied().unwrap_or(0));
        let first = self.varve().retain(&policy).unwrap().first.0;
        // Where blocks end is the store's own affair, and it keeps the last one.
        let first_max = (self.oracle.next() - kept).min(seen.unwrap_or(u64::MAX)).max(self.oracle.first);
        assert!((self.oracle.first..=first_max).contains(&first), "{first} is beyond {first_max}");
        self.oracle.first = first;
    }

    fn reopen(&mut self) {
        self.varve = None;
        let view = Varve::open_read_only(&self.path).unwrap();
        self.check_log(&view);
        drop(view);
        self.varve = Some(open(&self.path));
        self.check_all();
    }

    fn restore(&mut self) {
        let mut backup = Vec::new();
        self.varve().snapshot().unwrap().back_up(&mut backup).unwrap();
        let (incarnation, dir) = (self.varve().incarnation(), new_dir_in_memory());
        self.path = dir.path().join("store");
        restore(&backup[..], &self.path).unwrap();
        self.varve = Some(open(&self.path));
        assert_ne!(self.varve().incarnation(), incarnation);
        self.dirs.push(dir);
        self.check_all();
    }
}

/// Adds a batch whose channels are [`CHANNELS`], and returns its chain.
fn add_batch(append: &mut Append, (device, epoch, lane): (u64, u32, u8), first: u64, batch: &[u8]) -> u32 {
    let id = StreamId::of_device(DeviceId(device), lane);
    let channels = [binding::<Reading>(CHANNELS[0], id), binding::<Door>(CHANNELS[1], id)];
    let mut batch = device_batch(&channels, first, batch);
    (batch.device, batch.epoch) = (DeviceId(device), Epoch(epoch));
    append.device_batch(batch.clone()).unwrap();
    batch.chain
}

/// The `n`th event of a batch: a reading, or a door with a text so long.
fn channel_event(n: u64, text: Option<usize>) -> (u8, u64, Vec<u8>) {
    match text {
        None => (0, n * 10, archived(&reading(n))),
        Some(len) => (1, n * 11, archived(&door(&"z".repeat(len)))),
    }
}

fn gap(
    (device, epoch, lane): (u64, u32, u8),
    first: u64,
    len: u64,
    reason: GapReason,
    chain: u32,
) -> DeviceGap {
    let (device, epoch, lane) = (DeviceId(device), Epoch(epoch), Lane(lane));
    DeviceGap { device, epoch, lane, first: DeviceSequence(first), len, reason, chain, ingest_us: 9 }
}

fn open(path: &Path) -> Varve {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    Varve::with_config(path, config).unwrap()
}

/// The stream names of a device's channels.
const CHANNELS: [&str; 2] = ["climate", "devices"];

/// More than a record of the tail takes.
const BULK_EVENTS: usize = 150;
const BULK_EVENT_LEN: usize = 2_000;

const _: () = assert!(BULK_EVENTS * BULK_EVENT_LEN > 256 * 1024);

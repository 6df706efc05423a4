//! A store and its oracle, which have the same done to them.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use varve_core::{
    Append, AppendError, Committed, DeviceGap, DeviceId, DeviceSequence, Epoch, Event, ExpectedVersion,
    GapReason, GlobalSequence, Lane, Refused, RetentionPolicy, StreamId, StreamSequence, Varve, restore,
    salvage,
};

use super::beside::{Beside, Opening, Seen};
use super::operation::{BatchPlace, CONSUMERS, DEVICES, Expected, Operation, Outcome, Part, Settled};
use super::oracle::Oracle;
use crate::{Door, Reading, archived, binding, device_batch, door, new_dir_in_memory, reading, sealed};

/// A store with a small tail, and what it must hold.
pub(super) struct Subject<'b> {
    /// Where the store lies, and what opens it.
    opening: Opening,
    /// What holds it, and those that it was restored from.
    dirs: Vec<TempDir>,
    /// The backup that was kept, and what it must hold.
    kept: Option<(Vec<u8>, Oracle)>,
    beside: &'b mut Beside,
    /// `None` only while it is opened again.
    pub(super) varve: Option<Varve>,
    pub(super) oracle: Oracle,
    /// Decides what is looked at; the same for every case.
    pub(super) random: fastrand::Rng,
}

impl<'b> Subject<'b> {
    pub(super) fn new(is_sealed: bool, beside: &'b mut Beside) -> Self {
        let dir = new_dir_in_memory();
        let opening = Opening { path: dir.path().to_path_buf(), is_sealed, master: 0 };
        let (varve, random) = (Some(open(&opening)), fastrand::Rng::with_seed(1));
        let (dirs, oracle) = (vec![dir], Oracle::default());
        let mut subject = Self { opening, dirs, kept: None, beside, varve, oracle, random };
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
            Operation::Append { id, lengths, expected } => self.append("doors", *id, lengths, *expected),
            Operation::Burst { id, commits } => {
                (0..*commits).for_each(|n| self.append("doors", *id, &[n], Expected::Any))
            }
            Operation::Bulk { id } => {
                self.append("loads", *id, &[BULK_EVENT_LEN; BULK_EVENTS], Expected::Right)
            }
            Operation::Commit { parts, outcome } => self.commit(parts, *outcome),
            Operation::OpenEpoch { device } => self.open_epoch(*device),
            Operation::CloseEpoch { device, unheard } => self.close_epoch(*device, *unheard),
            Operation::Fold => self.varve().fold().unwrap(),
            Operation::Retain { percent, consumer } => self.retain(*percent, *consumer),
            Operation::Reopen => self.reopen(Seen::of(&self.oracle)),
            Operation::BackUp => self.kept = Some((self.back_up(), self.oracle.clone())),
            Operation::Restore { is_kept } => self.restore(*is_kept),
            Operation::Salvage => self.salvage(),
            #[cfg(feature = "encryption")]
            Operation::Shred { id } => self.shred(*id),
            #[cfg(feature = "encryption")]
            Operation::Rotate => self.rotate(),
            Operation::Look => self.look(),
        }
        self.check_some();
    }

    fn append(&mut self, name: &'static str, id: u64, lengths: &[usize], expected: Expected) {
        let (version, next) = (self.oracle.version(name, id), self.oracle.next());
        let events: Vec<_> = lengths.iter().map(|&len| door(&"x".repeat(len))).collect();
        let mut doors = self.varve().stream::<Door, 4_000>(name).unwrap();
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
        events.iter().for_each(|event| self.oracle.push_local(name, id.0, archived(event)));
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
            Outcome::Relaxed(_) => append.commit_relaxed().unwrap(),
        };
        drop(append);
        let Committed { first, events, refused: told, .. } = committed;
        assert_eq!((first.0, events), (self.oracle.next(), after.next() - self.oracle.next()));
        assert_eq!(told.iter().map(|Refused { reason, .. }| *reason).collect::<Vec<_>>(), refused);
        if let Outcome::Relaxed(_) = outcome {
            let shown = self.varve().next_global_seq().unwrap().0;
            assert_eq!(shown, self.oracle.next(), "readers see what is durable alone");
            self.look();
        }
        let durable = std::mem::replace(&mut self.oracle, after);
        match outcome {
            Outcome::Relaxed(Settled::Flush) => self.varve().flush().unwrap(),
            Outcome::Relaxed(Settled::Fold) => self.varve().fold().unwrap(),
            Outcome::Relaxed(Settled::Append) => self.append("doors", 0, &[1], Expected::Right),
            Outcome::Relaxed(Settled::Reopen) => self.reopen(Seen::of(&durable)),
            Outcome::Committed | Outcome::Abandoned => {}
        }
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

    /// Ends the owner, which has told others of what is `told`.
    fn reopen(&mut self, told: Seen) {
        self.varve = None;
        let view = Varve::open_read_only_with_config(&self.opening.path, self.opening.config()).unwrap();
        self.check_log(&view);
        drop(view);
        // A process that has the store open already shows what the owner told of, or all that there is.
        let seen = self.beside.look(&self.opening);
        assert!(seen == told || seen == Seen::of(&self.oracle), "{seen:?} is neither {told:?} nor all");
        self.varve = Some(open(&self.opening));
        self.look();
        self.check_all();
    }

    /// Lets the second process read everything.
    fn look(&mut self) {
        assert_eq!(self.beside.look(&self.opening), Seen::of(&self.oracle), "what the second process sees");
    }

    fn back_up(&mut self) -> Vec<u8> {
        let mut backup = Vec::new();
        self.varve().snapshot().unwrap().back_up(&mut backup).unwrap();
        backup
    }

    fn restore(&mut self, is_kept: bool) {
        let (backup, backed_up) = match self.kept.take().filter(|_| is_kept) {
            Some(kept) => kept,
            None => (self.back_up(), self.oracle.clone()),
        };
        self.go_on_with(|_, path| {
            restore(&backup[..], path).unwrap();
        });
        self.oracle = self.oracle.restored_from(&backed_up);
        self.check_all();
    }

    fn salvage(&mut self) {
        let events = self.oracle.kept().len() as u64;
        self.go_on_with(|damaged, path| {
            let report = salvage(damaged, path).unwrap();
            let lost = (report.lost_events, report.rows_made_up, report.unreadable_pages);
            assert!(
                (report.events, lost) == (events, (0, 0, 0)) && report.verification.is_sound(),
                "{report}"
            );
        });
        self.check_all();
    }

    /// Closes the store, and opens the one that is made of it, with the keys as they are now.
    fn go_on_with(&mut self, make: impl FnOnce(&Path, &Path)) {
        let incarnation = self.varve().incarnation();
        self.varve = None;
        let dir = new_dir_in_memory();
        let path = dir.path().join("store");
        make(&self.opening.path, &path);
        if self.opening.is_sealed {
            fs::copy(self.opening.path.join("keys"), path.join("keys")).unwrap();
        }
        self.opening.path = path;
        self.varve = Some(open(&self.opening));
        assert_ne!(self.varve().incarnation(), incarnation);
        self.dirs.push(dir);
    }

    #[cfg(feature = "encryption")]
    fn shred(&mut self, id: u64) {
        use varve_core::KeysError::{NoMasterKey, NotSealed};
        let (is_sealed, version) = (self.opening.is_sealed, self.oracle.version("doors", id));
        match self.varve().shred("doors", StreamId(id)) {
            Ok(()) => self.oracle.shred(("doors", id)),
            Err(AppendError::Keys(NoMasterKey)) => assert!(!is_sealed),
            Err(AppendError::Keys(NotSealed { .. })) => assert!(is_sealed && version == 0),
            Err(error) => panic!("{error}"),
        }
    }

    #[cfg(feature = "encryption")]
    fn rotate(&mut self) {
        if self.opening.is_sealed {
            self.opening.master = self.opening.master.wrapping_add(1);
            let master = self.opening.master_key();
            self.varve().rotate_master(&master).unwrap();
        }
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

fn open(opening: &Opening) -> Varve {
    Varve::with_config(&opening.path, opening.config()).unwrap()
}

/// The stream names of a device's channels.
const CHANNELS: [&str; 2] = ["climate", "devices"];

/// More than a record of the tail takes.
const BULK_EVENTS: usize = 150;
const BULK_EVENT_LEN: usize = 2_000;

const _: () = assert!(BULK_EVENTS * BULK_EVENT_LEN > 256 * 1024);

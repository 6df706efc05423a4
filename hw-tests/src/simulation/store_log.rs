//! The real store as a gateway's log. Nothing is flushed to the disk: what a failing power costs is what has not been
//! committed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tempfile::TempDir;
use varve_core::{
    Append, AppendError, Batch, Config, DescriptorHash, DeviceBatch, DeviceGap, DeviceId, DeviceSequence,
    Durability, Epoch, Event, EventView, GapEvent, GlobalSequence, Lane, Varve,
};
use varve_device_proto::{Admission, Chain, GapReason, KnownEpoch, LaneCursor};

use super::account::{Absence, Account, Content, Cursor, Entry, Gap};
use super::log::{Binding, Log, Record, RecordPlace, Standing, next_incarnation};

/// The real store.
///
/// # Panics
///
/// Where the store fails, and where it refuses a record: a gateway hands it none that does not follow.
#[derive(Debug)]
pub struct StoreLog {
    /// In place of the store's own, which is drawn anew each time and would make runs of one seed differ.
    incarnation: u64,
    // Dropped in this order: the store is closed before its directory goes.
    store: Option<OpenStore>,
    dir: TempDir,
    /// The devices of the append.
    named: BTreeSet<DeviceId>,
    /// What is stored of every device.
    latest: BTreeMap<DeviceId, KnownEpoch>,
}

/// A store while its host has power.
#[derive(Debug)]
struct OpenStore {
    varve: Varve,
    append: Append,
}

impl StoreLog {
    /// An empty store in a directory of its own, which goes with it.
    pub fn new(incarnation: u64) -> Self {
        Self::open(incarnation, directory())
    }

    fn open(incarnation: u64, dir: TempDir) -> Self {
        let store = OpenStore::new(dir.path());
        let devices = store.varve.devices().expect("a sound store is read");
        let mut log =
            Self { incarnation, store: Some(store), dir, named: BTreeSet::new(), latest: BTreeMap::new() };
        devices.iter().for_each(|device| log.look_up(device.device));
        log
    }

    fn varve(&self) -> &Varve {
        &self.store.as_ref().expect("the host has power").varve
    }

    fn append(&mut self) -> &mut Append {
        &mut self.store.as_mut().expect("the host has power").append
    }

    /// Renews what is known of a device.
    fn look_up(&mut self, device: DeviceId) {
        let Some(record) = self.varve().device(device).expect("a sound store is read") else { return };
        let lanes = record.lanes().map(|lane| LaneCursor { next: lane.next, chain: Chain(lane.chain) });
        let (epoch, closed, lanes) = (record.epoch, record.is_closed(), lanes.collect());
        self.latest.insert(device, KnownEpoch { epoch, closed, lanes });
    }

    fn content(event: &EventView<'_>) -> Content {
        if event.stream_name != GapEvent::STREAM {
            let (stream, bytes) = (event.stream_name.to_owned(), event.payload.to_vec());
            let origin = event.origin().expect("a sound store is read").expect("it came from a device");
            return Content::Event { stream, id: event.stream_id, origin, bytes };
        }
        let gap = event.archived::<GapEvent>().expect("the store wrote it");
        let reason = GapReason::from(&gap.reason);
        Content::Gap(Gap {
            device: DeviceId(gap.device.to_native()),
            epoch: Epoch(gap.epoch.to_native()),
            lane: Lane(gap.lane),
            first: DeviceSequence(gap.first.to_native()),
            len: gap.len.to_native(),
            reason: if gap.end_unknown { Absence::DeviceReset } else { Absence::of_wire(reason) },
        })
    }
}

impl OpenStore {
    fn new(dir: &Path) -> Self {
        let mut config = Config::default();
        (config.map_size, config.durability) = (Some(MAP_SIZE), Durability::Relaxed);
        let varve = Varve::with_config(dir, config).expect("a store of one's own opens");
        Self { append: varve.begin(), varve }
    }
}

impl Log for StoreLog {
    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn latest_epoch(&self, device: DeviceId) -> Option<KnownEpoch> {
        self.latest.get(&device).cloned()
    }

    fn knows(&self, descriptor: DescriptorHash) -> bool {
        self.varve().schema(descriptor).expect("a sound store is read").is_some()
    }

    fn write(&mut self, now_us: u64, records: &[Record]) -> Standing {
        for record in records {
            add(self.append(), now_us, record).expect("the records of a flush fit an append");
            self.named.extend(record.device());
        }
        Standing::Volatile
    }

    fn flush(&mut self) {
        let committed = self.append().commit().expect("there is room");
        assert!(committed.refused.is_empty(), "the store refused {:?}", committed.refused);
        std::mem::take(&mut self.named).into_iter().for_each(|device| self.look_up(device));
    }

    fn crash(&mut self) {
        self.named.clear();
        self.store = None;
        self.store = Some(OpenStore::new(self.dir.path()));
    }

    fn fork(&self) -> Self {
        let dir = directory();
        let mut backup = Vec::new();
        let snapshot = self.varve().snapshot().expect("a sound store is read");
        snapshot.back_up(&mut backup).expect("a sound store is backed up");
        varve_core::restore(backup.as_slice(), dir.path()).expect("what was backed up is restored");
        Self::open(self.incarnation, dir)
    }

    fn replace(&mut self) {
        *self = Self::new(next_incarnation(self.incarnation));
    }

    fn account(&self) -> Account {
        let events =
            self.varve().global_reader().iter_from(GlobalSequence(0)).expect("a sound store is read");
        let events =
            events.iter().expect("a sound store is read").map(|event| event.expect("a sound store is read"));
        let entries = events
            .map(|event| Entry {
                global: event.global_seq,
                stream_seq: event.stream_seq,
                content: Self::content(&event),
            })
            .collect();
        let devices = self.varve().devices().expect("a sound store is read");
        let cursors = devices.iter().flat_map(|device| {
            device.history.iter().map(|lane| Cursor {
                device: device.device,
                epoch: lane.epoch,
                lane: lane.lane,
                next: lane.next,
                gap_total: lane.gap_total,
                heard: lane.heard,
                closed: lane.closed,
            })
        });
        Account { entries, cursors: cursors.collect() }
    }
}

/// Adds a record to what is committed together.
fn add(append: &mut Append, now_us: u64, record: &Record) -> Result<(), AppendError> {
    match record {
        Record::Terms { device, admission } => add_terms(append, now_us, *device, admission),
        Record::Heard { device, epoch, lane, next } => append.heard(*device, *epoch, *lane, *next),
        Record::Descriptor { bytes, .. } => append.descriptor(bytes).map(|_| ()),
        Record::Batch { place, channels, bytes } => add_batch(append, now_us, place, channels, bytes),
        Record::Gap { place, len, reason } => append.device_gap(DeviceGap {
            device: place.device,
            epoch: place.epoch,
            lane: place.lane,
            first: place.first,
            len: *len,
            reason: *reason,
            chain: place.chain.0,
            ingest_us: now_us,
        }),
    }
}

fn add_terms(
    append: &mut Append,
    now_us: u64,
    device: DeviceId,
    terms: &Admission,
) -> Result<(), AppendError> {
    if let Some(earlier) = terms.closes {
        append.close_epoch(device, earlier, &[], now_us)?;
    }
    if terms.opens { append.open_epoch(device, terms.epoch) } else { Ok(()) }
}

fn add_batch(
    append: &mut Append,
    now_us: u64,
    place: &RecordPlace,
    channels: &[Binding],
    bytes: &[u8],
) -> Result<(), AppendError> {
    append.device_batch(DeviceBatch {
        device: place.device,
        epoch: place.epoch,
        first: place.first,
        chain: place.chain.0,
        ingest_us: now_us,
        channels: &channels.iter().map(Binding::as_stored).collect::<Vec<_>>(),
        batch: Batch::new_checked(bytes).expect("the link has checked it"),
    })
}

/// A directory in memory where the host has such, else among its temporary files.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a directory can be made")
}

/// More than a run stores.
const MAP_SIZE: usize = 256 << 20;

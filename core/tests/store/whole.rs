//! All that a store holds, to be compared.

use std::cell::RefCell;
use std::path::Path;

use varve_core::{
    ClockMapping, DeviceGap, DeviceRecord, DeviceSequence, Epoch, Event, GapReason, GlobalSequence, StreamId,
    StreamInfo, TimeColumn, Varve, VarveView,
};

use crate::damage::edit;
use crate::{
    DEVICE, Door, LANE, Reading, archived, binding, device_batch, door, new_dir, open, reading, sealed,
};

/// What a store holds, as its readers see it.
pub(crate) struct Whole {
    events: Vec<String>,
    streams: Vec<StreamInfo>,
    devices: Vec<DeviceRecord>,
    consumers: Vec<Option<GlobalSequence>>,
}

impl Whole {
    /// Reads everything.
    pub(crate) fn of(view: &VarveView) -> Self {
        let snapshot = view.snapshot().unwrap();
        let events = snapshot.iter_from(snapshot.first_global_seq().unwrap()).unwrap().map(|event| {
            let event = event.unwrap();
            let schema = event.schema().unwrap().map(|schema| schema.name().to_owned());
            let (origin, time) = (event.origin().unwrap(), event.time().unwrap());
            let (name, id) = (event.stream_name, event.stream_id);
            let place = (event.global_seq, name, id, event.stream_seq);
            format!("{place:?} {origin:?} {time:?} {schema:?} {:?}", event.payload)
        });
        Self {
            events: events.collect(),
            streams: snapshot.streams().unwrap().map(Result::unwrap).collect(),
            devices: snapshot.devices().unwrap().map(Result::unwrap).collect(),
            consumers: CONSUMERS.map(|name| snapshot.consumer(name).unwrap()).to_vec(),
        }
    }

    /// Fails where `view` shows anything else, with the first thing that differs.
    #[track_caller]
    pub(crate) fn assert_shown_by(&self, view: &VarveView) {
        let shown = Self::of(view);
        for (event, shown) in self.events.iter().zip(&shown.events) {
            assert_eq!(shown, event);
        }
        assert_eq!(shown.events.len(), self.events.len());
        assert_eq!(shown.streams, self.streams);
        assert_eq!(shown.devices, self.devices);
        assert_eq!(shown.consumers, self.consumers);
    }

    /// Everything as text, a line for each thing.
    pub(crate) fn to_text(&self) -> String {
        let streams = self.streams.iter().map(|stream| format!("{stream:?}"));
        let devices = self.devices.iter().map(|device| format!("{device:?}"));
        let consumers = self.consumers.iter().map(|consumer| format!("{consumer:?}"));
        let lines = self.events.iter().cloned().chain(streams).chain(devices).chain(consumers);
        lines.map(|line| line + "\n").collect()
    }

    /// How many events there are.
    pub(crate) fn events(&self) -> usize {
        self.events.len()
    }
}

/// Fills a store with one of each thing, and enough of one for several blocks. Returns how many events it has then.
pub(crate) fn fill(varve: &mut Varve) -> u64 {
    fill_with(varve, 20, 40);
    let mut doors = varve.stream::<Door, 2048>("doors").unwrap();
    for round in 0..10 {
        let crowd = door(&"everybody ".repeat(150 + round));
        doors.append_batch(StreamId(1), &vec![crowd; 16]).unwrap();
    }
    varve.next_global_seq().unwrap().0
}

/// Fills a store with one of each thing: local events of two types, events of a device with ticks and a clock, a gap, and
/// consumers.
pub(crate) fn fill_with(varve: &mut Varve, rounds: u64, readings_each: u64) {
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    for round in 0..rounds {
        let uptimes = round * readings_each..(round + 1) * readings_each;
        let batch: Vec<_> = uptimes.map(reading).collect();
        readings.append_batch(StreamId(round % 3), &batch).unwrap();
    }
    let mut doors = varve.stream::<Door, 2048>("doors").unwrap();
    doors.append_batch(StreamId(1), &[door("Ada"), door("Bartholomew the second")]).unwrap();
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append
        .clock(ClockMapping {
            device: DEVICE,
            epoch: Epoch(1),
            lane: LANE,
            first: DeviceSequence(0),
            ticks: 100,
            host_us: 5_000_000,
            tick_hz: 1000,
            uncertainty_us: 3,
        })
        .unwrap();
    let events: Vec<_> = (0..5).map(|n| (0, 100 + n * 10, archived(&reading(n)))).collect();
    let batch = sealed(LANE, TimeColumn::Delta, &events);
    let channels = [binding::<Reading>("climate", StreamId::of_device(DEVICE, 0))];
    append.device_batch(device_batch(&channels, 0, &batch)).unwrap();
    append.device_gap(gap()).unwrap();
    append.consumer(CONSUMERS[0], GlobalSequence(10)).unwrap();
    append.consumer(CONSUMERS[1], GlobalSequence(0)).unwrap();
    append.commit().unwrap();
}

/// A store that is filled, with all of it in LMDB.
pub(crate) fn filled() -> tempfile::TempDir {
    let dir = new_dir();
    let mut varve = open(&dir);
    fill(&mut varve);
    varve.fold().unwrap();
    dir
}

/// The first events of the blocks that LMDB holds.
pub(crate) fn blocks(dir: &Path) -> Vec<u64> {
    let blocks = RefCell::new(Vec::new());
    edit(dir, "block", |key, _| blocks.borrow_mut().push(u64::from_be_bytes(key.try_into().unwrap())));
    blocks.into_inner()
}

fn gap() -> DeviceGap {
    DeviceGap {
        device: DEVICE,
        epoch: Epoch(1),
        lane: LANE,
        first: DeviceSequence(5),
        len: 3,
        reason: GapReason::OutboxFull,
        chain: 77,
        ingest_us: 5,
    }
}

pub(crate) const CONSUMERS: [&str; 3] = ["upstream", "sums", "nobody"];

//! What a log holds, as its readers see it.

use std::collections::BTreeMap;

use varve_core::{
    DeviceId, DeviceSequence, Epoch, Event, GapEvent, GlobalSequence, Lane, Origin, StreamId, StreamSequence,
};
use varve_device_proto::GapReason;

/// Everything in a log that came from devices, and its cursors.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// In the order in which the log's global reader gives them.
    pub entries: Vec<Entry>,
    /// One for each device, epoch and lane.
    pub cursors: Vec<Cursor>,
}

impl Account {
    /// An account of a log that numbers its contents as they stand.
    pub fn of_contents(contents: &[Content], cursors: Vec<Cursor>) -> Self {
        let mut streams: BTreeMap<(&str, StreamId), u64> = BTreeMap::new();
        let mut entries = Vec::with_capacity(contents.len());
        for (global, content) in (0..).map(GlobalSequence).zip(contents) {
            let next = streams.entry(content.stream()).or_default();
            entries.push(Entry { global, stream_seq: StreamSequence(*next), content: content.clone() });
            *next += 1;
        }
        Self { entries, cursors }
    }
}

/// One place of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The place.
    pub global: GlobalSequence,
    /// Its place in its stream.
    pub stream_seq: StreamSequence,
    /// What stands there.
    pub content: Content,
}

/// What stands at a place of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// An event of a device: its archived bytes.
    Event {
        /// The stream's name.
        stream: String,
        /// Which stream of that name.
        id: StreamId,
        /// Whose event it is, and its place among all of its device.
        origin: Origin,
        /// As they were read.
        bytes: Vec<u8>,
    },
    /// Events that are not in the log.
    Gap(Gap),
}

impl Content {
    /// The stream that it stands in.
    pub fn stream(&self) -> (&str, StreamId) {
        match self {
            Self::Event { stream, id, .. } => (stream, *id),
            Self::Gap(gap) => (GapEvent::STREAM, GapEvent::stream_id(gap.device, gap.lane)),
        }
    }
}

/// Events of a device that are not in the log, in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub device: DeviceId,
    /// In which epoch.
    pub epoch: Epoch,
    /// In which lane.
    pub lane: Lane,
    /// The first of them.
    pub first: DeviceSequence,
    /// How many; an epoch that ends unknown may close with none.
    pub len: u64,
    /// Why.
    pub reason: Absence,
}

/// Why events are not in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Absence {
    /// The device's outbox was full.
    OutboxFull,
    /// The device started anew and what it had only in RAM is gone.
    DeviceReset,
    /// The log is an older copy of itself, and the device no longer holds what the copy lacks.
    HostRestored,
}

impl Absence {
    /// What a gap's reason on the wire means in a log.
    pub fn of_wire(reason: GapReason) -> Self {
        match reason {
            GapReason::DeviceReset => Self::DeviceReset,
            GapReason::HostRestored => Self::HostRestored,
            _ => Self::OutboxFull,
        }
    }
}

/// How far the log has come with one lane of a device's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose.
    pub device: DeviceId,
    /// In which epoch.
    pub epoch: Epoch,
    /// In which lane.
    pub lane: Lane,
    /// The first sequence that is neither stored nor in a gap.
    pub next: DeviceSequence,
    /// How many events are in gaps.
    pub gap_total: u64,
    /// One past the highest sequence that the log has heard of.
    pub heard: DeviceSequence,
    /// Whether nothing more is taken in.
    pub closed: bool,
}

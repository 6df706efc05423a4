//! What a store holds, as its readers tell it and as the history of its commits has it.

use std::collections::BTreeMap;

use varve_core::{Event as _, GapEvent, GlobalSequence, ReadError, StreamId, VarveView};

use crate::history::Commit;
use crate::{NOTES, Note, READINGS, Reading};

/// Every event in global order, and how far each lane and each consumer has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub(crate) events: Vec<Event>,
    pub(crate) lanes: BTreeMap<(u64, u8), LaneEnd>,
    pub(crate) consumers: BTreeMap<&'static str, u64>,
}

/// An event, wherever it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) stream: &'static str,
    pub(crate) id: u64,
    pub(crate) bytes: Vec<u8>,
    /// The device, its lane and the place there; `None` for a local event.
    pub(crate) origin: Option<(u64, u8, u64)>,
    pub(crate) ticks: Option<u64>,
}

/// How far a lane is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LaneEnd {
    pub(crate) next: u64,
    pub(crate) chain: u32,
    pub(crate) gap_total: u64,
}

impl Contents {
    /// What the commits leave, one after the other.
    pub(crate) fn after<'c>(commits: impl IntoIterator<Item = &'c Commit>) -> Self {
        let mut contents = Self::default();
        commits.into_iter().for_each(|commit| contents.apply(commit));
        contents
    }

    /// What the next commit leaves.
    pub(crate) fn apply(&mut self, commit: &Commit) {
        self.events.extend(commit.events.iter().cloned());
        self.lanes.extend(commit.lanes.iter().copied());
        self.consumers.extend(commit.consumers.iter().copied());
    }

    /// Reads a store by every path: the log, each stream, each device and each consumer, which have to agree.
    pub(crate) fn read(view: &VarveView) -> Result<Self, String> {
        let events = read_log(view)?;
        check_streams(view, &events)?;
        let mut lanes = BTreeMap::new();
        for device in view.devices().map_err(told)? {
            for lane in device.lanes() {
                let end = LaneEnd { next: lane.next.0, chain: lane.chain, gap_total: lane.gap_total };
                lanes.insert((device.device.0, lane.lane.0), end);
            }
        }
        // An epoch that was opened has its lane before anything is stored in it.
        lanes.retain(|_, lane| lane.next > 0);
        let mut consumers = BTreeMap::new();
        for name in CONSUMERS {
            consumers.extend(view.consumer(name).map_err(told)?.map(|next| (name, next.0)));
        }
        Ok(Self { events, lanes, consumers })
    }

    /// Where two of them differ, for a person.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let at = self.events.iter().zip(&other.events).position(|(one, another)| one != another);
        match at {
            Some(at) => format!("event {at} is {:?}, not {:?}", self.events[at], other.events[at]),
            None if self.events.len() != other.events.len() => {
                format!("there are {} events, not {}", self.events.len(), other.events.len())
            }
            None => format!(
                "the lanes are {:?}, not {:?}; the consumers {:?}, not {:?}",
                self.lanes, other.lanes, self.consumers, other.consumers
            ),
        }
    }
}

/// Reads every event by its global sequence.
fn read_log(view: &VarveView) -> Result<Vec<Event>, String> {
    let snapshot = view.snapshot().map_err(told)?;
    let mut events: Vec<Event> = Vec::new();
    for event in snapshot.iter_from(GlobalSequence(0)).map_err(told)? {
        let event = event.map_err(told)?;
        if event.global_seq.0 != events.len() as u64 {
            return Err(format!("event {} follows {} others", event.global_seq, events.len()));
        }
        let stream = [READINGS, NOTES, GapEvent::STREAM].into_iter().find(|name| *name == event.stream_name);
        let origin = event.origin().map_err(told)?;
        events.push(Event {
            stream: stream.ok_or_else(|| format!("there is a stream `{}`", event.stream_name))?,
            id: event.stream_id.0,
            bytes: event.payload.to_vec(),
            origin: origin.map(|origin| (origin.device.0, origin.lane.0, origin.sequence.0)),
            ticks: event.ticks(),
        });
    }
    match snapshot.next_global_seq().map_err(told)?.0 {
        next if next == events.len() as u64 => Ok(events),
        next => Err(format!("the log ends at {next}, and has {} events", events.len())),
    }
}

/// Reads every stream, and compares it with its events in the log.
fn check_streams(view: &VarveView, events: &[Event]) -> Result<(), String> {
    let mut streams: BTreeMap<(&str, u64), Vec<&[u8]>> = BTreeMap::new();
    events.iter().for_each(|event| streams.entry((event.stream, event.id)).or_default().push(&event.bytes));
    for ((name, id), expected) in &streams {
        let stored = read_stream(view, name, StreamId(*id)).map_err(told)?;
        if stored != *expected {
            return Err(format!("stream {name} {id} has other events than the log has of it"));
        }
    }
    let mut listed = 0;
    for stream in view.streams().map_err(told)? {
        let expected = streams.get(&(stream.name.as_str(), stream.id.0)).map_or(0, Vec::len);
        if stream.next.0 != expected as u64 {
            return Err(format!(
                "stream {} {} ends at {}, not {expected}",
                stream.name, stream.id, stream.next
            ));
        }
        listed += usize::from(expected > 0);
    }
    if listed == streams.len() { Ok(()) } else { Err("a stream is not listed".into()) }
}

fn read_stream(view: &VarveView, name: &str, id: StreamId) -> Result<Vec<Vec<u8>>, ReadError> {
    let events = match name {
        READINGS => view.stream_reader::<Reading>(name)?.iter_stream(id, None)?.collect_bytes()?,
        NOTES => view.stream_reader::<Note>(name)?.iter_stream(id, None)?.collect_bytes()?,
        _ => view.stream_reader::<GapEvent>(name)?.iter_stream(id, None)?.collect_bytes()?,
    };
    Ok(events.into_iter().map(|(_, bytes)| bytes).collect())
}

fn told(error: ReadError) -> String {
    format!("it cannot be read: {error}")
}

/// The consumers of every workload.
pub(crate) const CONSUMERS: [&str; 2] = ["forwarder", "watchman"];

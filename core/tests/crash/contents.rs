//! What a store holds, as its readers tell it and as the history of its commits has it.

use std::collections::BTreeMap;
use std::sync::Arc;

use varve_core::{
    AbsenceReason, Event as _, GapEvent, GlobalSequence, ReadError, Snapshot, StreamId, StreamSequence,
    VarveView,
};

use crate::history::Commit;
use crate::{NOTES, Note, READINGS, Reading};

/// Every event in global order, and how far each stream, each lane and each consumer has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Where the log begins: what comes before is retired.
    pub(crate) first: u64,
    /// From the very first on; `None` for what is retired or shredded.
    pub(crate) events: Vec<Option<Stored>>,
    /// How many events each stream ever took.
    pub(crate) streams: BTreeMap<(&'static str, u64), u64>,
    pub(crate) lanes: BTreeMap<(u64, u8), LaneEnd>,
    pub(crate) consumers: BTreeMap<&'static str, u64>,
    /// The number of the master key that opens the store.
    pub(crate) master: u8,
}

/// An event in its place in its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) seq: u64,
    pub(crate) event: Arc<Event>,
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
    pub(crate) fn after(commits: &[Arc<Commit>]) -> Self {
        let mut contents = Self::default();
        commits.iter().for_each(|commit| contents.apply(commit));
        contents
    }

    /// What the next commit leaves.
    pub(crate) fn apply(&mut self, commit: &Commit) {
        for event in &commit.events {
            let next = self.streams.entry((event.stream, event.id)).or_default();
            self.events.push(Some(Stored { seq: *next, event: event.clone() }));
            *next += 1;
        }
        self.lanes.extend(commit.lanes.iter().copied());
        self.consumers.extend(commit.consumers.iter().copied());
        if let Some(id) = commit.shredded {
            let is_shredded = |stored: &Stored| (stored.event.stream, stored.event.id) == (READINGS, id);
            self.events.iter_mut().for_each(|stored| drop(stored.take_if(|stored| is_shredded(stored))));
        }
        self.retire(commit.first.unwrap_or_default());
        self.master = commit.master.unwrap_or(self.master);
    }

    /// Lets go of the events before `first`.
    pub(crate) fn retire(&mut self, first: u64) {
        self.first = self.first.max(first);
        self.events[..self.first as usize].fill(None);
    }

    /// The streams of readings of which there is anything to shred.
    #[cfg(feature = "encryption")]
    pub(crate) fn readings(&self) -> Vec<u64> {
        let events = self.events.iter().flatten().map(|stored| &stored.event);
        let ids = events.filter(|event| event.stream == READINGS).map(|event| event.id);
        ids.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// Tells whether `found` is this, but for what retention may have taken since.
    ///
    /// # Errors
    ///
    /// Where they differ, for a person.
    pub(crate) fn check(&self, found: &Self) -> Result<(), String> {
        let surplus_end = (self.events.len() as u64).saturating_sub(EVENTS_KEPT).max(self.first);
        if !(self.first..=surplus_end).contains(&found.first) {
            return Err(format!("it begins at {}, not from {} to {surplus_end}", found.first, self.first));
        }
        let mut expected = self.clone();
        expected.retire(found.first);
        if expected == *found { Ok(()) } else { Err(found.difference(&expected)) }
    }

    /// Reads a store by every path: the log, each stream, each device and each consumer, which have to agree. It was opened
    /// with the master key of that number.
    pub(crate) fn read(view: &VarveView, master: u8) -> Result<Self, String> {
        let snapshot = view.snapshot().map_err(told)?;
        let mut contents = Self { master, ..Self::default() };
        contents.read_log(&snapshot)?;
        contents.read_streams(&snapshot)?;
        for device in view.devices().map_err(told)? {
            for lane in device.lanes() {
                let end = LaneEnd { next: lane.next.0, chain: lane.chain, gap_total: lane.gap_total };
                contents.lanes.insert((device.device.0, lane.lane.0), end);
            }
        }
        // An epoch that was opened has its lane before anything is stored in it.
        contents.lanes.retain(|_, lane| lane.next > 0);
        for name in CONSUMERS {
            contents.consumers.extend(view.consumer(name).map_err(told)?.map(|next| (name, next.0)));
        }
        Ok(contents)
    }

    /// Where two of them differ, for a person.
    pub(crate) fn difference(&self, other: &Self) -> String {
        let at = self.events.iter().zip(&other.events).position(|(one, another)| one != another);
        match at {
            Some(at) => format!("event {at} is {:?}, not {:?}", self.events[at], other.events[at]),
            None if self.events.len() != other.events.len() => {
                format!("there are {} events, not {}", self.events.len(), other.events.len())
            }
            None => {
                let [one, another] =
                    [self, other].map(|contents| Self { events: Vec::new(), ..contents.clone() });
                format!("it is {one:?}, not {another:?}")
            }
        }
    }

    /// Reads every event that is there by its global sequence.
    fn read_log(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        self.first = snapshot.first_global_seq().map_err(told)?.0;
        let end = snapshot.next_global_seq().map_err(told)?.0;
        self.events = vec![None; end as usize];
        let (mut next, mut absences) = (self.first, 0);
        for event in snapshot.iter_from(GlobalSequence(self.first)).map_err(told)? {
            let event = match event {
                Err(error) if is_shredded(&error) && absences < end => {
                    absences += 1;
                    continue;
                }
                event => event.map_err(told)?,
            };
            let GlobalSequence(at) = event.global_seq;
            if !(next..end).contains(&at) {
                return Err(format!("event {at} comes where {next} does, and the log ends at {end}"));
            }
            next = at + 1;
            event.ingest_time().map_err(told)?;
            let origin = event.origin().map_err(told)?;
            self.events[at as usize] = Some(Stored {
                seq: event.stream_seq.0,
                event: Arc::new(Event {
                    stream: stream_name(event.stream_name)?,
                    id: event.stream_id.0,
                    bytes: event.payload.to_vec(),
                    origin: origin.map(|origin| (origin.device.0, origin.lane.0, origin.sequence.0)),
                    ticks: event.ticks(),
                }),
            });
        }
        Ok(())
    }

    /// Reads every stream, and compares it with what the log has of it.
    fn read_streams(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let mut events: BTreeMap<_, Vec<(u64, &[u8])>> = BTreeMap::new();
        for Stored { seq, event } in self.events.iter().flatten() {
            events.entry((event.stream, event.id)).or_default().push((*seq, &event.bytes));
        }
        for stream in snapshot.streams().map_err(told)? {
            let stream = stream.map_err(told)?;
            let (name, id, end) = (stream_name(&stream.name)?, stream.id, stream.next.0);
            let expected = events.remove(&(name, id.0)).unwrap_or_default();
            let from = expected.first().map_or(end, |&(seq, _)| seq);
            let found = match name {
                READINGS => read_stream::<Reading>(snapshot, name, id, from, end),
                NOTES => read_stream::<Note>(snapshot, name, id, from, end),
                _ => read_stream::<GapEvent>(snapshot, name, id, from, end),
            };
            if found.map_err(told)? != expected {
                return Err(format!("stream {name} {id} has other events than the log has of it"));
            }
            if end > 0 {
                self.streams.insert((name, id.0), end);
            }
        }
        if events.is_empty() { Ok(()) } else { Err("a stream is not listed".into()) }
    }
}

/// The events of a stream that are there, from `from` on, and before `end`, where the stream does.
fn read_stream<'s, T: varve_core::Event<Archived: 's>>(
    snapshot: &'s Snapshot,
    name: &str,
    id: StreamId,
    from: u64,
    end: u64,
) -> Result<Vec<(u64, &'s [u8])>, ReadError> {
    let mut events = Vec::new();
    for event in snapshot.stream::<T>(name, id)?.iter_from(StreamSequence(from)).take(2 * end as usize) {
        match event {
            Err(error) if is_shredded(&error) => {}
            event => events.push(event.map(|event| (event.stream_seq.0, event.bytes))?),
        }
    }
    Ok(events)
}

fn is_shredded(error: &ReadError) -> bool {
    matches!(error, ReadError::Absent(absence) if absence.reason == AbsenceReason::Shredded)
}

/// The name of one of the streams of every workload.
fn stream_name(name: &str) -> Result<&'static str, String> {
    let known = [READINGS, NOTES, GapEvent::STREAM].into_iter().find(|known| *known == name);
    known.ok_or_else(|| format!("there is a stream `{name}`"))
}

fn told(error: ReadError) -> String {
    format!("it cannot be read: {error}")
}

/// The consumers of every workload.
pub(crate) const CONSUMERS: [&str; 2] = ["forwarder", "watchman"];

/// How many of the last events retention leaves in any case.
pub(crate) const EVENTS_KEPT: u64 = 300;

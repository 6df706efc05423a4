//! Whether a store shows what its oracle holds, by each way to read it.

use std::ops::Range;

use varve_core::{
    AbsenceReason, Event, EventView, GapEvent, GlobalSequence, ReadError, StreamId, StreamReader,
    StreamSequence, VarveView,
};

use super::operation::CONSUMERS;
use super::oracle::{Account, StreamEvents, Streams};
use super::subject::Subject;
use crate::{Door, Reading, absence};

impl Subject<'_> {
    /// Looks at a few places: what every step leaves right.
    pub(super) fn check_some(&mut self) {
        let (next, mut random) = (self.oracle.next(), self.random.clone());
        assert_eq!(self.varve().next_global_seq().unwrap().0, next);
        for global in (0..4).map(|_| random.u64(..=next)) {
            self.check_place(global);
        }
        self.check_tail();
        let streams = self.oracle.streams();
        if !streams.is_empty() {
            let (&stream, events) =
                streams.iter().nth(random.usize(..streams.len())).expect("it is one of them");
            let varve = self.varve.as_ref().expect("it is open");
            check_stream(varve, &mut random, stream, events);
        }
        self.random = random;
    }

    /// Looks at one place of the log: the event, a named absence, or nothing yet.
    fn check_place(&mut self, global: u64) {
        let mut reader = self.varve().global_reader();
        let stored = reader.get_bytes(GlobalSequence(global)).map(|bytes| bytes.map(|bytes| bytes.to_vec()));
        let (oracle, listed) = (&self.oracle, self.oracle.log.get(global as usize));
        match stored {
            Ok(stored) => {
                assert!(global >= oracle.first, "{global} is retired, and is read");
                assert!(
                    !listed.is_some_and(|entry| oracle.is_shredded(entry)),
                    "{global} is shredded, and is read"
                );
                assert_eq!(stored.as_ref(), listed.map(|entry| &entry.bytes));
            }
            gone => {
                let gone = absence(gone);
                let range = gone.log.expect("it is told in the log");
                if global < oracle.first {
                    assert_eq!(gone.reason, AbsenceReason::Retired);
                    assert_eq!(range, GlobalSequence(0)..GlobalSequence(oracle.first));
                } else {
                    assert_eq!(gone.reason, AbsenceReason::Shredded);
                    assert!(oracle.is_shredded(listed.expect("it was stored")), "{global} is there");
                    assert!(range.contains(&GlobalSequence(global)));
                }
            }
        }
    }

    /// Looks at everything.
    pub(super) fn check_all(&mut self) {
        let varve = self.varve.take().expect("it is open");
        self.check_log(&varve);
        let streams = self.oracle.streams();
        let mut random = self.random.clone();
        for (&stream, events) in &streams {
            check_stream(&varve, &mut random, stream, events);
        }
        check_listing(&varve, &streams);
        self.check_devices(&varve);
        for name in CONSUMERS {
            let stored = varve.consumer(name).unwrap().map(|next| next.0);
            assert_eq!(stored, self.oracle.consumers.get(name).copied(), "{name}");
        }
        let report = varve.snapshot().unwrap().verify();
        assert!(report.is_sound(), "{report:?}");
        self.varve = Some(varve);
    }

    /// The last events, which most often are the newest in either tier, forward and backward.
    fn check_tail(&mut self) {
        let from = self.oracle.log.len().saturating_sub(TAIL_EVENTS).max(self.oracle.first as usize);
        let reader = self.varve().global_reader();
        let listed: Slots<'_> = self.oracle.log[from..].iter().map(|entry| self.oracle.slot(entry)).collect();
        let events = reader.iter_from(GlobalSequence(from as u64)).unwrap();
        assert_eq!(slots(from as u64, &events.iter().unwrap().collect::<Vec<_>>()), listed);
        let events = reader.iter_back(None).unwrap();
        let mut back = Vec::new();
        for event in events.iter().unwrap() {
            if places(&event).start < from as u64 {
                break;
            }
            back.push(event);
        }
        back.reverse();
        let begins = back.first().map_or(listed.len(), |event| places(event).start as usize - from);
        assert_eq!(slots((from + begins) as u64, &back), listed[begins..]);
        assert!(begins == 0 || listed[begins - 1].is_none(), "only an absence may begin before");
    }

    /// The whole log, in both directions, with where each event came from.
    pub(super) fn check_log(&self, view: &VarveView) {
        let first = GlobalSequence(self.oracle.first);
        let snapshot = view.snapshot().unwrap();
        assert_eq!(snapshot.first_global_seq().unwrap(), first);
        let events: Vec<_> = snapshot.iter_from(first).unwrap().collect();
        let kept: Slots<'_> = self.oracle.kept().iter().map(|entry| self.oracle.slot(entry)).collect();
        assert_eq!(slots(first.0, &events), kept);
        let mut back: Vec<_> = snapshot.iter_back(None).unwrap().collect();
        back.reverse();
        assert_eq!(slots(first.0, &back), kept);
        for event in events.iter().flatten() {
            let origin = event.origin().unwrap();
            let origin =
                origin.map(|origin| (origin.device.0, origin.epoch.0, origin.lane.0, origin.sequence.0));
            assert_eq!(origin, self.oracle.log[event.global_seq.0 as usize].origin);
        }
    }

    fn check_devices(&self, view: &VarveView) {
        let records = view.devices().unwrap();
        for record in &records {
            let device = record.device.0;
            assert_eq!(Some(&record.epoch.0), self.oracle.epochs.get(&device));
            let shown = record.history.iter().map(|lane| {
                let account = Account {
                    next: lane.next.0,
                    lost: lane.gap_total,
                    heard: lane.heard.0,
                    chain: lane.chain,
                    closed: lane.closed,
                };
                ((device, lane.epoch.0, lane.lane.0), account)
            });
            let expected = self.oracle.lanes.range((device, 0, 0)..(device + 1, 0, 0));
            assert!(shown.eq(expected.map(|(lane, account)| (*lane, *account))), "device {device}");
            let now = view.device(record.device).unwrap().expect("it is listed");
            assert!(now.history.iter().eq(record.lanes()), "device {device}");
        }
        assert_eq!(records.len(), self.oracle.epochs.len());
    }
}

/// What a log shows place by place: a name, an id and the bytes, or nothing of what was shredded.
pub(super) type Slots<'e> = Vec<Option<(&'e str, u64, &'e [u8])>>;

/// What an iterator gave from a place on, each place once and in order.
pub(super) fn slots<'e>(from: u64, events: &'e [Result<EventView<'e>, ReadError>]) -> Slots<'e> {
    let mut slots = Slots::new();
    for event in events {
        let places = places(event);
        assert_eq!(places.start, from + slots.len() as u64, "a place was passed over, or came again");
        let shown = event.as_ref().ok().map(|event| (event.stream_name, event.stream_id.0, event.payload));
        slots.extend(places.map(|_| shown));
    }
    slots
}

/// The places that an item stands for.
fn places(event: &Result<EventView<'_>, ReadError>) -> Range<u64> {
    match event {
        Ok(event) => event.global_seq.0..event.global_seq.0 + 1,
        Err(ReadError::Absent(gone)) => {
            assert_eq!(gone.reason, AbsenceReason::Shredded);
            let range = gone.log.as_ref().expect("it is told in the log");
            range.start.0..range.end.0
        }
        Err(error) => panic!("{error}"),
    }
}

fn check_listing(view: &VarveView, streams: &Streams<'_>) {
    let mut listing: Vec<_> = view.streams().unwrap();
    listing.retain(|stream| stream.next.0 > 0);
    listing.sort_by(|a, b| (&a.name, a.id.0).cmp(&(&b.name, b.id.0)));
    let listing = listing.iter().map(|stream| (stream.name.as_str(), stream.id.0, stream.next.0));
    assert!(listing.eq(streams.iter().map(|(&(name, id), stream)| (name, id, stream.events.len() as u64))));
}

/// A stream forward from a place, backward from its end, at some places, and its version.
fn check_stream(
    view: &VarveView,
    random: &mut fastrand::Rng,
    (name, id): (&str, u64),
    stream: &StreamEvents<'_>,
) {
    let (reader, StreamEvents { events, first }) = (Reader::new(view, name), stream);
    let id = StreamId(id);
    assert_eq!(reader.version(id).unwrap(), events.len() as u64, "{name} {}", id.0);
    let from = random.usize(*first..=events.len());
    assert_eq!(stream_slots(from, &reader.forward(id, Some(from as u64))), events[from..], "{name} {}", id.0);
    assert_eq!(stream_slots(*first, &reader.forward(id, None)), events[*first..], "{name} {}", id.0);
    let mut back = reader.backward(id);
    back.reverse();
    assert_eq!(stream_slots(*first, &back), events[*first..], "{name} {}", id.0);
    for seq in (0..3).map(|_| random.usize(..=events.len())) {
        check_event(&reader, id, seq, stream);
    }
}

/// One place of a stream: the event, a named absence, or nothing yet.
fn check_event(reader: &Reader, id: StreamId, seq: usize, StreamEvents { events, first }: &StreamEvents<'_>) {
    match reader.get(id, seq as u64) {
        Ok(stored) => assert_eq!(stored.as_deref(), events.get(seq).copied().flatten(), "{} {seq}", id.0),
        gone => {
            let gone = absence(gone);
            let range = gone.stream.expect("it is told in the stream").range;
            assert!(range.contains(&StreamSequence(seq as u64)), "{} {seq}", id.0);
            if seq < *first {
                assert_eq!(gone.reason, AbsenceReason::Retired, "{} {seq}", id.0);
                assert_eq!(range.end.0, *first as u64, "{} {seq}", id.0);
            } else {
                assert_eq!(gone.reason, AbsenceReason::Shredded, "{} {seq}", id.0);
                assert_eq!(events.get(seq), Some(&None), "{} {seq}", id.0);
            }
        }
    }
}

/// What an iterator over a stream gave from a place on, each place once and in order.
fn stream_slots(from: usize, events: &Events) -> Vec<Option<&[u8]>> {
    let mut slots = Vec::new();
    for event in events {
        let (places, shown) = match event {
            Ok((seq, bytes)) => (*seq..seq + 1, Some(&bytes[..])),
            Err(ReadError::Absent(gone)) => {
                let range = &gone.stream.as_ref().expect("it is told in the stream").range;
                assert_eq!(gone.reason, AbsenceReason::Shredded);
                (range.start.0..range.end.0, None)
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(places.start, (from + slots.len()) as u64, "a place was passed over, or came again");
        slots.extend(places.map(|_| shown));
    }
    slots
}

/// A reader of a stream of whichever type its name takes.
enum Reader {
    Climate(StreamReader<Reading>),
    Door(StreamReader<Door>),
    Gap(StreamReader<GapEvent>),
}

/// Does the same with a reader of any type.
macro_rules! with_reader {
    ($reader:expr, $name:ident => $body:expr) => {
        match $reader {
            Reader::Climate($name) => $body,
            Reader::Door($name) => $body,
            Reader::Gap($name) => $body,
        }
    };
}

/// What an iterator over a stream gives.
type Events = Vec<Result<(u64, Vec<u8>), ReadError>>;

impl Reader {
    fn new(view: &VarveView, name: &str) -> Self {
        match name {
            "climate" => Self::Climate(view.stream_reader(name).unwrap()),
            GapEvent::STREAM => Self::Gap(view.stream_reader(name).unwrap()),
            _ => Self::Door(view.stream_reader(name).unwrap()),
        }
    }

    fn version(&self, id: StreamId) -> Result<u64, ReadError> {
        with_reader!(self, reader => reader.version(id))
    }

    fn get(&self, id: StreamId, seq: u64) -> Result<Option<Vec<u8>>, ReadError> {
        with_reader!(self, reader => {
            let mut reader = reader.clone();
            let bytes = reader.get_bytes(id, StreamSequence(seq))?;
            Ok(bytes.map(|bytes| bytes.to_vec()))
        })
    }

    fn forward(&self, id: StreamId, from: Option<u64>) -> Events {
        let from = from.map(StreamSequence);
        with_reader!(self, reader => {
            let events = reader.iter_stream(id, from).unwrap();
            events.iter().map(|event| event.map(|event| (event.stream_seq.0, event.bytes.to_vec()))).collect()
        })
    }

    fn backward(&self, id: StreamId) -> Events {
        with_reader!(self, reader => {
            let events = reader.iter_stream_back(id, None).unwrap();
            events.iter().map(|event| event.map(|event| (event.stream_seq.0, event.bytes.to_vec()))).collect()
        })
    }
}

/// How many of the last events are looked at after each step.
const TAIL_EVENTS: usize = 40;

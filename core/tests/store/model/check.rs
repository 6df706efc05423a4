//! Whether a store shows what its oracle holds, by each way to read it.

use varve_core::{
    AbsenceReason, DeviceId, Event, GapEvent, GlobalSequence, ReadError, StreamId, StreamReader,
    StreamSequence, VarveView,
};

use super::operation::CONSUMERS;
use super::oracle::{Account, Entry, StreamEvents, Streams};
use super::subject::Subject;
use crate::{Door, Reading, absence};

impl Subject {
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
        let oracle = &self.oracle;
        match stored {
            Ok(stored) => {
                assert!(global >= oracle.first, "{global} is retired, and is read");
                assert_eq!(stored.as_ref(), oracle.log.get(global as usize).map(|entry| &entry.bytes));
            }
            gone => {
                let gone = absence(gone);
                assert_eq!(gone.reason, AbsenceReason::Retired);
                assert_eq!(gone.log, Some(GlobalSequence(0)..GlobalSequence(oracle.first)));
                assert!(global < oracle.first);
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
        let stored = reader.iter_from(GlobalSequence(from as u64)).unwrap().collect_all().unwrap();
        let shown =
            stored.iter().map(|event| (event.stream_name.as_str(), event.stream_id.0, &event.payload[..]));
        assert!(shown.eq(listed(&self.oracle.log[from..])));
        let back = reader.iter_back(None).unwrap();
        let back = back.iter().unwrap().take(stored.len()).map(|event| event.unwrap().payload.to_vec());
        let back: Vec<_> = back.collect();
        assert!(back.iter().rev().eq(self.oracle.log[from..].iter().map(|entry| &entry.bytes)));
    }

    /// The whole log, in both directions, with where each event came from.
    pub(super) fn check_log(&self, view: &VarveView) {
        let reader = view.global_reader();
        let first = GlobalSequence(self.oracle.first);
        let stored = reader.iter_from(first).unwrap().collect_all().unwrap();
        assert!(stored.iter().zip(first.0..).all(|(event, global)| event.global_seq.0 == global));
        let shown =
            stored.iter().map(|event| (event.stream_name.as_str(), event.stream_id.0, &event.payload[..]));
        assert!(shown.eq(listed(self.oracle.kept())));
        let mut back = reader.iter_back(None).unwrap().collect_all().unwrap();
        back.reverse();
        assert_eq!(back, stored);
        let snapshot = view.snapshot().unwrap();
        assert_eq!(snapshot.first_global_seq().unwrap(), first);
        for (event, listed) in snapshot.iter_from(first).unwrap().zip(self.oracle.kept()) {
            let origin = event.unwrap().origin().unwrap();
            let origin =
                origin.map(|origin| (origin.device.0, origin.epoch.0, origin.lane.0, origin.sequence.0));
            assert_eq!(origin, listed.origin);
        }
    }

    fn check_devices(&self, view: &VarveView) {
        for (&device, &epoch) in &self.oracle.epochs {
            let record = view.device(DeviceId(device)).unwrap().expect("its epoch was opened");
            assert_eq!(record.epoch.0, epoch);
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
        }
        assert_eq!(view.devices().unwrap().len(), self.oracle.epochs.len());
    }
}

/// What events show of themselves.
fn listed(log: &[Entry]) -> impl Iterator<Item = (&str, u64, &[u8])> {
    log.iter().map(|entry| (entry.name, entry.id, &entry.bytes[..]))
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
    let expected =
        |from| (0..).zip(events).skip(from).map(|(seq, bytes)| (seq, bytes.to_vec())).collect::<Vec<_>>();
    assert_eq!(reader.forward(id, Some(from as u64)).unwrap(), expected(from), "{name} {}", id.0);
    assert_eq!(reader.forward(id, None).unwrap(), expected(*first), "{name} {}", id.0);
    let mut back = reader.backward(id).unwrap();
    back.reverse();
    assert_eq!(back, expected(*first), "{name} {}", id.0);
    for seq in (0..3).map(|_| random.usize(..=events.len())) {
        match reader.get(id, seq as u64) {
            Ok(stored) => assert_eq!(stored.as_deref(), events.get(seq).copied(), "{name} {} {seq}", id.0),
            gone => {
                let gone = absence(gone);
                assert_eq!(gone.reason, AbsenceReason::Retired, "{name} {} {seq}", id.0);
                let end = gone.stream.expect("it is told in the stream").range.end;
                assert!(end.0 == *first as u64 && seq < *first, "{name} {} {seq}", id.0);
            }
        }
    }
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

type Events = Result<Vec<(u64, Vec<u8>)>, ReadError>;

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
        let events = with_reader!(self, reader => reader.iter_stream(id, from)?.collect_bytes())?;
        Ok(events.into_iter().map(|(seq, bytes)| (seq.0, bytes)).collect())
    }

    fn backward(&self, id: StreamId) -> Events {
        let events = with_reader!(self, reader => reader.iter_stream_back(id, None)?.collect_bytes())?;
        Ok(events.into_iter().map(|(seq, bytes)| (seq.0, bytes)).collect())
    }
}

/// How many of the last events are looked at after each step.
const TAIL_EVENTS: usize = 40;

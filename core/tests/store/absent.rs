//! Whatever reads a log that lost some of its blocks tells each lost place once, gives each event that is left once, and
//! ends.

use std::ops::Range;

use varve_core::{
    AbsenceReason, Event, GapEvent, GlobalEvent, GlobalSequence, ReadError, Snapshot, StreamId, StreamInfo,
    StreamSequence, Varve, VarveView,
};

use crate::damage::remove_table;
use crate::salvaging::{lose_blocks, read, saved};
use crate::whole::{blocks, filled};
use crate::{Door, Reading, absence, door, relaxed};

/// What a reader gave: an event's place, or the places of lost ones.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Event(u64),
    Lost(Range<u64>),
}

/// A log before blocks of it were lost.
struct Log {
    dir: tempfile::TempDir,
    events: Vec<GlobalEvent>,
    /// The first event of each block, and the end of the log.
    ends: Vec<u64>,
}

impl Log {
    fn new() -> Self {
        let dir = filled();
        let view = Varve::open_read_only(dir.path()).unwrap();
        let events = view.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap();
        drop(view);
        let mut ends = blocks(dir.path());
        ends.push(events.len() as u64);
        Self { dir, events, ends }
    }

    /// A copy of the log without the blocks of those numbers, salvaged.
    fn without(&self, lost: &[usize], has_index: bool) -> (tempfile::TempDir, Vec<Range<u64>>) {
        let copy = crate::new_dir();
        for name in ["data.mdb", "tail"] {
            std::fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
        }
        if !has_index {
            remove_table(copy.path(), "stream");
        }
        let mut lost: Vec<_> = lost.iter().map(|&block| self.ends[block]..self.ends[block + 1]).collect();
        lose_blocks(copy.path(), &lost.iter().map(|range| range.start).collect::<Vec<_>>());
        if !has_index {
            // Nothing tells where one ended and the next began.
            lost.dedup_by(|later, before| {
                let joins = before.end == later.start;
                before.end = if joins { later.end } else { before.end };
                joins
            });
        }
        let (report, target) = saved(copy.path());
        assert_eq!(report.lost_events, lost.iter().map(|range| range.end - range.start).sum::<u64>());
        assert!(report.verification.is_sound(), "{report}");
        if report.places_reserved > 0 {
            assert!(!has_index, "every lost run is known");
            // Of several streams any may have had the lost events: as many places stand behind the log for each.
            let end = self.events.len() as u64;
            lost.push(end..end + report.places_reserved);
        }
        (target, lost)
    }

    /// The end of a salvaged log, behind the places that are reserved.
    fn end(&self, lost: &[Range<u64>]) -> u64 {
        lost.last().map_or(0, |range| range.end).max(self.events.len() as u64)
    }

    fn blocks(&self) -> usize {
        self.ends.len() - 1
    }

    /// What a reader from `from` on is to give that wants the events of `wanted` streams, all lost ones told a block at
    /// a time.
    fn expected(&self, lost: &[Range<u64>], from: u64, wanted: impl Fn(&GlobalEvent) -> bool) -> Vec<Told> {
        let mut told = Vec::new();
        let mut next = from;
        while let Some(event) = self.events.get(next as usize) {
            match lost.iter().find(|range| range.contains(&next)) {
                Some(range) => {
                    let of_block = &self.events[range.start as usize..range.end as usize];
                    if of_block.iter().any(&wanted) {
                        told.push(Told::Lost(next..range.end));
                    }
                    next = range.end;
                }
                None => {
                    if wanted(event) {
                        told.push(Told::Event(next));
                    }
                    next += 1;
                }
            }
        }
        if next < self.end(lost) && self.is_reserved_for(lost, wanted) {
            told.push(Told::Lost(next..self.end(lost)));
        }
        told
    }

    /// How far a stream goes in a view that ends at `place`, within the block of `lost`, and that each of its places is told.
    fn check_cut_stream(&self, view: &VarveView, stream: &StreamInfo, lost: &Range<u64>, place: u64) {
        let of_stream = self.events.iter().filter(|event| event.stream_name == stream.name);
        let of_stream = of_stream.filter(|event| event.stream_id == stream.id);
        let (before, rest): (Vec<_>, Vec<_>) = of_stream.partition(|event| event.global_seq.0 < lost.start);
        let in_block = rest.iter().filter(|event| event.global_seq.0 < lost.end).count();
        let counted = in_block.min((place - lost.start) as usize);
        assert_eq!(stream.next.0, (before.len() + counted) as u64, "{stream:?} as of {place} in {lost:?}");
        let mut stored: Vec<_> = before.iter().map(|event| Some(&event.payload[..])).collect();
        stored.extend(vec![None; in_block]);
        let snapshot = view.snapshot().unwrap();
        match stream.name.as_str() {
            "doors" => check_stream::<Door>(&snapshot, &stream.name, stream.id, &stored),
            GapEvent::STREAM => check_stream::<GapEvent>(&snapshot, &stream.name, stream.id, &stored),
            _ => check_stream::<Reading>(&snapshot, &stream.name, stream.id, &stored),
        }
    }

    /// Whether places are reserved for one of the streams: a lost block may hold events behind all that is left of it.
    fn is_reserved_for(&self, lost: &[Range<u64>], wanted: impl Fn(&GlobalEvent) -> bool) -> bool {
        let holes = lost.iter().filter(|range| range.start < self.events.len() as u64);
        let last_hole = holes.map(|range| range.end).max().unwrap_or(0);
        let (before, since) = self.events.split_at(last_hole as usize);
        let goes_on = |of: &GlobalEvent| {
            since.iter().any(|event| (&event.stream_name, event.stream_id) == (&of.stream_name, of.stream_id))
        };
        before.iter().any(|event| wanted(event) && !goes_on(event))
    }
}

/// What an iterator over the log gives, which must end.
fn told_of<E>(
    events: impl Iterator<Item = Result<E, ReadError>>,
    place: impl Fn(E) -> GlobalSequence,
) -> Vec<Told> {
    let told = events.take(ITEMS_MAX).map(|event| match event {
        Ok(event) => Told::Event(place(event).0),
        lost => {
            let lost = absence(lost);
            assert_eq!(lost.reason, AbsenceReason::Quarantined);
            let range = lost.log.unwrap();
            Told::Lost(range.start.0..range.end.0)
        }
    });
    let told: Vec<_> = told.collect();
    assert!(told.len() < ITEMS_MAX, "it ends");
    told
}

fn reversed(mut told: Vec<Told>) -> Vec<Told> {
    told.reverse();
    told
}

/// Each way to read the log, from each block's front, its middle and its last place.
fn check_log(log: &Log, snapshot: &Snapshot, lost: &[Range<u64>]) {
    let places = log.ends.windows(2).flat_map(|block| [block[0], (block[0] + block[1]) / 2, block[1] - 1]);
    for from in places.chain([log.events.len() as u64]) {
        let forward = told_of(snapshot.iter_from(GlobalSequence(from)).unwrap(), |event| event.global_seq);
        assert_eq!(forward, log.expected(lost, from, |_| true), "from {from}");
        let merged = snapshot.iter_name("doors", GlobalSequence(from)).unwrap();
        let expected = log.expected(lost, from, |event| event.stream_name == "doors");
        assert_eq!(told_of(merged, |event| event.global_seq), expected, "from {from}");
        let of_type = snapshot.events_of::<Reading>(GlobalSequence(from));
        let is_reading = |event: &GlobalEvent| ["readings", "climate"].contains(&event.stream_name.as_str());
        let mut expected = log.expected(lost, from, |_| true);
        expected
            .retain(|told| !matches!(told, Told::Event(place) if !is_reading(&log.events[*place as usize])));
        assert_eq!(told_of(of_type, |event| event.global_seq), expected, "from {from}");
        let of_type = snapshot.events_of::<Reading>(GlobalSequence(from));
        let folded = of_type.fold(Vec::new(), |mut told, event| {
            told.push(event.map(|event| event.global_seq));
            told
        });
        assert_eq!(told_of(folded.into_iter(), |place| place), expected, "from {from}");
    }
    let all = log.expected(lost, 0, |_| true);
    let backward = told_of(snapshot.iter_back(None).unwrap(), |event| event.global_seq);
    assert_eq!(reversed(backward), all);
    let between = told_of(snapshot.iter_between(i64::MIN..i64::MAX).unwrap(), |event| event.global_seq);
    assert_eq!(between, all);
    for event in &log.events {
        let place = event.global_seq;
        let stored = snapshot.log().get_bytes(place);
        match lost.iter().find(|range| range.contains(&place.0)) {
            None => assert_eq!(stored.unwrap(), Some(&event.payload[..])),
            Some(range) => {
                let told = absence(stored).log;
                assert_eq!(told, Some(GlobalSequence(range.start)..GlobalSequence(range.end)));
            }
        }
    }
}

/// A stream forward and backward, and by its places: `stored` has `None` where an event was lost.
fn check_stream<T: Event>(snapshot: &Snapshot, name: &str, id: StreamId, stored: &[Option<&[u8]>]) {
    let mut view = snapshot.stream::<T>(name, id).unwrap();
    let mut all = Vec::new();
    for (seq, stored) in (0..).zip(stored) {
        let got = view.get_bytes(StreamSequence(seq));
        match stored {
            Some(bytes) => {
                assert_eq!(got.unwrap(), Some(*bytes));
                all.push(seq);
            }
            None if seq >= view.version() => assert_eq!(got.unwrap(), None),
            None => assert!(absence(got).stream.unwrap().range.contains(&StreamSequence(seq))),
        }
    }
    let end = view.version();
    for from in [0, 1.min(end), end / 2, end.saturating_sub(1), end] {
        let forward =
            in_stream(view.iter_from(StreamSequence(from)).map(|event| event.map(|event| event.stream_seq)));
        let folded = view.iter_from(StreamSequence(from)).fold(Vec::new(), |mut told, event| {
            told.push(event.map(|event| event.stream_seq));
            told
        });
        assert_eq!(in_stream(folded.into_iter()), forward, "{name} {id} from {from}");
        let (mut next, mut seen) = (from, Vec::new());
        for told in forward {
            next = match told {
                Told::Event(seq) => {
                    seen.push(seq);
                    assert_eq!(seq, next);
                    seq + 1
                }
                Told::Lost(lost) => {
                    let was_stored = stored.get(next as usize).is_some_and(Option::is_some);
                    assert!(lost.start == next && lost.end > next && !was_stored);
                    lost.end
                }
            };
        }
        assert_eq!(next, end, "every place of {name} {id} is an event or told to be lost");
        assert!(
            seen.into_iter().eq(all.iter().copied().filter(|&seq| seq >= from)),
            "{name} {id} from {from}"
        );
    }
    let forward =
        in_stream(view.iter_from(StreamSequence(0)).map(|event| event.map(|event| event.stream_seq)));
    let backward = in_stream(view.iter_back(None).map(|event| event.map(|event| event.stream_seq)));
    assert_eq!(reversed(backward), forward, "{name} {id}");
}

fn in_stream(events: impl Iterator<Item = Result<StreamSequence, ReadError>>) -> Vec<Told> {
    let told = events.take(ITEMS_MAX).map(|event| match event {
        Ok(seq) => Told::Event(seq.0),
        lost => {
            let range = absence(lost).stream.unwrap().range;
            Told::Lost(range.start.0..range.end.0)
        }
    });
    let told: Vec<_> = told.collect();
    assert!(told.len() < ITEMS_MAX, "it ends");
    told
}

fn check_streams(log: &Log, view: &VarveView, lost: &[Range<u64>]) {
    let snapshot = view.snapshot().unwrap();
    for (name, id) in [("readings", 0), ("readings", 1), ("readings", 2), ("doors", 1)] {
        let of_stream =
            log.events.iter().filter(|event| event.stream_name == name && event.stream_id.0 == id);
        let stored: Vec<_> = of_stream
            .map(|event| {
                let is_lost = lost.iter().any(|range| range.contains(&event.global_seq.0));
                (!is_lost).then_some(&event.payload[..])
            })
            .collect();
        match name {
            "doors" => check_stream::<Door>(&snapshot, name, StreamId(id), &stored),
            _ => check_stream::<Reading>(&snapshot, name, StreamId(id), &stored),
        }
    }
}

/// A subscription from the front, which sees the log in several turns.
#[cfg(feature = "notify")]
fn check_subscription(log: &Log, view: &VarveView, lost: &[Range<u64>]) {
    let mut subscription = view.subscribe(GlobalSequence(0));
    let mut told = Vec::new();
    while let Some(mut turn) = subscription.try_next_turn().unwrap() {
        let before = told.len();
        told.extend(told_of(turn.iter().unwrap().take(7), |event| event.global_seq));
        assert!(told.len() > before, "a turn gives something");
    }
    assert_eq!(told, log.expected(lost, 0, |_| true));
}

fn check(log: &Log, lost: &[usize], has_index: bool) {
    let (target, lost) = log.without(lost, has_index);
    let view = read(&target);
    check_log(log, &view.snapshot().unwrap(), &lost);
    check_streams(log, &view, &lost);
    drop(view);
    let mut varve = Varve::with_config(target.path().join("new"), relaxed()).unwrap();
    #[cfg(feature = "notify")]
    check_subscription(log, &varve, &lost);
    check_processor(log, &varve, &lost);
    check_what_follows(log, &mut varve, &lost);
}

/// What is appended follows what was lost, and is read beside it from the tail.
fn check_what_follows(log: &Log, varve: &mut Varve, lost: &[Range<u64>]) {
    let next = varve.next_global_seq().unwrap();
    let mut doors = varve.stream::<Door, 2048>("doors").unwrap();
    let (seq, global_seq) = doors.append(StreamId(1), &door("Grace")).unwrap();
    assert_eq!(global_seq, next);
    let snapshot = varve.snapshot().unwrap();
    let forward = told_of(snapshot.iter_from(GlobalSequence(0)).unwrap(), |event| event.global_seq);
    let mut expected = log.expected(lost, 0, |_| true);
    expected.extend((log.end(lost)..=next.0).map(Told::Event));
    assert_eq!(forward, expected);
    assert_eq!(reversed(told_of(snapshot.iter_back(None).unwrap(), |event| event.global_seq)), expected);
    let view = snapshot.stream::<Door>("doors", StreamId(1)).unwrap();
    let forward =
        in_stream(view.iter_from(StreamSequence(0)).map(|event| event.map(|event| event.stream_seq)));
    assert_eq!(forward.last(), Some(&Told::Event(seq.0)));
    let backward = in_stream(view.iter_back(None).map(|event| event.map(|event| event.stream_seq)));
    assert_eq!(reversed(backward), forward);
}

/// A processor passes over what is lost, and hears of it.
fn check_processor(log: &Log, varve: &Varve, lost: &[Range<u64>]) {
    struct Handler(Vec<Told>);
    impl varve_core::EventHandler for Handler {
        fn handle(
            &mut self,
            event: &varve_core::EventView<'_>,
            _: &mut varve_core::Effects<'_>,
        ) -> Result<(), varve_core::HandlerError> {
            self.0.push(Told::Event(event.global_seq.0));
            Ok(())
        }

        fn absent(&mut self, absence: &varve_core::Absence) {
            let range = absence.log.clone().unwrap();
            self.0.push(Told::Lost(range.start.0..range.end.0));
        }
    }
    let mut processor =
        varve_core::Processor::new(varve, "reader", Handler(Vec::new())).unwrap().commit_every(7);
    let mut absent = 0;
    while let Some(progress) = processor.try_turn().unwrap() {
        absent += progress.absent;
    }
    assert_eq!(processor.handler().0, log.expected(lost, 0, |_| true));
    assert_eq!(absent, lost.iter().map(|range| range.end - range.start).sum::<u64>());
    assert_eq!(varve.consumer("reader").unwrap(), Some(GlobalSequence(log.end(lost))));
}

#[test]
fn lost_blocks_are_told_once_and_the_rest_is_read_whichever_they_are() {
    let log = Log::new();
    let last = log.blocks() - 1;
    assert!(last >= 3, "there are several blocks");
    for lost in
        [vec![], vec![0], vec![1, 2], vec![last], vec![last - 1, last], vec![0, last], (0..=last).collect()]
    {
        check(&log, &lost, true);
    }
}

/// Nobody knows the order of lost events: of each stream as many are counted as may stand before the view's end.
#[test]
fn a_view_that_ends_among_lost_events_counts_no_more_of_them_than_may_stand_before_its_end() {
    let log = Log::new();
    for block in 0..log.blocks() {
        let (target, lost) = log.without(&[block], true);
        let view = read(&target);
        let Range { start, end } = lost[0];
        for place in [start + 1, start + 2, (start + end) / 2, end - 1].map(|place| place.min(end - 1)) {
            let view = view.as_of(GlobalSequence(place)).unwrap();
            for stream in view.streams().unwrap() {
                log.check_cut_stream(&view, &stream, &lost[0], place);
            }
        }
    }
}

/// Where a stream's run is lost and no row tells of it, the stream goes on behind the places that it may have had.
#[test]
fn lost_blocks_are_told_once_where_the_index_of_the_streams_is_lost_too() {
    let log = Log::new();
    for lost in [vec![0], vec![1], vec![1, 2]] {
        check(&log, &lost, false);
    }
}

/// A bound on what an iterator may give here: more than any log of these tests has.
const ITEMS_MAX: usize = 10_000;

//! A view that ends at a place: whatever is appended, folded, retired or shredded since, it tells the same, but for what is
//! absent by name.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use tempfile::TempDir;
use varve_core::{
    Absence, AbsenceReason, AppendError, Config, Epoch, Event, EventView, GlobalSequence, MERGED_STREAMS_MAX,
    Origin, QUOTA_MIN, ReadError, RetentionPolicy, Snapshot, StreamEvent, StreamId, StreamSequence,
    TAIL_LEN_MIN, TimeColumn, TypedEvent, Varve, VarveView,
};

use crate::retaining::files_len;
use crate::second_process::{start, tell, wait_for};
use crate::{
    DEVICE, Door, LANE, Reading, absence, archived, binding, device_batch, door, new_dir, new_dir_in_memory,
    reading, relaxed, scaled, sealed,
};

#[test]
fn a_view_tells_the_same_whatever_happens_since() {
    for seed in 0..scaled(30) {
        let mut subject = Subject::new(seed);
        for step in 0..STEPS {
            subject.step();
            subject.check_one(&format!("seed {seed}, step {step}"));
        }
        subject.check_all(&format!("seed {seed}"));
    }
}

/// A store that is written to, what it must hold, and the views of it that are kept.
struct Subject {
    dir: TempDir,
    /// `None` only while it is opened again.
    varve: Option<Varve>,
    oracle: Oracle,
    kept: Vec<(VarveView, u64)>,
    random: fastrand::Rng,
    device_next: u64,
}

/// Every event that was ever appended, and which of them must be absent.
#[derive(Default)]
struct Oracle {
    events: Vec<Told>,
    /// The places in the log of each stream's events.
    of_streams: [Vec<u64>; STREAMS.len()],
    first: u64,
    shredded: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq)]
struct Told {
    stream: usize,
    seq: u64,
    payload: Vec<u8>,
    ticks: Option<u64>,
    origin: Option<Origin>,
}

impl Subject {
    fn new(seed: u64) -> Self {
        let dir = new_dir_in_memory();
        let varve = Varve::with_config(dir.path(), config()).unwrap();
        let mut append = varve.begin();
        append.open_epoch(DEVICE, Epoch(1)).unwrap();
        append.descriptor(Reading::DESCRIPTOR).unwrap();
        append.descriptor(Door::DESCRIPTOR).unwrap();
        append.commit().unwrap();
        let random = fastrand::Rng::with_seed(seed);
        let (oracle, varve) = (Oracle::default(), Some(varve));
        Self { dir, varve, oracle, kept: Vec::new(), random, device_next: 0 }
    }

    fn varve(&mut self) -> &mut Varve {
        self.varve.as_mut().expect("it is open")
    }

    fn step(&mut self) {
        match self.random.u8(0..32) {
            0..6 => self.append_batch(),
            6..12 => self.append_interleaved(),
            12..16 => self.append_from_device(),
            16..21 => self.varve().fold().unwrap(),
            21..23 => self.retain(),
            23..25 => self.shred(),
            25 => self.reopen(),
            _ => self.keep(),
        }
        self.oracle.hear(self.varve.as_ref().unwrap());
    }

    fn append_batch(&mut self) {
        let (stream, n) = (self.random.usize(..STREAMS.len()), self.random.usize(1..60));
        let (name, id) = STREAMS[stream];
        if name == "climate" {
            let events: Vec<_> = (0..n as u64).map(reading).collect();
            self.varve().stream::<Reading, 32>(name).unwrap().append_batch(id, &events).unwrap();
        } else {
            let events: Vec<_> = (0..n.min(12)).map(|_| self.door()).collect();
            self.varve().stream::<Door, 4_000>(name).unwrap().append_batch(id, &events).unwrap();
        }
    }

    fn append_interleaved(&mut self) {
        let doors = ["doors", "visits"].map(|name| self.varve().stream::<Door, 4_000>(name).unwrap());
        let climate = self.varve().stream::<Reading, 32>("climate").unwrap();
        let mut append = self.varve().begin();
        for n in 0..self.random.u64(1..30) {
            let id = StreamId(self.random.u64(..2));
            match self.random.usize(..3) {
                2 => append.event(&climate, id, &reading(n)).unwrap(),
                name => append.event(&doors[name], id, &self.door()).unwrap(),
            }
        }
        append.commit().unwrap();
    }

    /// Events of a device go to streams that take local ones too, so that these have several runs in a block.
    fn append_from_device(&mut self) {
        let first = self.device_next;
        self.device_next += self.random.u64(1..12);
        let channels = [binding::<Reading>("climate", StreamId(1)), binding::<Door>("doors", StreamId(1))];
        let events: Vec<_> = (first..self.device_next)
            .map(|n| match self.random.u8(..2) {
                0 => (0, 100 * n, archived(&reading(n))),
                channel => (channel, 100 * n + 7, archived(&door("Grace"))),
            })
            .collect();
        let batch = sealed(LANE, TimeColumn::DeltaOfDeltas, &events);
        let mut append = self.varve().begin();
        append.device_batch(device_batch(&channels, first, &batch)).unwrap();
        assert_eq!(append.commit().unwrap().refused, []);
    }

    fn door(&mut self) -> Door {
        door(&"x".repeat(self.random.usize(..2_000)))
    }

    fn retain(&mut self) {
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(self.random.u64(..=self.oracle.events.len() as u64 / 2));
        self.oracle.first = self.varve().retain(&policy).unwrap().first.0;
    }

    #[cfg(feature = "encryption")]
    fn shred(&mut self) {
        let stream = self.random.usize(SEALED..STREAMS.len());
        let (name, id) = STREAMS[stream];
        if !self.oracle.of_streams[stream].is_empty() {
            self.varve().shred(name, id).unwrap();
            self.oracle.shredded.extend(&self.oracle.of_streams[stream]);
        }
    }

    #[cfg(not(feature = "encryption"))]
    fn shred(&mut self) {}

    /// Whoever keeps the place alone has the view again in another process.
    fn reopen(&mut self) {
        let ends: Vec<u64> = self.kept.drain(..).map(|(_, end)| end).collect();
        drop(self.varve.take());
        let varve = self.varve.insert(Varve::with_config(self.dir.path(), config()).unwrap());
        let again = ends.into_iter().map(|end| (varve.as_of(GlobalSequence(end)).unwrap(), end));
        self.kept = again.collect();
    }

    fn keep(&mut self) {
        let end = self.oracle.events.len() as u64;
        let varve = self.varve.as_ref().expect("it is open");
        let kept = match self.random.u8(..4) {
            0 => (varve.snapshot().unwrap().to_view().unwrap(), end),
            1 => {
                let place = self.random.u64(..=end);
                (varve.as_of(GlobalSequence(place)).unwrap(), place)
            }
            2 if !self.kept.is_empty() => {
                let (view, end) = &self.kept[self.random.usize(..self.kept.len())];
                let place = self.random.u64(..=2 * end);
                match view.as_of(GlobalSequence(place)) {
                    Ok(view) => (view, place.min(*end)),
                    Err(_) => return,
                }
            }
            _ => (varve.as_of_now().unwrap(), end),
        };
        if self.kept.len() == KEPT_MAX {
            self.kept.swap_remove(self.random.usize(..KEPT_MAX));
        }
        self.kept.push(kept);
    }

    fn check_one(&mut self, context: &str) {
        if !self.kept.is_empty() {
            let (view, end) = &self.kept[self.random.usize(..self.kept.len())];
            self.oracle.check(view, *end, context);
        }
        assert!(self.varve().pins().is_empty(), "{context}: a view pins nothing between calls");
    }

    fn check_all(&mut self, context: &str) {
        self.kept.iter().for_each(|(view, end)| self.oracle.check(view, *end, context));
        let end = self.oracle.events.len() as u64;
        self.oracle.check(self.varve.as_ref().expect("it is open"), end, context);
    }
}

impl Oracle {
    /// Takes in what was appended.
    fn hear(&mut self, varve: &Varve) {
        let snapshot = varve.snapshot().unwrap();
        for event in snapshot.iter_from(GlobalSequence(self.events.len() as u64)).unwrap() {
            let told = Told::of(&event.unwrap());
            assert_eq!(told.seq, self.of_streams[told.stream].len() as u64);
            self.of_streams[told.stream].push(self.events.len() as u64);
            self.events.push(told);
        }
    }

    fn is_present(&self, global: u64) -> bool {
        global >= self.first && !self.shredded.contains(&global)
    }

    /// How many events of a stream stand before `end`.
    fn version(&self, stream: usize, end: u64) -> u64 {
        self.of_streams[stream].partition_point(|&global| global < end) as u64
    }

    fn check(&self, view: &VarveView, end: u64, context: &str) {
        let context = format!("{context}, as of {end}");
        let snapshot = view.snapshot();
        if end > 0 && end < self.first {
            let absence = absence(snapshot.map(drop));
            assert_eq!((absence.reason, absence.events()), (AbsenceReason::Retired, end), "{context}");
            return;
        }
        let snapshot = snapshot.unwrap();
        assert_eq!(snapshot.next_global_seq().unwrap().0, end, "{context}");
        assert_eq!(snapshot.first_global_seq().unwrap().0, self.first.min(end), "{context}");
        self.check_log(view, &snapshot, end, &context);
        self.check_types(&snapshot, end, &context);
        self.check_list(&snapshot, end, &context);
        for (stream, (name, id)) in STREAMS.into_iter().enumerate() {
            let context = format!("{context}, {name}/{id}");
            if name == "climate" {
                self.check_stream::<Reading>(view, &snapshot, stream, end, &context);
            } else {
                self.check_stream::<Door>(view, &snapshot, stream, end, &context);
            }
        }
    }

    /// Each way to read the log.
    fn check_log(&self, view: &VarveView, snapshot: &Snapshot, end: u64, context: &str) {
        let (mut log, mut reader) = (snapshot.log(), view.global_reader());
        for place in (0..end + 3).rev().chain(end..end + 3).chain([u64::MAX]) {
            let global = GlobalSequence(place);
            let expected = self.expected(place, end);
            let payload = expected.clone().map(|told| told.map(|told| told.payload));
            let context = format!("{context}: {place}");
            assert_eq!(outcome(log.get_bytes(global)).map(|it| it.map(<[u8]>::to_vec)), payload, "{context}");
            let told = outcome(log.get(global)).map(|told| told.map(|event| Told::of(&event)));
            assert_eq!(told, expected, "{context}");
            if place % 7 == 0 {
                let bytes = outcome(reader.get_bytes(global)).map(|it| it.map(|bytes| bytes.to_vec()));
                assert_eq!(bytes, payload, "{context}");
                let copy = outcome(reader.get(global)).map(|it| it.map(|event| event.payload));
                assert_eq!(copy, payload, "{context}");
            }
        }
        let (all, from) = (|_: usize| true, GlobalSequence(end / 3));
        let events = snapshot.iter_from(GlobalSequence(0)).unwrap();
        self.check_told(log_told(events), 0..end, all, true, &format!("{context}: forward"));
        let events = snapshot.iter_from(from).unwrap();
        self.check_told(log_told(events), from.0..end, all, true, &format!("{context}: from {from}"));
        assert!(snapshot.iter_from(GlobalSequence(end)).unwrap().next().is_none(), "{context}");
        let events = snapshot.iter_back(None).unwrap();
        self.check_told(log_told(events), 0..end, all, false, &format!("{context}: back"));
        let events = snapshot.iter_back(Some(from)).unwrap();
        self.check_told(log_told(events), 0..from.0, all, false, &format!("{context}: back from {from}"));
        let events = snapshot.iter_between(i64::MIN..i64::MAX).unwrap();
        self.check_told(log_told(events), 0..end, all, false, &format!("{context}: between"));
    }

    /// Each way to read the events of many streams.
    fn check_types(&self, snapshot: &Snapshot, end: u64, context: &str) {
        let from = GlobalSequence(end / 4);
        let is_climate = |stream: usize| STREAMS[stream].0 == "climate";
        let readings = typed_told(snapshot.events_of::<Reading>(from));
        self.check_told(readings, from.0..end, is_climate, false, &format!("{context}: readings"));
        let doors = typed_told(snapshot.events_of::<Door>(GlobalSequence(0)));
        self.check_told(doors, 0..end, |stream| !is_climate(stream), false, &format!("{context}: doors"));
        let some = [0, 3, 4];
        let merged = snapshot.iter_streams(some.map(|stream| STREAMS[stream]), from).unwrap();
        let is_merged = |stream: usize| some.contains(&stream);
        self.check_told(log_told(merged), from.0..end, is_merged, false, &format!("{context}: merged"));
        let name = snapshot.iter_name("doors", GlobalSequence(0)).unwrap().between(i64::MIN..i64::MAX);
        let is_door = |stream: usize| STREAMS[stream].0 == "doors";
        self.check_told(log_told(name), 0..end, is_door, false, &format!("{context}: name"));
    }

    /// Which streams there are, and how far each goes.
    fn check_list(&self, snapshot: &Snapshot, end: u64, context: &str) {
        let told = snapshot.streams().unwrap().map(|stream| stream.unwrap());
        let told: BTreeMap<_, _> = told.map(|stream| ((stream.name, stream.id), stream.next.0)).collect();
        let versions = (0..STREAMS.len()).map(|stream| {
            let (name, id) = STREAMS[stream];
            ((name.to_string(), id), self.version(stream, end))
        });
        assert_eq!(told, versions.filter(|&(_, version)| version > 0).collect(), "{context}");
    }

    /// Each way to read a stream.
    fn check_stream<T: Event>(
        &self,
        view: &VarveView,
        snapshot: &Snapshot,
        stream: usize,
        end: u64,
        context: &str,
    ) where
        T::Archived: 'static,
    {
        let ((name, id), version) = (STREAMS[stream], self.version(stream, end));
        let mut reader = view.stream_reader::<T>(name).unwrap();
        assert_eq!(reader.version(id).unwrap(), version, "{context}");
        let mut of_snapshot = snapshot.stream::<T>(name, id).unwrap();
        assert_eq!(of_snapshot.version(), version, "{context}");
        for place in (0..version + 3).rev().chain(version..version + 3).chain([u64::MAX]) {
            let (seq, context) = (StreamSequence(place), format!("{context}: {place}"));
            let expected = match self.of_streams[stream].get(place as usize).filter(|_| place < version) {
                Some(&global) => self.expected(global, end).map(|told| told.map(|told| told.payload)),
                None => Ok(None),
            };
            let bytes = outcome(of_snapshot.get_bytes(seq)).map(|it| it.map(<[u8]>::to_vec));
            assert_eq!(bytes, expected, "{context}");
            let is_there = expected.clone().map(|bytes| bytes.is_some());
            assert_eq!(outcome(of_snapshot.get(seq)).map(|it| it.is_some()), is_there, "{context}");
            if place % 5 == 0 {
                let bytes = outcome(reader.get_bytes(id, seq)).map(|it| it.map(|bytes| bytes.to_vec()));
                assert_eq!(bytes, expected, "{context}");
                let it = outcome(reader.get_archived(id, seq)).map(|it| it.is_some());
                assert_eq!(it, is_there, "{context}");
            }
        }
        let from = StreamSequence(version / 3);
        let check = |told, range, tells_retired, way: &str| {
            self.check_told_of(stream, told, range, tells_retired, &format!("{context}: {way}"));
        };
        let events = reader.iter_stream(id, Some(from)).unwrap();
        check(stream_told(events.iter()), from.0..version, true, "from a place");
        let events = reader.iter_stream(id, None).unwrap();
        check(stream_told(events.iter()), 0..version, false, "forward");
        let events = reader.iter_stream_back(id, None).unwrap();
        check(stream_told(events.iter()), 0..version, false, "back");
        let events = reader.iter_stream_back(id, Some(from)).unwrap();
        check(stream_told(events.iter()), 0..from.0, false, "back from a place");
        check(stream_told(of_snapshot.iter_from(StreamSequence(0))), 0..version, true, "a view's");
        check(stream_told(of_snapshot.iter_back(None)), 0..version, false, "a view's, back");
        let copies = reader.iter_stream(id, None).unwrap().collect_bytes().map(|copies| copies.len() as u64);
        let is_whole =
            self.of_streams[stream][..version as usize].iter().all(|&global| self.is_present(global));
        assert!(!is_whole || copies.is_ok_and(|copies| copies == version), "{context}");
    }

    /// What the event at a place is to be told as.
    fn expected(&self, global: u64, end: u64) -> Result<Option<Told>, IsAbsent> {
        match self.events.get(global as usize) {
            Some(told) if global < end && self.is_present(global) => Ok(Some(told.clone())),
            Some(_) if global < end => Err(IsAbsent),
            _ => Ok(None),
        }
    }

    /// Checks what was told of the places `range` of the log: each event of the streams that are `asked` for, and of others
    /// no more than that they are absent.
    fn check_told(
        &self,
        told: BTreeMap<u64, Option<Vec<u8>>>,
        range: Range<u64>,
        asked: impl Fn(usize) -> bool,
        tells_retired: bool,
        context: &str,
    ) {
        for (place, payload) in &told {
            assert!(range.contains(place), "{context}: {place} is told");
            let event = &self.events[*place as usize];
            let expected = self.is_present(*place).then_some(&event.payload);
            assert_eq!(payload.as_ref(), expected, "{context}: {place}");
            assert!(asked(event.stream) || payload.is_none(), "{context}: {place} was not asked for");
        }
        for place in range {
            let may_be_left_out = place < self.first && !tells_retired;
            let is_told = told.contains_key(&place) || !asked(self.events[place as usize].stream);
            assert!(is_told || may_be_left_out, "{context}: {place} is not told");
        }
    }

    /// As [`Oracle::check_told`], of places of a stream.
    fn check_told_of(
        &self,
        stream: usize,
        told: BTreeMap<u64, Option<Vec<u8>>>,
        range: Range<u64>,
        tells_retired: bool,
        context: &str,
    ) {
        let globals = &self.of_streams[stream];
        for (place, payload) in &told {
            assert!(range.contains(place), "{context}: {place} is told");
            let global = globals[*place as usize];
            let expected = self.is_present(global).then(|| &self.events[global as usize].payload);
            assert_eq!(payload.as_ref(), expected, "{context}: {place}");
        }
        for place in range {
            let may_be_left_out = globals[place as usize] < self.first && !tells_retired;
            assert!(told.contains_key(&place) || may_be_left_out, "{context}: {place} is not told");
        }
    }
}

impl Told {
    fn of(event: &EventView<'_>) -> Self {
        let named = (event.stream_name, event.stream_id);
        Self {
            stream: STREAMS.iter().position(|&stream| stream == named).expect("it is one of them"),
            seq: event.stream_seq.0,
            payload: event.payload.to_vec(),
            ticks: event.ticks(),
            origin: event.origin().unwrap(),
        }
    }
}

/// What is absent, by whatever name.
#[derive(Clone, Debug, PartialEq)]
struct IsAbsent;

/// What was read, or that it is absent.
fn outcome<T>(read: Result<T, ReadError>) -> Result<T, IsAbsent> {
    match read {
        Ok(read) => Ok(read),
        Err(ReadError::Absent(_)) => Err(IsAbsent),
        Err(error) => panic!("{error}"),
    }
}

/// What an iterator tells of each place, `None` where it is absent. It tells of each once.
fn told(
    events: impl Iterator<Item = Result<(u64, Vec<u8>), ReadError>>,
    places: impl Fn(&Absence) -> Range<u64>,
) -> BTreeMap<u64, Option<Vec<u8>>> {
    let mut told = BTreeMap::new();
    let mut add = |place, payload| assert_eq!(told.insert(place, payload), None, "{place} is told twice");
    for event in events {
        match event {
            Ok((place, payload)) => add(place, Some(payload)),
            Err(ReadError::Absent(absence)) => places(&absence).for_each(|place| add(place, None)),
            Err(error) => panic!("{error}"),
        }
    }
    told
}

fn log_places(absence: &Absence) -> Range<u64> {
    let range = absence.log.clone().expect("who reads the log is told of places in it");
    range.start.0..range.end.0
}

fn log_told<'s>(
    events: impl Iterator<Item = Result<EventView<'s>, ReadError>>,
) -> BTreeMap<u64, Option<Vec<u8>>> {
    let events = events.map(|event| event.map(|event| (event.global_seq.0, event.payload.to_vec())));
    told(events, log_places)
}

fn typed_told<'s, T: Event>(
    events: impl Iterator<Item = Result<TypedEvent<'s, T>, ReadError>>,
) -> BTreeMap<u64, Option<Vec<u8>>>
where
    T::Archived: 's,
{
    told(events.map(|event| event.map(|event| (event.global_seq.0, event.bytes.to_vec()))), log_places)
}

fn stream_told<'s, T: Event>(
    events: impl Iterator<Item = Result<StreamEvent<'s, T>, ReadError>>,
) -> BTreeMap<u64, Option<Vec<u8>>>
where
    T::Archived: 's,
{
    let events = events.map(|event| event.map(|event| (event.stream_seq.0, event.bytes.to_vec())));
    told(events, |absence| {
        let range = &absence.stream.as_ref().expect("who reads a stream is told of places in it").range;
        range.start.0..range.end.0
    })
}

#[test]
fn a_store_uses_its_space_again_while_a_view_is_kept() {
    let is_refused_while_keeping = |keep: fn(&Varve) -> Box<dyn std::any::Any>| {
        let dir = new_dir();
        let mut config = config();
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(100);
        (config.quota, config.retention) = (Some(QUOTA_MIN), Some(policy));
        let mut varve = Varve::with_config(dir.path(), config).unwrap();
        let mut frames = varve.stream::<[u8; 4096], 4096>("frames").unwrap();
        frames.append(StreamId(1), &[1; 4096]).unwrap();
        varve.fold().unwrap();
        let _kept = keep(&varve);
        let refused = (0..6_000).find_map(|_| frames.append(StreamId(1), &[1; 4096]).err());
        assert!(files_len(dir.path()) <= QUOTA_MIN);
        match refused {
            None => false,
            Some(AppendError::QuotaExceeded { .. }) => true,
            Some(error) => panic!("{error}"),
        }
    };
    assert!(is_refused_while_keeping(|varve| Box::new(varve.snapshot().unwrap())));
    assert!(!is_refused_while_keeping(|varve| Box::new(varve.as_of_now().unwrap())));
}

#[test]
fn a_view_says_by_name_that_nothing_is_left_of_it() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), config()).unwrap();
    let mut frames = varve.stream::<[u8; 4096], 4096>("frames").unwrap();
    frames.append_batch(StreamId(1), &[[1; 4096]; 60]).unwrap();
    let [none, five] = [0, 5].map(|end| varve.as_of(GlobalSequence(end)).unwrap());
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(20);
    assert!(varve.retain(&policy).unwrap().first > GlobalSequence(5));
    for told in [
        absence(five.snapshot().map(drop)),
        absence(five.global_reader().get(GlobalSequence(2))),
        absence(five.stream_reader::<[u8; 4096]>("frames").map(drop)),
    ] {
        assert_eq!(
            (told.reason, told.log),
            (AbsenceReason::Retired, Some(GlobalSequence(0)..GlobalSequence(5)))
        );
    }
    let snapshot = none.snapshot().unwrap();
    assert_eq!(snapshot.first_global_seq().unwrap(), snapshot.next_global_seq().unwrap());
    assert_eq!(snapshot.iter_from(GlobalSequence(0)).unwrap().count(), 0);
    assert_eq!(none.stream_reader::<[u8; 4096]>("frames").unwrap().version(StreamId(1)).unwrap(), 0);
}

#[cfg(feature = "encryption")]
#[test]
fn of_what_is_shredded_a_view_tells_its_own_events_alone() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), config()).unwrap();
    let mut visits = varve.stream::<Door, 64>("visits").unwrap();
    let mut append = |n| (0..n).for_each(|_| assert!(visits.append(StreamId(1), &door("Ada")).is_ok()));
    append(10);
    let view = varve.as_of_now().unwrap();
    append(20);
    varve.fold().unwrap();
    let mut reader = view.stream_reader::<Door>("visits").unwrap();
    let count = |reader: &varve_core::StreamReader<Door>| {
        reader.iter_stream(StreamId(1), None).unwrap().iter().count()
    };
    assert_eq!(count(&reader), 10);
    varve.shred("visits", StreamId(1)).unwrap();
    assert_eq!(count(&reader), 1);
    let told = absence(reader.get_bytes(StreamId(1), StreamSequence(3)));
    assert_eq!((told.reason, told.events()), (AbsenceReason::Shredded, 7));
    assert!(reader.get_bytes(StreamId(1), StreamSequence(10)).unwrap().is_none());
}

#[test]
fn streams_that_came_later_do_not_count_among_those_of_a_name() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), config()).unwrap();
    let numbers = varve.stream::<u64, 8>("numbers").unwrap();
    let mut append = varve.begin();
    for id in 0..MERGED_STREAMS_MAX as u64 {
        append.event(&numbers, StreamId(id), &id).unwrap();
    }
    append.commit().unwrap();
    let view = varve.as_of_now().unwrap();
    let mut append = varve.begin();
    append.event(&numbers, StreamId(u64::MAX), &7).unwrap();
    append.commit().unwrap();
    let merged = |snapshot: Snapshot| snapshot.iter_name("numbers", GlobalSequence(0)).map(Iterator::count);
    assert!(matches!(merged(varve.snapshot().unwrap()), Err(ReadError::TooManyStreams { .. })));
    assert_eq!(merged(view.snapshot().unwrap()).unwrap(), MERGED_STREAMS_MAX);
}

/// A name may take another layout at any time after.
#[test]
fn a_reader_of_a_view_is_given_whatever_layouts_the_name_has_since() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), config()).unwrap();
    let before = varve.as_of_now().unwrap();
    let version = |view: &VarveView| {
        let reader = view.stream_reader::<Door>("numbers").unwrap();
        (reader.version(StreamId(1)).unwrap(), reader.iter_stream(StreamId(1), None).unwrap().iter().count())
    };
    assert_eq!(version(&before), (0, 0));
    varve.stream::<u64, 8>("numbers").unwrap().append_batch(StreamId(1), &[7, 8]).unwrap();
    assert_eq!(version(&before), (0, 0));
    let refused = varve.stream_reader::<Door>("numbers").map(drop);
    assert!(matches!(refused, Err(ReadError::LayoutMismatch(_))));
    let view = varve.as_of_now().unwrap();
    let told = view.stream_reader::<Door>("numbers").unwrap();
    let told = told.iter_stream(StreamId(1), None).unwrap().iter().next().unwrap().map(drop);
    assert!(matches!(told, Err(ReadError::LayoutMismatch(_))), "each event tells of its own layout");
}

#[test]
fn what_concerns_the_store_as_a_whole_goes_beyond_the_end_of_a_view() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), config()).unwrap();
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(StreamId(1), &door("Ada")).unwrap();
    let view = varve.as_of_now().unwrap();
    varve.fold().unwrap();
    (0..5).for_each(|_| assert!(doors.append(StreamId(1), &door("Grace")).is_ok()));
    let snapshot = view.snapshot().unwrap();
    assert_eq!(snapshot.back_up(io::sink()).unwrap().events, 6);
    let report = snapshot.verify();
    assert_eq!((report.events, report.is_sound()), (6, true), "{report:?}");
    assert_eq!(view.last_commit(), varve.last_commit());
    #[cfg(feature = "notify")]
    {
        let mut later = view.subscribe(view.next_global_seq().unwrap());
        let mut turn = later.try_next_turn().unwrap().expect("there is something to see");
        assert_eq!(turn.iter().unwrap().count(), 5);
    }
}

#[test]
fn a_view_in_another_process_tells_the_same_while_the_owner_writes() {
    let dir = new_dir();
    let mut varve = Varve::with_config(dir.path(), config()).unwrap();
    let mut doors = varve.stream::<Door, 4_000>("doors").unwrap();
    let mut append = |n: u64| {
        let text = |n: u64| "x".repeat(500 + n as usize);
        (0..n).for_each(|n| assert!(doors.append(StreamId(n % 2), &door(&text(n))).is_ok()));
    };
    append(300);
    let mut child = start("keep a view", dir.path());
    wait_for(&mut child, "ready");
    let mut look = || {
        writeln!(child.stdin.as_mut().unwrap(), "look").unwrap();
        wait_for(&mut child, "the same");
    };
    look();
    append(7);
    look();
    varve.fold().unwrap();
    look();
    append(600);
    varve.fold().unwrap();
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(700);
    let first = varve.retain(&policy).unwrap().first.0;
    assert!(first > 0 && first < 300, "{first}");
    look();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

/// What the second process does: it keeps a view, and looks at it for each line of its standard input.
pub(crate) fn keep_a_view(path: &Path) {
    let beside = Varve::open_read_only_with_config(path, config()).unwrap();
    let view = beside.as_of_now().unwrap();
    let log = || {
        let snapshot = view.snapshot().unwrap();
        let first = snapshot.first_global_seq().unwrap();
        (first, log_told(snapshot.iter_from(GlobalSequence(0)).unwrap()))
    };
    let version = || view.stream_reader::<Door>("doors").unwrap().version(StreamId(1)).unwrap();
    let (then, version_then) = (log().1, version());
    assert_eq!((then.len(), version_then), (300, 150));
    tell("ready");
    for _ in io::stdin().lines() {
        let (first, now) = log();
        assert!(now.keys().eq(then.keys()));
        let is_same = |(place, told)| told == if place < &first.0 { &None } else { &then[place] };
        assert!(now.iter().all(is_same));
        assert_eq!((version(), view.pins()), (version_then, Vec::new()));
        tell("the same");
    }
}

fn config() -> Config {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    #[cfg(feature = "encryption")]
    {
        let mut encryption = varve_core::Encryption::new(varve_core::MasterKey::from_bytes([7; 32]));
        encryption.streams = varve_core::SealedStreams::Named(vec!["visits".into()]);
        config.encryption = Some(encryption);
    }
    config
}

/// Of `Reading`s where the name is `climate`, and of `Door`s elsewhere.
const STREAMS: [(&str, StreamId); 6] = [
    ("doors", StreamId(0)),
    ("doors", StreamId(1)),
    ("climate", StreamId(0)),
    ("climate", StreamId(1)),
    ("visits", StreamId(0)),
    ("visits", StreamId(1)),
];

/// The first of those that are sealed.
#[cfg(feature = "encryption")]
const SEALED: usize = 4;

const STEPS: u64 = 60;
const KEPT_MAX: usize = 6;

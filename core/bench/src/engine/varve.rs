//! Varve.

use std::path::Path;

use varve_core::{Config, GlobalSequence, Stream, StreamId, StreamReader, StreamSequence};

use super::places::streams_in_turn;
use super::{Engine, EngineName, Handle, NAME, Open};
use crate::sample::{SAMPLE_LEN_MAX, Sample};

pub(crate) struct Varve<E: Sample> {
    varve: varve_core::Varve,
    stream: Stream<E, SAMPLE_LEN_MAX>,
    reader: StreamReader<E>,
}

impl<E: Sample> Open<E> for Varve<E> {
    const NAME: EngineName = EngineName::Varve;

    fn open(dir: &Path, room: u64) -> Self {
        let mut config = Config::default();
        config.preallocate = room + room / OVERHEAD;
        let mut varve = varve_core::Varve::with_config(dir, config).expect("the directory is a store's");
        let stream = varve.stream(NAME).expect("the name is of these events");
        Self { reader: stream.reader(), stream, varve }
    }
}

impl<E: Sample> Engine<E> for Varve<E> {
    fn append(&mut self, stream: u64, events: &[E]) {
        self.stream.append_batch(StreamId(stream), events).expect("there is room");
    }

    fn append_over_streams(&mut self, events: &[E]) {
        let mut append = self.varve.begin();
        for (stream, event) in streams_in_turn().zip(events) {
            append.event(&self.stream, StreamId(stream), event).expect("it is not too much");
        }
        append.commit().expect("there is room");
    }

    fn append_relaxed(&mut self, events: &[E]) -> bool {
        let mut append = self.varve.begin();
        for event in events {
            append.event(&self.stream, StreamId(0), event).expect("it is not too much");
            append.commit_relaxed().expect("there is room");
        }
        self.varve.flush().expect("the disk takes it");
        true
    }

    fn handles<'a>(&'a mut self, count: usize) -> Vec<Handle<'a, E>> {
        let handle = |_| -> Handle<'a, E> {
            let stream = self.varve.stream::<E, SAMPLE_LEN_MAX>(NAME);
            let mut stream = stream.expect("the name is of these events");
            Box::new(move |event| {
                stream.append(StreamId(0), event).expect("there is room");
            })
        };
        (0..count).map(handle).collect()
    }

    fn scan(&mut self) -> u64 {
        let snapshot = self.varve.snapshot().expect("there is a slot");
        let events = snapshot.events_of::<E>(GlobalSequence(0));
        events.fold(0, |sum, event| sum.wrapping_add(E::archived_field(event.expect("it is whole").archived)))
    }

    fn iterate(&mut self, stream: u64) -> Option<u64> {
        let events = self.reader.iter_stream(StreamId(stream), None).expect("the stream is there");
        Some(
            events.iter().fold(0, |sum, event| {
                sum.wrapping_add(E::archived_field(event.expect("it is whole").archived))
            }),
        )
    }

    fn get_each(&mut self, stream: u64, places: &[u64]) -> Option<u64> {
        let snapshot = self.varve.snapshot().expect("there is a slot");
        let mut view = snapshot.stream::<E>(NAME, StreamId(stream)).expect("the stream is there");
        let get = |&seq| {
            let event = view.get(StreamSequence(seq));
            E::archived_field(event.expect("it is whole").expect("it is there"))
        };
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }

    fn get_each_global(&mut self, places: &[u64]) -> Option<u64> {
        let snapshot = self.varve.snapshot().expect("there is a slot");
        let mut log = snapshot.log();
        let get = |&seq| {
            let bytes = log.get_bytes(GlobalSequence(seq));
            E::stored_field(bytes.expect("it is whole").expect("it is there"))
        };
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }
}

/// What blocks and their index add to the events' bytes is less than these divided by it.
const OVERHEAD: u64 = 8;

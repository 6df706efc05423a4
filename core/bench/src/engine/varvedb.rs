//! `varvedb` 0.4.2: an entry and an index entry for each event. A transaction takes events of one stream, and a read is
//! one event or all that follow.

use std::path::Path;

use varvedb::{GlobalReader, GlobalSequence, Stream, StreamId, StreamReader, StreamSequence, VarveConfig};

use super::places::streams_in_turn;
use super::{Engine, EngineName, MAP_SIZE, NAME, Open, STREAMS};
use crate::sample::{SAMPLE_LEN_MAX, Sample};

pub(crate) struct Varvedb<E: Sample> {
    stream: Stream<E, SAMPLE_LEN_MAX>,
    reader: StreamReader<E>,
    global_reader: GlobalReader,
    _varve: varvedb::Varve,
}

impl<E: Sample> Open<E> for Varvedb<E> {
    const NAME: EngineName = EngineName::Varvedb;

    fn open(dir: &Path, _room: u64) -> Self {
        let config = VarveConfig { map_size: MAP_SIZE, ..VarveConfig::default() };
        let mut varve = varvedb::Varve::with_config(dir, config).expect("the directory is a store's");
        let stream = varve.stream(NAME).expect("there is a table for it");
        Self { reader: stream.reader(), stream, global_reader: varve.global_reader(), _varve: varve }
    }
}

impl<E: Sample> Engine<E> for Varvedb<E> {
    fn append(&mut self, stream: u64, events: &[E]) {
        self.stream.append_batch(StreamId(stream), events).expect("there is room");
    }

    fn append_over_streams(&mut self, events: &[E]) {
        let mut of_streams = vec![Vec::new(); STREAMS as usize];
        for (stream, event) in streams_in_turn().zip(events) {
            of_streams[stream as usize].push(event.clone());
        }
        for (stream, events) in (0..).zip(&of_streams) {
            Engine::append(self, stream, events);
        }
    }

    fn scan(&mut self) -> u64 {
        let mut sum = 0u64;
        let events = self.global_reader.iter_from(GlobalSequence(0)).expect("it is whole");
        let add = |event: varvedb::GlobalEvent| sum = sum.wrapping_add(E::stored_field(&event.payload));
        events.for_each(add).expect("it is whole");
        sum
    }

    fn iterate(&mut self, stream: u64) -> Option<u64> {
        let mut sum = 0u64;
        let events = self.reader.iter_stream(StreamId(stream), None).expect("the stream is there");
        let add = |_, bytes: &[u8]| sum = sum.wrapping_add(E::stored_field(bytes));
        events.for_each(add).expect("it is whole");
        Some(sum)
    }

    fn get_each(&mut self, stream: u64, places: &[u64]) -> Option<u64> {
        let get = |&seq| {
            let bytes = self.reader.get_bytes(StreamId(stream), StreamSequence(seq));
            E::stored_field(bytes.expect("it is whole").expect("it is there"))
        };
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }

    fn get_each_global(&mut self, places: &[u64]) -> Option<u64> {
        let get = |&seq| {
            let bytes = self.global_reader.get_bytes(GlobalSequence(seq));
            E::stored_field(bytes.expect("it is whole").expect("it is there"))
        };
        Some(places.iter().map(get).fold(0, u64::wrapping_add))
    }
}

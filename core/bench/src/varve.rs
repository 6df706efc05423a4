//! Varve.

use std::path::Path;

use varve_core::{GlobalReader, GlobalSequence, Stream, StreamId, StreamReader, StreamSequence, Varve};

use crate::engine::Engine;
use crate::sample::Sample;

pub(crate) struct VarveStore<E: Sample> {
    stream: Stream<E, 128>,
    reader: StreamReader<E>,
    global_reader: GlobalReader,
}

const ID: StreamId = StreamId(1);

impl<E: Sample> Engine<E> for VarveStore<E> {
    fn open(dir: &Path) -> Self {
        let mut varve = Varve::new(dir).expect("the directory is empty");
        let stream = varve.stream("events").expect("the name is new");
        Self { reader: stream.reader(), stream, global_reader: varve.global_reader() }
    }

    fn append(&mut self, events: &[E]) {
        self.stream.append_batch(ID, events).expect("there is room");
    }

    fn iterate(&mut self) -> u64 {
        let events = self.reader.iter_stream(ID, None).expect("the stream is there");
        events.iter().map(|event| E::digest(event.expect("it is whole").archived)).sum()
    }

    fn get(&mut self, seq: u64) -> usize {
        let bytes = self.reader.get_bytes(ID, StreamSequence(seq)).expect("it is whole");
        bytes.expect("it is there").len()
    }

    fn get_global(&mut self, seq: u64) -> usize {
        let bytes = self.global_reader.get_bytes(GlobalSequence(seq)).expect("it is whole");
        bytes.expect("it is there").len()
    }
}

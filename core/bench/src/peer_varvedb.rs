//! `varvedb` 0.4.2: an entry and an index entry for each event.

use std::path::Path;

use varvedb::{
    GlobalReader, GlobalSequence, Stream, StreamId, StreamReader, StreamSequence, Varve, VarveConfig,
};

use crate::engine::Engine;
use crate::sample::Sample;

pub(crate) struct PeerVarvedb<E: Sample> {
    stream: Stream<E, 128>,
    reader: StreamReader<E>,
    global_reader: GlobalReader,
    _varve: Varve,
}

const ID: StreamId = StreamId(1);

impl<E: Sample> Engine<E> for PeerVarvedb<E> {
    fn open(dir: &Path) -> Self {
        let config = VarveConfig { map_size: 16 << 30, ..VarveConfig::default() };
        let mut varve = Varve::with_config(dir, config).expect("the directory is empty");
        let stream = varve.stream("events").expect("the name is new");
        Self { reader: stream.reader(), stream, global_reader: varve.global_reader(), _varve: varve }
    }

    fn append(&mut self, events: &[E]) {
        self.stream.append_batch(ID, events).expect("there is room");
    }

    fn iterate(&mut self) -> u64 {
        let mut sum = 0;
        let events = self.reader.iter_stream(ID, None).expect("the stream is there");
        let add = |_, bytes: &[u8]| sum += E::digest(varve_core::access::<E>(bytes).expect("it is whole"));
        events.for_each(add).expect("it is whole");
        sum
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

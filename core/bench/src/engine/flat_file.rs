//! The floor of writing: a file of zeros, made beforehand, that takes the events back to back and is flushed once for
//! each commit. A store cannot do less and keep what it acknowledged.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Engine, EngineName, Open};
use crate::sample::{SAMPLE_LEN_MAX, Sample};

pub(crate) struct FlatFile {
    file: File,
    end: u64,
    buffer: Vec<u8>,
}

impl<E: Sample> Open<E> for FlatFile {
    const NAME: EngineName = EngineName::FlatFile;

    fn open(dir: &Path, room: u64) -> Self {
        let mut options = File::options();
        let file = options.read(true).write(true).create(true).truncate(false).open(dir.join("events"));
        let file = file.expect("the directory can be written");
        let zeros = vec![0; PIECE_LEN];
        let made = file.metadata().expect("it is there").len();
        for place in (made..room).step_by(PIECE_LEN) {
            file.write_all_at(&zeros, place).expect("there is room");
        }
        file.sync_all().expect("the disk takes it");
        Self { file, end: 0, buffer: zeros }
    }
}

impl<E: Sample> Engine<E> for FlatFile {
    fn append(&mut self, _stream: u64, events: &[E]) {
        let mut len = 0;
        for event in events {
            if len + SAMPLE_LEN_MAX > self.buffer.len() {
                self.write(len);
                len = 0;
            }
            len += varve_core::archive_into(event, &mut self.buffer[len..]).expect("it fits");
        }
        self.write(len);
        self.file.sync_data().expect("the disk takes it");
    }

    fn append_over_streams(&mut self, events: &[E]) {
        self.append(0, events);
    }

    fn append_relaxed(&mut self, events: &[E]) -> bool {
        let mut buffer = [0; SAMPLE_LEN_MAX];
        for event in events {
            let bytes = event.archive_in(&mut buffer);
            self.file.write_all_at(bytes, self.end).expect("there is room");
            self.end += bytes.len() as u64;
        }
        self.file.sync_data().expect("the disk takes it");
        true
    }

    fn scan(&mut self) -> u64 {
        let mut bytes = vec![0; self.end as usize];
        self.file.read_exact_at(&mut bytes, 0).expect("it was written");
        bytes.chunks_exact(E::LEN).fold(0, |sum, event| sum.wrapping_add(E::stored_field(event)))
    }
}

impl FlatFile {
    fn write(&mut self, len: usize) {
        self.file.write_all_at(&self.buffer[..len], self.end).expect("there is room");
        self.end += len as u64;
    }
}

/// What one call of the system writes at most.
const PIECE_LEN: usize = 1 << 20;

const _: () = assert!(SAMPLE_LEN_MAX <= PIECE_LEN);

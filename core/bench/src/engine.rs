//! What every engine can do.

use std::path::Path;

use crate::sample::Sample;

/// A store of events of one type, in one stream.
pub(crate) trait Engine<E: Sample> {
    /// Opens a new store in an empty directory.
    fn open(dir: &Path) -> Self;

    /// Appends events in one transaction, which is on the disk when it returns.
    fn append(&mut self, events: &[E]);

    /// Reads the whole stream, checks every event, and adds up their digests.
    fn iterate(&mut self) -> u64;

    /// Reads the bytes of one event by its place in the stream, and returns their number.
    fn get(&mut self, seq: u64) -> usize;

    /// Reads the bytes of one event by its place in the log, and returns their number.
    fn get_global(&mut self, seq: u64) -> usize;
}

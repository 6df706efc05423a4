//! The next places, for engines that allot none themselves.

use super::STREAMS;

/// The place of the next event in the log and in each stream.
pub(super) struct Places {
    global: u64,
    streams: [u64; STREAMS as usize],
}

/// Where an event goes.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) global: u64,
    pub(super) stream: u64,
    pub(super) seq: u64,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { global: 0, streams: [0; STREAMS as usize] }
    }

    /// Takes the next place of a stream.
    pub(super) fn take(&mut self, stream: u64) -> Place {
        let seq = &mut self.streams[stream as usize];
        let place = Place { global: self.global, stream, seq: *seq };
        self.global += 1;
        *seq += 1;
        place
    }
}

/// The stream of each event that is appended over all streams.
pub(super) fn streams_in_turn() -> impl Iterator<Item = u64> {
    (0..STREAMS).cycle()
}

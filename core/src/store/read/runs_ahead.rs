//! The runs of a stream in LMDB, a few of them found ahead of the one that is read.

use std::collections::VecDeque;

use heed::RoRange;
use heed::types::Bytes;

use crate::StreamSequence;
use crate::store::error::ReadError;
use crate::store::log::block::{fetch_events, fetch_headers};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::key12;
use crate::store::read::block_seek::BlockSeek;
use crate::store::read::snapshot::Snapshot;

/// Finds the runs of a stream one after the other.
///
/// The runs of a stream that takes turns with many others are short and lie far apart, so that to wait for their memory
/// takes longer than to read them. Hence several are found at once, and their memory is fetched together: the waits
/// overlap. Who asks for few runs has few found ahead.
pub(in crate::store) struct RunsAhead<'s> {
    snapshot: &'s Snapshot,
    stream: u32,
    /// The rows of the index behind those that were found; `None` after the last of the stream that the snapshot shows.
    rows: Option<RoRange<'s, Bytes, Bytes>>,
    blocks: BlockSeek<'s>,
    /// What was found and not yet asked for. An error is the last of it.
    found: VecDeque<Result<FoundRun<'s>, ReadError>>,
    /// How many are found at once.
    at_once: usize,
}

/// A row of the index of runs, and the bytes at the key of its block, where there are any. Nothing of them was checked.
pub(in crate::store) struct FoundRun<'s> {
    pub(in crate::store) index: RunIndex,
    pub(in crate::store) block: Option<&'s [u8]>,
}

impl<'s> RunsAhead<'s> {
    /// The runs of a stream that begin behind `seq`.
    pub(in crate::store) fn behind(
        snapshot: &'s Snapshot,
        stream: u32,
        seq: StreamSequence,
    ) -> heed::Result<Self> {
        let key = key12(stream, seq.0.saturating_add(1));
        let rows = Some(snapshot.tables().stream.from(snapshot.txn(), &key)?);
        let (blocks, found) = (BlockSeek::new(snapshot), VecDeque::new());
        Ok(Self { snapshot, stream, rows, blocks, found, at_once: 1 })
    }

    /// The next run, or `None` after the last. After an error it must not be asked for more.
    pub(in crate::store) fn next(&mut self) -> Result<Option<FoundRun<'s>>, ReadError> {
        if self.found.is_empty() {
            self.look_ahead();
            self.at_once = RUNS_AHEAD_MAX.min(self.at_once * 2);
        }
        self.found.pop_front().transpose()
    }

    fn look_ahead(&mut self) {
        let mut events = 0;
        while self.found.len() < self.at_once && events < EVENTS_AHEAD_MAX {
            let Some(run) = self.find().transpose() else { break };
            events = run.as_ref().map_or(EVENTS_AHEAD_MAX, |run| events.saturating_add(run.index.count));
            self.found.push_back(run);
        }
        if self.found.len() > 1 {
            self.for_each_found(fetch_headers);
            self.for_each_found(fetch_events);
        }
    }

    fn find(&mut self) -> Result<Option<FoundRun<'s>>, ReadError> {
        let Some((key, value)) = self.rows.as_mut().and_then(Iterator::next).transpose()? else {
            return Ok(None);
        };
        let index = self.snapshot.run_index(key, value)?;
        if index.stream != self.stream || index.block >= self.snapshot.end() {
            self.rows = None;
            return Ok(None);
        }
        Ok(Some(FoundRun { index, block: self.blocks.find(index.block)? }))
    }

    fn for_each_found(&self, fetch: impl Fn(&[u8], usize)) {
        for run in self.found.iter().flatten() {
            fetch(run.block.unwrap_or_default(), run.index.run.into());
        }
    }
}

/// As many waits as a processor core overlaps.
const RUNS_AHEAD_MAX: usize = 8;

/// The events of long runs take longer to read than to wait for.
const EVENTS_AHEAD_MAX: u32 = 512;

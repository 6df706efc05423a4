//! Makes blocks: takes events in global order, and groups them by run.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};

use foldhash::fast::RandomState;
use heed::ReservedSpace;

use super::ingest_writer::IngestWriter;
use super::order_writer::OrderWriter;
use super::run::{END_LEN, RUN_LEN, Run, RunHeader};
use super::run_writer::{RunWriter, RunWriters};
#[cfg(any(test, feature = "encryption"))]
use super::sealed_run::SealedRun;
use super::sealed_run::UNIT_OVERHEAD;
use super::{BLOCK_LEN_MAX, Block, CODEC_PLAIN, Damage, MAGIC, VERSION, field};
use crate::{ArchiveError, DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};

/// A block in the making. Its buffers are used again for the next one.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    first: GlobalSequence,
    domain: u32,
    runs: RunWriters,
    /// The last run of each key: the one that its next event may extend.
    last_of: HashMap<RunKey, usize, RandomState>,
    /// The run that took the last event.
    latest: usize,
    events: u32,
    /// The bytes of the header, the runs' headers, events and columns.
    runs_len: usize,
    order: OrderWriter,
    ingest: IngestWriter,
}

/// What all events of a run share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunKey {
    /// The stream's number.
    pub(crate) stream: u32,
    /// The descriptor's number.
    pub(crate) descriptor: u32,
    /// The device's number; 0 for this host.
    pub(crate) device: u32,
    /// The device's epoch.
    pub(crate) epoch: Epoch,
    /// The device's lane.
    pub(crate) lane: Lane,
    /// Whether each event has ticks.
    pub(crate) timed: bool,
    /// Whether it is to be sealed.
    pub(crate) sealed: bool,
}

impl RunKey {
    /// The key of a run that is written.
    pub(crate) fn of(run: &Run<'_>) -> Self {
        let (stream, descriptor) = (run.stream(), run.descriptor());
        let (timed, sealed) = (run.is_timed(), run.is_sealed());
        let (device, epoch, lane) =
            run.origin().map_or((0, Epoch(0), Lane(0)), |origin| (origin.device, origin.epoch, origin.lane));
        Self { stream, descriptor, device, epoch, lane, timed, sealed }
    }
}

impl Hash for RunKey {
    /// Few runs of a block have both the stream and the device of another.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from(self.stream) << 32 | u64::from(self.device));
    }
}

/// Where the parts of a block stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// 0: no order column.
    order_at: usize,
    /// 0: no ingest column.
    ingest_at: usize,
    ingest_min: u64,
    ingest_max: u64,
    /// That of the whole block.
    pub(crate) len: usize,
}

/// What an event brings beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventMeta {
    /// Its place in the stream.
    pub(crate) stream_seq: StreamSequence,
    /// Its place in the device's lane; 0 for this host.
    pub(crate) device_seq: DeviceSequence,
    /// The device's clock; counts where the key is timed.
    pub(crate) ticks: u64,
    /// When the host took it in, in µs of the block's clock domain.
    pub(crate) ingest_us: u64,
}

/// Why an event did not enter the block, which is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PushError {
    /// The block has no room: finish it and push to the next.
    Full,
    /// The event could not be archived.
    Archive(ArchiveError),
}

impl BlockWriter {
    /// A writer of nothing yet; [`BlockWriter::begin`] comes first.
    pub(crate) fn new() -> Self {
        Self {
            first: GlobalSequence(0),
            domain: 0,
            runs: RunWriters::default(),
            last_of: HashMap::default(),
            latest: 0,
            events: 0,
            runs_len: field::RUNS,
            order: OrderWriter::default(),
            ingest: IngestWriter::default(),
        }
    }

    /// Begins a block whose first event will have the global sequence `first`, forgetting what it held.
    pub(crate) fn begin(&mut self, first: GlobalSequence, domain: u32) {
        self.first = first;
        self.domain = domain;
        self.runs.clear();
        self.last_of.clear();
        self.latest = 0;
        self.events = 0;
        self.runs_len = field::RUNS;
        self.order.clear();
        self.ingest.clear();
    }

    /// The global sequence of the first event.
    pub(crate) fn first(&self) -> GlobalSequence {
        self.first
    }

    /// How many events it holds.
    pub(crate) fn len(&self) -> u32 {
        self.events
    }

    /// The stream, the first sequence and the number of events of each run.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (u32, StreamSequence, u32)> {
        self.runs.iter().map(|run| (run.key.stream, run.first, run.count))
    }

    /// Lets no run of a device's lane grow further: what comes next does not follow what came before.
    pub(crate) fn close_runs(&mut self, device: u32, epoch: Epoch, lane: Lane) {
        let is_of_lane = |key: &RunKey| (key.device, key.epoch, key.lane) == (device, epoch, lane);
        self.runs.iter_mut().filter(|run| is_of_lane(&run.key)).for_each(|run| run.is_open = false);
    }

    /// Lets the run that an event of `key` would extend grow no further.
    pub(crate) fn close_run(&mut self, key: &RunKey) {
        if let Some(&run) = self.last_of.get(key) {
            self.runs[run].is_open = false;
        }
    }

    /// Adds an event that `archive` writes to the front of the slice it is given, returning how many bytes it
    /// took: at most `len_max`. Where the slice is shorter and too short, the block is full.
    pub(crate) fn push(
        &mut self,
        key: &RunKey,
        meta: EventMeta,
        len_max: usize,
        archive: impl FnOnce(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<(), PushError> {
        let run = self.find(key, meta.stream_seq);
        let seal_len = if key.sealed { UNIT_OVERHEAD } else { 0 };
        let head_len = if run.is_none() { RUN_LEN + seal_len } else { 0 };
        let taken = self.len_bound() + head_len + COLUMNS_LEN_PER_EVENT_MAX;
        let room = BLOCK_LEN_MAX.checked_sub(taken).ok_or(PushError::Full)?.min(len_max);
        let index = run.unwrap_or_else(|| self.open_run(*key, &meta));
        let pushed = self.runs[index].push(meta.ticks, room, BLOCK_LEN_MAX - taken, archive);
        let added = match pushed {
            Ok(added) => added,
            Err(error) => {
                if run.is_none() {
                    self.runs.pop();
                }
                return Err(match error {
                    PushError::Archive(ArchiveError::TooLarge) if room < len_max => PushError::Full,
                    error => error,
                });
            }
        };
        if run.is_none() {
            self.last_of.insert(*key, index);
        }
        self.runs_len += head_len + added;
        if let Some(latest) = self.runs.get_mut(self.latest) {
            latest.then = index;
        }
        self.latest = index;
        self.order.add(index);
        self.ingest.add(meta.ingest_us);
        self.events += 1;
        Ok(())
    }

    /// Adds events that follow each other in their stream and were taken in at once: the first as
    /// [`BlockWriter::push`] does, and of the others some that have room. Returns how many.
    ///
    /// # Panics
    ///
    /// Where the key is timed and there are several: each brings ticks of its own.
    pub(crate) fn extend<E>(
        &mut self,
        key: &RunKey,
        meta: EventMeta,
        len_max: usize,
        events: &[E],
        mut archive: impl FnMut(&E, &mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<usize, PushError> {
        let Some((first, rest)) = events.split_first() else { return Ok(0) };
        assert!(rest.is_empty() || !key.timed, "each event brings ticks of its own");
        self.push(key, meta, len_max, |out| archive(first, out))?;
        if rest.is_empty() {
            return Ok(1);
        }
        let room = BLOCK_LEN_MAX.saturating_sub(self.len_bound() + COLUMNS_LEN_PER_EVENT_MAX);
        let (added, added_len) = self.runs[self.latest].extend(room, len_max, rest, archive);
        self.runs_len += added_len;
        self.order.repeat(added);
        self.ingest.repeat(added);
        self.events += added;
        Ok(1 + added as usize)
    }

    /// Seals the runs that are to be sealed: `seal` turns what it is given, room for a unit's front and then a run's
    /// plain columns and events, into the run's unit. What comes next begins runs of its own.
    #[cfg(any(test, feature = "encryption"))]
    pub(crate) fn seal<E>(
        &mut self,
        mut seal: impl FnMut(&RunKey, &SealedRun, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.close_all_runs();
        for run in self.runs.iter_mut().filter(|run| run.key.sealed && run.unit.is_empty()) {
            run.seal(&mut seal)?;
        }
        Ok(())
    }

    /// Takes over the runs of a block that follows, each whole and closed, the sealed ones sealed; `false` where they do
    /// not fit, and nothing has changed.
    pub(crate) fn join(&mut self, block: &Block<'_>) -> Result<bool, Damage> {
        let taken = self.len_bound() + joined_len_max(block)?;
        // A block alone has the length that it had.
        if self.events > 0 && taken > BLOCK_LEN_MAX {
            return Ok(false);
        }
        let before = self.runs.len();
        for index in 0..block.runs() {
            let added = self.runs.add();
            let run = &mut self.runs[added];
            run.copy(&block.run(index)?).map_err(|reason| block.damage(reason))?;
            self.runs_len += RUN_LEN + run.events().len() + run.columns_len();
        }
        for stretch in block.stretches() {
            let stretch = stretch?;
            (0..stretch.len).for_each(|_| self.order.add(before + stretch.run));
            (0..stretch.len).for_each(|_| self.ingest.add(stretch.ingest_us));
        }
        self.events += block.len();
        self.close_all_runs();
        Ok(true)
    }

    /// Writes the block behind what `out` holds.
    ///
    /// # Panics
    ///
    /// As [`BlockWriter::extent`].
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        let (start, extent) = (out.len(), self.extent());
        self.emit(&extent, out).expect("memory takes it");
        assert_eq!(out.len() - start, extent.len, "a block has the length that was counted");
        seal(&mut out[start..]);
    }

    /// Writes the block to a place of as many bytes as `extent` tells.
    pub(crate) fn fill(&self, extent: &Extent, place: &mut ReservedSpace<'_>) -> io::Result<()> {
        self.emit(extent, place)?;
        seal(place.written_mut());
        Ok(())
    }

    /// Where the block's parts are to stand.
    ///
    /// # Panics
    ///
    /// Where it holds no event, or a run that is yet to be sealed.
    pub(crate) fn extent(&self) -> Extent {
        assert!(self.events > 0, "a block holds an event");
        assert!(
            self.runs.iter().all(RunWriter::is_ready),
            "what is to be sealed is sealed before it is written"
        );
        let (ingest_min, ingest_max) = self.ingest.bounds();
        let order_len = if self.runs.len() > 1 { self.order.len() } else { 0 };
        let ingest_len = if ingest_min < ingest_max { self.ingest.len(ingest_min) } else { 0 };
        let place = |at: usize, len: usize| if len > 0 { at } else { 0 };
        let (runs_end, order_end) = (self.runs_len, self.runs_len + order_len);
        let len = order_end + ingest_len;
        assert!(len <= BLOCK_LEN_MAX, "the room was counted event by event");
        let (order_at, ingest_at) = (place(runs_end, order_len), place(order_end, ingest_len));
        Extent { order_at, ingest_at, len, ingest_min, ingest_max }
    }

    /// The run that would take the next event of `key`, if it is the event after the run's last. Streams often take
    /// turns: so the first guess is the run that came after the latest one before.
    fn find(&self, key: &RunKey, next: StreamSequence) -> Option<usize> {
        let takes = |index: usize| self.runs.get(index).is_some_and(|run| run.takes(key, next));
        let guess = self.runs.get(self.latest)?.then;
        if takes(guess) {
            return Some(guess);
        }
        if takes(self.latest) {
            return Some(self.latest);
        }
        self.last_of.get(key).copied().filter(|&last| takes(last))
    }

    fn open_run(&mut self, key: RunKey, meta: &EventMeta) -> usize {
        let index = self.runs.add();
        self.runs[index].begin(key, meta);
        index
    }

    fn close_all_runs(&mut self) {
        self.runs.iter_mut().for_each(|run| run.is_open = false);
    }

    /// What [`BlockWriter::finish`] would write at most.
    fn len_bound(&self) -> usize {
        self.runs_len + self.order.len_max() + self.ingest.len_max()
    }

    /// Writes all but the length and the checksum.
    fn emit(&self, extent: &Extent, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head(extent))?;
        self.emit_runs(out)?;
        if extent.order_at > 0 {
            self.order.emit(out)?;
        }
        if extent.ingest_at > 0 {
            self.ingest.emit(extent.ingest_min, out)?;
        }
        Ok(())
    }

    fn head(&self, extent: &Extent) -> [u8; field::RUNS] {
        let mut head = [0; field::RUNS];
        put(&mut head, field::MAGIC, &MAGIC);
        put(&mut head, field::VERSION, &VERSION.to_le_bytes());
        put(&mut head, field::CODEC, &CODEC_PLAIN.to_le_bytes());
        put(&mut head, field::FIRST, &self.first.0.to_le_bytes());
        put(&mut head, field::EVENTS, &self.events.to_le_bytes());
        put(&mut head, field::RUN_COUNT, &(self.runs.len() as u16).to_le_bytes());
        put(&mut head, field::DOMAIN, &self.domain.to_le_bytes());
        put(&mut head, field::INGEST_MIN, &extent.ingest_min.to_le_bytes());
        put(&mut head, field::INGEST_MAX, &extent.ingest_max.to_le_bytes());
        put(&mut head, field::ORDER_AT, &(extent.order_at as u32).to_le_bytes());
        put(&mut head, field::INGEST_AT, &(extent.ingest_at as u32).to_le_bytes());
        head
    }

    fn emit_runs(&self, out: &mut impl Write) -> io::Result<()> {
        let mut events_at = field::RUNS + self.runs.len() * RUN_LEN;
        let mut columns_at = events_at + self.runs.iter().map(|run| run.events().len()).sum::<usize>();
        for run in self.runs.iter() {
            let columns_len = run.columns_len();
            RunHeader {
                stream: run.key.stream,
                descriptor: run.key.descriptor,
                first: run.first,
                count: run.count,
                stride: run.stride.unwrap_or(0),
                timed: run.key.timed,
                sealed: run.key.sealed,
                origin: run.origin(),
                events_at,
                columns_at: match columns_len {
                    0 if run.key.sealed => events_at + run.events().len(),
                    0 => 0,
                    _ => columns_at,
                },
            }
            .emit(out)?;
            events_at += run.events().len();
            columns_at += columns_len;
        }
        self.runs.iter().try_for_each(|run| out.write_all(run.events()))?;
        for run in self.runs.iter().filter(|run| run.columns_len() > 0) {
            run.ends.iter().try_for_each(|end| out.write_all(&end.to_le_bytes()))?;
            out.write_all(&run.ticks)?;
        }
        Ok(())
    }
}

/// What the runs of a block add to another at most.
fn joined_len_max(block: &Block<'_>) -> Result<usize, Damage> {
    let mut len = 0;
    for index in 0..block.runs() {
        let run = block.run(index)?;
        let ticks = run.ticks_column().map_err(|reason| block.damage(reason))?;
        len += RUN_LEN + run.body().len() + run.ends().len() + ticks.len();
    }
    for stretch in block.stretches() {
        stretch?;
        len += PAIRS_LEN_PER_STRETCH_MAX;
    }
    Ok(len)
}

pub(super) fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Fills in the length and the checksum.
pub(crate) fn seal(block: &mut [u8]) {
    let len = block.len() as u32;
    put(block, field::LEN, &len.to_le_bytes());
    let crc = crc32c::crc32c(&block[field::LEN..]);
    put(block, field::CRC, &crc.to_le_bytes());
}

/// What an event can add beside its bytes: an end, ticks, a pair of the order and one of the ingest times.
const COLUMNS_LEN_PER_EVENT_MAX: usize = END_LEN + 3 * crate::VARINT_LEN_MAX + 2 * COUNT_LEN_MAX;

/// What a stretch can add: a pair of the order and one of the ingest times.
const PAIRS_LEN_PER_STRETCH_MAX: usize = 2 * (crate::VARINT_LEN_MAX + COUNT_LEN_MAX);

/// What the largest event needs beside its bytes in a block of its own, sealed or not.
pub(super) const EVENT_OVERHEAD_MAX: usize =
    field::RUNS + RUN_LEN + UNIT_OVERHEAD + COLUMNS_LEN_PER_EVENT_MAX;

/// A count of a block's events, as a varint: there are fewer than 2²¹, since each takes a byte or an end.
pub(super) const COUNT_LEN_MAX: usize = 3;

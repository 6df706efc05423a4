//! Makes blocks: takes events in global order, and groups them by run.

mod merging;

use std::hash::{Hash, Hasher};
use std::io::{self, Write};

use heed::ReservedSpace;

use super::arrivals::Arrivals;
use super::ingest_writer::IngestWriter;
use super::run::{END_LEN, RUN_LEN, Run};
use super::run_writer::{RunWriter, RunWriters};
#[cfg(any(test, feature = "encryption"))]
use super::sealed_run::SealedRun;
use super::sealed_run::UNIT_OVERHEAD;
use super::{BLOCK_LEN_MAX, CODEC_PLAIN, MAGIC, VERSION, field};
use crate::{ArchiveError, DeviceSequence, Epoch, GlobalSequence, Lane, StreamSequence};

/// A block in the making. Its buffers are used again for the next one.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    /// The number of the block, from 1.
    number: u64,
    /// The number of the block that is merged into this one.
    source: u64,
    first: GlobalSequence,
    domain: u32,
    runs: RunWriters,
    arrivals: Arrivals,
    /// What stands for events and columns of sealed runs.
    units: Vec<u8>,
    events: u32,
    /// The bytes of the header, the runs' headers, events and columns.
    runs_len: usize,
    ingest: IngestWriter,
    /// So many bytes are left at least, as far as [`BlockWriter::push_archived`] knows. It counts anew where that is not enough.
    left_min: usize,
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

/// In which run of which block the last event of a key stands, if that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LatestRun {
    /// The number of the block that is meant; 0: none.
    block: u64,
    run: u16,
}

/// A local event, whose bytes follow those of the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalEvent {
    /// The number of its stream, among those that an append names.
    pub(crate) stream: u32,
    /// How many bytes it has.
    pub(crate) len: u32,
}

/// Where the local events of a stream go that an append names.
#[derive(Clone, Debug)]
pub(crate) struct LocalRun {
    key: RunKey,
    /// Where among the ends of the append's streams its own stands.
    end: usize,
    latest: LatestRun,
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
            number: 0,
            source: 0,
            first: GlobalSequence(0),
            domain: 0,
            runs: RunWriters::new(),
            arrivals: Arrivals::new(),
            units: Vec::new(),
            events: 0,
            runs_len: field::RUNS,
            ingest: IngestWriter::default(),
            left_min: 0,
        }
    }

    /// Begins a block whose first event will have the global sequence `first`, forgetting what it held.
    pub(crate) fn begin(&mut self, first: GlobalSequence, domain: u32) {
        self.number += 1;
        self.first = first;
        self.domain = domain;
        self.runs.clear();
        self.arrivals.clear();
        self.units.clear();
        self.events = 0;
        self.runs_len = field::RUNS;
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

    /// Adds an event that is archived already, and tells whether it had room. `latest` is the caller's, for the events of
    /// this key.
    #[inline(always)]
    pub(crate) fn push_archived(
        &mut self,
        key: &RunKey,
        latest: &mut LatestRun,
        meta: &EventMeta,
        event: &[u8],
    ) -> bool {
        self.push_alike(latest, meta.stream_seq, event.len(), 1, event, meta.ingest_us)
            || self.push_unlike(key, latest, meta, event)
    }

    /// Adds events that follow each other in a stream, `n` of `len` bytes each that `bytes` begin with, where they go on with
    /// the latest run of their key and change none of its columns. `false` tells nothing: one by one they may find room.
    #[inline(always)]
    pub(crate) fn push_alike(
        &mut self,
        latest: &LatestRun,
        first: StreamSequence,
        len: usize,
        n: u32,
        bytes: &[u8],
        ingest_us: u64,
    ) -> bool {
        let Some(events) = bytes.get(..len * n as usize) else { return false };
        let goes_on = self.goes_on(latest, first, len, n);
        if goes_on {
            self.arrivals.spare(events.len()).copy_from_slice(events);
            self.place(latest.run.into(), n, events.len(), ingest_us);
        }
        goes_on
    }

    /// Tells the latest run of a key of `n` events of `len` bytes each, where it is known, has room, and takes them without a
    /// change to its columns. What is left to do is to bring their bytes, and to give them places.
    #[inline(always)]
    fn goes_on(&mut self, latest: &LatestRun, first: StreamSequence, len: usize, n: u32) -> bool {
        let taken = COLUMNS_LEN_PER_EVENT_MAX + len * n as usize;
        let goes_on = latest.block == self.number
            && self.left_min >= taken
            && self.runs[usize::from(latest.run)].add_alike(first, len, n);
        if goes_on {
            self.left_min -= taken;
            self.runs_len += len * n as usize;
        }
        goes_on
    }

    /// As [`BlockWriter::push_archived`], whatever event it is.
    fn push_unlike(&mut self, key: &RunKey, latest: &mut LatestRun, meta: &EventMeta, event: &[u8]) -> bool {
        let run = self.run_of(key, meta.stream_seq);
        let head_len = head_len(key, run);
        let ends_owed = run.map_or(0, |run| self.runs[run].ends_owed(event.len()));
        let taken = head_len + ends_owed + COLUMNS_LEN_PER_EVENT_MAX + event.len();
        if self.left_min < taken {
            self.left_min = BLOCK_LEN_MAX.saturating_sub(self.len_bound());
        }
        let Some(left_min) = self.left_min.checked_sub(taken) else { return false };
        self.left_min = left_min;
        let run = run.unwrap_or_else(|| self.open(key, meta));
        *latest = LatestRun { block: self.number, run: run as u16 };
        self.runs_len += head_len;
        self.arrivals.spare(event.len()).copy_from_slice(event);
        self.add(run, event.len(), meta.ticks);
        self.place(run, 1, event.len(), meta.ingest_us);
        true
    }

    /// Adds local events that are archived already, and that `bytes` begin with. Their streams are numbers of `streams`,
    /// whose `ends` are moved. Returns how many had room, and how many bytes those have.
    pub(crate) fn push_local(
        &mut self,
        streams: &mut [LocalRun],
        ends: &mut [StreamSequence],
        events: &[LocalEvent],
        bytes: &[u8],
        ingest_us: u64,
    ) -> (usize, usize) {
        let (begin, mut at) = (self.arrivals.bytes().len(), 0);
        let (mut pushed, mut alike) = (0, 0);
        for &LocalEvent { stream, len } in events {
            let (LocalRun { key, end, latest }, len) = (&mut streams[stream as usize], len as usize);
            let end = &mut ends[*end];
            if self.goes_on(latest, *end, len, 1) {
                self.arrivals.add(latest.run.into(), 1, len);
                alike += 1;
            } else {
                let meta = EventMeta { stream_seq: *end, device_seq: DeviceSequence(0), ticks: 0, ingest_us };
                if !self.push_unlike(key, latest, &meta, &bytes[at..][..len]) {
                    break;
                }
            }
            end.0 += 1;
            at += len;
            pushed += 1;
        }
        if alike > 0 {
            self.ingest.add(ingest_us, alike);
            self.events += alike;
        }
        self.arrivals.bytes_mut()[begin..].copy_from_slice(&bytes[..at]);
        (pushed, at)
    }

    /// Adds an event that `archive` writes to the front of the slice it is given, returning how many bytes it
    /// took: at most `len_max`. Where the slice is shorter and too short, the block is full.
    #[inline]
    pub(crate) fn push(
        &mut self,
        key: &RunKey,
        meta: &EventMeta,
        len_max: usize,
        archive: impl FnOnce(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<(), PushError> {
        let latest = self.run_of(key, meta.stream_seq);
        let head_len = head_len(key, latest);
        let taken = self.len_bound() + head_len + COLUMNS_LEN_PER_EVENT_MAX;
        let left = BLOCK_LEN_MAX.checked_sub(taken).ok_or(PushError::Full)?;
        let room = left.min(len_max);
        let len = archive(self.arrivals.spare(room)).map_err(|error| match error {
            ArchiveError::TooLarge if room < len_max => PushError::Full,
            error => PushError::Archive(error),
        })?;
        assert!(len <= room, "an archived event stays in its slice");
        if latest.is_some_and(|latest| self.runs[latest].ends_owed(len) + len > left) {
            return Err(PushError::Full);
        }
        let run = latest.unwrap_or_else(|| self.open(key, meta));
        // What `push_archived` knows of the room left does not count this event, nor those that follow it by `extend`.
        self.left_min = 0;
        self.runs_len += head_len;
        self.add(run, len, meta.ticks);
        self.place(run, 1, len, meta.ingest_us);
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
        meta: &EventMeta,
        len_max: usize,
        events: &[E],
        mut archive: impl FnMut(&E, &mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<usize, PushError> {
        let Some((first, rest)) = events.split_first() else { return Ok(0) };
        assert!(rest.is_empty() || !key.timed, "each event brings ticks of its own");
        self.push(key, meta, len_max, |out| archive(first, out))?;
        Ok(1 + self.extend_latest(meta.ingest_us, len_max, rest, archive))
    }

    /// Whether [`BlockWriter::seal`] is to come before the block is written.
    pub(crate) fn is_to_be_sealed(&self) -> bool {
        !self.runs.iter().all(RunWriter::is_ready)
    }

    /// Seals the runs that are to be sealed: `seal` turns what it is given, room for a unit's front and then a run's
    /// plain columns and events, into the run's unit. What comes next begins runs of its own.
    #[cfg(any(test, feature = "encryption"))]
    pub(crate) fn seal<E>(
        &mut self,
        mut seal: impl FnMut(&RunKey, &SealedRun, &mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.close_all_runs();
        if !self.is_to_be_sealed() {
            return Ok(());
        }
        let Self { runs, arrivals, units, .. } = self;
        let (mut rooms, mut len) = (Vec::with_capacity(runs.len()), 0);
        for run in runs.iter() {
            let events_at = len + run.ends_len();
            rooms.push(run.room(!run.is_ready(), events_at, len, events_at + run.body_len()));
            len += if run.is_ready() { 0 } else { run.body_len() + run.columns_len() };
        }
        let mut plain = vec![0; len];
        arrivals.distribute(&mut rooms, &mut plain);
        arrivals.wipe(&rooms);
        let mut rest = &plain[..];
        let sealed = runs.iter_mut().filter(|run| !run.is_ready()).try_for_each(|run| {
            let (text, after) = rest.split_at(run.body_len() + run.columns_len());
            rest = after;
            run.seal(text, units, &mut seal)
        });
        wipe(&mut plain);
        sealed
    }

    /// Writes the block behind what `out` holds.
    ///
    /// # Panics
    ///
    /// As [`BlockWriter::extent`].
    pub(crate) fn finish(&self, out: &mut Vec<u8>) {
        let (start, extent) = (out.len(), self.extent());
        match self.bare_run() {
            Some(run) => self.emit_bare(run, &extent, out).expect("memory takes it"),
            None => {
                out.resize(start + extent.len, 0);
                self.emit(&extent, &mut out[start..]).expect("a block has the length that was counted");
            }
        }
        assert_eq!(out.len() - start, extent.len, "a block has the length that was counted");
        seal(&mut out[start..]);
    }

    /// Writes the block to a place of as many bytes as `extent` tells.
    pub(crate) fn fill(&self, extent: &Extent, place: &mut ReservedSpace<'_>) -> io::Result<()> {
        match self.bare_run() {
            Some(run) => self.emit_bare(run, extent, place)?,
            None => {
                place.fill_zeroes();
                self.emit(extent, place.written_mut())?;
            }
        }
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
        assert!(!self.is_to_be_sealed(), "what is to be sealed is sealed before it is written");
        let (ingest_min, ingest_max) = self.ingest.bounds();
        let order_len = self.order_len();
        let ingest_len = if ingest_min < ingest_max { self.ingest.len(ingest_min) } else { 0 };
        let place = |at: usize, len: usize| if len > 0 { at } else { 0 };
        let (runs_end, order_end) = (self.runs_len, self.runs_len + order_len);
        let len = order_end + ingest_len;
        assert!(len <= BLOCK_LEN_MAX, "the room was counted event by event");
        let (order_at, ingest_at) = (place(runs_end, order_len), place(order_end, ingest_len));
        Extent { order_at, ingest_at, len, ingest_min, ingest_max }
    }

    /// As many of `events` as have room behind the latest one in its run, and do not end the run's stride.
    fn extend_latest<E>(
        &mut self,
        ingest_us: u64,
        len_max: usize,
        events: &[E],
        mut archive: impl FnMut(&E, &mut [u8]) -> Result<usize, ArchiveError>,
    ) -> usize {
        let run = self.arrivals.latest_run();
        let stride = self.runs[run].stride();
        let end_len = if stride == 0 { END_LEN } else { 0 };
        let mut left = BLOCK_LEN_MAX.saturating_sub(self.len_bound() + COLUMNS_LEN_PER_EVENT_MAX);
        let (mut added, mut added_len) = (0, 0);
        for event in events {
            let out = &mut self.arrivals.spare(added_len + left.min(len_max))[added_len..];
            let Ok(len) = archive(event, out) else { break };
            if (stride != 0 && stride != len) || left < len + end_len {
                break;
            }
            if stride == 0 {
                self.add(run, len, 0);
            }
            added += 1;
            added_len += len;
            left -= len + end_len;
        }
        if stride != 0 {
            self.runs_len += self.runs[run].add(stride, added);
        }
        self.place(run, added, added_len, ingest_us);
        added as usize
    }

    /// The run that takes the event of a key that has this place in its stream, if one does.
    #[inline]
    fn run_of(&self, key: &RunKey, stream_seq: StreamSequence) -> Option<usize> {
        self.runs.latest(key.stream).filter(|&run| self.runs[run].takes(key, stream_seq))
    }

    fn open(&mut self, key: &RunKey, meta: &EventMeta) -> usize {
        self.runs.open(key, meta.stream_seq, meta.device_seq, self.source)
    }

    /// Adds an event of `len` bytes to its run.
    #[inline(always)]
    fn add(&mut self, run: usize, len: usize, ticks: u64) {
        let run = &mut self.runs[run];
        if !run.is_strided_with(len) {
            self.arrivals.add_len(len);
        }
        self.runs_len += run.add(len, 1);
        if run.key.timed {
            self.runs_len += run.add_ticks(ticks);
            self.arrivals.add_ticks(ticks);
        }
    }

    /// Gives the next `n` events of a run, of `len` bytes together, their places in the log.
    #[inline(always)]
    fn place(&mut self, run: usize, n: u32, len: usize, ingest_us: u64) {
        self.arrivals.add(run, n, len);
        self.ingest.add(ingest_us, n);
        self.events += n;
    }

    fn close_all_runs(&mut self) {
        self.runs.iter_mut().for_each(|run| run.is_open = false);
    }

    /// What [`BlockWriter::finish`] would write at most.
    fn len_bound(&self) -> usize {
        self.runs_len + self.arrivals.order_len_max() + self.ingest.len_max()
    }

    /// What the order column takes, if there is one.
    fn order_len(&self) -> usize {
        if self.runs.len() > 1 { self.arrivals.order_len() } else { 0 }
    }

    /// The only run, where it has nothing but its events, as they came.
    fn bare_run(&self) -> Option<&RunWriter> {
        match &self.runs[..] {
            [run] if run.is_bare() => Some(run),
            _ => None,
        }
    }

    /// Writes all but the length and the checksum of a block of a bare run.
    fn emit_bare(&self, run: &RunWriter, extent: &Extent, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head(extent))?;
        let mut header = [0; RUN_LEN];
        run.header(field::RUNS + RUN_LEN, 0).put(&mut header);
        out.write_all(&header)?;
        out.write_all(self.arrivals.bytes())?;
        self.emit_ingest(extent, out)
    }

    /// Writes all but the length and the checksum to zeros.
    fn emit(&self, extent: &Extent, out: &mut [u8]) -> io::Result<()> {
        let body_at = field::RUNS + self.runs.len() * RUN_LEN;
        let (front, body) = out.split_at_mut(body_at);
        let (head, headers) = front.split_at_mut(field::RUNS);
        head.copy_from_slice(&self.head(extent));
        let headers = headers.as_chunks_mut().0;
        let columns_end = match self.runs.iter().all(RunWriter::is_bare) {
            true => self.emit_bare_runs(body_at, headers, body),
            false => self.emit_runs(body_at, headers, body),
        };
        if self.runs.len() > 1 {
            self.arrivals.put_order(&mut body[columns_end..]);
        }
        self.emit_ingest(extent, &mut &mut out[self.runs_len + self.order_len()..])
    }

    /// Writes runs that have nothing but their events, and returns where in the body they end.
    fn emit_bare_runs(&self, body_at: usize, headers: &mut [[u8; RUN_LEN]], body: &mut [u8]) -> usize {
        let (mut places, mut at) = (Vec::with_capacity(self.runs.len()), 0);
        for (run, header) in self.runs.iter().zip(headers) {
            run.header(body_at + at, 0).put(header);
            places.push(at as u16);
            at += run.body_len();
        }
        self.arrivals.distribute_events(&mut places, body);
        at
    }

    /// Writes runs of any kind, and returns where in the body their columns end.
    fn emit_runs(&self, body_at: usize, headers: &mut [[u8; RUN_LEN]], body: &mut [u8]) -> usize {
        let mut rooms = Vec::with_capacity(self.runs.len());
        let (mut events_at, mut columns_at) = (0, self.runs.iter().map(RunWriter::body_len).sum::<usize>());
        for (run, header) in self.runs.iter().zip(headers) {
            run.header(body_at + events_at, body_at + columns_at).put(header);
            put(body, events_at, &self.units[run.unit.clone()]);
            rooms.push(run.room(!run.key.sealed, events_at, columns_at, columns_at + run.ends_len()));
            events_at += run.body_len();
            columns_at += run.columns_len();
        }
        self.arrivals.distribute(&mut rooms, body);
        columns_at
    }

    fn emit_ingest(&self, extent: &Extent, out: &mut impl Write) -> io::Result<()> {
        if extent.ingest_at > 0 { self.ingest.emit(extent.ingest_min, out) } else { Ok(()) }
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
}

impl LocalRun {
    /// A run of that key, of a stream whose end is the one at `end`.
    pub(crate) fn new(key: RunKey, end: usize) -> Self {
        Self { key, end, latest: LatestRun::default() }
    }
}

/// What an event adds for the header of its run: nothing where it has one.
fn head_len(key: &RunKey, run: Option<usize>) -> usize {
    match run {
        Some(_) => 0,
        None if key.sealed => RUN_LEN + UNIT_OVERHEAD,
        None => RUN_LEN,
    }
}

pub(super) fn put(head: &mut [u8], at: usize, bytes: &[u8]) {
    head[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Overwrites what is given back next: without a reader to come, the compiler might leave that out.
#[cfg(any(test, feature = "encryption"))]
pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    std::hint::black_box(bytes);
}

/// Fills in the length and the checksum.
pub(crate) fn seal(block: &mut [u8]) {
    let len = block.len() as u32;
    put(block, field::LEN, &len.to_le_bytes());
    let crc = crc32c::crc32c(&block[field::LEN..]);
    put(block, field::CRC, &crc.to_le_bytes());
}

/// What an event can add beside its bytes: an end, ticks, a pair of the order and one of the ingest times. Neighbours that
/// are alike add no more together.
const COLUMNS_LEN_PER_EVENT_MAX: usize = END_LEN + 3 * crate::VARINT_LEN_MAX + 2 * COUNT_LEN_MAX;

/// What a stretch can add: a pair of the order and one of the ingest times.
const PAIRS_LEN_PER_STRETCH_MAX: usize = 2 * (crate::VARINT_LEN_MAX + COUNT_LEN_MAX);

/// What the largest event needs beside its bytes in a block of its own, sealed or not.
pub(super) const EVENT_OVERHEAD_MAX: usize =
    field::RUNS + RUN_LEN + UNIT_OVERHEAD + COLUMNS_LEN_PER_EVENT_MAX;

/// A count of a block's events, as a varint: there are fewer than 2²¹, since each takes a byte or an end.
pub(super) const COUNT_LEN_MAX: usize = 3;

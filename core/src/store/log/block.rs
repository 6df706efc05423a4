//! The block: many events of many streams in one value, grouped by run.
//!
//! ```text
//! 0              64                 64 + 48 × runs
//! ┌──────────────┬──────────────────┬───────────────────────────┬─────────────────┬───────┬────────┐
//! │ header, 64 B │ runs, 48 B each  │ events of run 0, run 1, … │ columns of runs │ order │ ingest │
//! └──────────────┴──────────────────┴───────────────────────────┴─────────────────┴───────┴────────┘
//! ```
//!
//! A run holds neighbours of one stream with one descriptor and one origin. The parts follow each other without a
//! gap, so that a block has one form only. FORMAT.md, section 5, specifies every byte.

mod arrivals;
mod columns;
mod fetch;
mod ingest_writer;
mod quarantine;
mod run;
mod run_events;
mod run_writer;
mod sealed_run;
mod stretch;
mod writer;

pub(in crate::store) use columns::{IngestTimes, Pairs, Ticks};
pub(in crate::store) use fetch::{fetch_events, fetch_headers};
pub(in crate::store) use quarantine::{LOST_RUNS_MAX, LostRun, quarantined};
pub(in crate::store) use run::{Origin, Run};
pub(in crate::store) use run_events::{RunEvents, RunEventsIter};
#[cfg(feature = "encryption")]
pub(in crate::store) use sealed_run::{SealedRun, UNIT_FRONT_LEN, UNIT_OVERHEAD};
pub(in crate::store) use stretch::{Stretch, Stretches};
#[cfg(feature = "fuzzing")]
pub(in crate::store) use writer::seal;
pub(in crate::store) use writer::{
    BlockWriter, EventMeta, LatestRun, LocalEvent, LocalRun, PushError, RunKey,
};

use crate::GlobalSequence;
use crate::store::error::{Damage, Place};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::array;
use columns::check_ends;

/// The largest block in bytes: with LMDB's page header of 16 it fills whole pages of 4 KiB and of 16 KiB.
pub const BLOCK_LEN_MAX: usize = 4 * 16384 - 16;

/// The largest archived event in bytes.
pub const EVENT_LEN_MAX: usize = 60 * 1024;

/// A view of a block.
#[derive(Clone, Copy)]
pub(in crate::store) struct Block<'a> {
    bytes: &'a [u8],
    header: Header,
}

/// The header's fields.
#[derive(Clone, Copy)]
struct Header {
    crc: u32,
    first: GlobalSequence,
    events: u32,
    runs: u16,
    /// Whether it stands in for events that were lost.
    quarantined: bool,
    domain: u32,
    ingest_min: u64,
    ingest_max: u64,
    order_at: usize,
    ingest_at: usize,
}

/// Where an event stands in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Position {
    /// The run.
    pub(in crate::store) run: usize,
    /// The event's place in the run.
    pub(in crate::store) index: usize,
}

impl<'a> Block<'a> {
    /// Checks the checksum and the whole structure of `bytes`, which stand at the key `first`.
    pub(in crate::store) fn new_checked(first: GlobalSequence, bytes: &'a [u8]) -> Result<Self, Damage> {
        let block = Self::new_intact(first, bytes)?;
        block.check_structure().map_err(|reason| block.damage(reason))?;
        Ok(block)
    }

    /// Takes up a block whose structure was checked before, or that was made here, and checks that it is as it was.
    pub(in crate::store) fn new_intact(first: GlobalSequence, bytes: &'a [u8]) -> Result<Self, Damage> {
        let block = Self::new_trusted(first, bytes)?;
        if block.crc() == crc32c::crc32c(&bytes[field::LEN..]) {
            Ok(block)
        } else {
            Err(block.damage("its checksum is wrong"))
        }
    }

    /// Takes up a block that was checked before: reads its header alone.
    ///
    /// Whatever the bytes are, no method of the view panics: what is out of bounds is damage.
    pub(in crate::store) fn new_trusted(first: GlobalSequence, bytes: &'a [u8]) -> Result<Self, Damage> {
        let header = Header::parse(bytes).and_then(|header| {
            if header.first == first { Ok(header) } else { Err("its first event is not that of its key") }
        });
        match header {
            Ok(header) => Ok(Self { bytes, header }),
            Err(reason) => Err(Damage { place: Place::Block(first), reason }),
        }
    }

    /// The length and the first event that bytes claim which may begin with a block; `None` where they cannot.
    pub(in crate::store) fn claims(bytes: &[u8]) -> Option<(usize, u64)> {
        let len = array(bytes, field::LEN).map(u32::from_le_bytes)? as usize;
        let first = array(bytes, field::FIRST).map(u64::from_le_bytes)?;
        (bytes.starts_with(&MAGIC) && len >= field::RUNS).then_some((len, first))
    }

    /// Its bytes.
    pub(in crate::store) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The global sequence of the first event.
    pub(in crate::store) fn first(&self) -> GlobalSequence {
        self.header.first
    }

    /// The stored checksum. With the first event it names the block: one that is continued keeps its key.
    pub(in crate::store) fn crc(&self) -> u32 {
        self.header.crc
    }

    /// How many events there are.
    pub(in crate::store) fn len(&self) -> u32 {
        self.header.events
    }

    /// The global sequence after the last event.
    pub(in crate::store) fn end(&self) -> Result<GlobalSequence, Damage> {
        let end = self.header.first.0.checked_add(self.header.events.into());
        end.map(GlobalSequence).ok_or_else(|| self.damage("its events exceed the number space"))
    }

    /// Whether it holds the event at `global`.
    pub(in crate::store) fn holds(&self, global: GlobalSequence) -> bool {
        global.0.checked_sub(self.header.first.0).is_some_and(|place| place < self.header.events.into())
    }

    /// How many runs there are.
    pub(in crate::store) fn runs(&self) -> usize {
        self.header.runs.into()
    }

    /// The clock domain of the ingest times.
    pub(in crate::store) fn domain(&self) -> u32 {
        self.header.domain
    }

    /// The earliest ingest time of its events.
    pub(in crate::store) fn ingest_min(&self) -> u64 {
        self.header.ingest_min
    }

    /// The latest ingest time of its events.
    pub(in crate::store) fn ingest_max(&self) -> u64 {
        self.header.ingest_max
    }

    /// Whether it stands in for events that were lost: it lists their runs and holds none.
    pub(in crate::store) fn is_quarantined(&self) -> bool {
        self.header.quarantined
    }

    /// The rows of the index of runs that locate its events.
    pub(in crate::store) fn index_rows(&self) -> Result<Vec<RunIndex>, Damage> {
        (0..self.runs()).map(|run| self.index_row(run)).collect()
    }

    /// The row of the index of runs that locates the run at `index`.
    pub(in crate::store) fn index_row(&self, index: usize) -> Result<RunIndex, Damage> {
        let (stream, first, count) = if self.is_quarantined() {
            let LostRun { stream, first, count } = self.lost_run(index)?;
            (stream, first, count)
        } else {
            let run = self.run(index)?;
            (run.stream(), run.first(), run.count())
        };
        Ok(RunIndex { stream, first, block: self.first(), run: index as u16, count })
    }

    /// Refuses a row of the index of runs that locates none of its runs.
    pub(in crate::store) fn check_index_row(&self, row: &RunIndex) -> Result<(), Damage> {
        if self.index_row(row.run.into())? == *row {
            Ok(())
        } else {
            Err(self.damage("a run is not what the index says"))
        }
    }

    /// The run at `index`.
    pub(in crate::store) fn run(&self, index: usize) -> Result<Run<'a>, Damage> {
        if index >= self.runs() || self.is_quarantined() {
            return Err(self.damage("it lacks a run"));
        }
        Run::parse(self.bytes, field::RUNS + index * run::RUN_LEN).map_err(|reason| self.damage(reason))
    }

    /// The global order: pairs of a run and how many of its events come next.
    pub(in crate::store) fn order(&self) -> Pairs<'a> {
        match self.header.order_at {
            0 => Pairs::one(0, self.header.events),
            at => Pairs::new(self.bytes.get(at..).unwrap_or_default()),
        }
    }

    /// Where the event at `global` stands.
    pub(in crate::store) fn position(&self, global: GlobalSequence) -> Result<Position, Damage> {
        let (run, before) = self.run_around(global)?;
        Ok(Position { run, index: before[run] as usize })
    }

    /// How many events of each run stand before the one at `global`.
    pub(in crate::store) fn events_before(&self, global: GlobalSequence) -> Result<Vec<u64>, Damage> {
        self.run_around(global).map(|(_, before)| before)
    }

    /// The run of the event at `global`, and how many events of each run stand before it.
    fn run_around(&self, global: GlobalSequence) -> Result<(usize, Vec<u64>), Damage> {
        let left = global.0.checked_sub(self.header.first.0).filter(|&n| n < self.header.events.into());
        let mut left = left.ok_or_else(|| self.damage("it lacks an event of its range"))?;
        let mut order = self.order();
        let mut before = vec![0u64; self.runs()];
        loop {
            let (run, n) = self.next_pair(&mut order)?;
            let taken = left.min(n.into());
            before[run] += taken;
            left -= taken;
            if taken < n.into() {
                return Ok((run, before));
            }
        }
    }

    /// The global sequence of the event at `position`.
    pub(in crate::store) fn global(&self, position: Position) -> Result<GlobalSequence, Damage> {
        let mut order = self.order();
        let (mut before, mut index) = (self.header.first.0, position.index as u64);
        loop {
            let (run, n) = self.next_pair(&mut order)?;
            if run == position.run && index < n.into() {
                return Ok(GlobalSequence(before + index));
            }
            if run == position.run {
                index -= u64::from(n);
            }
            before += u64::from(n);
        }
    }

    /// The next pair of the order column: a run that exists, and at least one event.
    #[inline]
    pub(in crate::store) fn next_pair(&self, order: &mut Pairs<'a>) -> Result<(usize, u32), Damage> {
        match order.next() {
            Some((run, n)) if run < u64::from(self.header.runs) => Ok((run as usize, n)),
            _ => Err(self.damage("its order column breaks off")),
        }
    }

    /// When the host took in the events, in µs of the clock domain: pairs of a time and for how many events in a
    /// row it holds.
    pub(in crate::store) fn ingest_times(&self) -> IngestTimes<'a> {
        let Header { ingest_min, ingest_at, events, .. } = self.header;
        match ingest_at {
            0 => IngestTimes::one(ingest_min, events),
            at => IngestTimes::new(ingest_min, self.bytes.get(at..).unwrap_or_default()),
        }
    }

    /// The events in global order, a stretch at a time.
    pub(in crate::store) fn stretches(&self) -> Stretches<'a> {
        Stretches::new(*self)
    }

    /// How many pairs its order and its ingest times have at most.
    pub(in crate::store) fn pairs_max(&self) -> (usize, usize) {
        let Header { order_at, ingest_at, .. } = self.header;
        let end = self.bytes.len();
        let pairs = |at: usize, end: usize| if at == 0 { 1 } else { end.saturating_sub(at) / 2 };
        (pairs(order_at, if ingest_at == 0 { end } else { ingest_at }), pairs(ingest_at, end))
    }

    /// Damage to this block.
    pub(in crate::store) fn damage(&self, reason: &'static str) -> Damage {
        Damage { place: Place::Block(self.header.first), reason }
    }

    /// Walks over every part in order; each must begin where the one before it ends.
    fn check_structure(&self) -> Result<(), &'static str> {
        if self.is_quarantined() {
            return self.check_lost_runs();
        }
        let runs_end = field::RUNS + self.runs() * run::RUN_LEN;
        let mut at = runs_end;
        let mut counts = vec![0u32; self.runs()];
        let (mut events, mut has_columns) = (0u64, false);
        for (index, count) in counts.iter_mut().enumerate() {
            let run = Run::parse(self.bytes, field::RUNS + index * run::RUN_LEN)?;
            if run.events_at() != at {
                return Err("a run's events do not follow those before");
            }
            at += run.body().len();
            *count = run.count();
            events += u64::from(run.count());
            has_columns |= run.columns_at() != 0 || run.has_columns();
        }
        if events != u64::from(self.header.events) {
            return Err("its runs hold another number of events than it names");
        }
        let with_columns = if has_columns { 0..self.runs() } else { 0..0 };
        for index in with_columns {
            let run = Run::parse(self.bytes, field::RUNS + index * run::RUN_LEN)?;
            at = check_columns(&run, at)?;
        }
        at = self.check_order(&mut counts, at)?;
        at = self.check_ingest(at)?;
        if at == self.bytes.len() { Ok(()) } else { Err("bytes are left over at its end") }
    }

    fn check_order(&self, counts: &mut [u32], at: usize) -> Result<usize, &'static str> {
        if self.runs() == 1 {
            return if self.header.order_at == 0 { Ok(at) } else { Err("one run needs no order column") };
        }
        if self.header.order_at != at {
            return Err("its order column does not follow the runs");
        }
        let mut pairs = Pairs::new(&self.bytes[at..]);
        let mut left = u64::from(self.header.events);
        let mut before = None;
        while left > 0 {
            let (run, n) = pairs.next().ok_or("its order column breaks off")?;
            let count = usize::try_from(run).ok().and_then(|run| counts.get_mut(run));
            let count = count.ok_or("its order column names a run that it lacks")?;
            if before.replace(run) == Some(run) {
                return Err("its order column splits a stretch");
            }
            *count = count.checked_sub(n).ok_or("its order column overdraws a run")?;
            left -= u64::from(n);
        }
        Ok(at + pairs.read_len())
    }

    fn check_ingest(&self, at: usize) -> Result<usize, &'static str> {
        let Header { ingest_min, ingest_max, ingest_at, events, .. } = self.header;
        if ingest_at == 0 {
            return if ingest_min == ingest_max { Ok(at) } else { Err("its ingest column is missing") };
        }
        if ingest_at != at {
            return Err("its ingest column does not follow the order");
        }
        let mut times = self.ingest_times();
        let mut left = u64::from(events);
        while left > 0 {
            let (time, n) = times.next().ok_or("its ingest column breaks off")?;
            if !(ingest_min..=ingest_max).contains(&time) {
                return Err("an ingest time lies outside the block's");
            }
            left = left.checked_sub(n.into()).ok_or("its ingest column is too long")?;
        }
        Ok(at + times.read_len())
    }
}

/// Checks the columns of a run, which begin at `at` if there are any, and returns where they end.
fn check_columns(run: &Run<'_>, at: usize) -> Result<usize, &'static str> {
    if run.is_sealed() {
        return Ok(at);
    }
    if run.columns_at() != if run.has_columns() { at } else { 0 } {
        return Err("a run's columns do not follow those before");
    }
    let mut at = at;
    if run.stride() == 0 {
        check_ends(run.ends(), run.body().len())?;
        at += run.ends().len();
    }
    Ok(at + run.ticks_column()?.len())
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let head: [u8; field::RUNS] = array(bytes, 0).ok_or("it is shorter than its header")?;
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if head[field::MAGIC..field::MAGIC + 4] != MAGIC {
            return Err("its magic number is wrong");
        }
        if u16_at(field::VERSION) != VERSION {
            return Err("its version is unknown");
        }
        let codec = u16_at(field::CODEC);
        if codec != CODEC_PLAIN && codec != CODEC_QUARANTINED {
            return Err("its codec is unknown");
        }
        if u32_at(field::LEN) as usize != bytes.len() || bytes.len() > BLOCK_LEN_MAX {
            return Err("its length is wrong");
        }
        if u16_at(field::RESERVED_A) != 0 || u32_at(field::RESERVED_B) != 0 {
            return Err("its reserved bytes are used");
        }
        let quarantined = codec == CODEC_QUARANTINED;
        if (u16_at(field::RUN_COUNT) == 0 && !quarantined) || u32_at(field::EVENTS) == 0 {
            return Err("it is empty");
        }
        let (first, events) = (u64_at(field::FIRST), u32_at(field::EVENTS));
        if first.checked_add(events.into()).is_none() {
            return Err("its events exceed the number space");
        }
        Ok(Self {
            crc: u32_at(field::CRC),
            first: GlobalSequence(first),
            events,
            runs: u16_at(field::RUN_COUNT),
            quarantined,
            domain: u32_at(field::DOMAIN),
            ingest_min: u64_at(field::INGEST_MIN),
            ingest_max: u64_at(field::INGEST_MAX),
            order_at: u32_at(field::ORDER_AT) as usize,
            ingest_at: u32_at(field::INGEST_AT) as usize,
        })
    }
}

const MAGIC: [u8; 4] = *b"VRVB";
const VERSION: u16 = 0;
const CODEC_PLAIN: u16 = 0;
const CODEC_QUARANTINED: u16 = 1;

mod field {
    //! Where the fields of a block's header stand.
    pub(in crate::store) const MAGIC: usize = 0;
    pub(in crate::store) const VERSION: usize = 4;
    pub(in crate::store) const CODEC: usize = 6;
    pub(in crate::store) const CRC: usize = 8;
    pub(in crate::store) const LEN: usize = 12;
    pub(in crate::store) const FIRST: usize = 16;
    pub(in crate::store) const EVENTS: usize = 24;
    pub(in crate::store) const RUN_COUNT: usize = 28;
    pub(in crate::store) const RESERVED_A: usize = 30;
    pub(in crate::store) const DOMAIN: usize = 32;
    pub(in crate::store) const INGEST_MIN: usize = 36;
    pub(in crate::store) const INGEST_MAX: usize = 44;
    pub(in crate::store) const ORDER_AT: usize = 52;
    pub(in crate::store) const INGEST_AT: usize = 56;
    pub(in crate::store) const RESERVED_B: usize = 60;
    pub(in crate::store) const RUNS: usize = 64;
}

// The end of an event is a u16 from its run's first byte.
const _: () = assert!(BLOCK_LEN_MAX <= u16::MAX as usize);
// The largest event fits a block of its own, with its header, its run, and every column.
const _: () = assert!(EVENT_LEN_MAX + writer::EVENT_OVERHEAD_MAX <= BLOCK_LEN_MAX);

#[cfg(test)]
mod tests;

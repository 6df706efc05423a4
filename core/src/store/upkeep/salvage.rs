//! Salvage: a new store of everything in a damaged one that can still be read.

mod counterparts;
mod found;
mod holes;
mod references;
mod report;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::GlobalSequence;
use crate::store::error::OpenError;
use crate::store::files::data_file::{DataTree, ValueAt, refuse_other_word_size};
use crate::store::files::environment::DATA_FILE;
use crate::store::files::owner_lock::OwnerLock;
use crate::store::files::presence::is_there;
use crate::store::log::block::Block;
use crate::store::log::format::{FOLDED_KEY, INCARNATION_KEY, RESTORED_FROM_KEY, is_of_this_store};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::{array, is_row, long_number};
use crate::store::tail::{Chunk, Folded, Journal, PublishedFile, Record, TABLES_MAX, TableNumber, table_of};
use crate::store::upkeep::retention::RETAINED_KEY;
use crate::store::upkeep::store_builder::StoreBuilder;
use crate::store::upkeep::verify::verify;
use found::{Found, FoundBlocks};
use holes::Holes;
use references::{MadeUp, References};

pub use report::{SalvageError, SalvageReport};

/// Makes a new store in `new_path` of everything in the damaged store of `path` that can be read, and tells what could
/// not. The damaged one is read only, and must have no owner; `new_path` is as [`restore`](crate::restore) wants it.
///
/// Every event keeps its global sequence and its place in its stream. Where events are lost, reading says
/// [`ReadError::Absent`](crate::ReadError::Absent), and where to read on. Blocks are found through LMDB's tree
/// where that is whole, and in pages that nothing leads to where it is not; the tail's records are read one by one. A sector
/// that the disk cannot read costs what it holds, and no more. The log ends where the watermark says that it did, so that no event to come takes the place of a lost one.
/// Nor does one in its stream: where nobody can tell whose the lost events were, every stream that may have had them goes on
/// behind as many places, whose events are lost too. Only of a stream whose rows are all lost, and all of whose events were
/// retired or are out of the reach of the watermark, nothing is known: it begins anew.
/// A row that is lost is made anew where others tell of it; another stream, descriptor or device gets a made-up name, so that its
/// events can be read.
///
/// Sealed events stay sealed: the file `keys` of the damaged store opens them, once it is copied into the new one.
///
/// The new store has an incarnation of its own. It takes memory for a few bytes a block, and reads the data file
/// without mapping it, so that no damage can end the process.
///
/// ```
/// # use varve_core::{StreamId, Varve, salvage};
/// # let dir = tempfile::tempdir()?;
/// # let (damaged, new) = (dir.path().join("damaged"), dir.path().join("new"));
/// # Varve::new(&damaged)?.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
/// let report = salvage(&damaged, &new)?;
/// println!("{report}");
/// assert_eq!((report.events, report.lost_events), (1, 0));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`OpenError::Owned`](crate::OpenError::Owned) where somebody writes the store; [`OpenError::NotEmpty`](crate::OpenError::NotEmpty) where something is at `new_path`;
/// [`OpenError::NotAStore`](crate::OpenError::NotAStore) where the tail is another store's: take one of the two away;
/// [`OpenError::OtherWordSize`](crate::OpenError::OtherWordSize): a program of that word size saves it with its names;
/// [`SalvageError::Nothing`] where there is nothing of a store; [`SalvageError::Unverified`] where all of this was done, and the
/// new store cannot be read.
pub fn salvage(path: impl AsRef<Path>, new_path: impl AsRef<Path>) -> Result<SalvageReport, SalvageError> {
    let path = path.as_ref();
    // Nothing is made where nothing is: not even the owner's lock.
    if !is_there(&path.join(DATA_FILE))? && !Journal::is_in(path)? {
        return Err(SalvageError::Nothing);
    }
    let Some(_unowned) = OwnerLock::keep_free(path)? else {
        return Err(OpenError::Owned { path: path.to_path_buf() }.into());
    };
    let source = Source::open(path)?;
    let mut salvage = Salvage::new(source, StoreBuilder::new(new_path.as_ref())?)?;
    salvage.copy_rows()?;
    salvage.complete_rows()?;
    salvage.find_blocks()?;
    salvage.find_lost_runs()?;
    salvage.write_log()?;
    let mut report = salvage.finish()?;
    match verify(new_path) {
        Ok(verification) => report.verification = verification,
        Err(error) => return Err(SalvageError::Unverified { report: Box::new(report), error }),
    }
    Ok(report)
}

/// What can be read of the damaged store without LMDB.
struct Source {
    data: Option<DataTree>,
    /// The root of each table by its name.
    tables: BTreeMap<Vec<u8>, u64>,
    /// What no fold took of the tail.
    records: Vec<Record>,
    /// Where the log ended that was durable; 0 where no watermark tells.
    durable_end: GlobalSequence,
    unreadable_pages: u64,
}

/// A salvage in progress.
struct Salvage {
    source: Source,
    builder: StoreBuilder,
    report: SalvageReport,
    retained: GlobalSequence,
    blocks: FoundBlocks,
    holes: Holes,
    references: References,
}

impl Source {
    fn open(path: &Path) -> Result<Self, SalvageError> {
        // Its blocks could be found, but no row of LMDB's, and so no name.
        if let Err(error @ OpenError::OtherWordSize { .. }) = refuse_other_word_size(path) {
            return Err(error.into());
        }
        let mut source = Self {
            data: DataTree::open_damaged(path)?,
            tables: BTreeMap::new(),
            records: Vec::new(),
            durable_end: GlobalSequence(0),
            unreadable_pages: 0,
        };
        if let Some(data) = &source.data {
            (source.tables, source.unreadable_pages) = data.tables("block")?;
        }
        let (mut folded, mut incarnation) = (Folded::default(), None);
        source.each_row("meta", |key, value| {
            match key {
                FOLDED_KEY => folded = Folded::parse(value.bytes).unwrap_or_default(),
                INCARNATION_KEY => incarnation = array(value.bytes, 0).map(u64::from_le_bytes),
                _ => {}
            }
            Ok(())
        })?;
        match Journal::open_damaged(path, incarnation)? {
            Some(journal) if incarnation.is_none_or(|known| known == journal.incarnation()) => {
                source.records = journal.remains(folded)?;
                incarnation = Some(journal.incarnation());
            }
            Some(_) => return Err(Journal::of_another_store(path).into()),
            None if source.data.is_none() => return Err(SalvageError::Nothing),
            None => {}
        }
        if let Ok(Some(watermark)) = PublishedFile::open(path, incarnation.unwrap_or_default()) {
            let told = watermark.read().ok().flatten();
            source.durable_end = told.unwrap_or_default().next;
        }
        Ok(source)
    }

    /// Visits the rows of a table that can be read.
    fn each_row(
        &mut self,
        table: &str,
        visit: impl FnMut(&[u8], ValueAt<'_>) -> Result<(), SalvageError>,
    ) -> Result<(), SalvageError> {
        let Some((data, root)) = self.data.as_ref().zip(self.tables.get(table.as_bytes())) else {
            return Ok(());
        };
        self.unreadable_pages += data.rows(*root, visit)?;
        Ok(())
    }
}

impl Salvage {
    fn new(source: Source, builder: StoreBuilder) -> Result<Self, SalvageError> {
        let mut salvage = Self {
            source,
            builder,
            report: SalvageReport::default(),
            retained: GlobalSequence(0),
            blocks: FoundBlocks::default(),
            holes: Holes::default(),
            references: References::default(),
        };
        let (mut incarnation, mut retained) = (None, 0);
        salvage.source.each_row("meta", |key, value| {
            let number = array(value.bytes, 0).map(u64::from_le_bytes);
            match key {
                INCARNATION_KEY => incarnation = number,
                RETAINED_KEY => retained = number.unwrap_or(0),
                _ => {}
            }
            Ok(())
        })?;
        salvage.report.salvaged_from = incarnation;
        salvage.retained = GlobalSequence(retained);
        Ok(salvage)
    }

    /// Copies the rows of every table but those that follow from the blocks: LMDB's, then those of the tail.
    fn copy_rows(&mut self) -> Result<(), SalvageError> {
        for number in (0..TABLES_MAX).map(TableNumber) {
            let Some(table) = table_of(self.builder.tables(), number).copied() else { continue };
            let Self { source, builder, report, references, .. } = self;
            source.each_row(table.name, |key, value| {
                if is_row(key, value.bytes) && !(number.0 == 0 && is_of_this_store(key)) {
                    references.note(number, key, value.bytes);
                    builder.row(table, (key, value.bytes))?;
                    report.rows += 1;
                }
                Ok(())
            })?;
        }
        for record in &self.source.records {
            for chunk in (0..record.chunks()).map(|index| record.chunk(index)) {
                let Chunk::Row { table: number, key, value } = chunk else { continue };
                let table = table_of(self.builder.tables(), number).copied();
                let Some(table) = table.filter(|_| is_row(key, value)) else { continue };
                self.references.note(number, key, value);
                self.builder.row(table, (key, value))?;
                self.report.rows += 1;
            }
        }
        Ok(())
    }

    /// Makes anew what is lost of rows that tell of each other.
    fn complete_rows(&mut self) -> Result<(), SalvageError> {
        let missing = self.builder.read(counterparts::missing)?;
        missing.iter().for_each(|(table, key, value)| self.references.note(table.number, key, value));
        self.add_rows(&missing)
    }

    /// Adds rows that are made anew, or stand in for lost ones.
    fn add_rows(&mut self, rows: &[MadeUp]) -> Result<(), SalvageError> {
        self.report.rows_made_up += rows.len() as u64;
        rows.iter().try_for_each(|(table, key, value)| Ok(self.builder.row(*table, (key, value))?))
    }

    /// Finds the blocks that the tree leads to, those of the tail, and, where these do not make a whole log, those that
    /// lie about in the data file.
    fn find_blocks(&mut self) -> Result<(), SalvageError> {
        let Self { source, blocks, retained, .. } = self;
        source.each_row("block", |key, value| {
            let first = long_number(key, 0).map(GlobalSequence);
            if let Some(Ok(block)) = first.map(|first| Block::new_checked(first, value.bytes)) {
                blocks.add(&block, Found::InFile { at: value.at, len: value.bytes.len() as u32 });
            }
            Ok(())
        })?;
        for (number, record) in source.records.iter().enumerate() {
            let mut next = record.head().first;
            for chunk in 0..record.chunks() {
                let Chunk::Block(bytes) = record.chunk(chunk) else { continue };
                let Ok(block) = Block::new_checked(next, bytes) else { break };
                next = blocks.add(&block, Found::InTail { record: number as u32, chunk: chunk as u32 });
            }
        }
        let has_tree = source.unreadable_pages == 0 && source.tables.contains_key(b"block".as_slice());
        let is_whole = has_tree
            && blocks.gaps(*retained).next().is_none()
            && blocks.end(*retained) >= source.durable_end.0;
        let Some(data) = source.data.as_ref().filter(|_| !is_whole) else { return Ok(()) };
        let mut found = FoundBlocks::default();
        data.blocks(|block, at| {
            if block.first() >= *retained {
                found.add(block, Found::InFile { at, len: block.bytes().len() as u32 });
            }
        })?;
        self.report.blocks_found_unlinked = blocks.fill_gaps(*retained, &found);
        Ok(())
    }

    /// Notes the runs of blocks that were not found, and keeps the rows that tell where a stream without events goes on.
    fn find_lost_runs(&mut self) -> Result<(), SalvageError> {
        let Self { source, builder, blocks, holes, retained, .. } = self;
        let stream = builder.tables().stream;
        source.each_row("stream", |key, value| {
            let row = RunIndex::parse(key, value.bytes).and_then(|row| Some((row, row.end()?)));
            let Some((row, end)) = row else { return Ok(()) };
            if row.block < *retained {
                holes.note_start(row.stream, end);
                builder.row(stream, (key, value.bytes))?;
            } else if !blocks.holds(row.block) {
                holes.note_run(row);
            }
            Ok(())
        })
    }

    /// Writes the blocks that were found, then those that stand in for the events between them.
    fn write_log(&mut self) -> Result<(), SalvageError> {
        let blocks = std::mem::take(&mut self.blocks);
        let mut next = self.retained.0;
        let mut bytes = Vec::new();
        for (first, end, found) in blocks.iter() {
            if first.saturating_sub(next) > LOST_EVENTS_MAX {
                break;
            }
            if !self.source.read(found, &mut bytes)? {
                continue;
            }
            self.holes.note_lost(next..first);
            let block = Block::new_checked(GlobalSequence(first), &bytes)?;
            self.holes.note_block(&block)?;
            self.write_block(&block)?;
            next = end;
        }
        // What lies beyond one hole was damage to the watermark.
        let durable_end = self.source.durable_end.0.min(next.saturating_add(u32::MAX.into()));
        let indexed_end = self.holes.indexed_end(next..next.saturating_add(LOST_EVENTS_MAX));
        let end = indexed_end.unwrap_or(next).max(durable_end);
        self.holes.note_lost(next..end);
        let reserved = self.holes.reserve(self.references.streams(), end);
        let holes: Vec<_> = self.holes.blocks().collect();
        holes.iter().try_for_each(|(first, bytes)| self.write_block(&Block::new_checked(*first, bytes)?))?;
        reserved.iter().try_for_each(|(first, bytes)| {
            let block = Block::new_checked(*first, bytes)?;
            self.report.places_reserved += u64::from(block.len());
            Ok(self.builder.block(&block)?)
        })
    }

    fn write_block(&mut self, block: &Block<'_>) -> Result<(), SalvageError> {
        self.references.note_block(block)?;
        self.builder.block(block)?;
        if block.is_quarantined() {
            self.report.lost_events += u64::from(block.len());
        } else {
            self.report.events += u64::from(block.len());
            self.report.blocks += 1;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<SalvageReport, SalvageError> {
        let made_up = self.references.make_up(self.builder.tables());
        self.add_rows(&made_up)?;
        let layouts = self.builder.read(|tables, txn| self.references.missing_layouts(tables, txn))?;
        self.add_rows(&layouts)?;
        let meta = self.builder.tables().meta;
        if let Some(incarnation) = self.report.salvaged_from {
            let events = self.retained.0 + self.report.events + self.report.lost_events;
            let origin = [incarnation.to_le_bytes(), events.to_le_bytes()].concat();
            self.builder.row(meta, (RESTORED_FROM_KEY, &origin))?;
        }
        self.report.unreadable_pages = self.source.unreadable_pages;
        self.report.incarnation = self.builder.finish()?;
        Ok(self.report)
    }
}

impl Source {
    /// Reads a block that was found before, and tells whether it is still there.
    fn read(&self, found: Found, bytes: &mut Vec<u8>) -> Result<bool, SalvageError> {
        match (found, &self.data) {
            (Found::InTail { record, chunk }, _) => {
                if let Chunk::Block(block) = self.records[record as usize].chunk(chunk as usize) {
                    bytes.clear();
                    bytes.extend_from_slice(block);
                }
                Ok(true)
            }
            (Found::InFile { at, len }, Some(data)) => {
                bytes.resize(len as usize, 0);
                Ok(data.read(at, bytes)?)
            }
            (Found::InFile { .. }, None) => Err(io::Error::from(io::ErrorKind::NotFound).into()),
        }
    }
}

/// The most events that may be lost between two blocks: what seems to lie beyond was damaged, or is of no log. It takes
/// 65,536 blocks to stand in for them.
const LOST_EVENTS_MAX: u64 = 1 << 48;

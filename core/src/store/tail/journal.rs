//! The file `tail`: a header, a note of the boot that wrote it last, and three segments of records.
//!
//! ```text
//! sector 0   1      2                 2 + n             2 + 2 n           2 + 3 n
//! ┌────────┬──────┬─────────────────┬─────────────────┬─────────────────┐
//! │ header │ note │ segment 0       │ segment 1       │ segment 2       │
//! └────────┴──────┴─────────────────┴─────────────────┴─────────────────┘
//! ```
//!
//! Generation g has segment g % 3 to itself, and its records follow each other from the segment's first sector: several
//! in one sector where one flush makes them durable. All sectors were written when the file was made, so that a flush
//! carries records alone. FORMAT.md, section 7, specifies every byte.

mod header;
mod note;
mod placement;
mod recovery;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(in crate::store) use recovery::Recovered;

use super::record::{HEADER_LEN, Header, RECORD_BODY_LEN_MAX, Record, RecordSeed, SECTOR_LEN};
use crate::store::config::Durability;
use crate::store::error::{Damage, OpenError, Place, is_unreadable};
use crate::store::files::environment::sync_directory;
use crate::store::files::presence::is_there;
use crate::store::log::clock::HostClock;
pub(in crate::store) use header::FileHeader;
pub(in crate::store) use note::Note;
use placement::{ALIGNMENT, may_stand, places_behind};
pub(super) use placement::{next_sector, place_behind};

/// The tail of a store, open.
#[derive(Debug)]
pub(in crate::store) struct Journal {
    file: File,
    path: PathBuf,
    incarnation: u64,
    segment_sectors: u32,
    durability: Durability,
    /// Whether zeros stand for what the disk has lost.
    is_damaged: bool,
}

impl Journal {
    /// Makes the tail of a store, with segments of `segment_len` bytes: rounded down to whole sectors, and kept within
    /// [`SEGMENT_LEN_MIN`] and [`SEGMENT_LEN_MAX`].
    ///
    /// It has its name only once all of it is on the disk.
    pub(in crate::store) fn create(
        dir: &Path,
        incarnation: u64,
        segment_len: u64,
        durability: Durability,
    ) -> Result<Self, OpenError> {
        let segment_len = segment_len.clamp(SEGMENT_LEN_MIN, SEGMENT_LEN_MAX);
        let segment_sectors = (segment_len / SECTOR_LEN as u64) as u32;
        let (path, unnamed) = (dir.join(FILE_NAME), dir.join(UNNAMED_FILE_NAME));
        let made = make(&unnamed, FileHeader { incarnation, segment_sectors }, durability)
            .and_then(|file| fs::rename(&unnamed, &path).map(|()| file));
        let file = made.map_err(|error| {
            // On a full disk what there is of it would only be in the way.
            let _ = fs::remove_file(&unnamed);
            OpenError::Io { path: path.clone(), error }
        })?;
        if durability == Durability::Durable {
            sync_directory(dir)?;
        }
        Ok(Self { file, path, incarnation, segment_sectors, durability, is_damaged: false })
    }

    /// Opens the tail in `dir`; `None` where there is none. Whether it is that of the store, [`Journal::incarnation`]
    /// tells.
    pub(in crate::store) fn open(dir: &Path, durability: Durability) -> Result<Option<Self>, OpenError> {
        Self::open_with(dir, durability, OpenOptions::new().read(true).write(true))
    }

    /// As [`Journal::open`], for a process that only reads. What it flushes is durable in any case.
    pub(in crate::store) fn open_read_only(dir: &Path) -> Result<Option<Self>, OpenError> {
        Self::open_with(dir, Durability::Durable, OpenOptions::new().read(true))
    }

    /// Opens what is left of the tail in `dir`, for a salvage: what the disk has lost of it counts as zeros, which are no
    /// record. Where that is the header, the length of the file stands in for it, and the `incarnation` that LMDB tells.
    /// `None` where that is unknown too, or there is no tail.
    pub(in crate::store) fn open_damaged(
        dir: &Path,
        incarnation: Option<u64>,
    ) -> Result<Option<Self>, OpenError> {
        let Some((file, path)) = open_file(dir, OpenOptions::new().read(true))? else { return Ok(None) };
        let io = |error| OpenError::Io { path: path.clone(), error };
        let mut head = [0; header::LEN];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if is_unreadable(&error) => head.fill(0),
            read => read.map_err(io)?,
        }
        let len = file.metadata().map_err(io)?.len();
        let header = FileHeader::parse(&head).ok().or_else(|| FileHeader::of_len(incarnation?, len));
        let Some(FileHeader { incarnation, segment_sectors }) = header else { return Ok(None) };
        let durability = Durability::Durable;
        Ok(Some(Self { file, path, incarnation, segment_sectors, durability, is_damaged: true }))
    }

    /// Whether there is a tail in `dir`, damaged or not.
    pub(in crate::store) fn is_in(dir: &Path) -> io::Result<bool> {
        is_there(&dir.join(FILE_NAME))
    }

    /// What it means that there is no tail where there was one.
    pub(in crate::store) fn missing() -> Damage {
        Damage { place: Place::TailHeader, reason: "the file is missing" }
    }

    /// What it means that the tail in `dir` has another incarnation than LMDB.
    pub(in crate::store) fn of_another_store(dir: &Path) -> OpenError {
        OpenError::NotAStore { path: dir.to_path_buf(), reason: "its tail is that of another store" }
    }

    fn open_with(
        dir: &Path,
        durability: Durability,
        options: &OpenOptions,
    ) -> Result<Option<Self>, OpenError> {
        let Some((file, path)) = open_file(dir, options)? else { return Ok(None) };
        let io = |error| OpenError::Io { path: path.clone(), error };
        let mut head = [0; header::LEN];
        read_what_there_is(&file, &mut head).map_err(io)?;
        let header = FileHeader::parse(&head)?;
        if file.metadata().map_err(io)?.len() < header.file_len() {
            let reason = "the file is shorter than it says";
            return Err(Damage { place: Place::TailHeader, reason }.into());
        }
        let FileHeader { incarnation, segment_sectors } = header;
        Ok(Some(Self { file, path, incarnation, segment_sectors, durability, is_damaged: false }))
    }

    /// The store that it belongs to.
    pub(in crate::store) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether a flush flushes anything.
    pub(in crate::store) fn durability(&self) -> Durability {
        self.durability
    }

    /// How many bytes its segments take together.
    pub(in crate::store) fn len(&self) -> u64 {
        SEGMENTS * u64::from(self.segment_sectors) * SECTOR_LEN as u64
    }

    /// How many bytes a generation has to itself.
    pub(in crate::store) fn segment_len(&self) -> u32 {
        self.segment_sectors * SECTOR_LEN as u32
    }

    /// More records than a generation has.
    pub(in crate::store) fn records_max(&self) -> usize {
        (self.segment_len() / ALIGNMENT) as usize
    }

    /// The seed of a generation's records.
    pub(in crate::store) fn seed(&self, generation: u64) -> RecordSeed {
        RecordSeed::new(self.incarnation, generation)
    }

    /// Writes a padded record at `at` of its generation's segment. It is durable once a later [`Journal::flush`] has
    /// returned.
    pub(in crate::store) fn write(&self, generation: u64, at: u32, padded: &[u8]) -> io::Result<()> {
        assert!(
            (at as usize + padded.len()).is_multiple_of(SECTOR_LEN),
            "what is written ends with a sector"
        );
        assert!(may_stand(at, padded.len(), self.segment_len()), "a record stays within its segment");
        self.file.write_all_at(padded, self.offset(generation, at))
    }

    /// Makes durable what was written. After a failure nobody knows what the disk holds: nothing may be flushed again.
    pub(in crate::store) fn flush(&self) -> io::Result<()> {
        match self.durability {
            Durability::Durable => self.file.sync_data(),
            Durability::Relaxed => Ok(()),
        }
    }

    /// The next record of `generation` behind what ends at `end`, and where it ends; `None` where there is none, or none any
    /// more.
    pub(in crate::store) fn read_behind(
        &self,
        generation: u64,
        end: u32,
    ) -> io::Result<Option<(Record, u32)>> {
        for at in places_behind(end) {
            if let Some(record) = self.read(generation, at)? {
                let end = at + record.len() as u32;
                return Ok(Some((record, end)));
            }
        }
        Ok(None)
    }

    /// The record of `generation` at `at`.
    fn read(&self, generation: u64, at: u32) -> io::Result<Option<Record>> {
        match self.header_at(generation % SEGMENTS, at)? {
            Some(header) if header.head.generation == generation => self.record_at(&header, at),
            _ => Ok(None),
        }
    }

    /// The generations that have a first record in the file, the earliest first: one a segment at most.
    pub(in crate::store) fn generations(&self) -> io::Result<Vec<u64>> {
        let mut generations = Vec::new();
        for segment in 0..SEGMENTS {
            generations.extend(self.header_at(segment, 0)?.map(|header| header.head.generation));
        }
        generations.sort_unstable();
        Ok(generations)
    }

    /// Whether the machine was started anew since [`Journal::note_boot`], so that what was not flushed may be lost.
    pub(in crate::store) fn boot_changed(&self) -> Result<bool, OpenError> {
        Ok(self.note()?.is_none_or(|note| note.boot_id != HostClock.boot_id()))
    }

    /// Notes that what follows is written in this boot of the machine, and that the meta page of LMDB with the CRC
    /// `confirmed` is durable. To be called after a recovery, before the first record is written: it may take the
    /// place of one that a fold which nothing confirms would still need.
    pub(in crate::store) fn note_boot(&self, confirmed: u32) -> io::Result<()> {
        let note = Note { boot_id: HostClock.boot_id(), confirmed };
        self.file.write_all_at(&note.encode(self.incarnation), NOTE_SECTOR * SECTOR_LEN as u64)?;
        self.flush()
    }

    fn note(&self) -> Result<Option<Note>, OpenError> {
        let mut bytes = [0; note::LEN];
        self.read_at(&mut bytes, NOTE_SECTOR * SECTOR_LEN as u64).map_err(|error| self.error(error))?;
        Ok(Note::parse(&bytes, self.incarnation))
    }

    /// The header of a record that belongs at `at` of `segment`, whatever its generation.
    fn header_at(&self, segment: u64, at: u32) -> io::Result<Option<Header>> {
        if at >= self.segment_len() {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_LEN];
        self.read_at(&mut bytes, self.offset(segment, at))?;
        Ok(self.header(&bytes, segment, at))
    }

    /// As [`Journal::header_at`], where these bytes stand there.
    fn header(&self, bytes: &[u8; HEADER_LEN], segment: u64, at: u32) -> Option<Header> {
        let generation = Header::claimed_generation(bytes).filter(|claimed| claimed % SEGMENTS == segment)?;
        let header = Header::parse(bytes, self.seed(generation)).ok()?;
        may_stand(at, header.len(), self.segment_len()).then_some(header)
    }

    /// The record of `header`, which stands at `at`; `None` where its body is not what was written.
    fn record_at(&self, header: &Header, at: u32) -> io::Result<Option<Record>> {
        let generation = header.head.generation;
        let mut bytes = vec![0; header.len()].into_boxed_slice();
        self.read_at(&mut bytes, self.offset(generation, at))?;
        let record = Record::parse(bytes, self.seed(generation)).ok();
        // Between the two reads another record may have taken the place.
        Ok(record.filter(|record| *record.head() == header.head))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        match self.file.read_exact_at(bytes, offset) {
            Err(error) if self.is_damaged && is_unreadable(&error) => {
                bytes.fill(0);
                Ok(())
            }
            read => read,
        }
    }

    /// Where `at` of a generation's segment stands in the file, in bytes.
    fn offset(&self, generation: u64, at: u32) -> u64 {
        let segment = generation % SEGMENTS;
        SEGMENTS_SECTOR * SECTOR_LEN as u64 + segment * u64::from(self.segment_len()) + u64::from(at)
    }

    /// What it means that the file could not be read or flushed.
    pub(super) fn error(&self, error: io::Error) -> OpenError {
        OpenError::Io { path: self.path.clone(), error }
    }
}

/// Makes a file of a header and zeros, which its owner alone may read, as LMDB makes its own.
fn make(path: &Path, header: FileHeader, durability: Durability) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(&header.encode())?;
    if durability == Durability::Relaxed {
        // Nothing is going to be flushed, so that it may stay full of holes.
        file.set_len(header.file_len())?;
        return Ok(file);
    }
    let zeros = vec![0; ZEROS_LEN];
    let mut left = header.file_len() - header::LEN as u64;
    while left > 0 {
        let len = left.min(ZEROS_LEN as u64);
        file.write_all(&zeros[..len as usize])?;
        left -= len;
    }
    file.sync_all()?;
    Ok(file)
}

/// Opens the file in `dir`; `None` where there is none.
fn open_file(dir: &Path, options: &OpenOptions) -> Result<Option<(File, PathBuf)>, OpenError> {
    let path = dir.join(FILE_NAME);
    match options.open(&path) {
        Ok(file) => Ok(Some((file, path))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(OpenError::Io { path, error }),
    }
}

/// Reads the start of a file; zeros stand for what it lacks.
fn read_what_there_is(file: &File, bytes: &mut [u8]) -> io::Result<()> {
    let len = file.metadata()?.len().min(bytes.len() as u64);
    file.read_exact_at(&mut bytes[..len as usize], 0)
}

/// The least that a segment has, in bytes: the largest record.
pub(in crate::store) const SEGMENT_LEN_MIN: u64 =
    (HEADER_LEN + RECORD_BODY_LEN_MAX).next_multiple_of(SECTOR_LEN) as u64;

/// The most that a segment has, in bytes: what is not folded is kept in memory.
pub(in crate::store) const SEGMENT_LEN_MAX: u64 = 64 << 20;

/// How many segments there are: one is written, one is folded, and one is kept until the fold after its own is
/// durable.
pub(in crate::store) const SEGMENTS: u64 = 3;

const FILE_NAME: &str = "tail";
const UNNAMED_FILE_NAME: &str = "tail.tmp";

/// The sector of the note.
const NOTE_SECTOR: u64 = 1;

/// The first sector of the first segment.
const SEGMENTS_SECTOR: u64 = 2;

/// How many zeros are written at a time.
const ZEROS_LEN: usize = 256 * 1024;

const _: () =
    assert!(SEGMENT_LEN_MIN < SEGMENT_LEN_MAX && SEGMENT_LEN_MAX + SECTOR_LEN as u64 <= u32::MAX as u64);

#[cfg(test)]
mod power_cuts;
#[cfg(test)]
mod tests;

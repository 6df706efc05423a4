//! A backup: everything that a snapshot sees, in a form that no word size or byte order of a machine has a part in.

mod container;
mod file;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;

pub use container::BackupCounts;
pub(in crate::store) use container::{BackupChunk, BackupReader, BackupWriter, ContainerError, Header};

use crate::GlobalSequence;
use crate::store::error::ReadError;
use crate::store::log::format::{is_of_this_store, read_incarnation};
use crate::store::log::run_index::RunIndex;
use crate::store::log::tables::is_row;
use crate::store::read::block_walk::BlockWalk;
use crate::store::read::snapshot::Snapshot;
use crate::store::tail::{TABLES_MAX, TableNumber, table_of};
use crate::store::upkeep::retention::first_retained;
use file::BackupFile;

/// Why a backup could not be made. What was written of it is not one.
#[derive(Debug)]
#[non_exhaustive]
pub enum BackupError {
    /// The store could not be read, or is damaged: a salvage takes what is whole.
    Read(ReadError),
    /// The backup could not be written.
    Io(io::Error),
}

impl Snapshot {
    /// Writes all that the snapshot sees to `out`: every event, stream, descriptor, device, consumer and clock. Appends
    /// go on meanwhile. It takes memory for one block, and writes in many small pieces: give it a buffered writer. What is
    /// to be a file, [`back_up_to`](Self::back_up_to) writes.
    ///
    /// [`restore`](crate::restore) makes a store of it, on a machine of any word size. What is plain in the store is plain in the
    /// backup. Sealed events stay sealed, and the keys are not in it: keep a copy of the store's file `keys` beside it.
    ///
    /// ```
    /// use varve_core::{StreamId, Varve, restore};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path().join("store"))?;
    /// varve.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
    ///
    /// let mut backup = Vec::new();
    /// varve.snapshot()?.back_up(&mut backup)?;
    ///
    /// restore(backup.as_slice(), dir.path().join("restored"))?;
    /// let restored = Varve::new(dir.path().join("restored"))?;
    /// assert_eq!(restored.stream_reader::<u16>("readings")?.version(StreamId(7))?, 1);
    /// assert_ne!(restored.incarnation(), varve.incarnation());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BackupError::Read`] with [`ReadError::Corrupt`] where anything of the store is damaged, and with
    /// [`ReadError::PinnedTooLong`] where it takes longer than a snapshot may be read; [`BackupError::Io`].
    pub fn back_up(&self, out: impl Write) -> Result<BackupCounts, BackupError> {
        let header = Header {
            incarnation: read_incarnation(self.tables(), self.txn())?,
            first: first_retained(self.tables(), self.txn())?,
            next: self.log_end()?,
        };
        let mut writer = BackupWriter::new(out, &header)?;
        self.back_up_rows(&mut writer)?;
        self.back_up_ends(header.first, &mut writer)?;
        self.back_up_blocks(&header, &mut writer)?;
        Ok(writer.finish()?)
    }

    /// As [`back_up`](Self::back_up), into the file `path`, which is there once the backup is whole and durable, and not
    /// before. Until then it stands beside it, under the same name with `.partial` added; what a process left there that
    /// was killed, the next backup to the same `path` writes over. Its owner alone may read it.
    ///
    /// ```
    /// # use varve_core::{StreamId, Varve};
    /// # let dir = tempfile::tempdir()?;
    /// # let mut varve = Varve::new(dir.path().join("store"))?;
    /// # varve.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
    /// let counts = varve.snapshot()?.back_up_to(dir.path().join("readings.backup"))?;
    /// assert_eq!(counts.events, 1);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`BackupError::Io`] with [`io::ErrorKind::AlreadyExists`] where something is at `path`, or beside it what no backup
    /// left, and with [`io::ErrorKind::ResourceBusy`] where another one is being written there; and as
    /// [`back_up`](Self::back_up).
    pub fn back_up_to(&self, path: impl AsRef<Path>) -> Result<BackupCounts, BackupError> {
        let mut file = BackupFile::begin(path.as_ref())?;
        let counts = self.back_up(file.out())?;
        file.finish()?;
        Ok(counts)
    }

    /// Writes the rows of every table but those that follow from the blocks.
    fn back_up_rows(&self, writer: &mut BackupWriter<impl Write>) -> Result<(), BackupError> {
        for number in (0..TABLES_MAX).map(TableNumber) {
            let Some(table) = table_of(self.tables(), number) else { continue };
            for row in self.rows().all(table)? {
                let (key, value) = row?;
                if !is_row(key, value) {
                    return Err(table.damage(key, "it is longer than any").into());
                }
                if number != META || !is_of_this_store(key) {
                    writer.row(number, key, value)?;
                }
            }
        }
        Ok(())
    }

    /// Writes the rows that tell the ends of streams whose events are all retired.
    fn back_up_ends(
        &self,
        first: GlobalSequence,
        writer: &mut BackupWriter<impl Write>,
    ) -> Result<(), BackupError> {
        if first == GlobalSequence(0) {
            return Ok(());
        }
        for row in self.tables().stream.from(self.txn(), &[])? {
            let (key, value) = row?;
            if self.run_index(key, value)?.block < first {
                writer.row(STREAM, key, value)?;
            }
        }
        Ok(())
    }

    fn back_up_blocks(
        &self,
        header: &Header,
        writer: &mut BackupWriter<impl Write>,
    ) -> Result<(), BackupError> {
        for block in BlockWalk::new(self, header.first, header.next)? {
            let block = block?;
            writer.block(block.bytes(), block.len())?;
        }
        Ok(())
    }
}

/// The rows of a backup that tell the ends of streams: those of the table `stream` whose blocks are retired.
pub(in crate::store) fn is_end(key: &[u8], value: &[u8], first: GlobalSequence) -> bool {
    RunIndex::parse(key, value).is_some_and(|run| run.block < first)
}

pub(in crate::store) const META: TableNumber = TableNumber(0);
pub(in crate::store) const STREAM: TableNumber = TableNumber(2);
pub(in crate::store) const CONSUMER: TableNumber = TableNumber(14);

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the backup cannot be written: {error}"),
        }
    }
}

impl std::error::Error for BackupError {}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<E: Into<ReadError>> From<E> for BackupError {
    fn from(error: E) -> Self {
        Self::Read(error.into())
    }
}

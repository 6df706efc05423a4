//! Restoring: a new store out of a backup.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use crate::GlobalSequence;
use crate::store::error::OpenError;
use crate::store::log::block::Block;
use crate::store::log::format::{FORMAT_VERSION, RESTORED_FROM_KEY, is_of_this_store};
use crate::store::log::tables::{Table, array};
use crate::store::tail::{TableNumber, table_of};
use crate::store::upkeep::backup::{
    BackupChunk, BackupCounts, BackupReader, CONSUMER, ContainerError, Header, META, STREAM, is_end,
};
use crate::store::upkeep::store_builder::StoreBuilder;

/// What was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The number that tells the new store from all others, the one that was backed up included.
    pub incarnation: u64,
    /// That of the store which was backed up.
    pub restored_from: u64,
    /// The first event.
    pub first: GlobalSequence,
    /// The place of the next event: from here on the two stores differ.
    pub next: GlobalSequence,
    /// How much there is.
    pub counts: BackupCounts,
}

/// Why a backup could not be restored. There is then no new store.
#[derive(Debug)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup is damaged or cut off.
    Broken {
        /// Where the part begins that is, in bytes from the first.
        at: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A later release made the backup: use that release, or a newer one.
    NewerFormat {
        /// The version of the backup.
        found: u32,
        /// The version that this release writes.
        supported: u32,
    },
    /// The backup could not be read.
    Io(io::Error),
    /// The new store could not be made.
    Open(OpenError),
}

/// Makes a new store of a backup in the directory `path`, which must not be there yet, or be empty; the one above it must.
///
/// The store has everything of the one that was backed up but its incarnation. It is written beside `path` under
/// the same name with `.partial` added, and moved there once all of it is on the disk: whoever sees it sees the whole.
/// What a killed process left there, the next one removes. It takes memory for 4 MiB of rows, and reads in small pieces:
/// give it a buffered reader.
///
/// Of a store with sealed streams, put a copy of its file `keys` into the new directory before it is opened: the newest copy there
/// is, which leaves shredded what was shredded.
///
/// Devices need not be told: one that was acknowledged more than the backup holds says so when it is next heard, and
/// the events in between become a gap.
///
/// # Errors
///
/// [`RestoreError::Broken`] with a place where a byte of the backup is wrong or missing; [`OpenError::NotEmpty`]
/// where something is at `path`, or at its `.partial` that no restore left; [`OpenError::Owned`] where another one is
/// at it.
pub fn restore(backup: impl Read, path: impl AsRef<Path>) -> Result<Restored, RestoreError> {
    let (mut reader, header) = BackupReader::new(backup)?;
    let mut builder = StoreBuilder::new(path.as_ref())?;
    let mut next = header.first;
    loop {
        let at = reader.at();
        let broken = |reason| RestoreError::Broken { at, reason };
        match reader.next()? {
            // A block's row of times takes the mappings of the clocks.
            BackupChunk::Row { .. } if next != header.first => {
                return Err(broken("a row follows a block"));
            }
            BackupChunk::Row { table, key, value } => {
                let table = table_of_chunk(&builder, table, key, value, &header).map_err(broken)?;
                builder.row(table, (key, value))?;
            }
            BackupChunk::Block(bytes) => {
                let block = Block::new_checked(next, bytes).map_err(|damage| broken(damage.reason))?;
                next = block.end().map_err(|damage| broken(damage.reason))?;
                let events = block.len();
                builder.block(&block)?;
                reader.count_events(events);
            }
            BackupChunk::End(_) if next != header.next => return Err(broken("its log is too short")),
            BackupChunk::End(counts) => return finish(builder, &header, counts),
        }
    }
}

fn finish(
    mut builder: StoreBuilder,
    header: &Header,
    counts: BackupCounts,
) -> Result<Restored, RestoreError> {
    let origin = [header.incarnation.to_le_bytes(), header.next.0.to_le_bytes()].concat();
    let meta = builder.tables().meta;
    builder.row(meta, (RESTORED_FROM_KEY, &origin))?;
    let Header { incarnation: restored_from, first, next } = *header;
    Ok(Restored { incarnation: builder.finish()?, restored_from, first, next, counts })
}

/// The table that a row goes to.
fn table_of_chunk(
    builder: &StoreBuilder,
    table: TableNumber,
    key: &[u8],
    value: &[u8],
    header: &Header,
) -> Result<Table, &'static str> {
    let tables = builder.tables();
    match table {
        STREAM if is_end(key, value, header.first) => Ok(tables.stream),
        CONSUMER if array(value, 0).map(u64::from_le_bytes) > Some(header.next.0) => {
            Err("a consumer is beyond the end of its log")
        }
        META if is_of_this_store(key) => Err("it holds what names another store"),
        table => table_of(tables, table).copied().ok_or("it holds a row of no known table"),
    }
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { at, reason } => write!(f, "the backup is broken at byte {at}: {reason}"),
            Self::NewerFormat { found, supported } => write!(
                f,
                "the backup has format version {found}, and this release reads up to {supported}; use a newer release"
            ),
            Self::Io(error) => write!(f, "the backup cannot be read: {error}"),
            Self::Open(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for RestoreError {}

impl From<ContainerError> for RestoreError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Broken { at, reason } => Self::Broken { at, reason },
            ContainerError::NewerFormat(found) => Self::NewerFormat { found, supported: FORMAT_VERSION },
            ContainerError::Io(error) => Self::Io(error),
        }
    }
}

impl From<OpenError> for RestoreError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::upkeep::backup::BackupWriter;
    use crate::{StreamId, Varve};

    #[test]
    fn a_log_that_ends_before_its_header_says_so_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let header = Header { incarnation: 7, first: GlobalSequence(3), next: GlobalSequence(4) };
        let mut backup = Vec::new();
        BackupWriter::new(&mut backup, &header).unwrap().finish().unwrap();
        let error = restore(backup.as_slice(), dir.path().join("restored")).unwrap_err();
        assert!(matches!(error, RestoreError::Broken { reason: "its log is too short", .. }), "{error}");
    }

    #[test]
    fn a_consumer_is_restored_at_the_end_of_its_log_and_not_beyond() {
        let dir = tempfile::tempdir().unwrap();
        let header = Header { incarnation: 7, first: GlobalSequence(3), next: GlobalSequence(3) };
        let restore_with = |next: u64| {
            let mut backup = Vec::new();
            let mut writer = BackupWriter::new(&mut backup, &header).unwrap();
            writer.row(CONSUMER, b"watchman", &next.to_le_bytes()).unwrap();
            writer.finish().unwrap();
            restore(backup.as_slice(), dir.path().join("restored"))
        };
        let error = restore_with(4).unwrap_err();
        let reason = "a consumer is beyond the end of its log";
        assert!(matches!(error, RestoreError::Broken { reason: told, .. } if told == reason), "{error}");
        restore_with(3).unwrap();
    }

    #[test]
    fn a_row_that_follows_a_block_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path().join("store")).unwrap();
        varve.stream::<u16, 2>("readings").unwrap().append(StreamId(7), &650).unwrap();
        let mut backup = Vec::new();
        varve.snapshot().unwrap().back_up(&mut backup).unwrap();

        let (mut reader, header) = BackupReader::new(backup.as_slice()).unwrap();
        let mut disordered = Vec::new();
        let mut writer = BackupWriter::new(&mut disordered, &header).unwrap();
        let mut row = None;
        loop {
            match reader.next().unwrap() {
                BackupChunk::Row { table, key, value } => row = Some((table, key.to_vec(), value.to_vec())),
                BackupChunk::Block(block) => {
                    writer.block(block, 1).unwrap();
                    reader.count_events(1);
                }
                BackupChunk::End(_) => break,
            }
        }
        let (table, key, value) = row.unwrap();
        writer.row(table, &key, &value).unwrap();
        writer.finish().unwrap();
        let error = restore(disordered.as_slice(), dir.path().join("restored")).unwrap_err();
        assert!(matches!(error, RestoreError::Broken { reason: "a row follows a block", .. }), "{error}");
    }
}

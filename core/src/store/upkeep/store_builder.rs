//! Makes a new store out of the blocks and rows of another one: all of it, or nothing.

mod partial_directory;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use heed::RoTxn;

use crate::GlobalSequence;
use crate::store::config::Config;
use crate::store::error::OpenError;
use crate::store::files::environment::Environment;
use crate::store::log::block::Block;
use crate::store::log::format::read_incarnation;
use crate::store::log::tables::{Row, Table, Tables};
use crate::store::log::time_index;
use partial_directory::PartialDirectory;

/// A store in the making. It stands beside its place under another name, and is moved there when it is finished;
/// dropped before, it leaves nothing.
pub(in crate::store) struct StoreBuilder {
    /// The first field, since it is to be closed before its directory is removed.
    environment: Environment,
    partial: PartialDirectory,
    dir: PathBuf,
    batch: Batch,
}

/// What is to be written in one transaction.
#[derive(Default)]
struct Batch {
    rows: Vec<(Table, Vec<u8>, Vec<u8>)>,
    blocks: Vec<(GlobalSequence, Vec<u8>)>,
    len: usize,
}

impl StoreBuilder {
    /// Begins a store in `dir`, which must not be there yet, or be empty.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotEmpty`] also where something else stands beside it under the name of a store in the making;
    /// [`OpenError::Owned`] where another one is being made there.
    pub(in crate::store) fn new(dir: &Path) -> Result<Self, OpenError> {
        let dir = absolute(dir)?;
        refuse_filled(&dir)?;
        let (partial, owner) = PartialDirectory::make(&dir)?;
        let environment = Environment::open(partial.path(), &Config::default(), owner)?;
        Ok(Self { environment, partial, dir, batch: Batch::default() })
    }

    /// The new store's tables.
    pub(in crate::store) fn tables(&self) -> &Tables {
        self.environment.tables()
    }

    /// Puts a row.
    pub(in crate::store) fn row(&mut self, table: Table, (key, value): Row<'_>) -> Result<(), OpenError> {
        self.batch.rows.push((table, key.to_vec(), value.to_vec()));
        self.grow(key.len() + value.len())
    }

    /// Puts a block that was checked, the rows of its runs, and that of its times. The mappings of its clocks come before.
    pub(in crate::store) fn block(&mut self, block: &Block<'_>) -> Result<(), OpenError> {
        let runs = self.tables().stream;
        block.index_rows()?.iter().try_for_each(|run| self.row(runs, (&run.key(), &run.value())))?;
        self.batch.blocks.push((block.first(), block.bytes().to_vec()));
        self.grow(block.bytes().len())
    }

    /// Reads the rows that were put.
    pub(in crate::store) fn read<R>(
        &mut self,
        body: impl FnOnce(&Tables, &RoTxn<'_>) -> heed::Result<R>,
    ) -> Result<R, OpenError> {
        self.write()?;
        let txn = self.environment.write()?;
        Ok(body(self.tables(), &txn)?)
    }

    /// Writes what is left, and moves the store to its place. Returns its incarnation.
    pub(in crate::store) fn finish(mut self) -> Result<u64, OpenError> {
        self.write()?;
        let txn = self.environment.write()?;
        let incarnation = read_incarnation(self.environment.tables(), &txn)?;
        drop(txn);
        self.environment.flush().map_err(io_error(self.partial.path()))?;
        refuse_filled(&self.dir)?;
        self.partial.move_to(&self.dir)?;
        Ok(incarnation)
    }

    fn grow(&mut self, len: usize) -> Result<(), OpenError> {
        self.batch.len += len;
        if self.batch.len >= BATCH_LEN_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), OpenError> {
        let batch = std::mem::take(&mut self.batch);
        let tables = self.tables();
        let mut txn = self.environment.write()?;
        for (table, key, value) in &batch.rows {
            table.put(&mut txn, key, value)?;
        }
        for (first, bytes) in &batch.blocks {
            tables.block.put(&mut txn, &first.0.to_be_bytes(), bytes)?;
            time_index::put(tables, &mut txn, *first)?;
        }
        Ok(self.environment.commit(txn)?)
    }
}

/// Refuses a directory that holds anything.
fn refuse_filled(dir: &Path) -> Result<(), OpenError> {
    match fs::read_dir(dir).map(|mut entries| entries.next()) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(OpenError::NotEmpty { path: dir.to_path_buf() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(dir)(error)),
    }
}

/// `dir` with a name of its own, beside which another name can stand.
fn absolute(dir: &Path) -> Result<PathBuf, OpenError> {
    let absolute = std::path::absolute(dir).map_err(io_error(dir))?;
    match absolute.file_name() {
        Some(_) => Ok(absolute.components().collect()),
        None => Err(OpenError::NotEmpty { path: absolute }),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |error| OpenError::Io { path: path.to_path_buf(), error }
}

/// How many bytes of keys and values are written in one transaction.
const BATCH_LEN_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_finished_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("store");
        let builder = StoreBuilder::new(&dir).unwrap();
        assert!(matches!(StoreBuilder::new(&dir), Err(OpenError::Owned { path }) if path != dir));
        drop(builder);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_finished_store_takes_the_place_of_an_empty_directory_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("store");
        fs::create_dir(&dir).unwrap();
        let incarnation = StoreBuilder::new(&dir).unwrap().finish().unwrap();
        assert_eq!(crate::Varve::new(&dir).unwrap().incarnation(), incarnation);
        assert!(matches!(StoreBuilder::new(&dir), Err(OpenError::NotEmpty { path }) if path == dir));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_was_filled_meanwhile_is_not_touched() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("store");
        let builder = StoreBuilder::new(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("a letter"), "dear").unwrap();
        assert!(matches!(builder.finish(), Err(OpenError::NotEmpty { .. })));
        assert_eq!(fs::read(dir.join("a letter")).unwrap(), b"dear");
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}

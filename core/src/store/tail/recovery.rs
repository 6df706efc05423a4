//! What an owner does before it serves a store: it brings LMDB and the tail together, whatever a crash left of them.

use std::path::Path;
use std::sync::Arc;

use crate::store::config::{Config, Durability};
use crate::store::error::{AppendError, OpenError};
use crate::store::files::data_file;
use crate::store::files::environment::Environment;
use crate::store::files::owner_lock::OwnerLock;
#[cfg(feature = "notify")]
use crate::store::follow::watcher::Watermark;
use crate::store::log::block::BlockWriter;
use crate::store::log::clock::{Domain, HostClock};
use crate::store::log::rows::Rows;
use crate::store::log::tables::{Tables, number};
use crate::store::sealing::Sealing;
use crate::store::tail::folder::is_map_full;
use crate::store::tail::{
    Folded, Journal, PublishedFile, Record, Recovered, SEGMENTS, Tail, TailStart, fold,
};
use crate::store::write::writer::{OpenDomain, Writer};

/// Opens the tail of a store, if it has one, and sees to it that LMDB can be opened: after a power cut, a meta page
/// that is not known to be whole gives way to the one before it, and else is flushed. What that lacks the tail still holds.
/// A store that has a tail had a data file first: nobody makes another one.
pub(in crate::store) fn open_journal(dir: &Path, config: &Config) -> Result<Option<Journal>, OpenError> {
    let Some(journal) = Journal::open(dir, config.durability)? else { return Ok(None) };
    data_file::check_meta_pages(dir)?;
    heal(dir, &journal)?;
    Ok(Some(journal))
}

/// Does the same to LMDB for a process that only reads, where no owner has done it since the power cut.
pub(in crate::store) fn heal_unowned(dir: &Path) -> Result<(), OpenError> {
    let Some(journal) = Journal::open_read_only(dir)? else { return Ok(()) };
    data_file::check_meta_pages(dir)?;
    if !journal.boot_changed()? || OwnerLock::keep_free(dir)?.is_none() {
        return Ok(());
    }
    match OwnerLock::acquire(dir) {
        Err(OpenError::Owned { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(_owner) => heal(dir, &journal),
    }
}

/// Lets LMDB's newest meta page give way to the one before it where a power cut may have torn it, or else makes it durable:
/// the one before it is about to be written over.
fn heal(dir: &Path, journal: &Journal) -> Result<(), OpenError> {
    let confirmed = journal.confirmations()?;
    let is_confirmed = |checksum| confirmed.contains(&checksum);
    if journal.boot_changed()? {
        data_file::repair_after_power_cut(dir, is_confirmed)?;
    } else if journal.durability() == Durability::Durable {
        data_file::renew_unconfirmed(dir, is_confirmed)?;
    }
    Ok(())
}

/// Folds what the tail holds, so that it is written and flushed once more before anybody relies on it, and begins the
/// tail anew. The store gets a tail where it has none.
pub(in crate::store) fn recover(
    dir: &Path,
    environment: &Arc<Environment>,
    journal: Option<Journal>,
    config: &Config,
    sealing: Arc<Sealing>,
) -> Result<Writer, OpenError> {
    let incarnation = environment.incarnation()?;
    let journal = match journal {
        Some(journal) if journal.incarnation() == incarnation => journal,
        Some(_) => return Err(Journal::of_another_store(dir)),
        None if environment.has_folded()? => return Err(Journal::missing().into()),
        None => Journal::create(dir, incarnation, config.tail_len / SEGMENTS, config.durability)?,
    };
    let folded = environment.folded()?;
    let recovered = journal.recover(folded)?;
    let domain = fold_all(environment, &sealing, &recovered)?;
    let checksum =
        environment.meta_checksum().map_err(|error| OpenError::Io { path: dir.to_path_buf(), error })?;
    journal.note_boot(checksum).map_err(|error| OpenError::Io { path: dir.to_path_buf(), error })?;
    let Folded { generation, commit } = recovered.folded;
    let start = TailStart { generation: generation + 1, commit, next: environment.log_end()? };
    let published = PublishedFile::create(dir, incarnation)?;
    #[cfg(feature = "notify")]
    let watermark = Arc::new(Watermark::new(start.next));
    let tail = Tail::begin(
        journal,
        published,
        start,
        #[cfg(feature = "notify")]
        watermark,
    );
    Ok(Writer::new(environment.clone(), Arc::new(tail), domain, sealing))
}

/// Folds what was recovered, finds the clock domain of this boot, or adds it, and notes which keys are the store's. Where the map is full it grows.
fn fold_all(
    environment: &Environment,
    sealing: &Sealing,
    recovered: &Recovered,
) -> Result<OpenDomain, OpenError> {
    recovered.records.iter().try_for_each(Record::check)?;
    loop {
        match try_fold_all(environment, sealing, &recovered.records, recovered.folded) {
            Err(AppendError::Storage(error)) if is_map_full(&error.0) => environment.grow()?,
            folded => return Ok(folded?),
        }
    }
}

fn try_fold_all(
    environment: &Environment,
    sealing: &Sealing,
    records: &[Record],
    folded: Folded,
) -> Result<OpenDomain, AppendError> {
    let tables = environment.tables();
    let mut txn = environment.write()?;
    let mut block = BlockWriter::new();
    fold(&mut txn, tables, records.iter(), folded, &mut block)?;
    let domain = open_domain(tables, &mut txn)?;
    sealing.note_keys(tables, &mut txn)?;
    environment.commit(txn)?;
    environment.flush()?;
    Ok(domain)
}

/// Finds the clock domain of this boot, or adds it.
fn open_domain(tables: &Tables, txn: &mut heed::RwTxn<'_>) -> Result<OpenDomain, AppendError> {
    let mapping = Domain::now(HostClock);
    let rows = Rows::new(tables, txn, None, None);
    let last = rows.last(&tables.domain)?.map(|(key, value)| (number(key, 0), Domain::from_row(value)));
    let number = match last {
        Some((Some(number), Some(domain))) if domain.boot_id == mapping.boot_id => number,
        _ => rows.next_number(&tables.domain)?.unwrap_or(u32::MAX),
    };
    tables.domain.put(txn, &number.to_be_bytes(), &mapping.to_row())?;
    Ok(OpenDomain { number, mapping })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tail::{Chunk, RecordWriter};
    use crate::{StreamId, Varve};

    #[test]
    fn a_record_that_is_whole_and_holds_what_no_commit_writes_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        varve.stream::<u16, 2>("numbers").unwrap().append_batch(StreamId(7), &[1, 2, 3]).unwrap();
        let generation = varve.writer.tail().generation();
        drop(varve);
        let journal = Journal::open(dir.path(), Durability::Durable).unwrap().unwrap();
        let (record, _) = journal.read_behind(generation, 0).unwrap().unwrap();
        let (mut original, mut changed) = (RecordWriter::new(), RecordWriter::new());
        for index in 0..record.chunks() {
            match record.chunk(index) {
                Chunk::Row { table, key, value } => {
                    original.row(table, key, value);
                    changed.row(table, key, value);
                }
                Chunk::Block(bytes) => {
                    original.block(|out| out.extend_from_slice(bytes));
                    let mut bytes = bytes.to_vec();
                    // One event less in its only run, and the checksum as it should be.
                    bytes[64 + 16] -= 1;
                    let crc = crc32c::crc32c(&bytes[12..]);
                    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
                    changed.block(|out| out.extend_from_slice(&bytes));
                }
            }
        }
        changed.finish(*record.head(), journal.seed(generation));
        journal.write(generation, 0, changed.padded(0)).unwrap();
        match Varve::new(dir.path()) {
            Err(OpenError::Corrupt(damage)) => {
                assert_eq!(damage.reason, "its runs hold another number of events than it names");
            }
            other => panic!("{:?}", other.map(drop)),
        }
        // Nothing of it was folded: with the record that was there all is as it was.
        original.finish(*record.head(), journal.seed(generation));
        journal.write(generation, 0, original.padded(0)).unwrap();
        let varve = Varve::new(dir.path()).unwrap();
        let reader = varve.stream_reader::<u16>("numbers").unwrap();
        assert_eq!(reader.iter_stream(StreamId(7), None).unwrap().iter().count(), 3);
    }
}

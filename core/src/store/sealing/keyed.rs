//! What a store with keys seals and opens.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use heed::RwTxn;

use super::{KEYS_FILE, RING_KEY, has_keys, refuse_keys, ring_of};
use crate::store::config::Config;
use crate::store::encryption::{Found, Keyring, KeysError, MasterKey, Meaning, SealedStreams, StreamKey};
use crate::store::error::{AbsenceReason, AppendError, Damage, OpenError, Place, ReadError};
use crate::store::files::environment::Environment;
use crate::store::log::block::{Block, BlockWriter, Position, Run, RunKey, SealedRun};
use crate::store::log::catalog::DescriptorRow;
use crate::store::log::device::read_device_row;
use crate::store::log::gap_event::GapEvent;
use crate::store::log::rows::Rows;
use crate::store::log::tables::{RowError, Tables};
use crate::store::read::snapshot::Snapshot;
use crate::{Event, StreamId, StreamSequence};

/// The keys of an open store, if it has any and was given what opens them.
#[derive(Debug, Default)]
pub(in crate::store) struct Sealing {
    keys: Option<Keys>,
}

#[derive(Debug)]
struct Keys {
    keyring: Keyring,
    streams: SealedStreams,
    /// Of the store that seals; a reader has no use for it.
    incarnation: u64,
}

/// The streams that one append seals, and their keys.
pub(in crate::store) struct AppendSealing<'w> {
    keys: Option<&'w Keys>,
    streams: HashMap<u32, Arc<StreamKey>>,
}

impl Sealing {
    /// Opens the keys of a store for its owner, and gives it some where it is to have them.
    pub(in crate::store) fn open(
        dir: &Path,
        config: &Config,
        environment: &Arc<Environment>,
    ) -> Result<Self, OpenError> {
        let Some(encryption) = &config.encryption else {
            refuse_keys(dir, environment)?;
            return Ok(Self::default());
        };
        let ring = ring_of(environment)?;
        let keyring = Keyring::open(dir, &encryption.master, encryption.suite, ring)?;
        let incarnation = environment.incarnation()?;
        Ok(Self { keys: Some(Keys { keyring, streams: encryption.streams.clone(), incarnation }) })
    }

    /// Notes in the store which keys are its own.
    pub(in crate::store) fn note_keys(&self, tables: &Tables, txn: &mut RwTxn<'_>) -> heed::Result<()> {
        match &self.keys {
            Some(keys) => tables.meta.put(txn, RING_KEY, &keys.keyring.ring().to_le_bytes()),
            None => Ok(()),
        }
    }

    /// Opens the keys of a store beside its owner. Without a master key a reader sees what is plain.
    ///
    /// A store that has had none yet shows what it has, which is plain.
    pub(in crate::store) fn open_read_only(
        dir: &Path,
        config: &Config,
        environment: &Arc<Environment>,
    ) -> Result<Self, OpenError> {
        let Some(encryption) = &config.encryption else { return Ok(Self::default()) };
        let ring = ring_of(environment)?;
        if !has_keys(dir) {
            let path = dir.join(KEYS_FILE);
            return ring.map_or(Ok(Self::default()), |_| Err(KeysError::Missing { path }.into()));
        }
        let keyring = Keyring::open_read_only(dir, &encryption.master, ring)?;
        Ok(Self { keys: Some(Keys { keyring, streams: encryption.streams.clone(), incarnation: 0 }) })
    }

    /// What an append is to seal.
    pub(in crate::store) fn append(&self) -> AppendSealing<'_> {
        AppendSealing { keys: self.keys.as_ref(), streams: HashMap::new() }
    }

    /// The run with its events: as it is where it is plain, or else from memory that the snapshot keeps.
    pub(in crate::store) fn open_run<'s>(
        &self,
        snapshot: &'s Snapshot,
        block: &Block<'s>,
        index: usize,
    ) -> Result<Run<'s>, ReadError> {
        let run = block.run(index)?;
        let Some((sealed, unit)) = run.sealed() else { return Ok(run) };
        let Some(keys) = &self.keys else { return Err(super::sealed(snapshot, &run)) };
        let damage = |reason| match block.global(Position { run: index, index: 0 }) {
            Ok(global) => Damage { place: Place::Event(global), reason },
            Err(damage) => damage,
        };
        let text = snapshot.opened.get(run.stream(), run.first().0, || {
            let key = keys.key_of(snapshot, &run)?.ok_or_else(|| damage("its key is missing"))?;
            let meaning = meaning(snapshot.rows(), &RunKey::of(&run))?;
            let text = key.open(&sealed, &meaning, unit);
            Ok::<_, ReadError>(text.map_err(|_| damage("it is not what was sealed there"))?)
        })?;
        run.opened(text).map_err(|reason| damage(reason).into())
    }

    /// Destroys the key of a stream that ends at `end`.
    pub(in crate::store) fn shred(
        &self,
        name: &str,
        id: StreamId,
        end: StreamSequence,
    ) -> Result<(), KeysError> {
        self.keyring()?.shred(name, id, end)
    }

    /// Wraps the keys by another master key.
    pub(in crate::store) fn rotate_master(&self, master: &MasterKey) -> Result<(), KeysError> {
        self.keyring()?.rotate_master(master)
    }

    /// Has it take no key that it has not.
    #[cfg(test)]
    pub(in crate::store) fn fill(&self) {
        self.keyring().unwrap().fill();
    }

    fn keyring(&self) -> Result<&Keyring, KeysError> {
        Ok(&self.keys.as_ref().ok_or(KeysError::NoMasterKey)?.keyring)
    }
}

impl Keys {
    /// The key of a sealed run; `None` where it should be there and is not.
    fn key_of(&self, snapshot: &Snapshot, run: &Run<'_>) -> Result<Option<Arc<StreamKey>>, ReadError> {
        let stream = snapshot.stream_row(run.stream())?;
        match self.keyring.key_of(stream.name, stream.id, run.first())? {
            Found::Key(key) => Ok(Some(key)),
            Found::Missing => Ok(None),
            Found::Shredded { first } => {
                // What has a key is sealed from then on: so all up to there is gone with it.
                let end = first.min(snapshot.stream_end(run.stream())?);
                Err(snapshot.unopened(AbsenceReason::Shredded, run, end))
            }
        }
    }
}

impl AppendSealing<'_> {
    /// Whether a stream, which goes on at `next`, is sealed; its key is then at hand. Where there are too many keys to have
    /// another, gaps stay plain.
    pub(in crate::store) fn admit(
        &mut self,
        stream: u32,
        name: &str,
        id: StreamId,
        next: StreamSequence,
    ) -> Result<bool, AppendError> {
        let Some(keys) = self.keys else { return Ok(false) };
        if self.streams.contains_key(&stream) {
            return Ok(true);
        }
        let is_asked_for = keys.streams.contain(name);
        let key = match keys.keyring.key_to_seal(name, id, next, is_asked_for) {
            // What is lost is told all the same.
            Err(KeysError::Full) if name == GapEvent::STREAM => None,
            key => key?,
        };
        Ok(key.map(|key| self.streams.insert(stream, key)).is_some())
    }

    /// Seals the runs of a block that are to be.
    pub(in crate::store) fn seal(&self, rows: Rows<'_>, block: &mut BlockWriter) -> Result<(), AppendError> {
        let Some(keys) = self.keys else { return Ok(()) };
        block.seal(|key: &RunKey, run: &SealedRun, unit: &mut Vec<u8>| {
            let meaning = meaning(rows, key)?;
            let sealed = self.streams[&key.stream].seal(keys.incarnation, run, &meaning, unit);
            sealed.map_err(|error| AppendError::Keys(KeysError::Random(error)))
        })
    }

    /// Stores the keys that were drawn: they come before anything that they sealed.
    pub(in crate::store) fn store_keys(&self) -> Result<(), AppendError> {
        match self.keys {
            Some(keys) if !self.streams.is_empty() => Ok(keys.keyring.store_fresh()?),
            _ => Ok(()),
        }
    }
}

/// Whether an append failed since a stream is to be sealed, and there are as many keys as there may be.
pub(in crate::store) fn is_want_of_keys(error: &AppendError) -> bool {
    matches!(error, AppendError::Keys(KeysError::Full))
}

/// What the numbers of a run stand for.
fn meaning(rows: Rows<'_>, key: &RunKey) -> Result<Meaning, RowError> {
    let descriptor = DescriptorRow::get(rows, key.descriptor)?.hash;
    if key.device == 0 {
        return Ok(Meaning { descriptor, device: None });
    }
    let (table, number) = (&rows.tables.device, key.device.to_be_bytes());
    let row = rows.get(table, &number)?.and_then(read_device_row);
    let (device, _) = row.ok_or_else(|| table.damage(&number, "it is no device"))?;
    Ok(Meaning { descriptor, device: Some(device) })
}

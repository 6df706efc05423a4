//! What an open store seals and opens: nothing, in a build without the feature `encryption`.

use std::path::Path;
use std::sync::Arc;

use super::block::{Block, BlockWriter, Run};
use super::config::Config;
use super::environment::Environment;
use super::error::{AppendError, OpenError, ReadError};
use super::rows::Rows;
use super::snapshot::Snapshot;
use crate::{StreamId, StreamSequence};
#[cfg(feature = "encryption")]
use {
    super::block::{Position, RunKey, SealedRun},
    super::catalog::DescriptorRow,
    super::device::read_device_row,
    super::encryption::{Found, Keyring, KeysError, MasterKey, Meaning, SealedStreams, StreamKey, has_keys},
    super::error::{Damage, Place},
    super::tables::RowError,
    std::collections::HashMap,
};

/// The keys of an open store, if it has any and was given what opens them.
#[derive(Debug, Default)]
pub(super) struct Sealing {
    #[cfg(feature = "encryption")]
    keys: Option<Keys>,
}

#[cfg(feature = "encryption")]
#[derive(Debug)]
struct Keys {
    keyring: Keyring,
    streams: SealedStreams,
    incarnation: u64,
}

/// The streams that one append seals, and their keys.
#[derive(Default)]
pub(super) struct AppendSealing<'w> {
    #[cfg(feature = "encryption")]
    keys: Option<&'w Keys>,
    #[cfg(feature = "encryption")]
    streams: HashMap<u32, Arc<StreamKey>>,
    #[cfg(not(feature = "encryption"))]
    _keys: std::marker::PhantomData<&'w ()>,
}

#[cfg(not(feature = "encryption"))]
impl Sealing {
    /// Refuses a store that has keys: its owner would store plain what is to be sealed.
    pub(super) fn open(dir: &Path, _: &Config, _: &Arc<Environment>) -> Result<Self, OpenError> {
        if KEY_FILES.iter().any(|name| dir.join(name).exists()) {
            return Err(OpenError::Encrypted { path: dir.to_path_buf() });
        }
        Ok(Self::default())
    }

    /// Opens nothing: a reader sees what is plain.
    pub(super) fn open_read_only(_: &Path, _: &Config) -> Result<Self, OpenError> {
        Ok(Self::default())
    }

    /// Seals nothing.
    pub(super) fn append(&self) -> AppendSealing<'_> {
        AppendSealing::default()
    }

    /// The run as it is where it is plain.
    pub(super) fn open_run<'s>(
        &self,
        snapshot: &'s Snapshot,
        block: &Block<'s>,
        index: usize,
    ) -> Result<Run<'s>, ReadError> {
        let run = block.run(index)?;
        if run.is_sealed() { Err(sealed(snapshot, &run)?) } else { Ok(run) }
    }
}

#[cfg(not(feature = "encryption"))]
impl AppendSealing<'_> {
    pub(super) fn admit(
        &mut self,
        _: u32,
        _: &str,
        _: StreamId,
        _: StreamSequence,
    ) -> Result<bool, AppendError> {
        Ok(false)
    }

    pub(super) fn seal(&self, _: Rows<'_>, _: &mut BlockWriter) -> Result<(), AppendError> {
        Ok(())
    }

    pub(super) fn store_keys(&self) -> Result<(), AppendError> {
        Ok(())
    }
}

#[cfg(feature = "encryption")]
impl Sealing {
    /// Opens the keys of a store for its owner, and gives it some where it is to have them.
    pub(super) fn open(
        dir: &Path,
        config: &Config,
        environment: &Arc<Environment>,
    ) -> Result<Self, OpenError> {
        let Some(encryption) = &config.encryption else {
            if has_keys(dir) || ring_of(environment)?.is_some() {
                return Err(OpenError::Encrypted { path: dir.to_path_buf() });
            }
            return Ok(Self::default());
        };
        let ring = ring_of(environment)?;
        let keyring = Keyring::open(dir, &encryption.master, encryption.suite, ring)?;
        if ring.is_none() {
            let mut txn = environment.write()?;
            environment.tables().meta.put(&mut txn, RING_KEY, &keyring.ring().to_le_bytes())?;
            txn.commit()?;
        }
        let incarnation = environment.incarnation()?;
        Ok(Self { keys: Some(Keys { keyring, streams: encryption.streams.clone(), incarnation }) })
    }

    /// Opens the keys of a store beside its owner. Without a master key a reader sees what is plain.
    pub(super) fn open_read_only(dir: &Path, config: &Config) -> Result<Self, OpenError> {
        let Some(encryption) = config.encryption.as_ref().filter(|_| has_keys(dir)) else {
            return Ok(Self::default());
        };
        let keyring = Keyring::open_read_only(dir, &encryption.master)?;
        Ok(Self { keys: Some(Keys { keyring, streams: encryption.streams.clone(), incarnation: 0 }) })
    }

    /// What an append is to seal.
    pub(super) fn append(&self) -> AppendSealing<'_> {
        AppendSealing { keys: self.keys.as_ref(), streams: HashMap::new() }
    }

    /// The run with its events: as it is where it is plain, or else from memory that the snapshot keeps.
    pub(super) fn open_run<'s>(
        &self,
        snapshot: &'s Snapshot,
        block: &Block<'s>,
        index: usize,
    ) -> Result<Run<'s>, ReadError> {
        let run = block.run(index)?;
        let Some((sealed, unit)) = run.sealed() else { return Ok(run) };
        let Some(keys) = &self.keys else { return Err(self::sealed(snapshot, &run)?) };
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
    pub(super) fn shred(&self, name: &str, id: StreamId, end: StreamSequence) -> Result<(), KeysError> {
        self.keyring()?.shred(name, id, end)
    }

    /// Wraps the keys by another master key.
    pub(super) fn rotate_master(&self, master: &MasterKey) -> Result<(), KeysError> {
        self.keyring()?.rotate_master(master)
    }

    fn keyring(&self) -> Result<&Keyring, KeysError> {
        Ok(&self.keys.as_ref().ok_or(KeysError::NoMasterKey)?.keyring)
    }
}

#[cfg(feature = "encryption")]
impl Keys {
    /// The key of a sealed run; `None` where it should be there and is not.
    fn key_of(&self, snapshot: &Snapshot, run: &Run<'_>) -> Result<Option<Arc<StreamKey>>, ReadError> {
        let stream = snapshot.stream_row(run.stream())?;
        match self.keyring.key_of(stream.name, stream.id, run.first())? {
            Found::Key(key) => Ok(Some(key)),
            Found::Missing => Ok(None),
            Found::Shredded { first } => {
                Err(ReadError::Shredded { stream: stream.name.into(), stream_id: stream.id, first })
            }
        }
    }
}

#[cfg(feature = "encryption")]
impl AppendSealing<'_> {
    /// Whether a stream, which goes on at `next`, is sealed; its key is then at hand.
    pub(super) fn admit(
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
        let key = keys.keyring.key_to_seal(name, id, next, is_asked_for)?;
        Ok(key.map(|key| self.streams.insert(stream, key)).is_some())
    }

    /// Seals the runs of a block that are to be.
    pub(super) fn seal(&self, rows: Rows<'_>, block: &mut BlockWriter) -> Result<(), AppendError> {
        let Some(keys) = self.keys else { return Ok(()) };
        block.seal(|key: &RunKey, run: &SealedRun, unit: &mut Vec<u8>| {
            let meaning = meaning(rows, key)?;
            let sealed = self.streams[&key.stream].seal(keys.incarnation, run, &meaning, unit);
            sealed.map_err(|error| AppendError::Keys(KeysError::Random(error)))
        })
    }

    /// Stores the keys that were drawn: they come before anything that they sealed.
    pub(super) fn store_keys(&self) -> Result<(), AppendError> {
        match self.keys {
            Some(keys) if !self.streams.is_empty() => Ok(keys.keyring.store_fresh()?),
            _ => Ok(()),
        }
    }
}

/// What the numbers of a run stand for.
#[cfg(feature = "encryption")]
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

/// The number of the keys that the store has; `None` where it has none.
#[cfg(feature = "encryption")]
fn ring_of(environment: &Arc<Environment>) -> Result<Option<u64>, OpenError> {
    let read = environment.read()?;
    let meta = &environment.tables().meta;
    let Some(row) = meta.get(read.txn(), RING_KEY)? else { return Ok(None) };
    let ring = row.try_into().map_err(|_| meta.damage(RING_KEY, "it is no number of keys"))?;
    Ok(Some(u64::from_le_bytes(ring)))
}

/// Says that a run is sealed, and that this process has not what opens it.
fn sealed(snapshot: &Snapshot, run: &Run<'_>) -> Result<ReadError, ReadError> {
    let stream = snapshot.stream_row(run.stream())?;
    Ok(ReadError::Sealed { stream: stream.name.into(), stream_id: stream.id })
}

/// The row of the table `meta` that tells which keys are the store's.
#[cfg(feature = "encryption")]
const RING_KEY: &[u8] = b"keys";

/// The files that a store with keys has, at least one of them.
#[cfg(not(feature = "encryption"))]
const KEY_FILES: [&str; 2] = ["keys", "keys.new"];

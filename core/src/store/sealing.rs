//! Between the store and its keys: what an append seals, and what a reader opens.

#[cfg(feature = "encryption")]
mod keyed;
#[cfg(not(feature = "encryption"))]
mod keyless;

use std::path::Path;
use std::sync::Arc;

use crate::store::error::{AbsenceReason, OpenError, ReadError};
use crate::store::files::environment::Environment;
use crate::store::log::block::Run;
use crate::store::read::snapshot::Snapshot;
#[cfg(feature = "encryption")]
pub(super) use keyed::{AppendSealing, Sealing, is_want_of_keys};
#[cfg(not(feature = "encryption"))]
pub(super) use keyless::{AppendSealing, Sealing, is_want_of_keys};

/// Refuses a store that has keys, for an owner who has not what opens them: it would store plain what is to be sealed.
fn refuse_keys(dir: &Path, environment: &Arc<Environment>) -> Result<(), OpenError> {
    if has_keys(dir) || ring_of(environment)?.is_some() {
        return Err(OpenError::Encrypted { path: dir.to_path_buf() });
    }
    Ok(())
}

/// Whether a directory has keys, or is about to. A file that cannot be looked at is there.
pub(super) fn has_keys(dir: &Path) -> bool {
    [KEYS_FILE, NEW_KEYS_FILE].iter().any(|name| dir.join(name).try_exists().unwrap_or(true))
}

/// The number of the keys that the store has; `None` where it has none.
fn ring_of(environment: &Arc<Environment>) -> Result<Option<u64>, OpenError> {
    let read = environment.read()?;
    let meta = &environment.tables().meta;
    let Some(row) = meta.get(read.txn(), RING_KEY)? else { return Ok(None) };
    let ring = row.try_into().map_err(|_| meta.damage(RING_KEY, "it is no number of keys"))?;
    Ok(Some(u64::from_le_bytes(ring)))
}

/// Says that a run is sealed, and that this process has not what opens it.
fn sealed(snapshot: &Snapshot, run: &Run<'_>) -> ReadError {
    snapshot.unopened(AbsenceReason::Sealed, run, run.first())
}

/// The keys, beside LMDB's file and never in it.
pub(super) const KEYS_FILE: &str = "keys";

/// The keys that are about to take the place of those.
pub(super) const NEW_KEYS_FILE: &str = "keys.new";

/// The row of the table `meta` that tells which keys are the store's.
const RING_KEY: &[u8] = b"keys";

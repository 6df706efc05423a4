//! What a store says of itself: its format, and which store it is.

use heed::RoTxn;

use crate::store::error::{Damage, OpenError, Place};
use crate::store::files::random::random_u64;
use crate::store::log::tables::{RowError, Tables};

/// The version of the stored format: 0, unreleased, and free to change until it is 1.
pub const FORMAT_VERSION: u32 = 0;

/// Refuses a store that a later release wrote.
pub(in crate::store) fn check_version(row: &[u8]) -> Result<(), OpenError> {
    let found = <[u8; 4]>::try_from(row).map(u32::from_le_bytes);
    match found {
        Ok(found) if found > FORMAT_VERSION => {
            Err(OpenError::NewerFormat { found, supported: FORMAT_VERSION })
        }
        Ok(_) => Ok(()),
        Err(_) => Err(OpenError::Corrupt(Damage {
            place: Place::Row { table: META_TABLE, key: FORMAT_KEY.to_vec() },
            reason: "it is no version",
        })),
    }
}

/// The rows that name a new store.
pub(in crate::store) fn new_identity() -> [(&'static [u8], Vec<u8>); 2] {
    [
        (FORMAT_KEY, FORMAT_VERSION.to_le_bytes().to_vec()),
        (INCARNATION_KEY, random_u64().to_le_bytes().to_vec()),
    ]
}

/// The number that tells a store from all others.
pub(in crate::store) fn read_incarnation(tables: &Tables, txn: &RoTxn<'_>) -> Result<u64, RowError> {
    let row = tables.meta.get(txn, INCARNATION_KEY)?.and_then(|row| row.try_into().ok());
    let row = row.ok_or_else(|| tables.meta.damage(INCARNATION_KEY, "the store has no incarnation"))?;
    Ok(u64::from_le_bytes(row))
}

/// Whether a row of `meta` belongs to one store alone, and to none that is made of it.
pub(in crate::store) fn is_of_this_store(key: &[u8]) -> bool {
    [FORMAT_KEY, INCARNATION_KEY, FOLDED_KEY, RESTORED_FROM_KEY].contains(&key)
}

/// The table that every version has.
pub(in crate::store) const META_TABLE: &str = "meta";

/// The row of the format's version, which stays where it is in every version.
pub(in crate::store) const FORMAT_KEY: &[u8] = b"format";

/// The row of the number that tells the store from all others.
pub(in crate::store) const INCARNATION_KEY: &[u8] = b"incarnation";

/// The row that tells which generations of the tail LMDB holds.
pub(in crate::store) const FOLDED_KEY: &[u8] = b"folded";

/// The row that tells which store this one was restored from, and up to which event.
pub(in crate::store) const RESTORED_FROM_KEY: &[u8] = b"restored_from";

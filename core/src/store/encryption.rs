//! Encryption: a key for each stream, so that a stream can be forgotten.
//!
//! ```text
//! master key (the user's) ─wraps─► key-encryption key ─wraps─► a key for each stream ─derives─► what seals its units
//!                                  └──────────── the file `keys`, beside LMDB ─────────┘
//! ```
//!
//! What a commit stores of a stream is sealed before it is anywhere on the disk, and stays so until somebody reads it. To
//! shred a stream is to make the file of keys anew without the stream's key, under a fresh key-encryption key, and to
//! overwrite the old one: what LMDB or the tail still hold of its events, freed pages included, then opens to nobody.
//! FORMAT.md, section 8, specifies every byte, and tells what is beyond a store's reach.

#[cfg(test)]
mod attacker;
mod error;
#[cfg(test)]
mod golden;
pub(super) mod key_file;
mod keyring;
mod master_key;
mod opened_units;
mod replacement;
mod secret;
mod stream_key;
mod suite;
mod wrapped_key;

use std::path::Path;

use crate::store::error::{Damage, Place};
use crate::store::sealing::has_keys;
pub use error::KeysError;
pub use keyring::KEYS_MAX;
pub(super) use keyring::{Found, Keyring};
pub use master_key::{MasterKey, MasterKeyError};
pub use opened_units::SNAPSHOT_OPENED_LEN_MAX;
pub(super) use opened_units::{Full, OpenedUnits};
pub(super) use stream_key::{Meaning, StreamKey};
pub use suite::Suite;

/// How a store's events are sealed: part of its [`Config`](crate::Config).
///
/// Sealed are the bytes of events, their lengths where they differ, and the ticks of a device's clock. Names and ids of streams, how many events each holds and when the
/// host took them in, descriptors and devices stay readable.
///
/// ```
/// use varve_core::{Config, Encryption, MasterKey, SealedStreams, Suite, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("master.key");
/// # std::fs::write(&path, [7; 32])?;
/// let mut encryption = Encryption::new(MasterKey::from_file(&path)?);
/// encryption.suite = Suite::ChaCha20Poly1305; // where the CPU has no instructions for AES
/// encryption.streams = SealedStreams::Named(vec!["visits".into()]); // all others stay plain
/// let mut config = Config::default();
/// config.encryption = Some(encryption);
/// let varve = Varve::with_config(dir.path().join("store"), config)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Encryption {
    /// What opens the store's keys.
    pub master: MasterKey,
    /// The suite of streams that are yet to get a key. The others keep theirs.
    pub suite: Suite,
    /// Which streams are sealed. One that has a key stays sealed, whatever is asked for here.
    pub streams: SealedStreams,
}

/// Which streams are sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealedStreams {
    /// Every stream, the store's own included. Where the store has [`KEYS_MAX`] keys, gaps stay plain in streams that have none.
    #[default]
    All,
    /// All streams of these names.
    Named(Vec<String>),
}

impl Encryption {
    /// Seals every stream, by AES-256-GCM.
    pub fn new(master: MasterKey) -> Self {
        Self { master, suite: Suite::default(), streams: SealedStreams::default() }
    }
}

impl SealedStreams {
    /// Whether the streams of a name are among them.
    pub(super) fn contain(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|other| other == name),
        }
    }
}

/// What is wrong with a store's file of keys, if it has one. It takes no master key.
pub(super) fn verify_keys(dir: &Path) -> Vec<Damage> {
    if !has_keys(dir) {
        return Vec::new();
    }
    let damage = |reason| vec![Damage { place: Place::Keys(0), reason }];
    match replacement::read_beside_owner(dir, |_, bytes| key_file::check(bytes)) {
        Ok(findings) => findings,
        Err(KeysError::Corrupt(found)) => vec![found],
        Err(KeysError::Io { .. }) => damage("it cannot be read"),
        Err(_) => damage("a later release wrote it"),
    }
}

#[cfg(test)]
mod tests;

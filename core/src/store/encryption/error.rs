//! What can go wrong with a store's keys.

use std::path::PathBuf;
use std::{fmt, io};

use crate::StreamId;
use crate::store::error::Damage;

/// Why a store's keys could not be opened, added to, or destroyed.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeysError {
    /// A file of keys could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The system gave no random bytes.
    Random(io::Error),
    /// The keys were wrapped by another master key.
    WrongMasterKey,
    /// A later release wrote the keys: use that release, or a newer one.
    NewerFormat {
        /// The version of the file.
        found: u16,
    },
    /// The store has sealed events, and its file of keys is gone. Put a copy of it there: no backup has one.
    Missing {
        /// Where it was.
        path: PathBuf,
    },
    /// The file of keys is another store's.
    OtherStore {
        /// The file.
        path: PathBuf,
    },
    /// The store was opened without its master key.
    NoMasterKey,
    /// The stream has no key: none of its events was ever sealed, so that nothing makes them unreadable.
    NotSealed {
        /// The stream's name.
        stream: String,
        /// Which stream of the name.
        stream_id: StreamId,
    },
    /// The store has as many keys as it may, [`KEYS_MAX`](crate::KEYS_MAX).
    Full,
    /// An earlier write to the keys failed, so that what the disk holds of them is unknown. Close the store and open
    /// it again.
    Poisoned,
    /// The file of keys is damaged.
    Corrupt(Damage),
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Random(error) => write!(f, "the system gave no random bytes: {error}"),
            Self::WrongMasterKey => f.write_str("the store's keys were wrapped by another master key"),
            Self::NewerFormat { found } => {
                write!(f, "the store's keys have format version {found}; use a newer release")
            }
            Self::Missing { path } => {
                write!(f, "{}: the store's keys are gone; put a copy of the file there", path.display())
            }
            Self::OtherStore { path } => write!(f, "{}: these are another store's keys", path.display()),
            Self::NoMasterKey => f.write_str("the store was opened without its master key"),
            Self::NotSealed { stream, stream_id } => {
                write!(f, "stream `{stream}` {stream_id} was never sealed, and cannot be shredded")
            }
            Self::Full => f.write_str("the store has as many keys as it may"),
            Self::Poisoned => {
                f.write_str("an earlier write to the keys failed; close the store and open it again")
            }
            Self::Corrupt(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for KeysError {}

impl From<Damage> for KeysError {
    fn from(damage: Damage) -> Self {
        Self::Corrupt(damage)
    }
}

//! How one error becomes another, where one family of operations does what another is asked for.

use std::io;

use heed::MdbError;

use super::*;
#[cfg(feature = "encryption")]
use crate::store::encryption::Full;

/// Where an operation of one family stands for one of another, its damage stays damage, and what the system said stays
/// that. Whatever else it says keeps its words.
macro_rules! stands_for {
    ($($one:ident for $other:ident),+ $(,)?) => {
        $(impl From<$one> for $other {
            fn from(error: $one) -> Self {
                match error {
                    $one::Corrupt(damage) => Self::Corrupt(damage),
                    $one::Storage(error) => Self::Storage(error),
                    error => Self::Storage(StorageError(heed::Error::Io(io::Error::other(error)))),
                }
            }
        })+
    };
}

stands_for!(ReadError for OpenError, ReadError for AppendError);

impl From<AppendError> for OpenError {
    fn from(error: AppendError) -> Self {
        Self::Storage(StorageError(heed::Error::Io(match error {
            AppendError::Corrupt(damage) => return Self::Corrupt(damage),
            AppendError::Storage(error) => return Self::Storage(error),
            AppendError::DiskFull => io::ErrorKind::StorageFull.into(),
            error => io::Error::other(error),
        })))
    }
}

macro_rules! corrupt_by_damage {
    ($($error:ident),+) => {
        $(impl From<Damage> for $error {
            fn from(damage: Damage) -> Self {
                Self::Corrupt(damage)
            }
        })+
    };
}

corrupt_by_damage!(OpenError, AppendError, ReadError);

#[cfg(feature = "encryption")]
impl From<KeysError> for OpenError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Io { path, error } => Self::Io { path, error },
            KeysError::Corrupt(damage) => Self::Corrupt(damage),
            error => Self::Keys(error),
        }
    }
}

#[cfg(feature = "encryption")]
impl From<KeysError> for AppendError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Io { error, .. } => heed::Error::Io(error).into(),
            KeysError::Corrupt(damage) => Self::Corrupt(damage),
            KeysError::Poisoned => Self::Poisoned,
            error => Self::Keys(error),
        }
    }
}

#[cfg(feature = "encryption")]
impl From<KeysError> for ReadError {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Io { error, .. } => heed::Error::Io(error).into(),
            KeysError::Corrupt(damage) => Self::Corrupt(damage),
            error => Self::Keys(error),
        }
    }
}

impl From<heed::Error> for OpenError {
    fn from(error: heed::Error) -> Self {
        Self::Storage(StorageError(error))
    }
}

impl From<heed::Error> for ReadError {
    fn from(error: heed::Error) -> Self {
        Self::Storage(StorageError(error))
    }
}

impl From<NameError> for AppendError {
    fn from(NameError { len }: NameError) -> Self {
        Self::StreamName { len }
    }
}

impl From<NameError> for ReadError {
    fn from(NameError { len }: NameError) -> Self {
        Self::StreamName { len }
    }
}

impl From<ReadError> for ProcessorError {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<AppendError> for ProcessorError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

#[cfg(feature = "encryption")]
impl From<Full> for ReadError {
    fn from(_: Full) -> Self {
        Self::SnapshotFull
    }
}

impl From<heed::Error> for AppendError {
    fn from(error: heed::Error) -> Self {
        match StorageError(error) {
            error if error.is_disk_full() => Self::DiskFull,
            // LMDB could not write a meta page, and does nothing more until it is opened again.
            StorageError(heed::Error::Mdb(MdbError::Panic)) => Self::Poisoned,
            error => Self::Storage(error),
        }
    }
}

impl From<io::Error> for AppendError {
    fn from(error: io::Error) -> Self {
        heed::Error::Io(error).into()
    }
}

impl From<OpenError> for ReadError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Corrupt(damage) => Self::Corrupt(damage),
            OpenError::Storage(error) => Self::Storage(error),
            OpenError::Io { error, .. } => heed::Error::Io(error).into(),
            error => heed::Error::Io(io::Error::other(error)).into(),
        }
    }
}

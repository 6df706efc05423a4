//! What the errors say: one line that tells what to do.

use std::fmt;

use super::*;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Owned { path } => write!(
                f,
                "{}: another process or handle owns this store; open it read-only, or end the owner",
                path.display()
            ),
            Self::OpenHere { path } => {
                write!(f, "{}: this process has the store open already; read through it", path.display())
            }
            Self::NewerFormat { found, supported } => write!(
                f,
                "the store has format version {found}, and this release reads up to {supported}; use a newer release"
            ),
            Self::OtherWordSize { found, expected } => write!(
                f,
                "a {found}-bit machine wrote this store, and this is a {expected}-bit one; back it up there, and \
                 restore the backup here"
            ),
            Self::NetworkFileSystem { path, kind } => write!(
                f,
                "{}: the file system is {kind}; a store needs a disk of this machine",
                path.display()
            ),
            Self::NotEmpty { path } => {
                write!(f, "{}: it is not empty, and a new store was to be made there", path.display())
            }
            Self::NotAStore { path, reason } => write!(f, "{}: not a Varve store: {reason}", path.display()),
            Self::Unrecovered { path } => write!(
                f,
                "{}: the last owner's process ended in the middle of a commit or a recovery; let an owner open the store first",
                path.display()
            ),
            Self::Encrypted { path } => {
                write!(f, "{}: the store has sealed streams; open it with its master key", path.display())
            }
            #[cfg(feature = "encryption")]
            Self::Keys(error) => error.fmt(f),
            Self::Corrupt(damage) => damage.fmt(f),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EventTooLarge { len_max } => {
                write!(f, "the archived event takes more than the {len_max} bytes that its stream allows")
            }
            Self::Archive(error) => error.fmt(f),
            Self::StreamName { len } => NameError { len: *len }.fmt(f),
            Self::SystemStream { name } => write!(f, "stream {name:?} is the store's own; take another name"),
            Self::OtherStore { stream } => write!(f, "stream {stream:?} is one of another store"),
            Self::ConsumerName { len } => {
                write!(f, "a consumer's name has 1 to {} bytes, not {len}", crate::CONSUMER_NAME_LEN_MAX)
            }
            Self::ConsumerAhead { next, end } => {
                write!(f, "a consumer cannot go on at {next}: the log ends at {end}")
            }
            Self::ConsumerMoved { expected, actual } => {
                let place = |next: &Option<GlobalSequence>| next.unwrap_or_default();
                write!(f, "the consumer was moved from {} to {} meanwhile", place(expected), place(actual))
            }
            Self::LayoutMismatch(mismatch) => mismatch.fmt(f),
            Self::ConcurrencyConflict { stream, stream_id, expected, actual } => {
                write!(
                    f,
                    "stream `{stream}` {stream_id} was expected to have {expected}, and has version {actual}"
                )
            }
            Self::Descriptor(error) => error.fmt(f),
            Self::UnboundChannel { channel } => write!(f, "channel {channel} is bound to no stream"),
            Self::Full => f.write_str("the append is full; commit it and begin another"),
            Self::Exhausted { space } => write!(f, "no {space} is left"),
            Self::MapFull { map_size, snapshots } => write!(
                f,
                "the map of {map_size} bytes is full and {snapshots} open snapshots keep it from growing; drop them \
                 and try again"
            ),
            Self::DiskFull => f.write_str("the disk is full; free some space and try again"),
            Self::QuotaExceeded { quota, used } => {
                write!(
                    f,
                    "the store needs {used} bytes of the {quota} that it may take; retire events, or raise its quota"
                )
            }
            Self::Poisoned => {
                f.write_str("a commit failed to reach the disk; drop every handle and open the store again")
            }
            #[cfg(feature = "encryption")]
            Self::Keys(error) => error.fmt(f),
            Self::Corrupt(damage) => damage.fmt(f),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StreamName { len } => NameError { len: *len }.fmt(f),
            Self::LayoutMismatch(mismatch) => mismatch.fmt(f),
            Self::Absent(absence) => absence.fmt(f),
            #[cfg(feature = "encryption")]
            Self::SnapshotFull => {
                f.write_str("the snapshot has opened as many sealed events as it may; take another")
            }
            #[cfg(feature = "encryption")]
            Self::Keys(error) => error.fmt(f),
            Self::Corrupt(damage) => damage.fmt(f),
            Self::TooManyStreams { max } => write!(f, "at most {max} streams can be merged at once"),
            Self::PinnedTooLong { limit } => {
                write!(f, "the snapshot was open for longer than {limit:?}; drop it and take another")
            }
            Self::TooManyReaders => f.write_str("every reader slot is taken; drop snapshots and iterators"),
            Self::MapGrown => f.write_str("the owner grew the store; drop open snapshots and try again"),
            Self::Overtaken => {
                f.write_str("the owner does not serve the store yet, or writes too fast; try again")
            }
            Self::Unconfirmed => {
                f.write_str("a large commit failed before it was durable; close the store and open it again")
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for ProcessorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Append(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damaged {}: {}", self.place, self.reason)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(first) => write!(f, "block of global sequence {first}"),
            Self::Event(global) => write!(f, "event at global sequence {global}"),
            #[cfg(feature = "encryption")]
            Self::Keys(at) => write!(f, "file of keys at byte {at}"),
            Self::Row { table, key } => {
                write!(f, "row of table {table} at key ")?;
                key.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::MetaPages => f.write_str("front of the data file"),
            Self::Page(page) => write!(f, "page {page} of the data file"),
            Self::TailHeader => f.write_str("header of the tail"),
            Self::Tail { generation, sector } => {
                write!(f, "tail at generation {generation}, sector {sector}")
            }
        }
    }
}

impl fmt::Display for LayoutMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream `{}`", self.stream)?;
        if let Some(id) = self.stream_id {
            write!(f, " {id}")?;
        }
        match self.stored.1 {
            Some(layout) => write!(f, " holds `{}` (layout {layout})", self.stored.0)?,
            None => write!(f, " holds `{}` (layout not known to the store)", self.stored.0)?,
        }
        write!(f, ", not `{}` (layout {})", self.asked.0, self.asked.1)?;
        match &self.difference {
            Some(difference) => write!(f, ": {difference}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a stream's name has 1 to {} bytes, not {}", crate::STREAM_NAME_LEN_MAX, self.len)
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage: {}", self.0)
    }
}

impl std::error::Error for OpenError {}
impl std::error::Error for AppendError {}
impl std::error::Error for ReadError {}
impl std::error::Error for ProcessorError {}
impl std::error::Error for Damage {}
impl std::error::Error for StorageError {}

//! What can go wrong: one enum for each family of operations, and the place of every damage.

mod absence;
mod conversions;
mod display;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::descriptor::{DescriptorError, LayoutDifference};
#[cfg(feature = "encryption")]
use crate::store::encryption::KeysError;
use crate::store::write::expected_version::ExpectedVersion;
use crate::{ArchiveError, GlobalSequence, LayoutHash, StreamId};
pub use absence::{Absence, AbsenceReason, AbsentInStream};

/// Why a store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory or a file in it could not be made or read.
    Io {
        /// What was to be opened.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another handle owns the directory, in this process or another. Open it for reading, or end the owner.
    Owned {
        /// The directory.
        path: PathBuf,
    },
    /// This process has the store open already: read through that handle.
    OpenHere {
        /// The directory.
        path: PathBuf,
    },
    /// A later release wrote the store: use that release, or a newer one.
    NewerFormat {
        /// The version of the store.
        found: u32,
        /// The version that this release writes.
        supported: u32,
    },
    /// A machine of another word size wrote the store: its data file can only be read on such a machine. A backup
    /// made there can be restored here.
    OtherWordSize {
        /// The bits of the machine that wrote it.
        found: u32,
        /// The bits of this one.
        expected: u32,
    },
    /// The directory lies on a file system over a network or in user space, which keeps neither locks nor a map
    /// coherent: take a directory on a disk of this machine.
    NetworkFileSystem {
        /// The directory.
        path: PathBuf,
        /// The file system's name.
        kind: &'static str,
    },
    /// There is something in the directory where a new store was to be made.
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// There is something else in the directory, or nothing to read.
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// What is amiss.
        reason: &'static str,
    },
    /// The owner's process ended in the middle of a large commit, or while it recovered the store, and a power cut may still
    /// take back what it left: an owner has to open the store before it can be read.
    Unrecovered {
        /// The directory.
        path: PathBuf,
    },
    /// The store has sealed streams: open it with its master key, by the feature `encryption`. Without one it can be
    /// opened for reading, and shows what is plain.
    Encrypted {
        /// The directory.
        path: PathBuf,
    },
    /// The store's keys could not be opened.
    #[cfg(feature = "encryption")]
    Keys(KeysError),
    /// A row that the store needs to start is damaged.
    Corrupt(Damage),
    /// LMDB or the system below it failed.
    Storage(StorageError),
}

/// Why events could not be appended. Nothing of the append was stored, unless the disk failed under it, [`AppendError::Storage`]
/// and [`AppendError::Poisoned`]: then it may be, and the store tells once it is opened again.
#[derive(Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The archived event is larger than the stream's `N`, or than [`EVENT_LEN_MAX`](crate::EVENT_LEN_MAX).
    EventTooLarge {
        /// The most bytes that it may take.
        len_max: usize,
    },
    /// The event could not be archived for another reason than its size.
    Archive(ArchiveError),
    /// The name of a stream is empty or longer than [`STREAM_NAME_LEN_MAX`](crate::STREAM_NAME_LEN_MAX).
    StreamName {
        /// Its length in bytes.
        len: usize,
    },
    /// The stream is the store's own, which alone writes to it: see [`is_system_stream`](crate::is_system_stream).
    SystemStream {
        /// Its name.
        name: String,
    },
    /// The stream is one of another store.
    OtherStore {
        /// Its name.
        stream: String,
    },
    /// The name of a consumer is empty or longer than [`CONSUMER_NAME_LEN_MAX`](crate::CONSUMER_NAME_LEN_MAX).
    ConsumerName {
        /// Its length in bytes.
        len: usize,
    },
    /// A consumer was to be moved past the end of the log: it would miss what comes.
    ConsumerAhead {
        /// Where to.
        next: GlobalSequence,
        /// The place of the next event.
        end: GlobalSequence,
    },
    /// Somebody else moved the consumer since its cursor was read: two processors bear its name, or it was sent back.
    ConsumerMoved {
        /// Where it stood.
        expected: Option<GlobalSequence>,
        /// Where it stands.
        actual: Option<GlobalSequence>,
    },
    /// The stream holds events of another layout.
    LayoutMismatch(Box<LayoutMismatch>),
    /// A stream is not at the version that was expected: read what it holds, which is durable, and decide again.
    ConcurrencyConflict {
        /// The stream's name.
        stream: String,
        /// Which stream of the name.
        stream_id: StreamId,
        /// The version that was expected.
        expected: ExpectedVersion,
        /// The version that the stream has: how many events it ever got. Those that the same append adds before it expects
        /// a version count.
        actual: u64,
    },
    /// What was to be stored as a descriptor is none.
    Descriptor(DescriptorError),
    /// A batch names a channel that its table of bindings lacks.
    UnboundChannel {
        /// The channel.
        channel: crate::Channel,
    },
    /// The append holds as much as it may: commit it, then go on.
    Full,
    /// A number space is used up.
    Exhausted {
        /// Which one.
        space: &'static str,
    },
    /// The map is full, and may not grow while snapshots are open in this process: drop them and try again. Also
    /// where it has reached [`MAP_SIZE_MAX`](crate::MAP_SIZE_MAX).
    MapFull {
        /// The size of the map in bytes.
        map_size: usize,
        /// How many snapshots are open.
        snapshots: usize,
    },
    /// The disk is full. Nothing was stored; readers go on, and so do appends once there is room.
    DiskFull,
    /// The store's files have grown to its [`Config::quota`](crate::Config::quota), but for what is kept to retire
    /// events: retire some, or raise it.
    QuotaExceeded {
        /// The quota in bytes.
        quota: u64,
        /// What the store needs now, in bytes.
        used: u64,
    },
    /// A commit, this one or an earlier one, failed to reach the disk, so that what the disk holds is unknown. Drop every
    /// handle and open the store again.
    Poisoned,
    /// A stream's key could not be had, or not be stored.
    #[cfg(feature = "encryption")]
    Keys(KeysError),
    /// A row that the append needs is damaged: one that needs others may be stored.
    Corrupt(Damage),
    /// LMDB or the system below it failed.
    Storage(StorageError),
}

/// Why events could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The name of a stream is empty or longer than [`STREAM_NAME_LEN_MAX`](crate::STREAM_NAME_LEN_MAX).
    StreamName {
        /// Its length in bytes.
        len: usize,
    },
    /// The event has another layout than the one that it was to be read as.
    LayoutMismatch(Box<LayoutMismatch>),
    /// The event has its place and cannot be had, nor can those that are absent with it: retired, lost to damage,
    /// shredded, or sealed to this process.
    Absent(Box<Absence>),
    /// The snapshot has opened as many sealed events as it may keep,
    /// [`SNAPSHOT_OPENED_LEN_MAX`](crate::SNAPSHOT_OPENED_LEN_MAX): drop it, take another, and go on there.
    #[cfg(feature = "encryption")]
    SnapshotFull,
    /// The keys could not be read.
    #[cfg(feature = "encryption")]
    Keys(KeysError),
    /// What is stored is damaged.
    Corrupt(Damage),
    /// More streams than can be merged at once: merge fewer, or read the whole log.
    TooManyStreams {
        /// How many can be.
        max: usize,
    },
    /// The snapshot was open for longer than [`Config::pin_limit`](crate::Config::pin_limit) allows: drop it, with all
    /// that it lent, and take another.
    PinnedTooLong {
        /// How long it may be.
        limit: Duration,
    },
    /// Every reader slot is taken: drop snapshots and iterators, or raise `Config::readers_max`.
    TooManyReaders,
    /// The owner grew the map beyond what this process has mapped, and open snapshots keep it from being mapped
    /// anew: drop them and try again.
    MapGrown,
    /// The owner, in another process, wrote faster for a second than this one could read, or is still opening the
    /// store: try again.
    Overtaken,
    /// A large commit of this process failed before it was durable, and a power cut may take back what there is of it: close
    /// the store and open it again.
    Unconfirmed,
    /// LMDB or the system below it failed.
    Storage(StorageError),
}

/// Why a processor stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProcessorError {
    /// The next event, or the consumer's cursor, could not be read.
    Read(ReadError),
    /// The cursor could not be committed with the effects of the events before it.
    Append(AppendError),
}

/// Something stored that cannot be right, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub place: Place,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// A place in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// The block that begins with this event.
    Block(GlobalSequence),
    /// This event.
    Event(GlobalSequence),
    /// The file of keys, at this byte.
    #[cfg(feature = "encryption")]
    Keys(u64),
    /// A row of a table, by its key.
    Row {
        /// The table's name in FORMAT.md, section 5.
        table: &'static str,
        /// The key's bytes.
        key: Vec<u8>,
    },
    /// The two meta pages at the front of LMDB's data file.
    MetaPages,
    /// A page of LMDB's data file, by its number.
    Page(u64),
    /// The header of the tail journal.
    TailHeader,
    /// A record of the tail journal.
    Tail {
        /// The lap of the journal that it belongs to.
        generation: u64,
        /// The sector of 4,096 bytes that it begins in, of the segment of that lap.
        sector: u32,
    },
}

/// A stream, the layout that it holds, and the one asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayoutMismatch {
    /// The stream's name.
    pub stream: String,
    /// Which stream of the name, where it matters.
    pub stream_id: Option<StreamId>,
    /// What the stream holds: the type's name and layout; no layout where an external descriptor hides it.
    pub stored: (String, Option<LayoutHash>),
    /// What was asked for.
    pub asked: (String, LayoutHash),
    /// What keeps the events from being read as that; `None` where it cannot be told.
    pub difference: Option<LayoutDifference>,
}

/// A stream's name of a length that none may have.
#[derive(Debug)]
pub(super) struct NameError {
    pub(super) len: usize,
}

/// A failure of LMDB or of the system below it.
#[derive(Debug)]
pub struct StorageError(pub(super) heed::Error);

impl StorageError {
    /// Whether the disk is full: free some space and try again.
    pub fn is_disk_full(&self) -> bool {
        matches!(&self.0, heed::Error::Io(error) if is_disk_full(error))
    }
}

/// Whether the system has no room for what was to be written.
pub(super) fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the disk does not have what was to be read: a sector is damaged, or the file ends before it.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

impl AppendError {
    /// Whether it tells of what earlier commits have stored.
    pub(super) fn tells_of_the_log(&self) -> bool {
        matches!(
            self,
            Self::ConsumerAhead { .. }
                | Self::ConsumerMoved { .. }
                | Self::LayoutMismatch(_)
                | Self::ConcurrencyConflict { .. }
        )
    }

    /// As the error of a commit that may be stored all the same, in a store that takes no more until it is opened again: none
    /// whose name tells otherwise, as that of a full disk does.
    pub(super) fn unsettled(self) -> Self {
        match self {
            Self::DiskFull => {
                let full = io::Error::from(io::ErrorKind::StorageFull);
                Self::Storage(StorageError(heed::Error::Io(io::Error::other(full))))
            }
            Self::Storage(error) => Self::Storage(error),
            _ => Self::Poisoned,
        }
    }

    /// What it means that an event of at most `len_max` bytes could not be archived.
    pub(super) fn of_archive(error: ArchiveError, len_max: usize) -> Self {
        match error {
            ArchiveError::TooLarge => Self::EventTooLarge { len_max },
            error => Self::Archive(error),
        }
    }
}

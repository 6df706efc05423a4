//! The handle of a store's owner.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use heed::RwTxn;

use crate::Event;
use crate::store::config::Config;
use crate::store::error::{AppendError, OpenError, ReadError};
use crate::store::files::data_file;
use crate::store::files::environment::{Environment, sync_directory};
use crate::store::files::owner_lock::OwnerLock;
use crate::store::log::tables::Tables;
use crate::store::read::view::VarveView;
use crate::store::sealing::Sealing;
use crate::store::tail::{Journal, recovery};
use crate::store::upkeep::quota::Quota;
use crate::store::write::append::Append;
use crate::store::write::stream::Stream;
use crate::store::write::writer::Writer;
#[cfg(feature = "encryption")]
use {crate::StreamId, crate::store::encryption::MasterKey, crate::store::write::stream::check_name};

/// A store that this handle owns: it appends, and reads by all that [`VarveView`] offers.
///
/// A directory has one owner, whichever path leads to it, until the last stream, append, reader and snapshot of this
/// handle is dropped; other processes open it with [`Varve::open_read_only`]. The files in it are LMDB's: while a store is open nobody else may change them, and a
/// file system over a network will not do.
///
/// ```
/// use varve_core::{OpenError, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// let mut varve = Varve::new(path)?;
/// let mut readings = varve.stream::<u16, 2>("readings")?;
/// let (stream_seq, global_seq) = readings.append(StreamId(7), &650)?;
/// assert_eq!((stream_seq.0, global_seq.0), (0, 0));
/// assert_eq!(readings.reader().get_archived(StreamId(7), stream_seq)?.unwrap().to_native(), 650);
///
/// assert!(matches!(Varve::new(path), Err(OpenError::Owned { .. })));
/// drop((varve, readings));
/// Varve::new(path)?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Varve {
    view: VarveView,
    pub(super) writer: Arc<Writer>,
}

impl Varve {
    /// Opens the store in the directory `path`, making both where they are missing.
    ///
    /// # Errors
    ///
    /// [`OpenError::Owned`] where another handle still owns it after half a second, or readers that found no owner keep it so
    /// for half a minute; [`OpenError::NewerFormat`], [`OpenError::OtherWordSize`]
    /// and [`OpenError::NotAStore`] where this release cannot read what is there; [`OpenError::NetworkFileSystem`];
    /// [`OpenError::Encrypted`] where streams are sealed; [`OpenError::Corrupt`] and [`OpenError::Storage`] where nothing
    /// can be recovered, which [`salvage`](crate::salvage) may do.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Self::with_config(path, Config::default())
    }

    /// As [`Varve::new`], with a choice of how.
    ///
    /// ```
    /// use std::time::Duration;
    /// use varve_core::{Config, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut config = Config::default();
    /// config.quota = Some(64 << 20); // all files together
    /// config.pin_limit = Some(Duration::from_secs(5)); // who looks at one snapshot for longer is told to take another
    /// let varve = Varve::with_config(dir.path(), config)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Varve::new`]; with the feature `encryption` also `OpenError::Keys`.
    pub fn with_config(path: impl AsRef<Path>, mut config: Config) -> Result<Self, OpenError> {
        let dir = path.as_ref();
        make_directory(dir).map_err(|error| OpenError::Io { path: dir.to_path_buf(), error })?;
        let owner = OwnerLock::acquire(dir)?;
        let journal = recovery::open_journal(dir, &config)?;
        if config.check_pages {
            data_file::check_page_use(dir)?;
        }
        // A store keeps the tail that it has, and the quota counts that one.
        config.tail_len = journal.as_ref().map_or_else(|| Quota::new_tail_len(&config), Journal::len);
        let environment = Arc::new(Environment::open(dir, &config, owner)?);
        sync_directory(dir)?;
        let sealing = Arc::new(Sealing::open(dir, &config, &environment)?);
        let writer = recovery::recover(dir, &environment, journal, &config, sealing.clone())?;
        let view = VarveView::of_owner(environment, writer.tail().clone(), sealing)?;
        Ok(Self { view, writer: Arc::new(writer) })
    }

    /// Opens the store in the directory `path` for reading, beside its owner or without one.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path();
    /// # Varve::new(path)?.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
    /// let view = Varve::open_read_only(path)?; // in another process than the owner's
    /// for event in view.snapshot()?.iter_from(GlobalSequence(0))? {
    ///     let event = event?;
    ///     println!("{} {}/{}", event.global_seq, event.stream_name, event.stream_id);
    /// }
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`OpenError::OpenHere`] where this process has it open already; [`OpenError::NotAStore`] where there is
    /// none; [`OpenError::Unrecovered`] where the last owner was killed at a large commit or a recovery; and as [`Varve::new`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<VarveView, OpenError> {
        Self::open_read_only_with_config(path, Config::default())
    }

    /// As [`Varve::open_read_only`], with a choice of how; the durability is the owner's.
    ///
    /// # Errors
    ///
    /// As [`Varve::open_read_only`].
    pub fn open_read_only_with_config(
        path: impl AsRef<Path>,
        config: Config,
    ) -> Result<VarveView, OpenError> {
        VarveView::open(path.as_ref(), &config)
    }

    /// The streams of a name, for local events of type `T` that take at most `N` bytes when archived. It stores nothing:
    /// the first event does. Of names that begin with `varve.` it can only be read: they are [the store's
    /// own](crate::is_system_stream).
    ///
    /// ```
    /// use varve_core::{ReadError, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// varve.stream::<u64, 8>("totals")?.append(StreamId(1), &650)?;
    /// let Err(ReadError::LayoutMismatch(mismatch)) = varve.stream::<[u8; 8], 8>("totals") else {
    ///     panic!("eight bytes are not one number")
    /// };
    /// assert_eq!((mismatch.stored.0, mismatch.asked.0), ("u64".into(), "[u8; 8]".into()));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError::StreamName`]; [`ReadError::LayoutMismatch`] where the name holds events, and none of `T`'s
    /// layout, nor of a version of it that has fewer or more fields at its end. A later version may be appended beside
    /// an earlier one, whose readers read it too; not the other way round.
    pub fn stream<T: Event, const N: usize>(&mut self, name: &str) -> Result<Stream<T, N>, ReadError> {
        let reader = self.view.stream_reader::<T>(name)?;
        Ok(Stream::new(self.writer.clone(), reader))
    }

    /// Begins an append of many things that are to be stored together.
    pub fn begin(&self) -> Append {
        Append::new(self.writer.clone())
    }

    /// Returns once everything that was committed is durable, and readers see it: what [`Append::commit_relaxed`] left
    /// undone.
    ///
    /// # Errors
    ///
    /// [`AppendError::Storage`] and [`AppendError::Poisoned`] where the disk failed.
    pub fn flush(&self) -> Result<(), AppendError> {
        self.writer.flush()
    }

    /// Moves what the tail holds into LMDB. The store does so by itself, in the background; this is for who wants the
    /// events side by side now, before a long reading.
    ///
    /// # Errors
    ///
    /// [`AppendError::DiskFull`], [`AppendError::QuotaExceeded`], [`AppendError::MapFull`], [`AppendError::Corrupt`],
    /// [`AppendError::Storage`], [`AppendError::Poisoned`]; nothing is lost then.
    pub fn fold(&self) -> Result<(), AppendError> {
        self.writer.maintain(|_, _| Ok(()))
    }

    /// Forgets all that the stream `id` of a name holds of sealed events: destroys the key that opens them. When it
    /// returns, nothing of the key is left in the store's files, nor of anything that opens it; reading such an event
    /// says [`ReadError::Absent`]. The stream itself stays, keeps its places, and takes new events under a new key.
    ///
    /// It writes the file of all keys anew, and waits for the disk. What snapshots have opened they keep until they are
    /// dropped. Events from before the stream was sealed stay. What copies of the file `keys` and worn flash may still hold,
    /// FORMAT.md tells in section 8.
    ///
    /// ```
    /// use varve_core::{AbsenceReason, Config, Encryption, MasterKey, ReadError, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut config = Config::default();
    /// config.encryption = Some(Encryption::new(MasterKey::from_bytes([7; 32])));
    /// let mut varve = Varve::with_config(dir.path(), config)?;
    /// let mut visits = varve.stream::<u16, 2>("visits")?;
    /// let (seq, _) = visits.append(StreamId(42), &650)?;
    ///
    /// varve.shred("visits", StreamId(42))?;
    /// let gone = visits.reader().get_archived(StreamId(42), seq).unwrap_err();
    /// assert!(matches!(gone, ReadError::Absent(absence) if absence.reason == AbsenceReason::Shredded));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppendError::StreamName`]; [`AppendError::Keys`] with [`KeysError::NotSealed`](crate::KeysError::NotSealed) where the stream has no key, and no
    /// key of the store is damaged, which may have been its own;
    /// [`AppendError::DiskFull`] where there was no room, and all is as before; [`AppendError::Storage`] where the disk failed:
    /// whether the key is still there is settled when the store is opened again; [`AppendError::Poisoned`].
    #[cfg(feature = "encryption")]
    pub fn shred(&self, name: &str, id: StreamId) -> Result<(), AppendError> {
        check_name(name)?;
        self.writer.shred(name, id)
    }

    /// Wraps the store's keys by another master key, which opens it from now on. No event is written anew. A view in
    /// another process that was opened by the old one is told so, [`ReadError::Keys`], where it reads a sealed event.
    ///
    /// ```
    /// use varve_core::{Config, Encryption, MasterKey, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let opened_by = |master| {
    ///     let mut config = Config::default();
    ///     config.encryption = Some(Encryption::new(master));
    ///     Varve::with_config(dir.path(), config)
    /// };
    /// let (old, new) = (MasterKey::from_bytes([7; 32]), MasterKey::from_bytes([8; 32]));
    /// opened_by(old.clone())?.rotate_master(&new)?;
    /// assert!(opened_by(old).is_err());
    /// opened_by(new)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Whoever has the old master key and an older copy of the file `keys` still has the keys: this is for a key that is to
    /// be replaced in time, not for one that was stolen along with the file.
    ///
    /// # Errors
    ///
    /// As [`Varve::shred`].
    #[cfg(feature = "encryption")]
    pub fn rotate_master(&self, master: &MasterKey) -> Result<(), AppendError> {
        self.writer.rotate_master(master)
    }

    /// Folds the tail, and runs `body` in the same transaction.
    pub(super) fn maintain<R>(
        &self,
        body: impl FnMut(&mut RwTxn<'_>, &Tables) -> Result<R, AppendError>,
    ) -> Result<R, AppendError> {
        self.writer.maintain(body)
    }

    /// The store as its readers see it.
    pub fn view(&self) -> &VarveView {
        &self.view
    }
}

/// Makes a directory and those above it, where they are missing.
fn make_directory(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir).map_err(|error| match error.kind() {
        // There is something, and it is no directory.
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}

/// Everything that reads.
impl Deref for Varve {
    type Target = VarveView;

    fn deref(&self) -> &VarveView {
        &self.view
    }
}

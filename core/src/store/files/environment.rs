//! The LMDB environment of a store: its map, its tables, and the gate that lets the map grow.
//!
//! One of the three files of the crate with unsafe code, beside `pinned.rs` and `typed_run.rs`.
#![allow(unsafe_code)]

use std::fs::{self, File, Metadata};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::{Duration, Instant};

use heed::{Env, EnvFlags, EnvOpenOptions, MdbError, RoTxn, RwTxn, WithoutTls};

use crate::GlobalSequence;
use crate::store::config::{Config, Durability, MAP_SIZE_MAX, MAP_SIZE_MIN};
use crate::store::error::{AppendError, OpenError, ReadError};
use crate::store::files::data_file;
use crate::store::files::file_system::refuse_network;
use crate::store::files::founding;
use crate::store::files::full_disk::why_unwritten;
use crate::store::files::owner_lock::OwnerLock;
use crate::store::files::preallocation::preallocate;
use crate::store::files::presence::is_there;
use crate::store::files::reader_table;
use crate::store::log::format;
use crate::store::log::rows::Rows;
use crate::store::log::tables::{RowError, Tables};
use crate::store::read::pin::{OpenPins, Pin, ProcessPins};
use crate::store::tail::{Folded, TailView};
use crate::store::upkeep::quota::Quota;
use crate::store::upkeep::retention::{RetentionPolicy, has_surplus, now_utc_us, retire};

/// An open LMDB environment with its tables.
#[derive(Debug)]
pub(in crate::store) struct Environment {
    env: Env<WithoutTls>,
    tables: Tables,
    dir: PathBuf,
    quota: Quota,
    /// What is retired whenever the tail is folded.
    retention: Option<RetentionPolicy>,
    /// LMDB's data file, open beside LMDB: a commit that is durable must not fail for want of a file descriptor.
    data_file: File,
    /// Whether what is committed is flushed.
    is_flushed: bool,
    /// The snapshots of this process that are open: while there is one, the map stays where it is.
    snapshots: Mutex<OpenPins>,
    /// Whether LMDB is without a map since it could not change it. It would look for it where it was.
    is_unmapped: AtomicBool,
    /// How long a snapshot may be read.
    pin_limit: Option<Duration>,
    /// Whether LMDB shows what the tail has yet to confirm; held for writing while it is about to.
    is_unconfirmed: RwLock<bool>,
    /// Freed after the environment is closed; `None` in a process that only reads.
    _owner: Option<OwnerLock>,
}

/// A read transaction that keeps its environment open and counts as a snapshot.
pub(in crate::store) struct ReadTransaction {
    txn: Option<RoTxn<'static, WithoutTls>>,
    environment: Arc<Environment>,
    since: Instant,
    /// Its place among the pins of the process.
    pin: usize,
}

impl Environment {
    /// Opens the environment in `dir` for its owner, making its tables where it is new.
    pub(in crate::store) fn open(dir: &Path, config: &Config, owner: OwnerLock) -> Result<Self, OpenError> {
        refuse_network(dir)?;
        data_file::refuse_other_word_size(dir)?;
        founding::found(dir, config)?;
        preallocate(dir, config)?;
        let is_flushed = config.durability == Durability::Durable;
        let flags = if is_flushed { EnvFlags::NO_META_SYNC } else { EnvFlags::NO_SYNC };
        let env = map(dir, config, flags)?;
        env.clear_stale_readers()?;
        let Some(tables) = Tables::open(&env, format::check_version)? else {
            let reason = "it holds another LMDB database, or a table is missing";
            return Err(OpenError::NotAStore { path: dir.to_path_buf(), reason });
        };
        let tables = tables.complete(&env).map_err(|error| why_unwritten(dir, error))?;
        let quota = Quota::new(dir, config);
        quota.note(dir, &tables, &*env.read_txn()?)?;
        Ok(Self {
            env,
            tables,
            dir: dir.to_path_buf(),
            quota,
            retention: config.retention.clone(),
            data_file: open_data_file(dir)?,
            is_flushed,
            snapshots: Mutex::default(),
            is_unmapped: AtomicBool::new(false),
            pin_limit: config.pin_limit,
            is_unconfirmed: RwLock::new(false),
            _owner: Some(owner),
        })
    }

    /// Opens the environment in `dir` for reading beside its owner.
    pub(in crate::store) fn open_read_only(dir: &Path, config: &Config) -> Result<Self, OpenError> {
        let path = dir.join(DATA_FILE);
        if !is_there(&path).map_err(|error| OpenError::Io { path, error })? {
            return Err(OpenError::NotAStore { path: dir.to_path_buf(), reason: "it has no data file" });
        }
        refuse_network(dir)?;
        data_file::refuse_other_word_size(dir)?;
        let env = map(dir, config, EnvFlags::READ_ONLY)?;
        let tables = Tables::open(&env, format::check_version)?
            .ok_or(OpenError::NotAStore { path: dir.to_path_buf(), reason: "its tables are missing" })?;
        Ok(Self {
            env,
            tables,
            dir: dir.to_path_buf(),
            quota: Quota::new(dir, config),
            retention: None,
            data_file: open_data_file(dir)?,
            is_flushed: false,
            snapshots: Mutex::default(),
            is_unmapped: AtomicBool::new(false),
            pin_limit: config.pin_limit,
            is_unconfirmed: RwLock::new(false),
            _owner: None,
        })
    }

    /// The number that tells the store from all others.
    pub(in crate::store) fn incarnation(self: &Arc<Self>) -> Result<u64, OpenError> {
        let read = self.read()?;
        Ok(format::read_incarnation(&self.tables, read.txn())?)
    }

    /// How much of the tail LMDB holds.
    pub(in crate::store) fn folded(self: &Arc<Self>) -> Result<Folded, OpenError> {
        let read = self.read()?;
        Ok(Folded::read(&self.tables, read.txn())?)
    }

    /// Whether the store had its tail already: without it, LMDB may be any part of the log.
    pub(in crate::store) fn has_folded(self: &Arc<Self>) -> Result<bool, ReadError> {
        let read = self.read()?;
        Ok(Folded::find(&self.tables, read.txn())?.is_some())
    }

    /// The place after the last event that LMDB holds, where the log is to go on: its last block has to be whole.
    pub(in crate::store) fn log_end(self: &Arc<Self>) -> Result<GlobalSequence, OpenError> {
        let read = self.read()?;
        Ok(Rows::new(&self.tables, read.txn(), None, None).stored_end()?)
    }

    /// The tables.
    pub(in crate::store) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Begins a transaction that writes; the writer's lock lets one at a time.
    pub(in crate::store) fn write(&self) -> Result<RwTxn<'_>, heed::Error> {
        self.check_mapped()?;
        self.env.write_txn()
    }

    /// Commits a transaction: readers see it, and once [`Environment::flush`] has returned it is durable.
    ///
    /// Where it fails, the disk counts as it was, and the commit may be repeated: nothing names the pages that were
    /// written, and LMDB writes every one of them anew, whatever the system has dropped of them.
    pub(in crate::store) fn commit(&self, txn: RwTxn<'_>) -> Result<(), heed::Error> {
        self.quota.note(&self.dir, &self.tables, &txn)?;
        txn.commit().map_err(|error| self.why_uncommitted(error))
    }

    /// Why LMDB could not commit.
    fn why_uncommitted(&self, error: heed::Error) -> heed::Error {
        // What it could not write may be where it begins to read. Then it does nothing more, and room would not help.
        if let Err(panic @ heed::Error::Mdb(MdbError::Panic)) = self.env.write_txn() {
            return panic;
        }
        why_unwritten(&self.dir, error)
    }

    /// Makes durable what was committed. LMDB itself flushes its pages before it names them; what this adds is the meta
    /// page, so that a failure leaves LMDB as able to read as it was.
    pub(in crate::store) fn flush(&self) -> std::io::Result<()> {
        if self.is_flushed { self.data_file.sync_data() } else { Ok(()) }
    }

    /// Begins a transaction that reads the last committed state.
    pub(in crate::store) fn read(self: &Arc<Self>) -> Result<ReadTransaction, ReadError> {
        let mut snapshots = self.lock_snapshots();
        self.check_mapped()?;
        let txn = match self.env.clone().static_read_txn() {
            Err(heed::Error::Mdb(MdbError::MapResized)) => {
                self.adopt_map_size(&snapshots)?;
                self.env.clone().static_read_txn()
            }
            Err(heed::Error::Mdb(MdbError::ReadersFull)) => {
                self.env.clear_stale_readers()?;
                self.env.clone().static_read_txn()
            }
            begun => begun,
        };
        let txn = txn.map_err(|error| match error {
            heed::Error::Mdb(MdbError::ReadersFull) => ReadError::TooManyReaders,
            heed::Error::Mdb(MdbError::MapResized) => ReadError::MapGrown,
            error => error.into(),
        })?;
        let since = Instant::now();
        let pin = snapshots.add(since);
        Ok(ReadTransaction { txn: Some(txn), environment: self.clone(), since, pin })
    }

    /// Begins a transaction that reads, beside a view of the tail that was taken before. The view forgets what LMDB
    /// holds meanwhile, so that the two make one log.
    ///
    /// # Errors
    ///
    /// [`ReadError::Unconfirmed`] where LMDB shows what no record will confirm any more; and as [`Environment::read`].
    pub(in crate::store) fn read_with(
        self: &Arc<Self>,
        tail: TailView,
    ) -> Result<(ReadTransaction, TailView), ReadError> {
        let read = {
            let is_unconfirmed = self.is_unconfirmed.read().unwrap_or_else(PoisonError::into_inner);
            if *is_unconfirmed {
                return Err(ReadError::Unconfirmed);
            }
            self.read()?
        };
        if tail.is_empty() {
            return Ok((read, tail));
        }
        let folded = Folded::read(&self.tables, read.txn())?;
        Ok((read, tail.without_folded(folded.generation)))
    }

    /// Keeps snapshots from beginning until the guard is dropped, and for good where it then holds `true`. What LMDB commits
    /// ahead of the tail counts once a record confirms it: until then a power cut takes it back, and nobody may have seen it.
    pub(in crate::store) fn hold_snapshots(&self) -> RwLockWriteGuard<'_, bool> {
        self.is_unconfirmed.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The checksum of LMDB's newest meta page.
    pub(in crate::store) fn meta_checksum(&self) -> std::io::Result<u32> {
        data_file::newest_checksum(&self.data_file)
    }

    /// How much of the disk the store may take.
    pub(in crate::store) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// Retires what the configuration calls surplus, in a transaction that has taken in `len` bytes of the log: more than
    /// those, so that it does not fall behind, and little more. A damaged block ends it, and is left to whoever verifies
    /// the store.
    pub(in crate::store) fn retire(&self, txn: &mut RwTxn<'_>, len: u64) -> Result<(), heed::Error> {
        let Some(policy) = &self.retention else { return Ok(()) };
        let (mut retired, now_utc_us) = (0, now_utc_us());
        while retired <= len {
            match retire(txn, &self.tables, policy, now_utc_us) {
                Ok(step) if !step.is_done => retired += step.retired.bytes,
                Ok(_) | Err(RowError::Damage(_)) => break,
                Err(RowError::Storage(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether the configuration calls anything surplus of what LMDB holds.
    pub(in crate::store) fn has_surplus(&self, rows: Rows<'_>) -> Result<bool, heed::Error> {
        let Some(policy) = &self.retention else { return Ok(false) };
        match has_surplus(rows, policy, now_utc_us()) {
            Err(RowError::Damage(_)) => Ok(false),
            Err(RowError::Storage(error)) => Err(error),
            Ok(has_surplus) => Ok(has_surplus),
        }
    }

    /// The snapshots of this process that are open.
    pub(in crate::store) fn pins(&self) -> Vec<Pin> {
        self.lock_snapshots().list()
    }

    /// The processes that have snapshots open, this one included: whose is the oldest first.
    pub(in crate::store) fn process_pins(&self) -> Result<Vec<ProcessPins>, ReadError> {
        let info = {
            let _snapshots = self.lock_snapshots();
            self.check_mapped()?;
            self.env.info()
        };
        let readers = self.lock_file().and_then(|file| {
            let Some(file) = file else { return Ok(Vec::new()) };
            let read_at = |bytes: &mut [u8], at| Ok(rustix::io::pread(file, bytes, at)?);
            reader_table::read(info.maximum_number_of_readers, read_at)
        });
        let readers = readers.map_err(heed::Error::Io)?;
        Ok(ProcessPins::of(&readers, info.last_txn_id as u64))
    }

    /// The lock file as LMDB has it open; `None` on a file system that is mounted to be read alone, where LMDB notes no
    /// readers. It must not be opened beside that: whoever closes it lets go of all the locks that its process has on it.
    fn lock_file(&self) -> std::io::Result<Option<BorrowedFd<'_>>> {
        let identity = |file: Metadata| (file.dev(), file.ino());
        let lock_file = identity(fs::metadata(self.dir.join(LOCK_FILE))?);
        for entry in fs::read_dir(OPEN_FILES)? {
            let entry = entry?;
            let is_it = fs::metadata(entry.path()).is_ok_and(|file| identity(file) == lock_file);
            if let Some(number) =
                entry.file_name().to_str().and_then(|name| name.parse().ok()).filter(|_| is_it)
            {
                // SAFETY: LMDB has the file open as long as the environment is, which the borrow ends before. No other part of
                // this crate opens it; were it somebody else's, and closed meanwhile, reading it would fail, or give
                // other bytes, which are checked.
                return Ok(Some(unsafe { BorrowedFd::borrow_raw(number) }));
            }
        }
        Ok(None)
    }

    /// Doubles the map. The caller is the one that writes to LMDB, the writer or the fold that it waits for, and has no
    /// transaction.
    pub(in crate::store) fn grow(&self) -> Result<(), AppendError> {
        let snapshots = self.lock_snapshots();
        let map_size = self.env.info().map_size;
        // The pages of a reader whose process has ended are as good as new ones.
        if self.env.clear_stale_readers()? > 0 {
            return Ok(());
        }
        let grown = map_size.saturating_mul(2).min(self.quota.map_size_max());
        if grown <= map_size
            && let Some(exceeded) = self.quota.exceeded()
        {
            return Err(exceeded);
        }
        if snapshots.len() > 0 || grown <= map_size {
            return Err(AppendError::MapFull { map_size, snapshots: snapshots.len() });
        }
        // SAFETY: the caller is the one thread that writes to LMDB, and has no transaction; `snapshots` is empty and stays
        // locked, which keeps readers out.
        unsafe { self.resize(grown)? };
        Ok(())
    }

    /// Maps `map_size` bytes, or with 0 as many as the data file records.
    ///
    /// # Safety
    ///
    /// No transaction of this process is open, and none can begin.
    unsafe fn resize(&self, map_size: usize) -> Result<(), heed::Error> {
        // SAFETY: the caller upholds the contract, which is that of `Env::resize`.
        let resized = unsafe { self.env.resize(map_size) };
        self.is_unmapped.store(resized.is_err(), Ordering::Release);
        resized
    }

    /// Refuses, in LMDB's words for what only another opening mends, to look into a map that is not there.
    fn check_mapped(&self) -> Result<(), heed::Error> {
        if self.is_unmapped.load(Ordering::Acquire) { Err(MdbError::Panic.into()) } else { Ok(()) }
    }

    /// Forgets readers whose process has ended.
    pub(in crate::store) fn clear_stale_readers(&self) -> Result<(), heed::Error> {
        self.env.clear_stale_readers().map(|_| ())
    }

    /// Maps as much as the owner, in another process, now does.
    fn adopt_map_size(&self, snapshots: &MutexGuard<'_, OpenPins>) -> Result<(), ReadError> {
        if snapshots.len() > 0 {
            return Err(ReadError::MapGrown);
        }
        // SAFETY: as in `grow`: no snapshot is open and none can begin. Only a process that does not write meets
        // a map that has grown without it.
        unsafe { self.resize(0)? };
        Ok(())
    }

    fn lock_snapshots(&self) -> MutexGuard<'_, OpenPins> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReadTransaction {
    /// LMDB's transaction.
    pub(in crate::store) fn txn(&self) -> &RoTxn<'static, WithoutTls> {
        self.txn.as_ref().expect("it is taken only when dropped")
    }

    /// Refuses to be read where it was open for longer than the configuration allows.
    pub(in crate::store) fn check_age(&self) -> Result<(), ReadError> {
        match self.environment.pin_limit {
            Some(limit) if self.since.elapsed() > limit => Err(ReadError::PinnedTooLong { limit }),
            _ => Ok(()),
        }
    }
}

impl Drop for ReadTransaction {
    fn drop(&mut self) {
        let mut snapshots = self.environment.lock_snapshots();
        self.txn = None;
        snapshots.remove(self.pin);
    }
}

/// Opens the environment with the largest map that the process may have, if the configuration names none.
pub(in crate::store) fn map(
    dir: &Path,
    config: &Config,
    flags: EnvFlags,
) -> Result<Env<WithoutTls>, OpenError> {
    let map_size_max = Quota::new(dir, config).map_size_max();
    let wanted = config.map_size.unwrap_or(MAP_SIZE_MAX).clamp(MAP_SIZE_MIN, map_size_max);
    let mut map_size = whole_pages(wanted);
    loop {
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(map_size).max_dbs(Tables::COUNT).max_readers(config.readers_max);
        // SAFETY: two of the flags are unsafe. NO_SYNC gives up durability, which `Durability::Relaxed` asks for and a
        // store that is being made does not have yet; for NO_META_SYNC, `Environment::flush` makes up. The map is read-only memory (no WRITEMAP). The files are changed by LMDB alone, under its own
        // locks: the owner's lock keeps other writers out, and the documentation of `Varve` tells users not to
        // touch them.
        let opened = unsafe { options.flags(flags).open(dir) };
        match opened {
            Ok(env) => return Ok(env),
            Err(heed::Error::Io(error)) if is_out_of_addresses(&error) && may_shrink(config, map_size) => {
                map_size = whole_pages(map_size / 2);
            }
            Err(error) => return Err(open_error(dir, error)),
        }
    }
}

/// Whether the process may not map that much: a limit on its address space, a kernel without overcommit.
fn is_out_of_addresses(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::OutOfMemory | std::io::ErrorKind::InvalidInput)
}

fn may_shrink(config: &Config, map_size: usize) -> bool {
    config.map_size.is_none() && map_size / 2 >= MAP_SIZE_MIN
}

fn whole_pages(len: usize) -> usize {
    len.next_multiple_of(PAGE_SIZE_MAX)
}

fn open_error(dir: &Path, error: heed::Error) -> OpenError {
    let path = dir.to_path_buf();
    match error {
        heed::Error::EnvAlreadyOpened => OpenError::OpenHere { path },
        heed::Error::Mdb(MdbError::Invalid | MdbError::VersionMismatch | MdbError::Corrupted) => {
            OpenError::NotAStore { path, reason: "its data file is not one of this release's LMDB" }
        }
        // The data file has been opened before: what LMDB may not write is its table of readers.
        heed::Error::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            OpenError::Io { path: dir.join(LOCK_FILE), error }
        }
        heed::Error::Io(error) => OpenError::Io { path, error },
        error => error.into(),
    }
}

fn open_data_file(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(DATA_FILE);
    File::open(&path).map_err(|error| OpenError::Io { path, error })
}

/// Makes the names of new files durable.
pub(in crate::store) fn sync_directory(dir: &Path) -> Result<(), OpenError> {
    let sync = |path: &Path| {
        File::open(path)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| OpenError::Io { path: path.to_path_buf(), error })
    };
    sync(dir)?;
    sync(&dir.join(".."))
}

pub(in crate::store) const DATA_FILE: &str = "data.mdb";

/// LMDB's lock file.
pub(in crate::store) const LOCK_FILE: &str = "lock.mdb";

/// The files that this process has open, each under its number.
const OPEN_FILES: &str = "/proc/self/fd";

/// The largest page of the hosts that Varve meets: a map of whole pages of this size suits all of them.
const PAGE_SIZE_MAX: usize = 64 * 1024;

//! What every reader of a store shares, and the handle that opens it for reading.

use std::path::Path;
use std::sync::Arc;

use crate::descriptor::Schema;
use crate::store::config::Config;
use crate::store::error::{OpenError, ReadError};
use crate::store::files::environment::{Environment, ReadTransaction};
use crate::store::log::device::DeviceRecord;
use crate::store::read::global_reader::GlobalReader;
use crate::store::read::pin::{Pin, ProcessPins};
use crate::store::read::schema_cache::SchemaCache;
use crate::store::read::snapshot::{NO_END, Snapshot, StreamInfo};
use crate::store::read::stream_reader::StreamReader;
use crate::store::read::validated::ValidatedRuns;
use crate::store::read::verified::VerifiedBlocks;
use crate::store::sealing::Sealing;
use crate::store::tail::recovery::heal_unowned;
use crate::store::tail::{Mirror, Tail, TailView};
use crate::store::write::event_type::EventType;
use crate::store::write::stream::check_name;
#[cfg(feature = "notify")]
use crate::store::{
    follow::follower::Follower,
    follow::subscription::Subscription,
    follow::watcher::{Watermark, WriteWatcher},
    log::rows::Rows,
};
use crate::{DescriptorHash, DeviceId, Event, GlobalSequence};

/// A store to read: the half of [`Varve`](crate::Varve) that takes no ownership.
///
/// [`Varve::open_read_only`](crate::Varve::open_read_only) opens one beside the owner, in another process, or where
/// there is none. It sees what is durable when it looks; [`VarveView::last_commit`] tells cheaply whether there is more to
/// see. It needs to write the file `lock.mdb`, where LMDB keeps its readers, and to read all others.
#[derive(Clone, Debug)]
pub struct VarveView {
    store: Arc<Store>,
    /// It shows no event at or behind it.
    end: GlobalSequence,
}

/// What the handles, readers and snapshots of one store share.
#[derive(Debug)]
pub(in crate::store) struct Store {
    pub(in crate::store) environment: Arc<Environment>,
    pub(in crate::store) sealing: Arc<Sealing>,
    tail: TailSource,
    pub(in crate::store) verified: VerifiedBlocks,
    pub(in crate::store) validated: ValidatedRuns,
    pub(in crate::store) schemas: SchemaCache,
    incarnation: u64,
    #[cfg(feature = "notify")]
    pub(in crate::store) watermark: Arc<Watermark>,
    /// What moves the watermark where another process owns the store, once somebody waits for it.
    #[cfg(feature = "notify")]
    follower: Option<Follower>,
}

/// Where a store's tail is told from.
#[derive(Debug)]
pub(in crate::store) enum TailSource {
    /// This process writes it.
    Owned(Arc<Tail>),
    /// Another process does, or none.
    Mirrored(Arc<Mirror>),
}

impl Store {
    fn new(
        environment: Arc<Environment>,
        tail: TailSource,
        sealing: Arc<Sealing>,
    ) -> Result<Self, OpenError> {
        #[cfg(feature = "notify")]
        let watermark = match &tail {
            TailSource::Owned(tail) => tail.watermark().clone(),
            TailSource::Mirrored(_) => Arc::new(Watermark::new(GlobalSequence(0))),
        };
        #[cfg(feature = "notify")]
        let follower = match &tail {
            TailSource::Owned(_) => None,
            TailSource::Mirrored(mirror) => {
                let follower = Follower::new(mirror.clone(), environment.clone(), watermark.clone());
                Some(follower.map_err(heed::Error::Io)?)
            }
        };
        Ok(Self {
            incarnation: environment.incarnation()?,
            environment,
            sealing,
            tail,
            verified: VerifiedBlocks::new(),
            validated: ValidatedRuns::new(),
            schemas: SchemaCache::default(),
            #[cfg(feature = "notify")]
            watermark,
            #[cfg(feature = "notify")]
            follower,
        })
    }

    /// The log as it is now.
    pub(in crate::store) fn read(&self) -> Result<(ReadTransaction, TailView), ReadError> {
        match &self.tail {
            TailSource::Owned(tail) => self.environment.read_with(tail.view()),
            TailSource::Mirrored(mirror) => mirror.read(&self.environment),
        }
    }

    /// The number of the last commit that can be read.
    pub(in crate::store) fn last_commit(&self) -> u64 {
        match &self.tail {
            TailSource::Owned(tail) => tail.durable(),
            TailSource::Mirrored(mirror) => mirror.last_commit().unwrap_or(u64::MAX),
        }
    }

    /// Waits for commits to the store.
    #[cfg(feature = "notify")]
    pub(in crate::store) fn watcher(&self) -> WriteWatcher {
        self.follower.iter().for_each(Follower::follow);
        WriteWatcher::new(self.watermark.clone())
    }
}

impl VarveView {
    /// Opens the store in `dir` for reading.
    pub(in crate::store) fn open(dir: &Path, config: &Config) -> Result<Self, OpenError> {
        heal_unowned(dir)?;
        let environment = Arc::new(Environment::open_read_only(dir, config)?);
        let mirror = Mirror::open(dir, &environment)?;
        let sealing = Arc::new(Sealing::open_read_only(dir, config, &environment)?);
        let store = Store::new(environment, TailSource::Mirrored(Arc::new(mirror)), sealing)?;
        #[cfg(feature = "notify")]
        if let Ok((read, tail)) = store.read() {
            // A log whose end is damaged opens all the same, to be read up to there.
            let rows = Rows::new(store.environment.tables(), read.txn(), Some(&tail), None);
            store.watermark.advance(rows.log_end().unwrap_or_default().0);
        }
        Ok(Self::new(Arc::new(store), NO_END))
    }

    /// The readers' half of a store that this process owns.
    pub(in crate::store) fn of_owner(
        environment: Arc<Environment>,
        tail: Arc<Tail>,
        sealing: Arc<Sealing>,
    ) -> Result<Self, OpenError> {
        let store = Store::new(environment, TailSource::Owned(tail), sealing)?;
        Ok(Self::new(Arc::new(store), NO_END))
    }

    /// The log before `end`, at any moment.
    pub(in crate::store) fn new(store: Arc<Store>, end: GlobalSequence) -> Self {
        Self { store, end }
    }

    /// The number that tells this store from all others. It is drawn when the store is made.
    pub fn incarnation(&self) -> u64 {
        self.store.incarnation
    }

    /// The log as it is now.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooManyReaders`]; beside an owner in another process [`ReadError::MapGrown`] and
    /// [`ReadError::Overtaken`]; [`ReadError::Unconfirmed`] after a commit that failed; [`ReadError::Absent`] where the view
    /// [ends](VarveView::as_of) before the first event that retention left; [`ReadError::Storage`].
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        Snapshot::new(self.store.clone(), self.end)
    }

    /// This view as it is now, for good: each read of it gives what it gives now, whatever is appended since. It is a place
    /// in the log and holds no snapshot: between calls nothing is pinned, so it may be kept for as long as one likes.
    ///
    /// ```
    /// use varve_core::{GlobalSequence, StreamId, Varve};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let mut varve = Varve::new(dir.path())?;
    /// let mut readings = varve.stream::<u16, 2>("readings")?;
    /// readings.append_batch(StreamId(7), &[650, 651])?;
    ///
    /// let still = varve.as_of_now()?;
    /// readings.append(StreamId(7), &652)?;
    /// assert!(varve.pins().is_empty());
    ///
    /// let then = still.stream_reader::<u16>("readings")?;
    /// assert_eq!((then.version(StreamId(7))?, readings.reader().version(StreamId(7))?), (2, 3));
    /// assert_eq!(still.snapshot()?.iter_from(GlobalSequence(0))?.count(), 2);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Events that retention or shredding takes are absent here too, by name. Once retention has passed the end of the view,
    /// nothing is left of it: each read says [`ReadError::Absent`], of the whole.
    ///
    /// Which layouts a name had then is not kept: a [`VarveView::stream_reader`] is given for any type, and each event tells
    /// whether it has another. Of a block in the place of lost events nobody knows the order: where the view ends within
    /// one, a stream counts as many of those that it lost there as may stand before that end.
    ///
    /// What is no event is told as it is now: devices and consumers, and how clocks map to UTC. So is what concerns the
    /// store as a whole: pins, commits, and who waits for them or subscribes; a backup takes all of it, and `verify` looks at
    /// all of it.
    ///
    /// # Errors
    ///
    /// As [`VarveView::next_global_seq`].
    pub fn as_of_now(&self) -> Result<Self, ReadError> {
        self.as_of(NO_END)
    }

    /// As [`VarveView::as_of_now`], where the log ended at `end`: the events before it, and no other. An `end` beyond that of
    /// this view is its own.
    ///
    /// # Errors
    ///
    /// As [`VarveView::next_global_seq`].
    pub fn as_of(&self, end: GlobalSequence) -> Result<Self, ReadError> {
        Ok(Self::new(self.store.clone(), self.next_global_seq()?.min(end)))
    }

    /// The snapshots that are open in this process, the oldest first. While one is, the store grows as it is written to.
    ///
    /// ```
    /// # use varve_core::Varve;
    /// # let dir = tempfile::tempdir()?;
    /// let varve = Varve::new(dir.path())?;
    /// let snapshot = varve.snapshot()?;
    /// assert_eq!(varve.pins().len(), 1);
    /// drop(snapshot);
    /// assert!(varve.pins().is_empty());
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn pins(&self) -> Vec<Pin> {
        self.store.environment.pins()
    }

    /// The processes that have snapshots open, this one included, the one that is behind most first. What ended without
    /// letting go is forgotten when the store is opened by its owner, once a minute while it is written, and before the
    /// map grows.
    ///
    /// ```
    /// # use varve_core::Varve;
    /// # let dir = tempfile::tempdir()?;
    /// let varve = Varve::new(dir.path())?;
    /// let snapshot = varve.snapshot()?;
    /// let pins = varve.process_pins()?;
    /// assert_eq!((pins[0].process, pins[0].snapshots), (std::process::id(), 1));
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReadError::Storage`] where the table of LMDB's readers, the file `lock.mdb`, cannot be read.
    pub fn process_pins(&self) -> Result<Vec<ProcessPins>, ReadError> {
        self.store.environment.process_pins()
    }

    /// The place of the next event.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::Corrupt`] where the end of the log is damaged.
    pub fn next_global_seq(&self) -> Result<GlobalSequence, ReadError> {
        self.snapshot()?.next_global_seq()
    }

    /// A number that changes with every commit that can be read, of whichever process. To follow a store that
    /// another process owns, look at it from time to time, and read on where it has changed. Where it cannot be told
    /// it is `u64::MAX`: reading says why.
    pub fn last_commit(&self) -> u64 {
        self.store.last_commit()
    }

    /// Reads events of all streams in global order.
    pub fn global_reader(&self) -> GlobalReader {
        GlobalReader::new(self.clone())
    }

    /// Reads the streams of a name.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::StreamName`]; [`ReadError::LayoutMismatch`] where the name holds events, and
    /// none of `T`'s layout, nor of a version of it that has fewer or more fields at its end, unless this is a view
    /// [as of](VarveView::as_of) a place.
    pub fn stream_reader<T: Event>(&self, name: &str) -> Result<StreamReader<T>, ReadError> {
        check_name(name)?;
        let snapshot = self.snapshot()?;
        let rows = snapshot.rows();
        if !snapshot.is_cut()
            && let Some(number) = crate::store::log::catalog::name_number(rows, name)?
        {
            let asked = EventType::of::<T>();
            crate::store::log::catalog::check_layout(rows, name, number, &asked, |row| {
                row.root_len_as(&asked).is_some() || row.reads(&asked)
            })?;
        }
        Ok(StreamReader::new(self.clone(), name.into()))
    }

    /// Every stream. [`Snapshot::streams`] lists them one by one.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::Corrupt`] where a row of them is damaged.
    pub fn streams(&self) -> Result<Vec<StreamInfo>, ReadError> {
        self.snapshot()?.streams()?.collect()
    }

    /// Every device. [`Snapshot::devices`] lists them one by one.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::Corrupt`] where a row of them is damaged.
    pub fn devices(&self) -> Result<Vec<DeviceRecord>, ReadError> {
        self.snapshot()?.devices()?.collect()
    }

    /// One device as it is now, as [`Snapshot::device`]; `None` before anything of it was stored.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::Corrupt`] where a row of it is damaged.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRecord>, ReadError> {
        self.snapshot()?.device(device)
    }

    /// The first event that a consumer has yet to see; `None` before it was ever moved.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::Corrupt`] where its row is damaged.
    pub fn consumer(&self, name: &str) -> Result<Option<GlobalSequence>, ReadError> {
        self.snapshot()?.consumer(name)
    }

    /// The schema of a descriptor; `None` where the store has not its bytes.
    ///
    /// # Errors
    ///
    /// As [`VarveView::snapshot`]; [`ReadError::Corrupt`] where a row of it is damaged.
    pub fn schema(&self, hash: DescriptorHash) -> Result<Option<Arc<Schema>>, ReadError> {
        self.snapshot()?.schema(hash)
    }

    /// Waits for commits to the store, of whichever process. Beside an owner in another process, a thread looks for them
    /// every 10 ms from the first call on, until the last handle is dropped, which waits for it to end.
    #[cfg(feature = "notify")]
    pub fn watcher(&self) -> WriteWatcher {
        self.store.watcher()
    }

    /// Follows the log from `from` on: what is stored, then what is committed, by whichever process.
    #[cfg(feature = "notify")]
    pub fn subscribe(&self, from: GlobalSequence) -> Subscription {
        Subscription::new(self.store.clone(), from)
    }
}

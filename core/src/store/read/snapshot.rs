//! A snapshot: the log as it was at one moment, for as long as one looks at it.

use std::fmt;
use std::sync::Arc;

use heed::{RoTxn, WithoutTls};

use crate::descriptor::Schema;
#[cfg(feature = "encryption")]
use crate::store::encryption::OpenedUnits;
use crate::store::error::ReadError;
use crate::store::files::environment::ReadTransaction;
use crate::store::follow::consumer;
use crate::store::log::block::{Block, Origin, Run};
use crate::store::log::catalog::{self, DescriptorRow, StreamRow};
use crate::store::log::clock::{Domain, EventTime};
use crate::store::log::device::{DeviceRecord, LaneRecord, epoch_key, read_device_row};
use crate::store::log::rows::Rows;
use crate::store::log::tables::{RowError, Tables, array, long_number, number};
use crate::store::log::time_index::{TimeRow, stored_mapping};
use crate::store::read::global_reader::{GlobalIter, GlobalIterBack};
use crate::store::read::validated::ValidatedRuns;
use crate::store::read::view::{Store, VarveView};
use crate::store::tail::TailView;
use crate::{DescriptorHash, DeviceId, Epoch, GlobalSequence, Lane, StreamId, StreamSequence};

/// The log as it was when the snapshot was taken, however long it is looked at. What it lends, it lends from the
/// map.
///
/// A store that is written to grows while a snapshot is open, since no page that it sees is used again: take one
/// for a task, not for good. To hold still for longer, keep a view [as of](VarveView::as_of_now) a place, which takes a
/// snapshot for each call and ends them where it ends:
///
/// ```
/// use varve_core::{GlobalSequence, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// let mut readings = varve.stream::<u16, 2>("readings")?;
/// readings.append_batch(StreamId(7), &[650, 651])?;
///
/// let snapshot = varve.snapshot()?;
/// let still = snapshot.to_view()?;
/// drop(snapshot);
/// readings.append(StreamId(7), &652)?;
/// assert_eq!(still.snapshot()?.next_global_seq()?, GlobalSequence(2));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct Snapshot {
    read: ReadTransaction,
    /// What it has opened of sealed runs.
    #[cfg(feature = "encryption")]
    pub(in crate::store) opened: OpenedUnits,
    tail: TailView,
    store: Arc<Store>,
    /// It shows no event at or behind it.
    end: GlobalSequence,
}

/// A stream and how far it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// The name.
    pub name: String,
    /// Which stream of the name.
    pub id: StreamId,
    /// The place of the next event: how many events it ever got, absent ones included.
    pub next: StreamSequence,
}

impl Snapshot {
    /// The log before `end` as it is now.
    pub(in crate::store) fn new(store: Arc<Store>, end: GlobalSequence) -> Result<Self, ReadError> {
        let (read, tail) = store.read()?;
        let snapshot = Self {
            read,
            #[cfg(feature = "encryption")]
            opened: OpenedUnits::new(),
            tail,
            store,
            end,
        };
        if snapshot.is_cut() {
            snapshot.check_retained()?;
        }
        Ok(snapshot)
    }

    /// The place of the next event: every event before it is in the snapshot.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where the end of the log is damaged.
    pub fn next_global_seq(&self) -> Result<GlobalSequence, ReadError> {
        Ok(self.log_end()?.min(self.end))
    }

    /// A view that ends where the snapshot does, and holds nothing: see [`VarveView::as_of_now`].
    ///
    /// # Errors
    ///
    /// As [`Snapshot::next_global_seq`].
    pub fn to_view(&self) -> Result<VarveView, ReadError> {
        Ok(VarveView::new(self.store.clone(), self.next_global_seq()?))
    }

    /// The events from `from` on, in global order. What was retired of them is told first, as one absence: what is left
    /// begins at [`Snapshot::first_global_seq`].
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where the block of the first event is damaged. Of later ones the
    /// iterator tells.
    pub fn iter_from(&self, from: GlobalSequence) -> Result<GlobalIter<'_>, ReadError> {
        GlobalIter::new(self, from)
    }

    /// The events before `before`, or all of them: the last first.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where the end of the log is damaged.
    pub fn iter_back(&self, before: Option<GlobalSequence>) -> Result<GlobalIterBack<'_>, ReadError> {
        GlobalIterBack::new(self, before)
    }

    /// Every stream, in the order in which they came to be.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`], [`ReadError::Storage`]; the iterator gives [`ReadError::Corrupt`] in the place of a damaged row.
    pub fn streams(&self) -> Result<impl Iterator<Item = Result<StreamInfo, ReadError>> + '_, ReadError> {
        self.check_age()?;
        let rows = self.rows().all(&self.tables().stream_info)?;
        let streams = rows.map(|row| {
            let (key, value) = row?;
            let stream = number(key, 0).zip(StreamRow::parse(value));
            let (stream, row) =
                stream.ok_or_else(|| self.tables().stream_info.damage(key, "it names no stream"))?;
            let next = self.stream_end(stream)?;
            Ok(StreamInfo { name: row.name.into(), id: row.id, next })
        });
        let came_later = |stream: &StreamInfo| self.is_cut() && stream.next == StreamSequence(0);
        Ok(streams.filter(move |stream| !stream.as_ref().is_ok_and(came_later)))
    }

    /// Every device, in the order in which they came to be.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`], [`ReadError::Storage`]; the iterator gives [`ReadError::Corrupt`] in the place of a damaged row.
    pub fn devices(&self) -> Result<impl Iterator<Item = Result<DeviceRecord, ReadError>> + '_, ReadError> {
        self.check_age()?;
        let rows = self.rows().all(&self.tables().device)?;
        Ok(rows.map(|row| {
            let (key, value) = row?;
            let table = &self.tables().device;
            let number = number(key, 0).ok_or_else(|| table.damage(key, "its key is no number"))?;
            let (device, epoch) =
                read_device_row(value).ok_or_else(|| table.damage(key, "it is no device"))?;
            Ok(DeviceRecord { device, epoch, history: self.lanes_within(&number.to_be_bytes())? })
        }))
    }

    /// One device as it is now: of its history only the lanes of its latest epoch, so that it takes no longer however often
    /// the device was reset. `None` before anything of it was stored.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where a row of it is damaged.
    pub fn device(&self, device: DeviceId) -> Result<Option<DeviceRecord>, ReadError> {
        self.check_age()?;
        let tables = self.tables();
        let key = device.0.to_be_bytes();
        let Some(row) = self.rows().get(&tables.device_id, &key)? else { return Ok(None) };
        let number = <[u8; 4]>::try_from(row).map(u32::from_le_bytes);
        let number = number.map_err(|_| tables.device_id.damage(&key, "it is no number"))?;
        let (device, epoch) = self.device_row(number)?;
        let history = self.lanes_within(&epoch_key(number, epoch))?;
        Ok(Some(DeviceRecord { device, epoch, history }))
    }

    /// The first event that a consumer has yet to see; `None` before it was ever moved.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where its row is damaged.
    pub fn consumer(&self, name: &str) -> Result<Option<GlobalSequence>, ReadError> {
        self.check_age()?;
        Ok(consumer::next_of(self.rows(), name)?)
    }

    /// The schema of a descriptor; `None` where the store has not its bytes.
    ///
    /// # Errors
    ///
    /// [`ReadError::PinnedTooLong`]; [`ReadError::Corrupt`] where a row of it is damaged.
    pub fn schema(&self, hash: DescriptorHash) -> Result<Option<Arc<Schema>>, ReadError> {
        self.check_age()?;
        match catalog::descriptor_number(self.rows(), hash)? {
            Some(number) => self.schema_of(number),
            None => Ok(None),
        }
    }

    /// Where it ends: it shows no event at or behind it.
    #[inline]
    pub(in crate::store) fn end(&self) -> GlobalSequence {
        self.end
    }

    /// Whether there may be events behind its end.
    pub(in crate::store) fn is_cut(&self) -> bool {
        self.end < NO_END
    }

    /// The place after the last event of the log, whether it is shown or not.
    pub(in crate::store) fn log_end(&self) -> Result<GlobalSequence, ReadError> {
        self.check_age()?;
        Ok(self.rows().log_end()?)
    }

    /// Refuses to be read past the configured limit.
    pub(in crate::store) fn check_age(&self) -> Result<(), ReadError> {
        self.read.check_age()
    }

    pub(in crate::store) fn tables(&self) -> &Tables {
        self.store.environment.tables()
    }

    pub(in crate::store) fn txn(&self) -> &RoTxn<'static, WithoutTls> {
        self.read.txn()
    }

    /// The runs that were found to be of a type.
    pub(in crate::store) fn validated(&self) -> &ValidatedRuns {
        &self.store.validated
    }

    /// The rows of LMDB and of the tail.
    pub(in crate::store) fn rows(&self) -> Rows<'_> {
        Rows::new(self.tables(), self.txn(), Some(&self.tail), None)
    }

    /// The number of a stream; `None` where it holds nothing.
    pub(in crate::store) fn stream_number(&self, name: &str, id: StreamId) -> Result<Option<u32>, ReadError> {
        self.check_age()?;
        match catalog::name_number(self.rows(), name)? {
            Some(name) => Ok(catalog::stream_number(self.rows(), name, id)?),
            None => Ok(None),
        }
    }

    /// The numbers of all streams of a name.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooManyStreams`] past `max`.
    pub(in crate::store) fn stream_numbers(&self, name: &str, max: usize) -> Result<Vec<u32>, ReadError> {
        self.check_age()?;
        let Some(name) = catalog::name_number(self.rows(), name)? else { return Ok(Vec::new()) };
        let table = &self.tables().stream_id;
        let mut numbers = Vec::new();
        for row in self.rows().within(table, &name.to_be_bytes())? {
            let (key, value) = row?;
            let number = array(value, 0).filter(|_| value.len() == 4).map(u32::from_le_bytes);
            let number = number.ok_or_else(|| table.damage(key, "it is no number"))?;
            if self.is_cut() && self.stream_end(number)? == StreamSequence(0) {
                continue;
            }
            if numbers.len() == max {
                return Err(ReadError::TooManyStreams { max });
            }
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// A block of events, or one that stands in for them: checks it, unless it was checked before.
    pub(in crate::store) fn verified<'s>(
        &self,
        first: GlobalSequence,
        value: &'s [u8],
    ) -> Result<Block<'s>, ReadError> {
        self.check_age()?;
        let block = Block::new_trusted(first, value)?;
        if !self.store.verified.contains(first, block.crc()) {
            Block::new_checked(first, value)?;
            self.store.verified.insert(first, block.crc());
        }
        Ok(block)
    }

    /// The block that holds the event at `global`; `None` past the end of the log.
    pub(in crate::store) fn block_at(&self, global: GlobalSequence) -> Result<Option<Block<'_>>, ReadError> {
        self.block_around(global)?.map(|block| self.present(block)).transpose()
    }

    /// The block of the place `global`, be it of events or in the place of lost ones; `None` past the end of the snapshot.
    pub(in crate::store) fn block_around(
        &self,
        global: GlobalSequence,
    ) -> Result<Option<Block<'_>>, ReadError> {
        if global >= self.end { Ok(None) } else { self.any_block_around(global) }
    }

    /// The block of the place `global`, whether it is shown or not; `None` past the end of the log.
    pub(in crate::store) fn any_block_around(
        &self,
        global: GlobalSequence,
    ) -> Result<Option<Block<'_>>, ReadError> {
        self.check_age()?;
        let block = match self.tail.block_at_or_before(global) {
            Some((first, value)) => Some(Block::new_trusted(first, value)?),
            None => self.stored_block_at_or_before(global)?,
        };
        if let Some(block) = block
            && global < block.end()?
        {
            return Ok(Some(block));
        }
        if global >= self.log_end()? {
            return Ok(None);
        }
        Err(self.why_absent(global))
    }

    /// The block that begins at `first`, be it of events or in the place of lost ones.
    pub(in crate::store) fn block_from(&self, first: GlobalSequence) -> Result<Block<'_>, ReadError> {
        let block = self.block_around(first)?.filter(|block| block.first() == first);
        Ok(block.ok_or_else(|| self.tables().block.damage(&first.0.to_be_bytes(), "it is missing"))?)
    }

    /// Whether a block begins at `place`, or the log ends there. It looks at no block.
    pub(in crate::store) fn is_boundary(&self, place: GlobalSequence) -> Result<bool, ReadError> {
        let stored = self.tables().block.get(self.txn(), &place.0.to_be_bytes())?;
        Ok(stored.is_some() || self.tail_block(place)?.is_some() || place == self.log_end()?)
    }

    /// The block that begins at `first` in the tail.
    pub(in crate::store) fn tail_block(&self, first: GlobalSequence) -> Result<Option<Block<'_>>, ReadError> {
        self.check_age()?;
        match self.tail.block_at_or_before(first) {
            Some((found, value)) if found == first => Ok(Some(Block::new_trusted(first, value)?)),
            _ => Ok(None),
        }
    }

    /// The run at `index` of a block with its events, which are opened where they are sealed.
    pub(in crate::store) fn open_run<'s>(
        &'s self,
        block: &Block<'s>,
        index: usize,
    ) -> Result<Run<'s>, ReadError> {
        self.store.sealing.open_run(self, block, index)
    }

    fn stored_block_at_or_before(&self, global: GlobalSequence) -> Result<Option<Block<'_>>, ReadError> {
        let table = &self.tables().block;
        let Some((key, value)) = table.at_or_before(self.txn(), &global.0.to_be_bytes())? else {
            return Ok(None);
        };
        let first = long_number(key, 0).ok_or_else(|| table.damage(key, "its key is no sequence"))?;
        self.verified(GlobalSequence(first), value).map(Some)
    }

    pub(in crate::store) fn stream_row(&self, stream: u32) -> Result<StreamRow<'_>, ReadError> {
        Ok(StreamRow::get(self.rows(), stream)?)
    }

    pub(in crate::store) fn descriptor_row(&self, descriptor: u32) -> Result<DescriptorRow<'_>, ReadError> {
        Ok(DescriptorRow::get(self.rows(), descriptor)?)
    }

    pub(in crate::store) fn schema_of(&self, descriptor: u32) -> Result<Option<Arc<Schema>>, ReadError> {
        self.store.schemas.get(descriptor, || {
            let Some((_, bytes)) = self.descriptor_row(descriptor)?.known else { return Ok(None) };
            let damage = || self.tables().descriptor.damage(&descriptor.to_be_bytes(), "it is no descriptor");
            Schema::parse(bytes).map(Some).map_err(|_| damage().into())
        })
    }

    /// When an event happened that was taken in at `ingest_us` of `domain`.
    pub(in crate::store) fn ingest_time(&self, domain: u32, ingest_us: u64) -> Result<EventTime, ReadError> {
        Ok(self.domain(domain)?.time(ingest_us.into(), Some(0)))
    }

    /// When a device's clock showed `ticks`; `None` before it was ever compared with the host's.
    pub(in crate::store) fn device_time(
        &self,
        origin: &Origin,
        ticks: u64,
    ) -> Result<Option<EventTime>, ReadError> {
        let Some(mapping) = stored_mapping(self.rows(), origin)? else { return Ok(None) };
        let domain = self.domain(mapping.domain)?;
        Ok(Some(domain.time(mapping.host_us(ticks), Some(mapping.uncertainty_us.into()))))
    }

    /// When the events of the block that begins at `first` happened; `None` where the index by time does not tell.
    pub(in crate::store) fn time_row(&self, first: GlobalSequence) -> Result<Option<TimeRow>, ReadError> {
        let Some(table) = &self.tables().time else { return Ok(None) };
        let key = first.0.to_be_bytes();
        let Some(value) = table.get(self.txn(), &key)? else { return Ok(None) };
        let row = TimeRow::parse(&key, value);
        Ok(Some(row.ok_or_else(|| table.damage(&key, "it tells no times"))?))
    }

    pub(in crate::store) fn device_id(&self, device: u32) -> Result<DeviceId, ReadError> {
        Ok(self.device_row(device)?.0)
    }

    /// A device's id and its latest epoch.
    fn device_row(&self, device: u32) -> Result<(DeviceId, Epoch), ReadError> {
        let key = device.to_be_bytes();
        let row = self.rows().get(&self.tables().device, &key)?.and_then(read_device_row);
        Ok(row.ok_or_else(|| self.tables().device.damage(&key, "it is no device"))?)
    }

    /// How a clock domain maps to UTC.
    pub(in crate::store) fn domain(&self, domain: u32) -> Result<Domain, ReadError> {
        let key = domain.to_be_bytes();
        let row = self.rows().get(&self.tables().domain, &key)?.and_then(Domain::from_row);
        Ok(row.ok_or_else(|| self.tables().domain.damage(&key, "it is no clock domain"))?)
    }

    /// The lanes whose keys begin with `prefix`, in order.
    fn lanes_within(&self, prefix: &[u8]) -> Result<Vec<LaneRecord>, ReadError> {
        let cursor = &self.tables().cursor;
        let lanes = self.rows().within(cursor, prefix)?.map(|row| {
            let (key, value) = row?;
            let lane = number(key, 4).map(Epoch).zip(key.get(8).copied().map(Lane));
            let lane = lane.and_then(|(epoch, lane)| LaneRecord::from_row(epoch, lane, value));
            Ok::<_, RowError>(lane.ok_or_else(|| cursor.damage(key, "it is no cursor"))?)
        });
        Ok(lanes.collect::<Result<_, _>>()?)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

/// The end of a snapshot that shows the whole log.
pub(in crate::store) const NO_END: GlobalSequence = GlobalSequence(u64::MAX);

#[cfg(test)]
mod tests {
    use crate::store::error::{Damage, Place, ReadError};
    use crate::{GlobalSequence, StreamId, Varve};

    #[test]
    fn a_block_that_is_missing_before_the_tail_is_damage_and_not_the_end_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut frames = varve.stream::<[u8; 40_000], 40_000>("frames").unwrap();
        (0..2).for_each(|_| assert!(frames.append(StreamId(7), &[0; 40_000]).is_ok()));
        varve.fold().unwrap();
        frames.append(StreamId(7), &[0; 40_000]).unwrap();
        {
            let snapshot = varve.snapshot().unwrap();
            let environment = &snapshot.store.environment;
            let mut txn = environment.write().unwrap();
            assert!(environment.tables().block.delete(&mut txn, &1u64.to_be_bytes()).unwrap());
            environment.commit(txn).unwrap();
        }
        let snapshot = varve.snapshot().unwrap();
        let mut events = snapshot.iter_from(GlobalSequence(0)).unwrap();
        assert_eq!(events.next().unwrap().unwrap().global_seq, GlobalSequence(0));
        match events.next().map(|event| event.map(|event| event.global_seq)) {
            Some(Err(ReadError::Corrupt(Damage { place: Place::Event(GlobalSequence(1)), .. }))) => {}
            told => panic!("{told:?}"),
        }
        assert!(events.next().is_none(), "an error ends the iteration");
    }
}

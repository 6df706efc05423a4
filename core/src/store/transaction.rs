//! One write transaction: everything that an append does happens here, or does not happen.

use std::collections::HashMap;

use heed::RwTxn;

use super::append::{Committed, Place};
use super::block::{Block, BlockWriter, EVENT_LEN_MAX, EventMeta, PushError, RunKey};
use super::catalog::{self, DescriptorRow, StreamRow};
use super::clock::{ClockMapping, StoredMapping, mapping_key};
use super::device::{
    DeviceGap, LaneMark, LaneRecord, Refused, RefusedReason, cursor_key, device_row, read_device_row,
};
use super::environment::Environment;
use super::error::AppendError;
use super::event_type::EventType;
use super::gap_event::{GapEvent, gap_reason};
use super::run_index::RunIndex;
use super::tables::{Table, Tables, key12, long_number};
use crate::{
    ArchiveError, Batch, CHANNELS_MAX, Channel, DescriptorHash, DeviceId, DeviceSequence, Epoch, Event,
    GlobalSequence, Lane, LayoutHash, StreamId, StreamSequence,
};

/// A write transaction in progress.
pub(super) struct Transaction<'w> {
    txn: RwTxn<'w>,
    tables: &'w Tables,
    block: &'w mut BlockWriter,
    encoded: &'w mut Vec<u8>,
    domain: u32,
    now_us: u64,
    next: GlobalSequence,
    /// The place of the next event in each stream that is a target.
    stream_ends: Vec<StreamSequence>,
    /// Where in `stream_ends` a stream stands, by its number.
    slots: HashMap<u32, usize>,
    lanes: HashMap<(u32, Epoch, Lane), OpenLane>,
    committed: Committed,
}

/// Where an event goes: a stream and the descriptor of its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    stream: u32,
    /// Where the transaction keeps the stream's end.
    slot: usize,
    descriptor: u32,
}

/// A lane that the transaction has touched.
#[derive(Debug)]
struct OpenLane {
    device: DeviceId,
    record: LaneRecord,
}

/// How events of a device stand to what is stored of their lane.
enum Standing {
    /// They come next; the device's number and the lane as it is.
    Next(u32, LaneRecord),
    /// They were stored before.
    Stored,
    /// They do not follow.
    Refused,
}

impl<'w> Transaction<'w> {
    /// Begins a transaction whose events are taken in at `now_us` of the clock domain `domain`.
    pub(super) fn begin(
        environment: &'w Environment,
        block: &'w mut BlockWriter,
        encoded: &'w mut Vec<u8>,
        domain: u32,
        now_us: u64,
    ) -> Result<Self, AppendError> {
        let txn = environment.write()?;
        let tables = environment.tables();
        let next = log_end(tables, &txn)?;
        block.begin(next, domain);
        Ok(Self {
            txn,
            tables,
            block,
            encoded,
            domain,
            now_us,
            next,
            stream_ends: Vec::new(),
            slots: HashMap::new(),
            lanes: HashMap::new(),
            committed: Committed {
                first: next,
                events: 0,
                duplicates: 0,
                refused: Vec::new(),
                lanes: Vec::new(),
            },
        })
    }

    /// Writes what is left and commits; nothing has happened before.
    pub(super) fn finish(mut self) -> Result<Committed, FinishError> {
        self.write_block()?;
        self.write_lanes()?;
        self.committed.events = self.next.0 - self.committed.first.0;
        self.txn.commit().map_err(FinishError::Commit)?;
        Ok(self.committed)
    }

    /// The tables, and the transaction to write other rows.
    pub(super) fn rows(&mut self) -> (&Tables, &mut RwTxn<'w>) {
        (self.tables, &mut self.txn)
    }

    /// Where a local event of a type goes. A name takes one layout of local events.
    pub(super) fn local_target(
        &mut self,
        name: &str,
        id: StreamId,
        event_type: &EventType,
    ) -> Result<Target, AppendError> {
        let known = Some((event_type.layout, event_type.descriptor));
        let descriptor = self.descriptor(event_type.descriptor_hash, known)?;
        let number = self.name(name)?;
        catalog::check_layout(self.tables, &self.txn, name, number, event_type)?;
        self.target(number, name, id, descriptor)
    }

    /// Where the events of a device's channel go; `None` where nobody knows the descriptor.
    pub(super) fn device_target(
        &mut self,
        name: &str,
        id: StreamId,
        descriptor: DescriptorHash,
    ) -> Result<Option<Target>, AppendError> {
        let Some(descriptor) = catalog::descriptor_number(self.tables, &self.txn, descriptor)? else {
            return Ok(None);
        };
        let number = self.name(name)?;
        self.target(number, name, id, descriptor).map(Some)
    }

    /// Adds a local event that `archive` writes, of at most `len_max` bytes.
    pub(super) fn push_local(
        &mut self,
        target: Target,
        len_max: usize,
        archive: impl FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<StreamSequence, AppendError> {
        let meta = self.local_meta(target, self.now_us);
        self.push(target, &local_run(target), meta, len_max.min(EVENT_LEN_MAX), archive)
    }

    /// Adds a local event that is archived already.
    pub(super) fn push_archived(
        &mut self,
        target: Target,
        event: &[u8],
    ) -> Result<StreamSequence, AppendError> {
        self.push_local(target, event.len(), |out| copy(event, out))
    }

    /// The place of the next event of a target's stream.
    pub(super) fn stream_next(&self, target: Target) -> StreamSequence {
        self.stream_ends[target.slot]
    }

    /// The place of the next event in the log.
    pub(super) fn next(&self) -> GlobalSequence {
        self.next
    }

    /// Adds a device's batch, if it follows what is stored of its lane.
    pub(super) fn device_batch(
        &mut self,
        place: &Place,
        chain: u32,
        ingest_us: u64,
        batch: &Batch<'_>,
        mut target: impl FnMut(&mut Self, Channel) -> Result<Option<Target>, AppendError>,
    ) -> Result<(), AppendError> {
        let (device, record) = match self.standing(place, batch.len() as u64)? {
            Standing::Next(device, record) => (device, record),
            Standing::Stored => {
                self.committed.duplicates += batch.len() as u64;
                return Ok(());
            }
            Standing::Refused => return Ok(()),
        };
        let mut targets: [Option<Target>; CHANNELS_MAX] = [None; CHANNELS_MAX];
        for event in batch.events() {
            let slot = &mut targets[usize::from(event.channel.0)];
            if slot.is_none() {
                *slot = target(self, event.channel)?;
            }
            if slot.is_none() {
                self.refuse(place, record.next, RefusedReason::UnknownDescriptor);
                return Ok(());
            }
        }
        let mut device_seq = place.first;
        for event in batch.events() {
            let target = targets[usize::from(event.channel.0)].expect("found above");
            let key = RunKey {
                stream: target.stream,
                descriptor: target.descriptor,
                device,
                epoch: place.epoch,
                lane: place.lane,
                timed: event.ticks.is_some(),
            };
            let (stream_seq, ticks) = (self.stream_next(target), event.ticks.unwrap_or(0));
            let meta = EventMeta { stream_seq, device_seq, ticks, ingest_us };
            self.push(target, &key, meta, event.bytes.len(), |out| copy(event.bytes, out))?;
            device_seq.0 += 1;
        }
        let lane = self.lane(place, device)?;
        lane.next = device_seq;
        lane.chain = chain;
        lane.heard = lane.heard.max(device_seq);
        Ok(())
    }

    /// Moves a lane past lost events and stores a gap event, if the gap follows what is stored.
    pub(super) fn device_gap(&mut self, gap: &DeviceGap) -> Result<(), AppendError> {
        let DeviceGap { device, epoch, lane, first, len, reason, .. } = *gap;
        let place = Place { device, epoch, lane, first };
        let Standing::Next(number, _) = self.standing(&place, len)? else { return Ok(()) };
        self.pass(&place, number, len, Some(gap.chain))?;
        self.push_gap(&GapEvent::new(device, epoch, lane, first, len, reason), gap.ingest_us)
    }

    /// Opens an epoch, unless a later one is open.
    pub(super) fn open_epoch(&mut self, device: DeviceId, epoch: Epoch) -> Result<(), AppendError> {
        let number = self.device(device)?;
        if epoch > self.latest_epoch(number)? {
            self.tables.device.put(&mut self.txn, &number.to_be_bytes(), &device_row(device, epoch))?;
        }
        Ok(())
    }

    /// Ends an epoch: what was heard of and is missing becomes a gap.
    pub(super) fn close_epoch(
        &mut self,
        device: DeviceId,
        epoch: Epoch,
        ingest_us: u64,
    ) -> Result<(), AppendError> {
        let number = self.device(device)?;
        let mut lanes = self.lanes_of(number, epoch)?;
        if lanes.is_empty() {
            lanes.push(LaneRecord::new(epoch, Lane(0)));
        }
        for LaneRecord { lane, next: first, heard, .. } in lanes.into_iter().filter(|lane| !lane.closed) {
            let place = Place { device, epoch, lane, first };
            let len = heard.0.saturating_sub(first.0);
            self.pass(&place, number, len, None)?;
            self.lane(&place, number)?.closed = true;
            let gap = GapEvent::new(device, epoch, lane, first, len, gap_reason::EPOCH_CLOSED);
            self.push_gap(&GapEvent { end_unknown: true, ..gap }, ingest_us)?;
        }
        Ok(())
    }

    /// Notes how far a device has told of a lane; of a lane that is closed no more is heard.
    pub(super) fn heard(&mut self, place: &Place) -> Result<(), AppendError> {
        let device = self.device(place.device)?;
        let lane = self.lane(place, device)?;
        if !lane.closed {
            lane.heard = lane.heard.max(place.first);
        }
        Ok(())
    }

    /// Records how a lane's ticks map to the host's time. What follows makes runs of its own.
    pub(super) fn clock(&mut self, mapping: &ClockMapping) -> Result<(), AppendError> {
        let ClockMapping { device, epoch, lane, first, ticks, host_us, tick_hz, uncertainty_us } = *mapping;
        if tick_hz == 0 {
            return Ok(());
        }
        let device = self.device(device)?;
        self.block.close_runs(device, epoch, lane);
        let row = StoredMapping { domain: self.domain, ticks, tick_hz, host_us, uncertainty_us }.to_row();
        self.tables.clock.put(&mut self.txn, &mapping_key(device, epoch, lane, first), &row)?;
        Ok(())
    }

    /// The number of a descriptor, which is added if it is new, and completed if it was external. The caller has
    /// checked that the bytes are a descriptor of that layout, and that the hash is theirs.
    pub(super) fn descriptor(
        &mut self,
        hash: DescriptorHash,
        known: Option<(LayoutHash, &[u8])>,
    ) -> Result<u32, AppendError> {
        match catalog::descriptor_number(self.tables, &self.txn, hash)? {
            Some(number) => {
                let row = DescriptorRow::get(self.tables, &self.txn, number)?;
                if row.known.is_none() && known.is_some() {
                    let row = DescriptorRow { hash, known }.to_row();
                    self.tables.descriptor.put(&mut self.txn, &number.to_be_bytes(), &row)?;
                }
                Ok(number)
            }
            None => {
                let number = self.allot(&self.tables.descriptor, "descriptor number")?;
                let row = DescriptorRow { hash, known }.to_row();
                self.tables.descriptor.append(&mut self.txn, &number.to_be_bytes(), &row)?;
                self.tables.hash.put(&mut self.txn, &hash.0, &number.to_le_bytes())?;
                Ok(number)
            }
        }
    }

    fn push_gap(&mut self, gap: &GapEvent, ingest_us: u64) -> Result<(), AppendError> {
        let id = GapEvent::stream_id(DeviceId(gap.device), Lane(gap.lane));
        let target = self.local_target(GapEvent::STREAM, id, &EventType::of::<GapEvent>())?;
        let archive = |out: &mut [u8]| crate::archive_into(gap, out);
        let meta = self.local_meta(target, ingest_us);
        self.push(target, &local_run(target), meta, size_of::<GapEvent>(), archive)?;
        Ok(())
    }

    fn local_meta(&self, target: Target, ingest_us: u64) -> EventMeta {
        EventMeta { stream_seq: self.stream_next(target), device_seq: DeviceSequence(0), ticks: 0, ingest_us }
    }

    fn push(
        &mut self,
        target: Target,
        key: &RunKey,
        meta: EventMeta,
        len_max: usize,
        mut archive: impl FnMut(&mut [u8]) -> Result<usize, ArchiveError>,
    ) -> Result<StreamSequence, AppendError> {
        let EventMeta { stream_seq, .. } = meta;
        let stream_end = successor(stream_seq.0, "stream sequence")?;
        let global_end = successor(self.next.0, "global sequence")?;
        match self.block.push(key, meta, len_max, &mut archive) {
            Ok(()) => {}
            Err(PushError::Full) if self.block.len() > 0 => {
                self.write_block()?;
                self.block.push(key, meta, len_max, archive).map_err(|error| push_error(error, len_max))?;
            }
            Err(error) => return Err(push_error(error, len_max)),
        }
        self.stream_ends[target.slot] = StreamSequence(stream_end);
        self.next = GlobalSequence(global_end);
        Ok(stream_seq)
    }

    /// Writes the block in the making, if it holds anything, and begins the next.
    fn write_block(&mut self) -> Result<(), AppendError> {
        if self.block.len() == 0 {
            return Ok(());
        }
        let block = self.block.first();
        self.block.finish(self.encoded);
        self.tables.block.append(&mut self.txn, &block.0.to_be_bytes(), self.encoded)?;
        for (run, (stream, first, count)) in self.block.runs().enumerate() {
            let index = RunIndex { stream, first, block, run: run as u16, count };
            self.tables.stream.put(&mut self.txn, &index.key(), &index.value())?;
        }
        self.block.begin(self.next, self.domain);
        Ok(())
    }

    fn write_lanes(&mut self) -> Result<(), AppendError> {
        for (&(device, epoch, lane), open) in &self.lanes {
            let key = cursor_key(device, epoch, lane);
            self.tables.cursor.put(&mut self.txn, &key, &open.record.to_row())?;
            let OpenLane { device, record } = open;
            self.committed.lanes.push(LaneMark { device: *device, epoch, lane, next: record.next });
        }
        self.committed.lanes.sort_by_key(|mark| (mark.device, mark.epoch, mark.lane));
        Ok(())
    }

    /// Tells how `len` events at `place` stand to what is stored of their lane, and lists them where they are
    /// refused.
    fn standing(&mut self, place: &Place, len: u64) -> Result<Standing, AppendError> {
        let device = self.device(place.device)?;
        let is_latest = self.latest_epoch(device)? == place.epoch;
        if !is_latest && !self.is_lane_known(place, device)? {
            return Ok(self.refuse(place, DeviceSequence(0), RefusedReason::EpochNotOpen));
        }
        let record = *self.lane(place, device)?;
        let Some(end) = place.first.checked_add(len) else {
            return Ok(self.refuse(place, record.next, RefusedReason::Exhausted));
        };
        let reason = if len > 0 && end <= record.next {
            return Ok(Standing::Stored);
        } else if place.first > record.next {
            RefusedReason::Ahead
        } else if place.first < record.next {
            RefusedReason::Straddles
        } else if record.closed || !is_latest {
            RefusedReason::EpochNotOpen
        } else {
            return Ok(Standing::Next(device, record));
        };
        Ok(self.refuse(place, record.next, reason))
    }

    fn refuse(&mut self, place: &Place, next: DeviceSequence, reason: RefusedReason) -> Standing {
        let Place { device, epoch, lane, first } = *place;
        self.committed.refused.push(Refused { lane: LaneMark { device, epoch, lane, next }, first, reason });
        Standing::Refused
    }

    /// Moves a lane past `len` lost events.
    fn pass(&mut self, place: &Place, device: u32, len: u64, chain: Option<u32>) -> Result<(), AppendError> {
        self.block.close_runs(device, place.epoch, place.lane);
        let lane = self.lane(place, device)?;
        let exhausted = AppendError::Exhausted { space: "device sequence" };
        lane.next = place.first.checked_add(len).ok_or(exhausted)?;
        lane.gap_total += len;
        lane.heard = lane.heard.max(lane.next);
        lane.chain = chain.unwrap_or(lane.chain);
        Ok(())
    }

    /// The lanes of an epoch, as far as the transaction has taken them.
    fn lanes_of(&mut self, device: u32, epoch: Epoch) -> Result<Vec<LaneRecord>, AppendError> {
        let mut lanes = Vec::with_capacity(Lane::COUNT);
        for lane in (0..Lane::COUNT as u8).map(Lane) {
            let place = Place { device: DeviceId(0), epoch, lane, first: DeviceSequence(0) };
            if self.is_lane_known(&place, device)? {
                let record = match self.lanes.get(&(device, epoch, lane)) {
                    Some(open) => open.record,
                    None => self.read_lane(device, epoch, lane)?.expect("it is known"),
                };
                lanes.push(record);
            }
        }
        Ok(lanes)
    }

    fn is_lane_known(&self, place: &Place, device: u32) -> Result<bool, AppendError> {
        let Place { epoch, lane, .. } = *place;
        Ok(self.lanes.contains_key(&(device, epoch, lane)) || self.read_lane(device, epoch, lane)?.is_some())
    }

    fn lane(&mut self, place: &Place, device: u32) -> Result<&mut LaneRecord, AppendError> {
        let key = (device, place.epoch, place.lane);
        if !self.lanes.contains_key(&key) {
            let record = self.read_lane(device, place.epoch, place.lane)?;
            let record = record.unwrap_or_else(|| LaneRecord::new(place.epoch, place.lane));
            self.lanes.insert(key, OpenLane { device: place.device, record });
        }
        Ok(&mut self.lanes.get_mut(&key).expect("it was just put there").record)
    }

    fn read_lane(&self, device: u32, epoch: Epoch, lane: Lane) -> Result<Option<LaneRecord>, AppendError> {
        let key = cursor_key(device, epoch, lane);
        let Some(row) = self.tables.cursor.get(&self.txn, &key)? else { return Ok(None) };
        let record = LaneRecord::from_row(epoch, lane, row);
        Ok(Some(record.ok_or_else(|| self.tables.cursor.damage(&key, "it is no cursor"))?))
    }

    /// The number of a device, which is added if it is new.
    fn device(&mut self, device: DeviceId) -> Result<u32, AppendError> {
        let key = device.0.to_be_bytes();
        if let Some(row) = self.tables.device_id.get(&self.txn, &key)? {
            let number = <[u8; 4]>::try_from(row).map(u32::from_le_bytes);
            return Ok(number.map_err(|_| self.tables.device_id.damage(&key, "it is no number"))?);
        }
        let number = self.allot(&self.tables.device, "device number")?;
        self.tables.device.append(&mut self.txn, &number.to_be_bytes(), &device_row(device, Epoch(0)))?;
        self.tables.device_id.put(&mut self.txn, &key, &number.to_le_bytes())?;
        Ok(number)
    }

    fn latest_epoch(&self, device: u32) -> Result<Epoch, AppendError> {
        let key = device.to_be_bytes();
        let row = self.tables.device.get(&self.txn, &key)?.and_then(read_device_row);
        Ok(row.ok_or_else(|| self.tables.device.damage(&key, "it is no device"))?.1)
    }

    /// The number of a stream name, which is added if it is new.
    fn name(&mut self, name: &str) -> Result<u32, AppendError> {
        if let Some(number) = catalog::name_number(self.tables, &self.txn, name)? {
            return Ok(number);
        }
        let number = self.next_name()?;
        self.tables.name.put(&mut self.txn, name.as_bytes(), &number.to_le_bytes())?;
        Ok(number)
    }

    /// Names are keyed by their text, so that the last number stands with the last stream id.
    fn next_name(&self) -> Result<u32, AppendError> {
        let last = self.tables.stream_id.last(&self.txn)?.and_then(|(key, _)| super::tables::number(key, 0));
        let number = last.unwrap_or(0).checked_add(1);
        number.ok_or(AppendError::Exhausted { space: "stream name" })
    }

    /// The stream of a name, which is added if it is new, with what its events are made of.
    fn target(
        &mut self,
        number: u32,
        name: &str,
        id: StreamId,
        descriptor: u32,
    ) -> Result<Target, AppendError> {
        let stream = match catalog::stream_number(self.tables, &self.txn, number, id)? {
            Some(stream) => stream,
            None => self.add_stream(number, name, id)?,
        };
        self.add_layout(number, descriptor)?;
        let slot = match self.slots.get(&stream) {
            Some(&slot) => slot,
            None => {
                self.stream_ends.push(catalog::stream_end(self.tables, &self.txn, stream)?);
                let slot = self.stream_ends.len() - 1;
                self.slots.insert(stream, slot);
                slot
            }
        };
        Ok(Target { stream, slot, descriptor })
    }

    fn add_stream(&mut self, number: u32, name: &str, id: StreamId) -> Result<u32, AppendError> {
        let stream = self.allot(&self.tables.stream_info, "stream number")?;
        self.tables.stream_id.put(&mut self.txn, &key12(number, id.0), &stream.to_le_bytes())?;
        let row = StreamRow { name, id }.to_row();
        self.tables.stream_info.append(&mut self.txn, &stream.to_be_bytes(), &row)?;
        Ok(stream)
    }

    /// Notes that a name holds events of a descriptor's layout.
    fn add_layout(&mut self, name: u32, descriptor: u32) -> Result<(), AppendError> {
        let row = DescriptorRow::get(self.tables, &self.txn, descriptor)?;
        let layout = row.known.map_or([0; 8], |(layout, _)| layout.0);
        let key = key12(name, u64::from_be_bytes(layout));
        if self.tables.layout.get(&self.txn, &key)?.is_none() {
            self.tables.layout.put(&mut self.txn, &key, &descriptor.to_le_bytes())?;
        }
        Ok(())
    }

    fn allot(&self, table: &Table, space: &'static str) -> Result<u32, AppendError> {
        table.next_number(&self.txn)?.ok_or(AppendError::Exhausted { space })
    }
}

/// Why a transaction did not end well.
pub(super) enum FinishError {
    /// Before anything reached the disk.
    Append(AppendError),
    /// While it was written to the disk.
    Commit(heed::Error),
}

impl From<AppendError> for FinishError {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

/// The place after the last event of the log.
pub(super) fn log_end(
    tables: &Tables,
    txn: &heed::RoTxn<'_>,
) -> Result<GlobalSequence, super::tables::RowError> {
    match tables.block.last(txn)? {
        None => Ok(GlobalSequence(0)),
        Some((key, value)) => {
            let first =
                long_number(key, 0).ok_or_else(|| tables.block.damage(key, "its key is no sequence"))?;
            Ok(Block::new_trusted(GlobalSequence(first), value)?.end()?)
        }
    }
}

fn local_run(target: Target) -> RunKey {
    let Target { stream, descriptor, .. } = target;
    RunKey { stream, descriptor, device: 0, epoch: Epoch(0), lane: Lane(0), timed: false }
}

fn successor(sequence: u64, space: &'static str) -> Result<u64, AppendError> {
    sequence.checked_add(1).ok_or(AppendError::Exhausted { space })
}

fn copy(event: &[u8], out: &mut [u8]) -> Result<usize, ArchiveError> {
    out.get_mut(..event.len()).ok_or(ArchiveError::TooLarge)?.copy_from_slice(event);
    Ok(event.len())
}

fn push_error(error: PushError, len_max: usize) -> AppendError {
    match error {
        PushError::Archive(error) => AppendError::of_archive(error, len_max),
        PushError::Full => unreachable!("an event of the largest size fits an empty block"),
    }
}

const _: () = assert!(crate::BATCH_EXTENT_MAX <= EVENT_LEN_MAX);

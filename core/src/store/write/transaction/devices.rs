//! What a transaction does for devices: their batches and gaps, their epochs, their clocks.

use super::{Destination, Transaction};
use crate::store::error::AppendError;
use crate::store::log::block::{EventMeta, LatestRun, RunKey};
use crate::store::log::clock::{ClockMapping, StoredMapping, mapped_from, mapping_key};
use crate::store::log::device::{
    DeviceGap, LaneMark, LaneRecord, Refused, RefusedReason, cursor_key, device_row, read_device_row,
};
use crate::store::log::gap_event::GapEvent;
use crate::store::sealing::is_want_of_keys;
use crate::store::write::append::Place;
use crate::store::write::event_type::EventType;
use crate::{Batch, CHANNELS_MAX, Channel, DeviceId, DeviceSequence, Epoch, Event, GapReason, Lane};

/// A lane that the transaction has touched.
#[derive(Debug)]
pub(super) struct OpenLane {
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

impl Transaction<'_> {
    /// Adds a device's batch, if it follows what is stored of its lane.
    pub(in crate::store) fn device_batch(
        &mut self,
        place: &Place,
        chain: u32,
        ingest_us: u64,
        batch: &Batch<'_>,
        mut target: impl FnMut(&mut Self, Channel) -> Result<Option<Destination>, AppendError>,
    ) -> Result<(), AppendError> {
        let (device, record) = match self.standing(place, batch.len() as u64)? {
            Standing::Next(device, record) => (device, record),
            Standing::Stored => {
                self.committed.duplicates += batch.len() as u64;
                return Ok(());
            }
            Standing::Refused => return Ok(()),
        };
        let mut targets: [Option<Destination>; CHANNELS_MAX] = [None; CHANNELS_MAX];
        for event in batch.events() {
            let slot = &mut targets[usize::from(event.channel.0)];
            if slot.is_some() {
                continue;
            }
            let reason = match target(self, event.channel) {
                Ok(None) => RefusedReason::UnknownDescriptor,
                Err(error) if is_want_of_keys(&error) => RefusedReason::KeysFull,
                found => {
                    *slot = found?;
                    continue;
                }
            };
            self.refuse(place, record.next, reason);
            return Ok(());
        }
        let mut turns = match batch.events().next() {
            Some(event) if event.ticks.is_some() => self.mapping_turns(place, device, batch.len() as u64)?,
            _ => Vec::new(),
        };
        let (mut device_seq, mut latest) = (place.first, [LatestRun::default(); CHANNELS_MAX]);
        for event in batch.events() {
            if turns.pop_if(|turn| *turn == device_seq).is_some() {
                self.block.close_runs(device, place.epoch, place.lane);
            }
            let target = targets[usize::from(event.channel.0)].expect("found above");
            let (epoch, lane, timed) = (place.epoch, place.lane, event.ticks.is_some());
            let key = RunKey { device, epoch, lane, timed, ..target.run };
            let (stream_seq, ticks) = (self.stream_next(&target), event.ticks.unwrap_or(0));
            let meta = EventMeta { stream_seq, device_seq, ticks, ingest_us };
            self.push(target.slot, &key, &mut latest[usize::from(event.channel.0)], &meta, event.bytes)?;
            device_seq.0 += 1;
        }
        let lane = self.lane(place, device)?;
        lane.next = device_seq;
        lane.chain = chain;
        lane.heard = lane.heard.max(device_seq);
        Ok(())
    }

    /// Moves a lane past lost events and stores a gap event, if the gap follows what is stored.
    pub(in crate::store) fn device_gap(&mut self, gap: &DeviceGap) -> Result<(), AppendError> {
        let DeviceGap { device, epoch, lane, first, len, reason, .. } = *gap;
        let place = Place { device, epoch, lane, first };
        let Standing::Next(number, _) = self.standing(&place, len)? else { return Ok(()) };
        self.pass(&place, number, len, Some(gap.chain))?;
        self.push_gap(&GapEvent::new(device, epoch, lane, first, len, reason), gap.ingest_us)
    }

    /// Opens an epoch, unless a later one is open.
    pub(in crate::store) fn open_epoch(&mut self, device: DeviceId, epoch: Epoch) -> Result<(), AppendError> {
        let number = self.device(device)?;
        if epoch > self.latest_epoch(number)? {
            self.put(&self.tables.device, &number.to_be_bytes(), &device_row(device, epoch))?;
        }
        Ok(())
    }

    /// Ends an epoch: what was heard of and is missing becomes a gap.
    pub(in crate::store) fn close_epoch(
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
            let gap = GapEvent::new(device, epoch, lane, first, len, GapReason::DeviceReset);
            self.push_gap(&GapEvent { end_unknown: true, ..gap }, ingest_us)?;
        }
        Ok(())
    }

    /// Notes how far a device has told of a lane; of a lane that is closed no more is heard.
    pub(in crate::store) fn heard(&mut self, place: &Place) -> Result<(), AppendError> {
        let device = self.device(place.device)?;
        let lane = self.lane(place, device)?;
        if !lane.closed {
            lane.heard = lane.heard.max(place.first);
        }
        Ok(())
    }

    /// Records how a lane's ticks map to the host's time. What follows makes runs of its own, and what is stored keeps
    /// its time.
    pub(in crate::store) fn clock(&mut self, mapping: &ClockMapping) -> Result<(), AppendError> {
        let ClockMapping { device, epoch, lane, first, ticks, host_us, tick_hz, uncertainty_us } = *mapping;
        if tick_hz == 0 {
            return Ok(());
        }
        let device = self.device(device)?;
        self.block.close_runs(device, epoch, lane);
        let first = first.max(self.lane_next(device, epoch, lane)?);
        let row =
            StoredMapping { domain: self.moment.domain, ticks, tick_hz, host_us, uncertainty_us }.to_row();
        self.put(&self.tables.clock, &mapping_key(device, epoch, lane, first), &row)?;
        Ok(())
    }

    fn push_gap(&mut self, gap: &GapEvent, ingest_us: u64) -> Result<(), AppendError> {
        let id = GapEvent::stream_id(DeviceId(gap.device), Lane(gap.lane));
        let target = self.local_target(GapEvent::STREAM, id, &EventType::of::<GapEvent>())?;
        let meta = self.local_meta(&target, ingest_us);
        let mut bytes = [0; size_of::<GapEvent>()];
        let len = crate::archive_into(gap, &mut bytes);
        let len = len.map_err(|error| AppendError::of_archive(error, bytes.len()))?;
        self.push(target.slot, &target.run, &mut LatestRun::default(), &meta, &bytes[..len])
    }

    pub(super) fn write_lanes(&mut self) -> Result<(), AppendError> {
        for (&(device, epoch, lane), open) in &std::mem::take(&mut self.lanes) {
            let key = cursor_key(device, epoch, lane);
            self.put(&self.tables.cursor, &key, &open.record.to_row())?;
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

    /// Where, behind the first of `len` events at `place`, another mapping of the lane's ticks begins to hold: the last such
    /// place first. There is none but where a mapping came ahead of its event.
    fn mapping_turns(
        &self,
        place: &Place,
        device: u32,
        len: u64,
    ) -> Result<Vec<DeviceSequence>, AppendError> {
        let Place { epoch, lane, first, .. } = *place;
        let (mut turns, mut last) = (Vec::new(), DeviceSequence(first.0 + len - 1));
        while last > first {
            let key = mapping_key(device, epoch, lane, last);
            let row = self.rows()?.at_or_before(&self.tables.clock, &key)?;
            match row.and_then(|(found, _)| mapped_from(found, &key)) {
                Some(turn) if turn > first => {
                    turns.push(turn);
                    last = DeviceSequence(turn.0 - 1);
                }
                _ => break,
            }
        }
        Ok(turns)
    }

    /// The place of the next event of a lane.
    fn lane_next(&self, device: u32, epoch: Epoch, lane: Lane) -> Result<DeviceSequence, AppendError> {
        let record = match self.lanes.get(&(device, epoch, lane)) {
            Some(open) => Some(open.record),
            None => self.read_lane(device, epoch, lane)?,
        };
        Ok(record.map_or(DeviceSequence(0), |record| record.next))
    }

    fn read_lane(&self, device: u32, epoch: Epoch, lane: Lane) -> Result<Option<LaneRecord>, AppendError> {
        let key = cursor_key(device, epoch, lane);
        let Some(row) = self.rows()?.get(&self.tables.cursor, &key)? else { return Ok(None) };
        let record = LaneRecord::from_row(epoch, lane, row);
        Ok(Some(record.ok_or_else(|| self.tables.cursor.damage(&key, "it is no cursor"))?))
    }

    /// The number of a device, which is added if it is new.
    fn device(&mut self, device: DeviceId) -> Result<u32, AppendError> {
        let key = device.0.to_be_bytes();
        if let Some(row) = self.rows()?.get(&self.tables.device_id, &key)? {
            let number = <[u8; 4]>::try_from(row).map(u32::from_le_bytes);
            return Ok(number.map_err(|_| self.tables.device_id.damage(&key, "it is no number"))?);
        }
        let number = self.allot(&self.tables.device, "device number")?;
        self.put(&self.tables.device, &number.to_be_bytes(), &device_row(device, Epoch(0)))?;
        self.put(&self.tables.device_id, &key, &number.to_le_bytes())?;
        Ok(number)
    }

    fn latest_epoch(&self, device: u32) -> Result<Epoch, AppendError> {
        let key = device.to_be_bytes();
        let row = self.rows()?.get(&self.tables.device, &key)?.and_then(read_device_row);
        Ok(row.ok_or_else(|| self.tables.device.damage(&key, "it is no device"))?.1)
    }
}

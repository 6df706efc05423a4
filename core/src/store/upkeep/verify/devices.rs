//! Devices, their cursors and clocks, and the account of each lane: what is stored and what is a gap make what was
//! passed.

use super::Verification;
use crate::store::log::block::Origin;
use crate::store::log::clock::{Domain, StoredMapping};
use crate::store::log::device::{LaneRecord, cursor_key, read_device_row};
use crate::store::log::tables::{Row, number};
use crate::{Epoch, Lane};

/// A lane of an epoch of a device, by the device's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    device: u32,
    epoch: Epoch,
    lane: Lane,
}

impl Verification<'_> {
    /// Checks devices, cursors, clocks and domains.
    pub(super) fn check_devices(&mut self) {
        let tables = self.tables();
        self.each_row(tables.device, |verification, (key, value)| {
            let (id, _) = read_device_row(value).filter(|_| key.len() == 4).ok_or("it is no device")?;
            let back = verification.get(tables.device_id, &id.0.to_be_bytes());
            let is_back = back.is_some_and(|back| back.iter().rev().eq(key));
            if is_back { Ok(()) } else { Err("its id leads to another device") }
        });
        self.each_row(tables.device_id, |verification, (key, value)| {
            let number = <[u8; 4]>::try_from(value).map(u32::from_le_bytes).map_err(|_| "it is no number")?;
            let row = verification.get(tables.device, &number.to_be_bytes()).and_then(read_device_row);
            let is_back = row.is_some_and(|(id, _)| id.0.to_be_bytes() == *key);
            if is_back { Ok(()) } else { Err("its device has another id") }
        });
        self.each_row(tables.cursor, Self::check_cursor);
        self.each_row(tables.clock, |verification, (key, value)| {
            let mapping = StoredMapping::from_row(value).filter(|_| key.len() == CLOCK_KEY_LEN);
            let mapping = mapping.ok_or("it maps no ticks")?;
            if !verification.has(tables.device, &key[..4]) {
                return Err("its device is missing");
            }
            let domain = verification.has(tables.domain, &mapping.domain.to_be_bytes());
            if domain { Ok(()) } else { Err("its clock domain is missing") }
        });
        self.each_row(tables.domain, |_, (_, value)| {
            Domain::from_row(value).map(|_| ()).ok_or("it is no clock domain")
        });
        self.report.devices = self.rows_of(tables.device);
    }

    fn check_cursor(&mut self, (key, value): Row<'_>) -> Result<(), &'static str> {
        let lane = LaneKey::parse(key).ok_or("its key names no lane")?;
        let record = LaneRecord::from_row(lane.epoch, lane.lane, value).ok_or("it is no cursor")?;
        let device = self.get(self.tables().device, &lane.device.to_be_bytes()).and_then(read_device_row);
        let (_, latest) = device.ok_or("its device is missing")?;
        if lane.epoch > latest {
            return Err("its epoch was never opened");
        }
        if record.next > record.heard {
            return Err("more is stored than was ever heard of");
        }
        let Some(lanes) = &self.lanes else { return Ok(()) };
        let stored = lanes.get(&lane).copied().unwrap_or(0);
        if stored.checked_add(record.gap_total) == Some(record.next.0) {
            Ok(())
        } else {
            Err("the events stored and those in gaps are not what it has passed")
        }
    }

    /// Counts events of a lane.
    pub(super) fn count(&mut self, lane: LaneKey, events: u32) {
        let Some(lanes) = &mut self.lanes else { return };
        *lanes.entry(lane).or_default() += u64::from(events);
        if lanes.len() > LANES_MAX {
            self.lanes = None;
        }
    }

    /// The cursor of a lane.
    pub(super) fn lane(&mut self, LaneKey { device, epoch, lane }: LaneKey) -> Option<LaneRecord> {
        let row = self.get(self.tables().cursor, &cursor_key(device, epoch, lane))?;
        LaneRecord::from_row(epoch, lane, row)
    }
}

impl LaneKey {
    /// The lane that a run comes from.
    pub(super) fn of(origin: &Origin) -> Self {
        Self { device: origin.device, epoch: origin.epoch, lane: origin.lane }
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let lane = key.get(8).copied().filter(|_| key.len() == 9).map(Lane)?;
        Some(Self { device: number(key, 0)?, epoch: Epoch(number(key, 4)?), lane })
    }
}

const CLOCK_KEY_LEN: usize = 17;

/// How many lanes are counted: beyond that, their accounts are not checked.
const LANES_MAX: usize = 65_536;

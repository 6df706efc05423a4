//! Time as it was known: the host's monotonic time within a boot, device ticks, and what maps them to UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::store::log::tables::{array, long_number};
use crate::{DeviceId, DeviceSequence, Epoch, Lane};

/// The host's clock of one boot, in µs: it never goes back, and every process of the boot reads the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostClock;

/// How the ticks of a device's lane map to the host's time, from one event on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMapping {
    /// The device.
    pub device: DeviceId,
    /// The device's epoch.
    pub epoch: Epoch,
    /// The lane.
    pub lane: Lane,
    /// The place of the first event that it holds for.
    pub first: DeviceSequence,
    /// What the device's clock showed …
    pub ticks: u64,
    /// … at this time of the host: [`HostClock::now_us`].
    pub host_us: u64,
    /// The device's ticks in a second; not 0.
    pub tick_hz: u32,
    /// How far apart the two readings may lie.
    pub uncertainty_us: u32,
}

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventTime {
    /// µs since 1970-01-01 UTC.
    pub utc_us: i64,
    /// How far off it may be, in µs; `None` where nobody can tell.
    pub uncertainty_us: Option<u64>,
}

/// How one boot's time maps to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Domain {
    /// The boot.
    pub(in crate::store) boot_id: [u8; 16],
    /// UTC less the boot's time, in µs.
    pub(in crate::store) utc_offset_us: i64,
    /// How far off that may be; [`UNKNOWN_US`] where nobody can tell.
    pub(in crate::store) uncertainty_us: u64,
}

/// A mapping as it is stored, with the domain of its host time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct StoredMapping {
    pub(in crate::store) domain: u32,
    pub(in crate::store) ticks: u64,
    pub(in crate::store) tick_hz: u32,
    pub(in crate::store) host_us: u64,
    pub(in crate::store) uncertainty_us: u32,
}

impl HostClock {
    /// µs since the host's boot, its sleep included.
    pub fn now_us(&self) -> u64 {
        let now = rustix::time::clock_gettime(CLOCK);
        now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
    }

    /// The boot's id; processes of one boot find the same.
    pub(in crate::store) fn boot_id(&self) -> [u8; 16] {
        let text = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
        let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        match <[u8; 32]>::try_from(digits) {
            Ok(digits) => std::array::from_fn(|i| digits[2 * i] << 4 | digits[2 * i + 1]),
            // No id to be had: a domain for this handle alone.
            Err(_) => u128::from(crate::store::files::random::random_u64()).to_le_bytes(),
        }
    }

    /// UTC less the boot's time, as the system's clock has it now: the closest of [`READINGS`], since the thread may
    /// have to wait between its looks at the two clocks.
    pub(in crate::store) fn utc_offset_us(&self) -> i64 {
        let reading = || {
            let before = self.now_us();
            let utc = utc_us();
            let waited = self.now_us().saturating_sub(before);
            (waited, utc.wrapping_sub((before + waited / 2) as i64))
        };
        let closest = (0..READINGS).map(|_| reading()).min_by_key(|&(waited, _)| waited);
        closest.map_or(0, |(_, offset)| offset)
    }
}

impl Domain {
    /// The domain of this boot, as the system's clock has it now.
    pub(in crate::store) fn now(clock: HostClock) -> Self {
        Self { boot_id: clock.boot_id(), ..Self::measured(clock) }
    }

    /// The mapping alone.
    pub(in crate::store) fn measured(clock: HostClock) -> Self {
        let utc_offset_us = clock.utc_offset_us();
        let utc_us = utc_offset_us.wrapping_add(clock.now_us() as i64);
        // Without a battery a clock starts at 1970, or at the date of its firmware.
        let uncertainty_us = if utc_us < PLAUSIBLE_UTC_US { UNKNOWN_US } else { STEP_US };
        Self { boot_id: [0; 16], utc_offset_us, uncertainty_us }
    }

    /// The domain of times of which nobody knows when they were.
    pub(in crate::store) fn unknown() -> Self {
        Self { boot_id: [0; 16], utc_offset_us: 0, uncertainty_us: UNKNOWN_US }
    }

    /// Whether `measured` tells something else: the clock was set, or became plausible.
    pub(in crate::store) fn differs(&self, measured: &Self) -> bool {
        let moved = self.utc_offset_us.abs_diff(measured.utc_offset_us);
        moved > STEP_US || self.uncertainty_us != measured.uncertainty_us
    }

    /// The UTC of a time in this domain, which itself may be off by `uncertainty_us`.
    pub(in crate::store) fn time(&self, host_us: i128, uncertainty_us: Option<u64>) -> EventTime {
        let utc_us = host_us + i128::from(self.utc_offset_us);
        let own = (self.uncertainty_us != UNKNOWN_US).then_some(self.uncertainty_us);
        EventTime {
            utc_us: utc_us.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
            uncertainty_us: own.zip(uncertainty_us).map(|(a, b)| a.saturating_add(b)),
        }
    }

    pub(in crate::store) fn to_row(self) -> [u8; DOMAIN_LEN] {
        let mut row = [0; DOMAIN_LEN];
        row[..16].copy_from_slice(&self.boot_id);
        row[16..24].copy_from_slice(&self.utc_offset_us.to_le_bytes());
        row[24..].copy_from_slice(&self.uncertainty_us.to_le_bytes());
        row
    }

    pub(in crate::store) fn from_row(row: &[u8]) -> Option<Self> {
        if row.len() != DOMAIN_LEN {
            return None;
        }
        Some(Self {
            boot_id: array(row, 0)?,
            utc_offset_us: array(row, 16).map(i64::from_le_bytes)?,
            uncertainty_us: array(row, 24).map(u64::from_le_bytes)?,
        })
    }
}

impl StoredMapping {
    /// The host's time at which the device's clock showed `ticks`, in µs.
    pub(in crate::store) fn host_us(&self, ticks: u64) -> i128 {
        let elapsed = i128::from(ticks.wrapping_sub(self.ticks) as i64);
        i128::from(self.host_us) + elapsed * 1_000_000 / i128::from(self.tick_hz)
    }

    pub(in crate::store) fn to_row(self) -> [u8; MAPPING_LEN] {
        let mut row = [0; MAPPING_LEN];
        row[..4].copy_from_slice(&self.domain.to_le_bytes());
        row[4..12].copy_from_slice(&self.ticks.to_le_bytes());
        row[12..16].copy_from_slice(&self.tick_hz.to_le_bytes());
        row[16..24].copy_from_slice(&self.host_us.to_le_bytes());
        row[24..].copy_from_slice(&self.uncertainty_us.to_le_bytes());
        row
    }

    pub(in crate::store) fn from_row(row: &[u8]) -> Option<Self> {
        if row.len() != MAPPING_LEN {
            return None;
        }
        let mapping = Self {
            domain: array(row, 0).map(u32::from_le_bytes)?,
            ticks: array(row, 4).map(u64::from_le_bytes)?,
            tick_hz: array(row, 12).map(u32::from_le_bytes)?,
            host_us: array(row, 16).map(u64::from_le_bytes)?,
            uncertainty_us: array(row, 24).map(u32::from_le_bytes)?,
        };
        (mapping.tick_hz > 0).then_some(mapping)
    }
}

/// The key of a mapping in the table `clock`.
pub(in crate::store) fn mapping_key(
    device: u32,
    epoch: Epoch,
    lane: Lane,
    first: DeviceSequence,
) -> [u8; 17] {
    let mut key = [0; 17];
    key[..9].copy_from_slice(&crate::store::log::device::cursor_key(device, epoch, lane));
    key[9..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// The place from which on the mapping at `key` holds; `None` where it is of another lane than the mapping at `other`.
pub(in crate::store) fn mapped_from(key: &[u8], other: &[u8; 17]) -> Option<DeviceSequence> {
    let place = long_number(key, 9).filter(|_| key.len() == other.len() && key[..9] == other[..9]);
    place.map(DeviceSequence)
}

/// The system's clock: µs since 1970 in UTC.
fn utc_us() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_micros() as i64,
        Err(before) => -(before.duration().as_micros() as i64),
    }
}

#[cfg(target_os = "linux")]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

const DOMAIN_LEN: usize = 32;
const MAPPING_LEN: usize = 28;

/// An uncertainty that nobody can tell.
const UNKNOWN_US: u64 = u64::MAX;

/// 2020-01-01: no clock that has been set shows an earlier time.
const PLAUSIBLE_UTC_US: i64 = 1_577_836_800_000_000;

/// How far the system's clock may wander before its mapping is measured anew: what a plausible clock is trusted to.
const STEP_US: u64 = 50_000;

/// How often the two clocks are compared at a time.
const READINGS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_before_and_after_a_reading_map_to_the_hosts_time() {
        let mapping =
            StoredMapping { domain: 1, ticks: 5, tick_hz: 32_768, host_us: 1_000_000, uncertainty_us: 30 };
        assert_eq!(mapping.host_us(5 + 32_768), 2_000_000);
        assert_eq!(mapping.host_us(5u64.wrapping_sub(16_384)), 500_000);
        assert_eq!(StoredMapping::from_row(&mapping.to_row()), Some(mapping));
        assert_eq!(StoredMapping::from_row(&StoredMapping { tick_hz: 0, ..mapping }.to_row()), None);
    }

    #[test]
    fn uncertainties_add_up_and_one_unknown_makes_the_sum_unknown() {
        let domain = Domain { boot_id: [7; 16], utc_offset_us: 10, uncertainty_us: 3 };
        assert_eq!(domain.time(5, Some(4)), EventTime { utc_us: 15, uncertainty_us: Some(7) });
        assert_eq!(domain.time(5, None).uncertainty_us, None);
        let unset = Domain { uncertainty_us: UNKNOWN_US, ..domain };
        assert_eq!(unset.time(5, Some(4)).uncertainty_us, None);
        assert_eq!(Domain::from_row(&domain.to_row()), Some(domain));
    }

    #[test]
    fn a_clock_that_was_set_is_measured_anew() {
        let domain = Domain { boot_id: [7; 16], utc_offset_us: 0, uncertainty_us: STEP_US };
        assert!(!domain.differs(&Domain { utc_offset_us: 1_000, ..domain }));
        assert!(domain.differs(&Domain { utc_offset_us: 3_600_000_000, ..domain }));
        assert!(domain.differs(&Domain { uncertainty_us: UNKNOWN_US, ..domain }));
    }

    #[test]
    fn the_hosts_clock_does_not_go_back() {
        let first = HostClock.now_us();
        assert!(HostClock.now_us() >= first);
        assert_eq!(HostClock.boot_id(), HostClock.boot_id());
    }
}

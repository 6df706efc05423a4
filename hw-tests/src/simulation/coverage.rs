//! What has occurred over many runs: a test that never met a fault has not tested it.

use std::collections::BTreeMap;
use std::fmt;

use varve_device_proto::{DeviceState, HostState};

use super::account::Absence;
use super::fault::FaultCounts;
use super::scenario::Blow;

/// What has occurred.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    /// Runs.
    pub runs: u64,
    /// Events that devices offered.
    pub offered: u64,
    /// The fewest in one run.
    pub offered_min: u64,
    /// Events that the logs held when they were judged last.
    pub stored: u64,
    /// Events in gaps then.
    pub gap_events: u64,
    /// What the lines did.
    pub faults: FaultCounts,
    /// What befell the ends.
    pub blows: BTreeMap<Blow, u64>,
    /// In which state of its link a device was reset.
    pub device_states_at_reset: BTreeMap<DeviceState, u64>,
    /// In which state of its link a host was reset.
    pub host_states_at_reset: BTreeMap<HostState, u64>,
    /// Why hosts refused devices, by the code on the wire.
    pub refusals: BTreeMap<u8, u64>,
    /// Sessions that began.
    pub sessions: u64,
    /// How many sessions late the latest frame of a session was.
    pub sessions_late_max: u64,
    /// Events stored right behind another, across a multiple of 65,536.
    pub wraps: u64,
    /// The longest gap.
    pub gap_len_max: u64,
    /// The longest that it took to store what was left, once the line was sound.
    pub caught_up_us_max: u64,
    /// Why events were absent.
    pub absences: BTreeMap<Absence, u64>,
}

impl Coverage {
    /// Counts one more of that name.
    pub fn count<N: Ord>(counts: &mut BTreeMap<N, u64>, name: N) {
        *counts.entry(name).or_default() += 1;
    }

    /// Adds what has occurred in other runs.
    pub fn add(&mut self, other: &Self) {
        self.offered_min =
            if self.runs == 0 { other.offered_min } else { self.offered_min.min(other.offered_min) };
        self.runs += other.runs;
        self.offered += other.offered;
        self.stored += other.stored;
        self.gap_events += other.gap_events;
        self.faults.add(&other.faults);
        self.sessions += other.sessions;
        self.sessions_late_max = self.sessions_late_max.max(other.sessions_late_max);
        self.wraps += other.wraps;
        self.gap_len_max = self.gap_len_max.max(other.gap_len_max);
        self.caught_up_us_max = self.caught_up_us_max.max(other.caught_up_us_max);
        add_counts(&mut self.blows, &other.blows);
        add_counts(&mut self.device_states_at_reset, &other.device_states_at_reset);
        add_counts(&mut self.host_states_at_reset, &other.host_states_at_reset);
        add_counts(&mut self.refusals, &other.refusals);
        add_counts(&mut self.absences, &other.absences);
    }
}

fn add_counts<K: Clone + Ord>(totals: &mut BTreeMap<K, u64>, more: &BTreeMap<K, u64>) {
    for (name, count) in more {
        *totals.entry(name.clone()).or_default() += count;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} runs, {} sessions", self.runs, self.sessions)?;
        writeln!(f, "{} events offered, {} stored, {} in gaps", self.offered, self.stored, self.gap_events)?;
        writeln!(f, "faults: {}", self.faults)?;
        writeln!(f, "blows: {:?}", self.blows)?;
        writeln!(f, "device reset in: {:?}", self.device_states_at_reset)?;
        writeln!(f, "host reset in: {:?}", self.host_states_at_reset)?;
        writeln!(f, "refused: {:?}", self.refusals)?;
        writeln!(f, "absent: {:?}", self.absences)?;
        writeln!(f, "caught up within {} s", self.caught_up_us_max as f64 / 1e6)?;
        let Self { sessions_late_max, wraps, gap_len_max, .. } = self;
        write!(f, "a frame {sessions_late_max} sessions late, {wraps} wraps, a gap of {gap_len_max}")
    }
}

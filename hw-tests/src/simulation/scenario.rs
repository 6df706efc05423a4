//! What a seed stands for: how bad the line is, how fast the disk, and what befalls the two ends when.

use fastrand::Rng;

use super::fault::FaultRates;

/// The conditions of one run. The same seed always draws the same.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it comes from.
    pub seed: u64,
    /// The special part of the run.
    pub plot: Plot,
    /// Faults from the device to the host.
    pub up: FaultRates,
    /// Faults from the host to the device.
    pub down: FaultRates,
    /// How long the line takes for a byte.
    pub byte_ns: u64,
    /// How long it takes on top.
    pub latency_us: u64,
    /// The longest that the disk takes to flush.
    pub flush_us_max: u64,
    /// About how long the faults last.
    pub duration_us: u64,
    /// The most events of a burst.
    pub burst_max: u64,
    /// The longest time between two blows.
    pub blow_us_max: u64,
    /// What befalls the ends; what stands there more than once does so more often.
    pub blows: &'static [Blow],
    /// How many events each device offers beside those of the plot.
    pub events: u64,
}

/// What is special about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    /// Nothing: one device, and all blows.
    Ordinary,
    /// Two devices on two ports of one host.
    Pair,
    /// The outbox drops many events in a row.
    Flood {
        /// At least so many; exactly, if no more are dropped before they are told.
        events: u64,
    },
    /// The sequences pass 65,536 while events flow.
    Wrap,
    /// A copy of the device, with another history, is plugged in instead of it.
    Clone,
    /// A device of the same id, without a history, is plugged in instead of it: to the host the first was reset.
    Usurper,
}

/// What befalls one end or the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blow {
    /// A device loses its memory.
    DeviceReset,
    /// The host's power fails: what was not flushed is gone.
    HostCrash,
    /// The host opens the port anew.
    PortReopened,
    /// The cable is out for a while.
    Outage,
    /// The host's store is kept as a copy.
    StoreCopied,
    /// The host gets its store back as the copy has it.
    StoreRestored,
    /// The host gets a new, empty store.
    StoreReplaced,
}

impl Scenario {
    /// Draws the scenario of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let plot = Plot::of_seed(seed);
        let worst = [0, 20, 80, 250][rng.usize(0..4)];
        let duration_us = rng.u64(10_000_000..60_000_000);
        Self {
            seed,
            plot,
            up: FaultRates::draw(&mut rng, worst),
            down: FaultRates::draw(&mut rng, worst),
            byte_ns: [3_333, 10_851, 86_806][rng.usize(0..3)],
            latency_us: rng.u64(20..20_000),
            flush_us_max: [500, 8_000, 400_000, 2_000_000][rng.usize(0..4)],
            duration_us,
            // Short batches: where one of a clone ends, one of the original may.
            burst_max: if plot == Plot::Clone { 1 } else { [4, 16, 64, 300][rng.usize(0..4)] },
            blow_us_max: duration_us / [2, 6, 15][rng.usize(0..3)],
            blows: &BLOWS,
            events: rng.u64(EVENTS_MIN..EVENTS_MIN * 3 / 2),
        }
    }
}

impl Scenario {
    /// The longest pause between two bursts of a device, so that its events take the whole duration.
    pub fn pause_us_max(&self) -> u64 {
        self.duration_us * (self.burst_max + 1) / self.events
    }
}

impl Plot {
    /// Every twenty seeds play each plot at least once.
    fn of_seed(seed: u64) -> Self {
        match seed % 20 {
            3 => Self::Flood { events: 200_000 + seed % 7 },
            5 => Self::Flood { events: 2 << 16 },
            7 | 8 => Self::Wrap,
            11 | 12 => Self::Clone,
            13..=15 => Self::Pair,
            16 => Self::Usurper,
            _ => Self::Ordinary,
        }
    }
}

impl Blow {
    /// Each kind once.
    pub const ALL: [Self; 7] = [
        Self::DeviceReset,
        Self::HostCrash,
        Self::PortReopened,
        Self::Outage,
        Self::StoreCopied,
        Self::StoreRestored,
        Self::StoreReplaced,
    ];

    /// Whether a device or a store has another history afterwards.
    pub fn changes_history(self) -> bool {
        matches!(self, Self::DeviceReset | Self::StoreRestored | Self::StoreReplaced)
    }
}

/// What befalls the ends of an ordinary run, most often a reset of one or the other.
static BLOWS: [Blow; 16] = [
    Blow::DeviceReset,
    Blow::DeviceReset,
    Blow::DeviceReset,
    Blow::DeviceReset,
    Blow::DeviceReset,
    Blow::HostCrash,
    Blow::HostCrash,
    Blow::HostCrash,
    Blow::HostCrash,
    Blow::PortReopened,
    Blow::Outage,
    Blow::StoreCopied,
    Blow::StoreCopied,
    Blow::StoreRestored,
    Blow::StoreRestored,
    Blow::StoreReplaced,
];

/// The fewest events that a device offers in a run.
pub const EVENTS_MIN: u64 = 2_000;

//! What a demo's devices are told.

use std::fmt;

use super::simulated_device::events_per_second;
use crate::cli::DemoArgs;

/// What a demo's devices are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    /// How many devices there are.
    pub(crate) devices: u8,
    /// How many events each offers.
    pub(crate) events: u64,
    /// The baud of each line.
    pub(crate) baud: u32,
    /// How much of its line each fills, in percent.
    pub(crate) load: u8,
    /// Faults of the lines, drawn from this seed.
    pub(crate) faults: Option<u64>,
}

impl Orders {
    /// What the command line asks for.
    pub(crate) fn new(args: &DemoArgs) -> Self {
        let load = args.load.unwrap_or(if args.faults { FAULTY_LOAD } else { FULL_LOAD });
        let per_second = events_per_second(args.pace_baud, load);
        Self {
            devices: args.devices,
            events: args.seconds.map_or(args.events, |seconds| seconds.saturating_mul(per_second)),
            baud: args.pace_baud,
            load,
            faults: args.faults.then_some(args.seed),
        }
    }
}

impl fmt::Display for Orders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { devices, events, baud, faults, .. } = self;
        let line =
            if faults.is_some() { "that lose and flip bytes and double frames" } else { "without faults" };
        write!(
            f,
            "{devices} simulated devices, {events} events each, over pseudo-terminals at {baud} baud {line}."
        )
    }
}

/// How much of their lines devices fill, in percent: a line with faults needs room to carry events again.
const FULL_LOAD: u8 = 100;
const FAULTY_LOAD: u8 = 40;

//! What `demo` and `simulate-device` are told.

use std::path::PathBuf;

use clap::{Args, value_parser};

use super::BAUDS;

/// The arguments of `demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many devices to simulate, each in a process of its own
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u8).range(1..=64))]
    pub(crate) devices: u8,
    /// How many events each device offers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) events: u64,
    /// Loses and flips bytes, doubles frames and cuts every line for moments, in both directions
    #[arg(long)]
    pub(crate) faults: bool,
    /// The seed of the faults; it is printed with the account
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Prints the account as one JSON object, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// Keeps the store in this directory, which must not hold one yet
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// The baud of each line; events are offered as fast as it carries them
    #[arg(long, value_name = "N", default_value_t = 921_600, value_parser = value_parser!(u32).range(BAUDS))]
    pub(crate) pace_baud: u32,
    /// How much of each line the events fill before any is sent again [default: 100, with faults 40]
    #[arg(long, value_name = "PERCENT", value_parser = value_parser!(u8).range(1..=200))]
    pub(crate) load: Option<u8>,
    /// Offers events for so long instead of a number of them
    #[arg(long, value_name = "S", conflicts_with = "events")]
    pub(crate) seconds: Option<u64>,
}

/// The arguments of `simulate-device`.
#[derive(Debug, Args)]
pub(crate) struct SimulateDeviceArgs {
    /// The number of the device, from which its chip's id is made
    #[arg(long, value_name = "N")]
    pub(crate) number: u32,
    /// How many events to offer
    #[arg(long, value_name = "N")]
    pub(crate) events: u64,
    /// The baud of the line
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = value_parser!(u32).range(BAUDS))]
    pub(crate) baud: u32,
    /// How much of the line the events fill before any is sent again
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = value_parser!(u8).range(1..=200))]
    pub(crate) load: u8,
    /// Faults on the line, drawn from this seed
    #[arg(long, value_name = "SEED")]
    pub(crate) faults: Option<u64>,
}

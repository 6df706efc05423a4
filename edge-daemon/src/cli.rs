//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, value_parser};

/// The gateway daemon of Varve: it appends what devices send, and acknowledges only what is durable.
#[derive(Debug, Parser)]
#[command(
    name = "varved",
    version,
    after_help = "VARVED_LOG=debug logs more; it takes the filters of tracing."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Does the part of the work that a damaged store may end, for the process that started this one
    #[arg(long, hide = true, global = true)]
    pub(crate) in_child: bool,
}

/// What `varved` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Takes in events from serial ports until told to stop
    Run(RunArgs),
    /// Prints stored events, one JSON object a line
    Tail(TailArgs),
    /// Lists the streams of a store, one JSON object a line
    Streams(StoreArgs),
    /// Lists the devices of a store and how far each of them is stored, one JSON object a line
    Devices(StoreArgs),
    /// Writes all that a store holds to a file, while a daemon may be writing the store
    Backup(BackupArgs),
    /// Makes a new store of a backup
    Restore(RestoreArgs),
    /// Checks every byte of a store, and exits with 1 where anything is wrong
    Verify(VerifyArgs),
    /// Makes a new store of all that is whole in a damaged one
    Salvage(SalvageArgs),
    /// Runs simulated devices over pseudo-terminals against the daemon, and balances the account
    Demo(DemoArgs),
    /// Simulates one device on a new pseudo-terminal, whose path it prints
    #[command(hide = true)]
    SimulateDevice(SimulateDeviceArgs),
}

/// The arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A serial port to read; it may go and come back while the daemon runs
    #[arg(long = "port", value_name = "PATH", required = true, num_args = 1..)]
    pub(crate) ports: Vec<PathBuf>,
    /// The directory of the store; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// The speed of the ports in baud
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = value_parser!(u32).range(BAUDS))]
    pub(crate) baud: u32,
    /// How long the first event of a commit may wait for others, in milliseconds: longer spares the disk
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = value_parser!(u16).range(0..=1000))]
    pub(crate) commit_ms: u16,
}

/// The arguments of `tail`.
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// The directory of the store; a daemon may be writing it
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Only events of streams of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// Only events of streams of this id
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<u64>,
    /// The first global sequence to print
    #[arg(long, value_name = "GLOBAL", default_value_t = 0)]
    pub(crate) from: u64,
    /// Goes on with events as they become durable
    #[arg(long)]
    pub(crate) follow: bool,
}

/// The arguments of commands that only read a store.
#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The directory of the store; a daemon may be writing it
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
}

/// The arguments of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The directory of the store; a daemon may be writing it
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// The file to write, which must not be there yet
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
}

/// The arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// The directory of the new store, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
}

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The directory of the store; a daemon may be writing it
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// Verifies in this process, and prints the report for the one that started it
    #[arg(long, hide = true)]
    pub(crate) child: bool,
}

/// The arguments of `salvage`.
#[derive(Debug, Args)]
pub(crate) struct SalvageArgs {
    /// The directory of the damaged store, which no daemon may be writing
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// The directory of the new store, which must be empty or not there
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

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

/// The speeds of a line that make sense: from a long cable in a field to a USB that calls itself a port.
const BAUDS: RangeInclusive<i64> = 300..=100_000_000;

impl RunArgs {
    /// How long the first event of a commit may wait for others.
    pub(crate) fn commit_window(&self) -> Duration {
        Duration::from_millis(u64::from(self.commit_ms))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn ports_may_be_named_one_by_one_or_together() {
        let parse = |line: &str| match Cli::parse_from(line.split(' ')).command {
            Command::Run(args) => args.ports,
            _ => unreachable!("the line says run"),
        };
        let both = [PathBuf::from("/dev/a"), PathBuf::from("/dev/b")];
        assert_eq!(parse("varved run --store s --port /dev/a --port /dev/b"), both);
        assert_eq!(parse("varved run --store s --port /dev/a /dev/b"), both);
    }

    #[test]
    fn run_without_a_port_or_a_store_is_a_mistake() {
        assert!(Cli::try_parse_from(["varved", "run", "--store", "s"]).is_err());
        assert!(Cli::try_parse_from(["varved", "run", "--port", "p"]).is_err());
    }
}

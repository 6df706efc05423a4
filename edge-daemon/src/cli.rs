//! The command line.

mod demo_args;
mod key_args;
mod run_args;

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use demo_args::{DemoArgs, SimulateDeviceArgs};
pub(crate) use key_args::{MASTER_KEY_VARIABLE, MasterKeyArgs, RotateMasterArgs, ShredArgs, SuiteName};
pub(crate) use run_args::RunArgs;

/// The gateway daemon of Varve: it appends what devices send, and acknowledges only what is durable.
#[derive(Debug, Parser)]
#[command(
    name = "varved",
    version,
    after_help = HELP
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
    #[command(after_help = run_args::HELP)]
    Run(RunArgs),
    /// Prints stored events, one JSON object a line
    Tail(TailArgs),
    /// Lists the streams of a store and how far each of them goes, one JSON object a line
    Streams(StoreArgs),
    /// Lists the devices of a store and how far each of them is stored, one JSON object a line
    Devices(StoreArgs),
    /// Tells how a store and its daemon do, and which processes hold on to it, as one JSON object
    Status(StoreArgs),
    /// Writes all that a store holds to a file, while a daemon may be writing the store
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupArgs),
    /// Makes a new store of a backup
    #[command(after_help = BACKUP_HELP)]
    Restore(RestoreArgs),
    /// Checks every byte of a store, and exits with 1 where anything is wrong
    Verify(VerifyArgs),
    /// Makes a new store of all that is whole in a damaged one
    Salvage(SalvageArgs),
    /// Forgets what a stream holds of sealed events, by destroying its key
    #[command(after_help = key_args::SHRED_HELP)]
    Shred(ShredArgs),
    /// Gives a store's keys another master key; no event is written anew
    #[command(after_help = key_args::ROTATE_HELP)]
    RotateMaster(RotateMasterArgs),
    /// Runs simulated devices over pseudo-terminals against the daemon, and balances the account
    Demo(DemoArgs),
    /// Simulates one device on a new pseudo-terminal, whose path it prints
    #[command(hide = true)]
    SimulateDevice(SimulateDeviceArgs),
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
    #[command(flatten)]
    pub(crate) master_key: MasterKeyArgs,
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

/// What `varved --help` ends with.
const HELP: &str = "\
Exit codes: 0 done; 1 done, and something is wrong (verify, demo); 2 not done, with one line that says why.
VARVED_LOG=debug logs more; it takes the filters of tracing.";

/// What the help of `backup` and `restore` ends with.
const BACKUP_HELP: &str = "\
A backup has no keys. Keep a copy of the file `keys` of a store with sealed streams, and put it into the restored store;
without it what is sealed stays so. A copy from before a `shred` undoes it.";

/// The speeds of a line that make sense: from a long cable in a field to a USB that calls itself a port.
const BAUDS: RangeInclusive<i64> = 300..=100_000_000;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_every_option_says_what_it_is_for() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn every_line_of_the_readme_is_understood() {
        let lines = include_str!("../../README.md").lines();
        let lines = lines.map(|line| line.trim_start_matches("ExecStart="));
        let mut count = 0;
        for line in lines.filter(|line| line.starts_with("varved ")) {
            let command = line.split('#').next().unwrap_or_default();
            if let Err(error) = Cli::try_parse_from(command.split_whitespace()) {
                panic!("{line}: {error}");
            }
            count += 1;
        }
        assert!(count > 10, "{count} lines");
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

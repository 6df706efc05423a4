//! The gateway daemon of Varve, `varved`, as a library: the binary of this package only calls [`main`].
//!
//! ```text
//! port task ─► session (HostLink) ─► bounded queue ─► writer thread (Varve) ─► flush
//!     ▲                                                                          │
//!     └────────────────── durable marks, quota given back ◄──────────────────────┘
//! ```
//!
//! **Invariant:** a port task never waits for the disk, and nothing is acknowledged as durable before the flush
//! that made it so returned.
#![forbid(unsafe_code)]

mod age;
mod answers;
mod backoff;
mod backup;
mod byte_size;
mod cli;
mod complaints;
mod control;
mod counters;
mod demo;
mod device_name;
mod failure;
mod gateway;
mod keys;
mod listing;
mod master_key;
mod output;
mod port;
mod port_line;
mod quota;
mod rate_limit;
mod request;
mod request_queue;
mod run;
mod salvage;
mod seed;
mod serial;
mod session;
mod shield;
mod state_file;
mod status;
mod stdout;
mod store_room;
mod store_view;
mod tail;
mod trial;
mod utc;
mod verify;
mod writer;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::shield::Shield;

/// Does what the command line of this process says, and tells the exit code: 0 when it was done, 1 when it ended
/// otherwise, 2 when it could not begin, with one line on standard error that says why and what to do.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.command);
    execute(cli).unwrap_or_else(|failure| {
        eprintln!("varved: {failure}");
        ExitCode::from(Failure::EXIT_CODE)
    })
}

fn execute(cli: Cli) -> Result<ExitCode, Failure> {
    let shield = Shield { is_child: cli.in_child };
    match cli.command {
        Command::Run(args) => run::run(&args, shield),
        Command::Tail(args) => shield.read(&args.store, || tail::tail(&args)),
        Command::Streams(args) => shield.read(&args.store, || listing::streams(&args)),
        Command::Devices(args) => shield.read(&args.store, || listing::devices(&args)),
        Command::Status(args) => shield.read(&args.store, || status::status(&args)),
        Command::Backup(args) => shield.read(&args.store, || backup::backup(&args)),
        Command::Restore(args) => backup::restore(&args),
        Command::Verify(args) => verify::verify(&args),
        Command::Salvage(args) => salvage::salvage(&args),
        Command::Shred(args) => shield.read(&args.store, || keys::shred(&args)),
        Command::RotateMaster(args) => shield.read(&args.store, || keys::rotate_master(&args)),
        Command::Demo(args) => demo::demo(&args),
        Command::SimulateDevice(args) => demo::simulate(&args, &mut io::stdout())
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::of_system("the simulated device failed", &error)),
    }
}

/// Logs to standard error what `VARVED_LOG` asks for, or else what suits the command: a demo shows its own view.
fn start_log(command: &Command) {
    let usual = if matches!(command, Command::Run(_)) { "info" } else { "error" };
    let filter = EnvFilter::builder().with_default_directive(usual.parse().unwrap_or_default());
    let filter = filter.with_env_var("VARVED_LOG").from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).init();
}

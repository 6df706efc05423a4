//! Measures the event store against its peers: the same events, the same machine, the same run.
//!
//! ```text
//! cargo run --release -p varve-bench [-- --events N] [--rounds N] [--dir PATH]
//! ```
//!
//! Each round takes the engines in turn, so that a busy moment of the machine meets all of them, and the table shows
//! medians. `--dir` names a directory on the disk to measure; every engine flushes it for each commit.

mod engine;
mod heed_per_event;
mod measure;
mod peer_varvedb;
mod sample;
mod table;
mod varve;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use heed_per_event::HeedPerEvent;
use measure::{Workload, measure};
use peer_varvedb::PeerVarvedb;
use sample::{Order, Sample, Sensor};
use table::Table;
use varve::VarveStore;

fn main() -> ExitCode {
    let workload = match workload(env::args().skip(1)) {
        Ok(workload) => workload,
        Err(argument) => {
            eprintln!("{argument}: expected --events N, --rounds N or --dir PATH");
            return ExitCode::from(2);
        }
    };
    let mut table = Table::new(["varve", "varvedb 0.4.2", "heed, an entry an event"]);
    compare::<Sensor>(&workload, &mut table);
    compare::<Order>(&workload, &mut table);
    table.print(&workload);
    ExitCode::SUCCESS
}

/// Measures every engine with one type of event, in turn.
fn compare<E: Sample>(workload: &Workload, table: &mut Table<3>) {
    let events: Vec<E> = (0..workload.events).map(E::generate).collect();
    for round in 0..workload.rounds {
        eprintln!("{}: round {} of {}", E::NAME, round + 1, workload.rounds);
        table.add(E::NAME, 0, measure::<E, VarveStore<E>>(workload, &events));
        table.add(E::NAME, 1, measure::<E, PeerVarvedb<E>>(workload, &events));
        table.add(E::NAME, 2, measure::<E, HeedPerEvent<E>>(workload, &events));
    }
}

fn workload(mut arguments: impl Iterator<Item = String>) -> Result<Workload, String> {
    let mut workload = Workload { events: 1_000_000, rounds: 5, dir: env::temp_dir() };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| name.clone())?;
        let number = value.parse().ok().filter(|&number: &u64| number > 0);
        match (name.as_str(), number) {
            ("--events", Some(events)) => workload.events = events,
            ("--rounds", Some(rounds)) => workload.rounds = rounds,
            ("--dir", _) => workload.dir = PathBuf::from(value),
            _ => return Err(format!("{name} {value}")),
        }
    }
    Ok(workload)
}

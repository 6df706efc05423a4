//! The command line.

use std::env;
use std::path::PathBuf;

use clap::Parser;

use crate::engine::EngineName;
use crate::rows;
use crate::rows::recovery::Errand;

/// The event store measured against its peers: the same events, the same machine, the same run.
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// How many events a store holds that is read, or takes in bulk.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(EVENTS_MIN..))]
    pub(crate) events: u64,

    /// How often each engine is visited in a row; the table shows medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rounds: u64,

    /// A directory on the disk to measure.
    #[arg(long, default_value_os_t = env::temp_dir())]
    pub(crate) dir: PathBuf,

    /// Measure the rows alone whose key has one of these words in it.
    #[arg(long, value_delimiter = ',', value_parser = row_word)]
    pub(crate) rows: Vec<String>,

    /// Measure these engines alone.
    #[arg(long, value_delimiter = ',')]
    pub(crate) engines: Vec<EngineName>,

    /// Let each flush take at least so many microseconds: what the ratios are on a slower disk. 0: as long as it takes.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=FLUSH_US_MAX))]
    pub(crate) flush_us: u64,

    /// Write every figure into this file besides.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,

    /// Open a store of 10 GB after a crash, not one of 1 GB.
    #[arg(long)]
    pub(crate) large: bool,

    /// What the bench asks of itself in a process apart.
    #[command(subcommand)]
    pub(crate) errand: Option<Errand>,
}

/// A word that some row's key has in it.
fn row_word(word: &str) -> Result<String, String> {
    if rows::all().any(|row| row.key.contains(word)) {
        return Ok(word.to_owned());
    }
    let keys: Vec<_> = rows::all().map(|row| row.key).collect();
    Err(format!("no row has it in its key; the keys are {}", keys.join(", ")))
}

/// Every stream of those that take turns gets some.
const EVENTS_MIN: u64 = 1_000;

/// As long as the slowest of cards.
const FLUSH_US_MAX: u64 = 1_000_000;

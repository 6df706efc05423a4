//! What is done in a process apart: one to be killed, and one whose memory is its own.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use varve_core::{GlobalSequence, StreamId, Varve};

use crate::sample::{SAMPLE_LEN_MAX, Sample, Sensor};
use crate::session::timed;

/// What the bench asks of itself in a process apart.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Errand {
    /// Append to a store until the process is killed; a line tells that there is something to recover.
    #[command(hide = true)]
    Append { dir: PathBuf },
    /// Open a store, read from each block, and write a line of what that took.
    #[command(hide = true)]
    Open { dir: PathBuf },
}

/// What opening and reading a store took.
pub(super) struct Opened {
    pub(super) open_ns: f64,
    /// In bytes.
    pub(super) open_memory: f64,
    /// In bytes.
    pub(super) read_memory: f64,
    pub(super) blocks: f64,
    pub(super) events: u64,
}

impl Errand {
    /// Runs the errand.
    ///
    /// # Errors
    ///
    /// Where nobody reads its line.
    pub(crate) fn run(&self) -> io::Result<()> {
        match self {
            Self::Append { dir } => append(dir),
            Self::Open { dir } => writeln!(io::stdout(), "{}", Opened::measure(dir).to_line()),
        }
    }

    /// How many commits there are before the line.
    pub(super) const COMMITS: u64 = 1_000;
}

fn append(dir: &Path) -> io::Result<()> {
    let mut varve = Varve::new(dir).expect("nobody else owns it");
    let mut stream = varve.stream::<Sensor, SAMPLE_LEN_MAX>("events").expect("the name is of these events");
    for n in 0.. {
        if n == Errand::COMMITS {
            writeln!(io::stdout(), "{n}")?;
        }
        stream.append(StreamId(0), &Sensor::generate(n)).expect("there is room");
    }
    Ok(())
}

impl Opened {
    fn measure(dir: &Path) -> Self {
        let at_first = own_memory();
        let (open_ns, varve) = timed(|| Varve::new(dir).expect("nobody else owns it"));
        let opened = own_memory();
        let events = varve.next_global_seq().expect("it is whole").0;
        let mut reader = varve.global_reader();
        let places = (0..events).step_by(BLOCK_EVENTS as usize);
        let blocks = events.div_ceil(BLOCK_EVENTS) as f64;
        for place in places {
            let event = reader.get_bytes(GlobalSequence(place)).expect("it is whole");
            assert_eq!(event.expect("it is there").len(), Sensor::LEN);
        }
        let read = own_memory();
        Self { open_ns, open_memory: opened - at_first, read_memory: read - opened, blocks, events }
    }

    fn to_line(&self) -> String {
        let Self { open_ns, open_memory, read_memory, blocks, events } = self;
        format!("{open_ns} {open_memory} {read_memory} {blocks} {events}")
    }

    /// Reads such a line.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let mut number = || words.next()?.parse().ok();
        Some(Self {
            open_ns: number()?,
            open_memory: number()?,
            read_memory: number()?,
            blocks: number()?,
            events: number()? as u64,
        })
    }
}

/// The memory of this process that no file stands behind, in bytes.
fn own_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells");
    let kib = line.trim().trim_end_matches(" kB").parse::<f64>().expect("it is a number");
    kib * 1024.0
}

/// As many events as a full block of them holds, about.
const BLOCK_EVENTS: u64 = 65_408 / Sensor::LEN as u64;

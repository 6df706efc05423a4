//! What is fuzzed.

use crate::{
    backup, batch, block, data_file, descriptor, device_link, event_json, frame, host_link, keys, message,
    reader_table, record, row, tail_head, typed_event, watermark,
};

/// A parser under test.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and its folder in `corpus/`.
    pub name: &'static str,
    /// Feeds it any bytes.
    pub run: fn(&[u8]) -> Verdict,
    /// Inputs as an honest writer makes them, all of which it accepts.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// What a parser made of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It read it, and what it read holds together.
    Accepted,
    /// It refused it, with an error.
    Refused,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "backup", run: backup::run, seeds: backup::seeds },
    Target { name: "batch", run: batch::run, seeds: batch::seeds },
    Target { name: "block", run: block::run, seeds: block::seeds },
    Target { name: "data_file", run: data_file::run, seeds: data_file::seeds },
    Target { name: "descriptor", run: descriptor::run, seeds: descriptor::seeds },
    Target { name: "device_link", run: device_link::run, seeds: device_link::seeds },
    Target { name: "event_json", run: event_json::run, seeds: event_json::seeds },
    Target { name: "frame", run: frame::run, seeds: frame::seeds },
    Target { name: "host_link", run: host_link::run, seeds: host_link::seeds },
    Target { name: "keys", run: keys::run, seeds: keys::seeds },
    Target { name: "message", run: message::run, seeds: message::seeds },
    Target { name: "reader_table", run: reader_table::run, seeds: reader_table::seeds },
    Target { name: "record", run: record::run, seeds: record::seeds },
    Target { name: "row", run: row::run, seeds: row::seeds },
    Target { name: "tail_head", run: tail_head::run, seeds: tail_head::seeds },
    Target { name: "typed_event", run: typed_event::run, seeds: typed_event::seeds },
    Target { name: "watermark", run: watermark::run, seeds: watermark::seeds },
];

/// Feeds the target of a name any bytes.
///
/// # Panics
///
/// Where the parser is at fault, or there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("the target is listed");
    (target.run)(bytes);
}

/// The longest input: a little more than the largest block.
pub const INPUT_LEN_MAX: usize = 66_000;

const _: () = assert!(INPUT_LEN_MAX > varve_core::BLOCK_LEN_MAX);

impl Verdict {
    pub(crate) fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Accepted } else { Self::Refused }
    }
}

//! Fuzz targets for every parser of bytes that come from a wire or a disk.
//!
//! A [`Target`] takes any bytes. It panics where a parser panics, or where what a parser accepted does not hold
//! together: a checked block whose events cannot be found, JSON that is none, a batch out of turn. Where bytes are
//! under a checksum, the target mends it first, so that what lies behind it is reached.
//!
//! Two ways lead to a target:
//!
//! - `cargo test -p varve-fuzz`, on stable: replays `corpus/`, then explores mutations of seeds and corpus.
//!   `VARVE_TEST_SCALE` multiplies how many; a failure prints its seed and its input.
//! - `cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer <target> fuzz/corpus/<target>`: coverage-guided, without end.
//!
//! An input that fails is kept in the directory of temporary files. Once its parser is mended it belongs into the corpus.
#![forbid(unsafe_code)]

mod backup;
mod batch;
mod block;
mod data_file;
mod descriptor;
mod device_link;
mod event_json;
mod exchange;
mod frame;
mod host_link;
mod keys;
mod message;
mod mutation;
mod reader_table;
mod record;
mod row;
mod tail_head;
mod target;
mod typed_event;
mod watermark;

use critical_section as _;
pub use mutation::Mutation;
pub use target::{INPUT_LEN_MAX, TARGETS, Target, Verdict, run};

//! Measures the event store against its peers: the same events, the same machine, the same run.
//!
//! ```text
//! cargo run --release -p varve-bench [-- --rounds N --events N --dir PATH --rows WORD,… --engines NAME,… --flush-us N --json FILE --large]
//! ```
//!
//! Every engine is as durable as every other: a commit is on the disk when it returns. Rounds take the engines in turn,
//! and the table shows medians; in parentheses, how many times better Varve is. Before each visit of an engine, and before
//! what it appends at once, the disk takes whatever the file system holds back, so that none pays for what another wrote. Every
//! read adds up what it finds, and a sum that differs from what was written ends the run: no engine is fast by doing less.

mod aim;
mod arguments;
mod engine;
mod figures;
mod json;
mod rows;
mod sample;
mod session;
mod table;

use std::io;
use std::time::Duration;

use arguments::Arguments;
use clap::Parser;
use sample::{Order, Sensor};
use session::Session;

fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    match &arguments.errand {
        Some(errand) => errand.run(),
        None => measure(arguments),
    }
}

fn measure(arguments: Arguments) -> io::Result<()> {
    varve_disk_shim::set_flush_time(Duration::from_micros(arguments.flush_us));
    let mut session = Session::new(arguments);
    rows::measure::<Sensor>(&mut session);
    rows::measure::<Order>(&mut session);
    table::print(&session.arguments, &session.figures);
    match &session.arguments.json {
        Some(path) => json::write(path, &session.arguments, &session.figures),
        None => Ok(()),
    }
}

//! `varved status`: how a store and its daemon do, as one JSON object.

use std::fs;
use std::process::ExitCode;

use serde_json::{Value, json};
use varve_core::ProcessPins;

use crate::cli::StoreArgs;
use crate::failure::Failure;
use crate::state_file::StateFile;
use crate::stdout::Lines;
use crate::store_view::{cannot_read, open_read_only};

/// Prints what the daemon says of itself, which events the store holds, and which processes keep it from using pages
/// again.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn status(args: &StoreArgs) -> Result<ExitCode, Failure> {
    let view = open_read_only(&args.store, None)?;
    let daemon = StateFile::read(&args.store)
        .map_err(|error| Failure::of_system("what the daemon says of itself cannot be read", &error))?;
    let unreadable = |error| cannot_read(&args.store, &error);
    let snapshot = view.snapshot().map_err(unreadable)?;
    let first = snapshot.first_global_seq().map_err(unreadable)?;
    let next = snapshot.next_global_seq().map_err(unreadable)?;
    // This process is not among those that hold on to something.
    drop(snapshot);
    let pins = view.process_pins().map_err(unreadable)?;
    let status = json!({
        "daemon": daemon.unwrap_or(Value::Null),
        "first": first.0,
        "next": next.0,
        "pins": pins.iter().map(pins_object).collect::<Vec<_>>(),
    });
    let mut lines = Lines::new();
    lines.write(status.to_string().as_bytes())?;
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn pins_object(pins: &ProcessPins) -> Value {
    let ProcessPins { process, snapshots, folds_behind, .. } = pins;
    // A process that has ended, or is another machine's to name, has none.
    let name = fs::read_to_string(format!("/proc/{process}/comm")).ok();
    let name = name.as_deref().map(str::trim_end);
    json!({ "pid": process, "process": name, "snapshots": snapshots, "folds_behind": folds_behind })
}

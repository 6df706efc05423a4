//! `varved status`: how a store and its daemon do, as one JSON object.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::StoreArgs;
use crate::failure::Failure;
use crate::state_file::StateFile;
use crate::stdout::Lines;
use crate::store_view::{cannot_read, open_read_only};

/// Prints what the daemon says of itself, and which events the store holds.
///
/// # Errors
/// The store cannot be read, or standard output failed.
pub(crate) fn status(args: &StoreArgs) -> Result<ExitCode, Failure> {
    let daemon = StateFile::read(&args.store)
        .map_err(|error| Failure::of_system("what the daemon says of itself cannot be read", &error))?;
    let view = open_read_only(&args.store, None)?;
    let unreadable = |error| cannot_read(&args.store, &error);
    let snapshot = view.snapshot().map_err(unreadable)?;
    let first = snapshot.first_global_seq().map_err(unreadable)?;
    let next = snapshot.next_global_seq().map_err(unreadable)?;
    let status = json!({
        "daemon": daemon.unwrap_or(Value::Null),
        "first": first.0,
        "next": next.0,
    });
    let mut lines = Lines::new();
    lines.write(status.to_string().as_bytes())?;
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}

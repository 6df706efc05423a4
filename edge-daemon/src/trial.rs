//! The trial of a store before the daemon opens it.
//!
//! A child looks at what LMDB uses each page for, opens the store as the daemon is about to, with all that is recovered then,
//! and looks at every row of it. What may end a process ends the child, and what contradicts itself is an error with a place: the daemon then takes in nothing.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::gateway::GatewayConfig;
use crate::shield::end_with_parent;
use crate::store_view::{SALVAGE, cannot_read};

/// Tries the store out, in the child.
///
/// # Errors
/// The store cannot be opened, or something in it cannot be right.
pub(crate) fn try_out(config: &GatewayConfig) -> Result<ExitCode, Failure> {
    end_with_parent()?;
    let mut config = config.clone();
    config.config.check_pages = true;
    let varve = config.open_store()?;
    let snapshot = varve.snapshot().map_err(|error| cannot_read(&config.store, &error))?;
    match snapshot.verify_rows().findings.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(finding) => Err(Failure::new(
            format!("store {} cannot be served: {finding}", config.store.display()),
            SALVAGE,
        )),
    }
}

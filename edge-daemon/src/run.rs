//! `varved run`.

use std::process::ExitCode;

use tracing::info;

use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayConfig};

/// Takes in events until told to stop.
///
/// # Errors
/// The daemon cannot begin, or its store failed.
pub(crate) fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let config = GatewayConfig {
        commit_window: args.commit_window(),
        ports: args.ports,
        baud: args.baud,
        store: args.store,
    };
    let gateway = Gateway::open(&config)?;
    info!(store = %config.store.display(), ports = config.ports.len(), "serving");
    gateway.serve(std::future::pending())?;
    Ok(ExitCode::SUCCESS)
}

//! `varved run`.

use std::process::ExitCode;

use tracing::info;

use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayConfig};
use crate::shield::{Shield, run_again};
use crate::trial::try_out;

/// Takes in events until told to stop, once a child has tried the store out.
///
/// # Errors
/// The daemon cannot begin, or its store failed.
pub(crate) fn run(args: RunArgs, shield: Shield) -> Result<ExitCode, Failure> {
    let config = GatewayConfig {
        commit_window: args.commit_window(),
        ports: args.ports,
        baud: args.baud,
        store: args.store,
    };
    if shield.is_child {
        return try_out(&config);
    }
    match run_again(&config.store)? {
        0 => {}
        code => return Ok(ExitCode::from(code)),
    }
    let gateway = Gateway::open(&config)?;
    info!(store = %config.store.display(), ports = config.ports.len(), "serving");
    gateway.serve(std::future::pending())?;
    Ok(ExitCode::SUCCESS)
}

//! `varved`, the gateway daemon. All that it does is in the library of this package.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    varve_edge_daemon::main()
}

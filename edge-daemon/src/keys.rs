//! `varved shred` and `varved rotate-master`: what is done to a store's keys, by the daemon that writes the store where one
//! runs, and else by the command itself.

use std::path::Path;
use std::process::ExitCode;

use varve_core::{MasterKey, OpenError, StreamId, Varve};

use crate::cli::{RotateMasterArgs, ShredArgs};
use crate::control::{KeyChange, RunningDaemon};
use crate::failure::Failure;
use crate::master_key::{self, config_of};
use crate::store_view::{cannot_open, open_read_only};

/// Destroys the key of a stream.
///
/// # Errors
/// The store cannot be opened, or the stream was never sealed.
pub(crate) fn shred(args: &ShredArgs) -> Result<ExitCode, Failure> {
    let key = master_key::require(&args.master_key)?;
    change(&args.store, key, &KeyChange::Shred { stream: args.name.clone(), id: StreamId(args.id) })
}

/// Wraps a store's keys by another master key.
///
/// # Errors
/// The store cannot be opened, or one of the keys is none.
pub(crate) fn rotate_master(args: &RotateMasterArgs) -> Result<ExitCode, Failure> {
    let new_master_key_file = args.new_master_key_file.clone();
    let key = master_key::require(&args.master_key)?;
    change(&args.store, key, &KeyChange::RotateMaster { new_master_key_file })
}

fn change(store: &Path, key: MasterKey, change: &KeyChange) -> Result<ExitCode, Failure> {
    match RunningDaemon::find(store)? {
        Some(daemon) => {
            // The daemon has the keys open; who asks it has to have the master key all the same.
            open_read_only(store, Some(key))?;
            daemon.ask(change)?;
        }
        None => change.apply(&open(store, key)?, store)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store, which must be there, as its owner.
fn open(store: &Path, key: MasterKey) -> Result<Varve, Failure> {
    if let Err(error @ OpenError::NotAStore { .. }) = Varve::open_read_only(store) {
        return Err(cannot_open(store, &error));
    }
    Varve::with_config(store, config_of(Some(key))).map_err(|error| cannot_open(store, &error))
}

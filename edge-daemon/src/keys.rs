//! `varved shred` and `varved rotate-master`: what is done to a store's keys.

use std::path::Path;
use std::process::ExitCode;

use varve_core::{AppendError, KeysError, MasterKey, OpenError, StreamId, Varve};

use crate::cli::{RotateMasterArgs, ShredArgs};
use crate::failure::Failure;
use crate::master_key::{self, config_of, no_key};
use crate::store_view::cannot_open;

/// Destroys the key of a stream.
///
/// # Errors
/// The store cannot be opened, or the stream was never sealed.
pub(crate) fn shred(args: &ShredArgs) -> Result<ExitCode, Failure> {
    let varve = open(&args.store, master_key::require(&args.master_key)?)?;
    varve.shred(&args.name, StreamId(args.id)).map_err(|error| match error {
        AppendError::Keys(error @ KeysError::NotSealed { .. }) => {
            Failure::new(error, "`varved streams` lists the streams; nothing was changed")
        }
        error => keys_failed(&args.store, &error),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Wraps a store's keys by another master key.
///
/// # Errors
/// The store cannot be opened, or one of the keys is none.
pub(crate) fn rotate_master(args: &RotateMasterArgs) -> Result<ExitCode, Failure> {
    let new = MasterKey::from_file(&args.new_master_key_file).map_err(|error| no_key(&error))?;
    let varve = open(&args.store, master_key::require(&args.master_key)?)?;
    varve.rotate_master(&new).map_err(|error| keys_failed(&args.store, &error))?;
    Ok(ExitCode::SUCCESS)
}

/// Opens the store, which must be there, as its owner.
fn open(store: &Path, key: MasterKey) -> Result<Varve, Failure> {
    if let Err(error @ OpenError::NotAStore { .. }) = Varve::open_read_only(store) {
        return Err(cannot_open(store, &error));
    }
    Varve::with_config(store, config_of(Some(key))).map_err(|error| cannot_open(store, &error))
}

fn keys_failed(store: &Path, error: &AppendError) -> Failure {
    let remedy = match error {
        AppendError::DiskFull => "make room; nothing was changed",
        _ => "mend the disk and try again",
    };
    Failure::new(format!("the keys of store {} cannot be changed: {error}", store.display()), remedy)
}

//! How a store comes into being: its data file is there whole, or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use heed::EnvFlags;

use crate::store::config::{Config, Durability, MAP_SIZE_MIN};
use crate::store::error::OpenError;
use crate::store::files::environment::{DATA_FILE, LOCK_FILE, map, sync_directory};
use crate::store::files::full_disk::{PROBE_FILE, why_unwritten};
use crate::store::files::presence::tolerate_missing;
use crate::store::log::format;
use crate::store::log::tables::Tables;

/// Makes the data file of a new store in `dir`, unless there is one. It gets its name once it is durable, so that a crash
/// leaves a store or none, and never half of one.
pub(in crate::store) fn found(dir: &Path, config: &Config) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: dir.to_path_buf(), error };
    let making = dir.join(MAKING);
    clear(&making).map_err(io)?;
    if is_founded(dir).map_err(io)? {
        return Ok(());
    }
    fs::create_dir(&making).map_err(io)?;
    make(&making, config).inspect_err(|_| {
        // On a full disk what there is of it would only be in the way.
        let _ = clear(&making);
    })?;
    fs::rename(making.join(DATA_FILE), dir.join(DATA_FILE)).map_err(io)?;
    clear(&making).map_err(io)?;
    match config.durability {
        Durability::Durable => sync_directory(dir),
        Durability::Relaxed => Ok(()),
    }
}

/// Whether there is a data file that holds anything. What the disk cannot tell is no reason to put another in its place.
fn is_founded(dir: &Path) -> io::Result<bool> {
    match fs::metadata(dir.join(DATA_FILE)) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a data file that holds the tables and the identity of a store.
fn make(dir: &Path, config: &Config) -> Result<(), OpenError> {
    let config = Config { map_size: Some(MAP_SIZE_MIN), ..config.clone() };
    let env = map(dir, &config, EnvFlags::NO_SYNC)?;
    let identity = format::new_identity();
    Tables::create(&env, &identity.each_ref().map(|(key, value)| (*key, value.as_slice())))
        .map_err(|error| why_unwritten(dir, error))?;
    env.prepare_for_closing().wait();
    let sync = || File::open(dir.join(DATA_FILE))?.sync_all();
    match config.durability {
        Durability::Durable => sync().map_err(|error| OpenError::Io { path: dir.to_path_buf(), error }),
        Durability::Relaxed => Ok(()),
    }
}

/// Removes what an earlier attempt has left.
fn clear(making: &Path) -> io::Result<()> {
    let names = [DATA_FILE, LOCK_FILE, PROBE_FILE];
    names.iter().try_for_each(|name| tolerate_missing(fs::remove_file(making.join(name))))?;
    tolerate_missing(fs::remove_dir(making))
}

/// Where the data file is made.
const MAKING: &str = "making";

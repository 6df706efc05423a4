//! The master key that a command was given.

use std::env;

use varve_core::{Config, Encryption, MasterKey, MasterKeyError, SealedStreams};

use crate::cli::{MASTER_KEY_VARIABLE, MasterKeyArgs};
use crate::failure::Failure;

/// The master key in the file that was named, or else in the variable; `None` without either.
///
/// # Errors
/// The file cannot be read, or what is there is no key.
pub(crate) fn find(args: &MasterKeyArgs) -> Result<Option<MasterKey>, Failure> {
    let key = match &args.master_key_file {
        Some(path) => MasterKey::from_file(path),
        None if env::var_os(MASTER_KEY_VARIABLE).is_some() => MasterKey::from_env(MASTER_KEY_VARIABLE),
        None => return Ok(None),
    };
    key.map(Some).map_err(|error| no_key(&error))
}

/// As [`find`], where there must be one.
///
/// # Errors
/// There is none.
pub(crate) fn require(args: &MasterKeyArgs) -> Result<MasterKey, Failure> {
    find(args)?.ok_or_else(|| Failure::new("no master key", GIVE_ONE))
}

/// How a store is opened that is read, or whose keys are changed: it seals no stream that has no key yet.
pub(crate) fn config_of(key: Option<MasterKey>) -> Config {
    let mut config = Config::default();
    config.encryption = key.map(|key| {
        let mut encryption = Encryption::new(key);
        encryption.streams = SealedStreams::Named(Vec::new());
        encryption
    });
    config
}

/// Why there is no key, and what to do.
pub(crate) fn no_key(error: &MasterKeyError) -> Failure {
    let remedy = match error {
        MasterKeyError::Io { .. } => "check the path and its permissions",
        _ => GIVE_ONE,
    };
    Failure::new(format!("no master key: {error}"), remedy)
}

/// What to do without a key.
pub(crate) const GIVE_ONE: &str = "give --master-key-file, or VARVED_MASTER_KEY";

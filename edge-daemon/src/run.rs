//! `varved run`.

use std::process::ExitCode;

use tracing::info;
use varve_core::{Config, Encryption, QUOTA_MIN, SealedStreams};

use crate::byte_size::ByteSize;
use crate::cli::RunArgs;
use crate::failure::Failure;
use crate::gateway::{Gateway, GatewayConfig};
use crate::master_key::{self, GIVE_ONE};
use crate::shield::{Shield, run_again};
use crate::trial::try_out;

/// Takes in events until told to stop, once a child has tried the store out.
///
/// # Errors
/// The daemon cannot begin, or its store failed.
pub(crate) fn run(args: &RunArgs, shield: Shield) -> Result<ExitCode, Failure> {
    let config = GatewayConfig {
        commit_window: args.commit_window(),
        ports: args.ports.clone(),
        baud: args.baud,
        store: args.store.clone(),
        config: store_config(args)?,
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

/// How the store is opened.
fn store_config(args: &RunArgs) -> Result<Config, Failure> {
    let mut config = Config::default();
    config.quota = args.quota.map(|ByteSize(bytes)| bytes);
    config.retention = args.keep.policy();
    config.encryption = encryption(args)?;
    check_room(args)?;
    Ok(config)
}

/// Refuses limits that cannot hold together.
fn check_room(args: &RunArgs) -> Result<(), Failure> {
    let (quota, keep) = (args.quota.map(|quota| quota.0), &args.keep);
    if quota.is_some_and(|quota| quota < QUOTA_MIN) {
        return Err(Failure::new(
            "the quota is less than an empty store takes",
            format!("give at least {QUOTA_MIN}"),
        ));
    }
    if let Some((quota, ByteSize(kept))) = quota.zip(keep.keep_bytes)
        && kept >= quota
    {
        return Err(Failure::new("--keep-bytes is not below --quota", "nothing would be retired: give less"));
    }
    if !keep.keep_for_consumer.is_empty() && keep.policy().is_none() {
        return Err(Failure::new(
            "--keep-for-consumer alone retires nothing",
            "give another limit beside it",
        ));
    }
    Ok(())
}

/// How events are sealed; `None` without a master key.
fn encryption(args: &RunArgs) -> Result<Option<Encryption>, Failure> {
    let seal = &args.seal;
    let Some(key) = master_key::find(&seal.master_key)? else {
        return if seal.names.is_empty() {
            Ok(None)
        } else {
            Err(Failure::new("--seal without a master key", GIVE_ONE))
        };
    };
    let mut encryption = Encryption::new(key);
    encryption.suite = seal.suite.into();
    if !seal.names.is_empty() {
        encryption.streams = SealedStreams::Named(seal.names.clone());
    }
    Ok(Some(encryption))
}

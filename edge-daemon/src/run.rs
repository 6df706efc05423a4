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
    config.preallocate = args.preallocate.0;
    config.retention = args.keep.policy();
    config.encryption = encryption(args)?;
    check_room(args, &config)?;
    Ok(config)
}

/// Refuses limits under which nothing would be stored, or nothing retired.
fn check_room(args: &RunArgs, config: &Config) -> Result<(), Failure> {
    if config.quota.is_some_and(|quota| quota < QUOTA_MIN) {
        let what = "the quota is less than an empty store takes";
        return Err(Failure::new(what, format!("give at least {QUOTA_MIN}")));
    }
    // The index of the streams takes its part beside the events.
    let kept_max = config.room_for_events().map(|room| room / 8 * 7);
    if let Some((kept_max, ByteSize(kept))) = kept_max.zip(args.keep.keep_bytes)
        && kept > kept_max
    {
        let what = "under this quota the store is full before it has as much as --keep-bytes";
        return Err(Failure::new(what, format!("give at most {kept_max}")));
    }
    if !args.keep.keep_for_consumer.is_empty() && config.retention.is_none() {
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

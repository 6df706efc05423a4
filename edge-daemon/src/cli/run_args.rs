//! What `run` is told.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use varve_core::RetentionPolicy;

use super::{BAUDS, MasterKeyArgs, SuiteName};
use crate::age::Age;
use crate::byte_size::ByteSize;

/// The arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A serial port to read; it may go and come back while the daemon runs. One that is missing is waited for, where another is there
    #[arg(long = "port", value_name = "PATH", required = true, num_args = 1..)]
    pub(crate) ports: Vec<PathBuf>,
    /// The directory of the store; it is made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
    /// The speed of the ports in baud
    #[arg(long, value_name = "N", default_value_t = 115_200, value_parser = value_parser!(u32).range(BAUDS))]
    pub(crate) baud: u32,
    /// How long the first event of a commit may wait for others, in milliseconds: longer spares the disk
    #[arg(long, value_name = "MS", default_value_t = 10, value_parser = value_parser!(u16).range(0..=1000))]
    pub(crate) commit_ms: u16,
    #[command(flatten)]
    pub(crate) keep: KeepArgs,
    /// The most that the store's files may take together, as 3GiB; without it, the disk
    #[arg(long, value_name = "SIZE", help_heading = ROOM)]
    pub(crate) quota: Option<ByteSize>,
    /// How much of the disk the store takes at once, as 2GiB, before events fill it: so nobody else can take that
    #[arg(long, value_name = "SIZE", help_heading = ROOM, default_value = "0B")]
    pub(crate) preallocate: ByteSize,
    #[command(flatten)]
    pub(crate) seal: SealArgs,
}

/// What a store keeps.
#[derive(Debug, Args)]
#[command(next_help_heading = ROOM)]
pub(crate) struct KeepArgs {
    /// Retires events that were taken in longer ago, as 30d, 36h, 90min or 10s
    #[arg(long, value_name = "AGE")]
    pub(crate) keep_age: Option<Age>,
    /// Retires the oldest events while all together take more room, as 2GiB
    #[arg(long, value_name = "SIZE")]
    pub(crate) keep_bytes: Option<ByteSize>,
    /// Retires all but the last so many events
    #[arg(long, value_name = "N")]
    pub(crate) keep_events: Option<u64>,
    /// Retires nothing that this consumer has yet to see; may be given again
    #[arg(long, value_name = "NAME")]
    pub(crate) keep_for_consumer: Vec<String>,
}

/// What a store seals.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sealed streams")]
pub(crate) struct SealArgs {
    #[command(flatten)]
    pub(crate) master_key: MasterKeyArgs,
    /// Seals the streams of this name alone; may be given again. Without it all are sealed, once there is a master key
    #[arg(long = "seal", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// How streams that get a key are sealed: chacha20-poly1305 is the faster one without AES instructions
    #[arg(long, value_name = "SUITE", value_enum, default_value_t)]
    pub(crate) suite: SuiteName,
}

impl RunArgs {
    /// How long the first event of a commit may wait for others.
    pub(crate) fn commit_window(&self) -> Duration {
        Duration::from_millis(u64::from(self.commit_ms))
    }
}

impl KeepArgs {
    /// What the store is to retire; `None` where nothing.
    pub(crate) fn policy(&self) -> Option<RetentionPolicy> {
        let mut policy = RetentionPolicy::default();
        policy.age_max = self.keep_age.map(|Age(age)| age);
        policy.bytes_max = self.keep_bytes.map(|ByteSize(bytes)| bytes);
        policy.events_max = self.keep_events;
        policy.consumers = self.keep_for_consumer.clone();
        let has_limit = policy.age_max.is_some() || policy.bytes_max.is_some() || policy.events_max.is_some();
        has_limit.then_some(policy)
    }
}

/// What `varved run --help` ends with.
pub(super) const HELP: &str = "\
A store without room, by its quota or its disk, takes in nothing: devices are acknowledged nothing, hold what they can,
and tell what they had to drop, which becomes a recorded gap. The daemon goes on by itself once there is room.
SIGTERM and SIGINT end it: it commits what it has taken in, and exits with 0. It exits with 2 where its store failed.";

const ROOM: &str = "Room";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(more: &str) -> Result<RunArgs, clap::Error> {
        let line = format!("varved run --port p --store s {more}");
        match Cli::try_parse_from(line.split_whitespace())?.command {
            Command::Run(args) => Ok(args),
            _ => unreachable!("the line says run"),
        }
    }

    #[test]
    fn what_is_kept_is_a_policy_once_there_is_a_limit() {
        let args = parse(
            "--keep-age 30d --keep-bytes 2GiB --keep-events 7 --keep-for-consumer a --keep-for-consumer b",
        );
        let mut policy = RetentionPolicy::default();
        policy.age_max = Some(Duration::from_secs(30 * 86_400));
        policy.bytes_max = Some(2 << 30);
        policy.events_max = Some(7);
        policy.consumers = vec!["a".into(), "b".into()];
        assert_eq!(args.unwrap().keep.policy(), Some(policy));
        assert_eq!(parse("--keep-for-consumer a").unwrap().keep.policy(), None);
    }

    #[test]
    fn a_size_without_a_sense_is_a_mistake() {
        assert_eq!(parse("--quota 3GiB").unwrap().quota, Some(ByteSize(3 << 30)));
        assert_eq!(parse("--preallocate 2MiB").unwrap().preallocate, ByteSize(2 << 20));
        assert_eq!(parse("").unwrap().preallocate, ByteSize(0));
        assert!(parse("--quota lots").is_err());
        assert!(parse("--keep-age 30").is_err());
    }
}

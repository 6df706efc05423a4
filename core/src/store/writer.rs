//! The one writer of a store: every handle appends through it, one commit at a time.

use std::sync::{Arc, Mutex, PoisonError};

use heed::MdbError;

use super::append::Committed;
use super::block::BlockWriter;
use super::clock::{Domain, HostClock};
use super::environment::Environment;
use super::error::{AppendError, OpenError};
use super::tables::{Tables, number};
use super::transaction::{FinishError, Transaction};
#[cfg(feature = "notify")]
use super::watcher::Watermark;

/// The writer, shared by all handles.
#[derive(Debug)]
pub(super) struct Writer {
    environment: Arc<Environment>,
    state: Mutex<State>,
    #[cfg(feature = "notify")]
    watermark: Arc<Watermark>,
}

#[derive(Debug)]
struct State {
    block: BlockWriter,
    encoded: Vec<u8>,
    domain: u32,
    /// The mapping of the domain to UTC, as it is stored.
    mapping: Domain,
    /// When stale readers and the mapping were last looked after.
    upkeep_us: u64,
    /// Whether a commit failed to reach the disk.
    is_poisoned: bool,
}

impl Writer {
    /// A writer whose events are taken in by the clock of this boot.
    pub(super) fn new(
        environment: Arc<Environment>,
        #[cfg(feature = "notify")] watermark: Arc<Watermark>,
    ) -> Result<Self, OpenError> {
        let (domain, mapping) = open_domain(&environment)?;
        Ok(Self {
            environment,
            state: Mutex::new(State {
                block: BlockWriter::new(),
                encoded: Vec::new(),
                domain,
                mapping,
                upkeep_us: HostClock.now_us(),
                is_poisoned: false,
            }),
            #[cfg(feature = "notify")]
            watermark,
        })
    }

    /// Runs `body` in a transaction and commits it. Where the map is full it grows, and `body` runs again.
    pub(super) fn commit<R>(
        &self,
        mut body: impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed), AppendError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match state.attempt(&self.environment, &mut body) {
                Err(AppendError::Storage(error)) if is_map_full(&error.0) => self.environment.grow()?,
                Err(error) => return Err(error),
                Ok((result, committed)) => {
                    #[cfg(feature = "notify")]
                    self.watermark.advance(committed.first.0 + committed.events);
                    return Ok((result, committed));
                }
            }
        }
    }
}

impl State {
    fn attempt<R>(
        &mut self,
        environment: &Environment,
        body: &mut impl FnMut(&mut Transaction<'_>) -> Result<R, AppendError>,
    ) -> Result<(R, Committed), AppendError> {
        if self.is_poisoned {
            return Err(AppendError::Poisoned);
        }
        let now_us = HostClock.now_us();
        let mut mapping = None;
        if now_us.saturating_sub(self.upkeep_us) >= UPKEEP_INTERVAL_US {
            environment.clear_stale_readers()?;
            mapping = self.mapping_to_store();
        }
        let (block, encoded) = (&mut self.block, &mut self.encoded);
        let mut transaction = Transaction::begin(environment, block, encoded, self.domain, now_us)?;
        if let Some(mapping) = mapping {
            let (tables, txn) = transaction.rows();
            tables.domain.put(txn, &self.domain.to_be_bytes(), &mapping.to_row())?;
        }
        let result = body(&mut transaction)?;
        match transaction.finish() {
            Ok(committed) => {
                self.mapping = mapping.unwrap_or(self.mapping);
                if now_us.saturating_sub(self.upkeep_us) >= UPKEEP_INTERVAL_US {
                    self.upkeep_us = now_us;
                }
                Ok((result, committed))
            }
            Err(FinishError::Append(error)) => Err(error),
            Err(FinishError::Commit(error)) => {
                self.is_poisoned = !leaves_the_disk_as_it_was(&error);
                Err(error.into())
            }
        }
    }

    /// The domain's mapping to UTC, where the system's clock was set since it was stored.
    fn mapping_to_store(&self) -> Option<Domain> {
        let measured = Domain::measured(HostClock);
        self.mapping.differs(&measured).then_some(Domain { boot_id: self.mapping.boot_id, ..measured })
    }
}

/// Finds the clock domain of this boot, or adds it.
fn open_domain(environment: &Environment) -> Result<(u32, Domain), OpenError> {
    let tables: &Tables = environment.tables();
    let now = Domain::now(HostClock);
    let mut txn = environment.write()?;
    let last = tables.domain.last(&txn)?.map(|(key, value)| (number(key, 0), Domain::from_row(value)));
    let number = match last {
        Some((Some(number), Some(domain))) if domain.boot_id == now.boot_id => number,
        _ => tables.domain.next_number(&txn)?.unwrap_or(u32::MAX),
    };
    tables.domain.put(&mut txn, &number.to_be_bytes(), &now.to_row())?;
    txn.commit()?;
    Ok((number, now))
}

fn is_map_full(error: &heed::Error) -> bool {
    matches!(error, heed::Error::Mdb(MdbError::MapFull))
}

/// Whether a commit that failed like this wrote nothing that counts: it found no room. After any other failure the
/// system may have dropped what it could not write, and a later flush would not tell.
fn leaves_the_disk_as_it_was(error: &heed::Error) -> bool {
    match error {
        heed::Error::Mdb(error) => matches!(error, MdbError::MapFull | MdbError::TxnFull),
        heed::Error::Io(error) => error.kind() == std::io::ErrorKind::StorageFull,
        _ => false,
    }
}

/// How often a commit looks after what slowly goes stale: the slots of readers whose process ended, and the mapping
/// to UTC.
const UPKEEP_INTERVAL_US: u64 = 60_000_000;

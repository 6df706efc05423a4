//! Verifying a store: every checksum, and every row against all others that it must agree with.

mod catalog;
mod child;
mod devices;
mod log;
mod report;

use std::collections::BTreeMap;
use std::path::Path;

use crate::GlobalSequence;
use crate::store::error::{Damage, OpenError, Place, ReadError};
use crate::store::log::tables::{Row, Table, Tables};
use crate::store::read::snapshot::Snapshot;
use crate::store::upkeep::retention::first_retained;
use crate::store::varve::Varve;
use devices::LaneKey;

pub use child::{ChildError, verify_in_child};
pub use report::{FINDINGS_MAX, Finding, VerifyReport};

/// Verifies the store in `path`, beside its owner in another process or without one. The owner's own process takes
/// [`Snapshot::verify`], or a child.
///
/// LMDB lends its pages from a map, and neither checks them: a damaged data file, or a disk that fails under it, can end
/// the process with a signal. Where that must not be, let a child do it: [`verify_in_child`].
///
/// ```
/// # use varve_core::{StreamId, Varve, verify};
/// # let dir = tempfile::tempdir()?;
/// # let mut varve = Varve::new(dir.path())?;
/// # varve.stream::<u16, 2>("readings")?.append(StreamId(7), &650)?;
/// # drop(varve);
/// let report = verify(dir.path())?;
/// assert!(report.is_sound(), "{report}");
/// assert_eq!(report.events, 1);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`Varve::open_read_only`], but for damage that keeps the store from opening, which is a finding.
pub fn verify(path: impl AsRef<Path>) -> Result<VerifyReport, OpenError> {
    let mut report = VerifyReport::default();
    match Varve::open_read_only(&path).map(|view| view.snapshot()) {
        Ok(Ok(snapshot)) => {
            report = snapshot.verify();
            #[cfg(feature = "encryption")]
            crate::store::encryption::verify_keys(path.as_ref()).iter().for_each(|damage| report.add(damage));
        }
        Ok(Err(error)) => report.add_text("store".into(), error.to_string()),
        Err(OpenError::Corrupt(damage)) => report.add(&damage),
        Err(error) => return Err(error),
    }
    Ok(report)
}

impl Snapshot {
    /// Verifies what the snapshot sees: see [`verify`]. It takes memory for 65,536 lanes of devices, and no more. Where it takes
    /// longer than a [`Config::pin_limit`](crate::Config::pin_limit), it finds that: open a store that is to be verified without one.
    pub fn verify(&self) -> VerifyReport {
        let mut verification = Verification::new(self);
        verification.check_meta();
        verification.check_log();
        verification.check_index();
        verification.check_time_index();
        verification.check_catalog();
        verification.check_devices();
        verification.check_consumers();
        verification.report
    }

    /// Verifies every row, and so that LMDB's pages lead to it, but looks into no block: the rows are small beside the
    /// blocks. An owner that asks for it before it appends knows that what it builds on is there. As [`verify`], it is for a
    /// process that damage may end. 10 GB of events of 42 bytes have 460,000 rows: it takes 0.1 to
    /// 0.2 s, and 6 s where none of it is cached.
    pub fn verify_rows(&self) -> VerifyReport {
        let mut verification = Verification::new(self);
        (verification.reads_blocks, verification.lanes) = (false, None);
        verification.check_meta();
        verification.check_block_keys();
        verification.check_index();
        verification.check_time_index();
        verification.check_catalog();
        verification.check_devices();
        verification.check_consumers();
        verification.report
    }
}

/// A verification in progress.
struct Verification<'s> {
    snapshot: &'s Snapshot,
    report: VerifyReport,
    /// The first event that retention left.
    retained: GlobalSequence,
    /// The end of the log; `None` where it is damaged.
    end: Option<GlobalSequence>,
    /// Whether blocks are read; if not, nobody knows which of them hold lost events.
    reads_blocks: bool,
    /// Whether the runs of lost events are all known, so that no stream may have a gap.
    knows_all_runs: bool,
    /// How many events of each lane the log holds; `None` where some of them are lost, or there are too many lanes.
    lanes: Option<BTreeMap<LaneKey, u64>>,
}

impl<'s> Verification<'s> {
    fn new(snapshot: &'s Snapshot) -> Self {
        Self {
            snapshot,
            report: VerifyReport::default(),
            retained: GlobalSequence(0),
            end: None,
            reads_blocks: true,
            knows_all_runs: true,
            lanes: Some(BTreeMap::new()),
        }
    }

    fn check_meta(&mut self) {
        match first_retained(self.tables(), self.snapshot.txn()) {
            Ok(retained) => self.retained = retained,
            Err(error) => self.add_error(self.tables().meta, error.into()),
        }
        if self.retained > GlobalSequence(0) {
            self.lanes = None;
        }
        match self.snapshot.log_end() {
            Ok(end) => self.end = Some(end),
            Err(error) => self.add_error(self.tables().block, error),
        }
        if self.end.is_some_and(|end| self.retained > end) {
            let damage = self
                .tables()
                .meta
                .damage(crate::store::upkeep::retention::RETAINED_KEY, "it exceeds the log");
            self.report.add(&damage);
        }
    }

    fn check_consumers(&mut self) {
        let Some(consumer) = self.tables().consumer else { return };
        let end = self.end;
        self.each_row(consumer, |_, (name, next)| {
            let next = <[u8; 8]>::try_from(next).map(u64::from_le_bytes);
            let next = next.map_err(|_| "it is no cursor of a consumer")?;
            match end {
                Some(end) if next > end.0 => Err("it exceeds the log"),
                _ if std::str::from_utf8(name).is_err() => Err("its name is no text"),
                _ => Ok(()),
            }
        });
    }

    /// Checks each row of a table by what `check` says is wrong with it.
    fn each_row(
        &mut self,
        table: Table,
        mut check: impl FnMut(&mut Self, Row<'s>) -> Result<(), &'static str>,
    ) {
        let mut before: Option<&[u8]> = None;
        let rows = match self.snapshot.rows().all(&table) {
            Ok(rows) => rows,
            Err(error) => return self.add_error(table, error.into()),
        };
        for row in rows {
            let (key, value) = match row {
                Ok(row) => row,
                Err(error) => return self.add_error(table, error.into()),
            };
            if before.is_some_and(|before| before >= key) {
                // Where pages lead in a circle the rows never end.
                return self.report.add(&table.damage(key, "it does not follow the row before it"));
            }
            before = Some(key);
            self.report.rows += 1;
            if let Err(reason) = check(self, (key, value)) {
                self.report.add(&table.damage(key, reason));
            }
        }
    }

    /// The value at `key`; `None` where there is none, or it cannot be read, which is then a finding.
    fn get(&mut self, table: Table, key: &[u8]) -> Option<&'s [u8]> {
        match self.snapshot.rows().get(&table, key) {
            Ok(value) => value,
            Err(error) => {
                self.add_error(table, error.into());
                None
            }
        }
    }

    fn has(&mut self, table: Table, key: &[u8]) -> bool {
        self.get(table, key).is_some()
    }

    /// How many rows a table has.
    fn rows_of(&mut self, table: Table) -> u64 {
        self.snapshot.rows().all(&table).map_or(0, |rows| rows.count() as u64)
    }

    fn add_error(&mut self, table: Table, error: ReadError) {
        match error {
            ReadError::Corrupt(damage) => self.report.add(&damage),
            error => self.report.add_text(format!("table {}", table.name), error.to_string()),
        }
    }

    fn tables(&self) -> &'s Tables {
        self.snapshot.tables()
    }
}

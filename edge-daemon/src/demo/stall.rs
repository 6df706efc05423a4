//! Noticing that a demo stands still.

use std::time::{Duration, Instant};

use super::view::Snapshot;
use crate::failure::Failure;

/// When something last moved.
#[derive(Debug)]
pub(crate) struct Stall {
    moved: Instant,
    /// Events offered, and events settled.
    seen: (u64, u64),
}

impl Stall {
    /// Something has just moved.
    pub(crate) fn new() -> Self {
        Self { moved: Instant::now(), seen: (0, 0) }
    }

    /// Takes in how far the demo is.
    ///
    /// # Errors
    /// It is where it was for [`STALL_MAX`].
    pub(crate) fn check(&mut self, snapshot: &Snapshot) -> Result<(), Failure> {
        let offered = snapshot.rows.iter().map(|row| row.progress.offered).sum();
        let settled = snapshot.rows.iter().map(|row| row.durable + row.gap_events).sum();
        if self.seen != (offered, settled) {
            *self = Self { moved: Instant::now(), seen: (offered, settled) };
        }
        if self.moved.elapsed() < STALL_MAX {
            return Ok(());
        }
        let stalled = format!("nothing has moved for {} s", STALL_MAX.as_secs());
        Err(Failure::new(stalled, "run it with VARVED_LOG=debug to see why"))
    }
}

/// The longest that a demo may stand still.
pub(crate) const STALL_MAX: Duration = Duration::from_secs(60);

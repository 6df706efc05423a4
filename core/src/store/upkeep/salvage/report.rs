//! What a salvage saved, and what it could not.

use std::fmt;
use std::io;

use crate::store::error::{Damage, OpenError};
use crate::store::upkeep::verify::VerifyReport;

/// What a salvage saved, and what it could not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// The number that tells the new store from all others.
    pub incarnation: u64,
    /// That of the damaged one; `None` where it could not be read.
    pub salvaged_from: Option<u64>,
    /// How many blocks were saved.
    pub blocks: u64,
    /// How many of them nothing led to any more.
    pub blocks_found_unlinked: u64,
    /// How many events were saved.
    pub events: u64,
    /// How many events are lost. After the last event that is known of more may be.
    pub lost_events: u64,
    /// How many places of streams nothing to come takes, since lost events may have had them. They stand behind the log, as
    /// lost events do.
    pub places_reserved: u64,
    /// How many rows were saved beside the blocks.
    pub rows: u64,
    /// How many rows were made up in the place of lost ones, or mended.
    pub rows_made_up: u64,
    /// How many pages of the data file could not be read.
    pub unreadable_pages: u64,
    /// What a verification of the new store found.
    pub verification: VerifyReport,
}

/// Why nothing was salvaged. There is then no new store, unless the disk failed as it got its name.
#[derive(Debug)]
#[non_exhaustive]
pub enum SalvageError {
    /// There is nothing of a store in the directory.
    Nothing,
    /// The damaged store could not be read by the system.
    Io(io::Error),
    /// The damaged store has an owner, or the new one could not be made.
    Open(OpenError),
    /// The new store was made, and could not be read again to be verified.
    Unverified {
        /// What it has, but for the verification, which is empty.
        report: Box<SalvageReport>,
        /// Why it could not be read.
        error: OpenError,
    },
}

impl fmt::Display for SalvageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>12} events saved in {} blocks", self.events, self.blocks)?;
        writeln!(f, "{:>12} events lost", self.lost_events)?;
        writeln!(f, "{:>12} places of streams that they may have had", self.places_reserved)?;
        writeln!(f, "{:>12} blocks found that nothing led to", self.blocks_found_unlinked)?;
        writeln!(f, "{:>12} rows saved, {} made up", self.rows, self.rows_made_up)?;
        writeln!(f, "{:>12} unreadable pages", self.unreadable_pages)?;
        self.verification.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

impl fmt::Display for SalvageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("there is nothing of a store"),
            Self::Io(error) => write!(f, "the damaged store cannot be read: {error}"),
            Self::Open(error) => error.fmt(f),
            Self::Unverified { error, .. } => {
                write!(f, "the new store was made, and cannot be verified: {error}")
            }
        }
    }
}

impl std::error::Error for SalvageError {}

impl From<io::Error> for SalvageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<OpenError> for SalvageError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<Damage> for SalvageError {
    fn from(damage: Damage) -> Self {
        Self::Open(damage.into())
    }
}

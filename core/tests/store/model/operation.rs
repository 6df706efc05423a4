//! What a case does to a store. Each operation names what it means by small numbers, and holds whatever came before
//! it: so a list of them can be shortened.

use varve_core::TimeColumn;

/// One step of a case.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    /// Appends local events, alone or as a batch, with or without the right expected version.
    Append { id: u64, lengths: Vec<usize>, expected: Expected },
    /// Commits single events, one after the other: the tail fills, and is folded.
    Burst { id: u64, commits: usize },
    /// Appends more than the tail takes, to a stream that is never sealed.
    Bulk { id: u64 },
    /// Commits parts together, or lets them go.
    Commit { parts: Vec<Part>, outcome: Outcome },
    /// Opens the next epoch of a device.
    OpenEpoch { device: u64 },
    /// Ends the latest epoch of a device, which told of so many events more.
    CloseEpoch { device: u64, unheard: u64 },
    /// Moves the tail into LMDB.
    Fold,
    /// Keeps the last events, so many hundredths of all, and whatever a consumer has yet to see.
    Retain { percent: u64, consumer: Option<usize> },
    /// Closes the store and opens it again, for reading in between.
    Reopen,
    /// Takes a backup, and keeps it in the place of the one before.
    BackUp,
    /// Goes on with a store that was restored: from the backup that was kept, or from a new one.
    Restore { is_kept: bool },
    /// Goes on with what a salvage makes of the store, which is not damaged.
    Salvage,
    /// Shreds a stream of local events.
    #[cfg(feature = "encryption")]
    Shred { id: u64 },
    /// Changes the master key.
    #[cfg(feature = "encryption")]
    Rotate,
    /// Lets a second process read all that it sees.
    Look,
}

/// A store, and what is done to it.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// Whether local events are sealed, where they can be.
    pub(super) is_sealed: bool,
    pub(super) operations: Vec<Operation>,
}

/// What is committed together with others.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// A local event.
    Event { id: u64, len: usize },
    /// A device's batch: the one that comes next, or another.
    Batch { device: u64, lane: u8, texts: Vec<Option<usize>>, time: TimeColumn, place: BatchPlace },
    /// Events of a device that will never come.
    Gap { device: u64, lane: u8, len: u64, reason: u8 },
    /// A consumer's cursor, so many hundredths of the way to the end of the log.
    Consumer { name: usize, percent: u64 },
}

/// Which version an append expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Any,
    Right,
    Wrong,
}

/// Where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BatchPlace {
    /// Where the lane's next event belongs.
    Next,
    /// So that it ends where the next event belongs: it came before.
    Again,
    /// Beyond: the store refuses it.
    Ahead,
}

/// How a commit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Committed,
    /// Committed, and durable only by what follows.
    Relaxed(Settled),
    Abandoned,
}

/// What makes durable what was committed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    Flush,
    Fold,
    /// A commit that waits.
    Append,
    /// The end of the owner.
    Reopen,
}

impl Case {
    pub(super) fn random(random: &mut fastrand::Rng) -> Self {
        let is_sealed = random.bool() && cfg!(feature = "encryption");
        let count = random.usize(1..=OPERATIONS_MAX);
        Self { is_sealed, operations: (0..count).map(|_| Operation::random(random)).collect() }
    }
}

impl Operation {
    fn random(random: &mut fastrand::Rng) -> Self {
        let id = random.u64(..STREAMS);
        match random.u8(..116) {
            0..25 => {
                let lengths = (0..random.usize(1..6)).map(|_| random.usize(..300)).collect();
                let expected = [Expected::Any, Expected::Right, Expected::Wrong][random.usize(..3)];
                Self::Append { id, lengths, expected }
            }
            25..28 => Self::Burst { id, commits: random.usize(1..80) },
            28..30 => Self::Bulk { id },
            30..72 => {
                let parts = (0..random.usize(..8)).map(|_| Part::random(random)).collect();
                Self::Commit { parts, outcome: Outcome::random(random) }
            }
            72..77 => Self::OpenEpoch { device: random.u64(1..=DEVICES) },
            77..82 => Self::CloseEpoch { device: random.u64(1..=DEVICES), unheard: random.u64(..50) },
            82..88 => Self::Fold,
            88..92 => {
                let consumer = random.bool().then(|| random.usize(..CONSUMERS.len()));
                Self::Retain { percent: random.u64(..100), consumer }
            }
            92..98 => Self::Reopen,
            98..100 => Self::BackUp,
            100..103 => Self::Restore { is_kept: random.bool() },
            103..105 => Self::Salvage,
            #[cfg(feature = "encryption")]
            105..109 => Self::Shred { id },
            #[cfg(feature = "encryption")]
            109 => Self::Rotate,
            _ => Self::Look,
        }
    }
}

impl Outcome {
    fn random(random: &mut fastrand::Rng) -> Self {
        let settled = [Settled::Flush, Settled::Fold, Settled::Append, Settled::Reopen];
        match random.u8(..4) {
            0 | 1 => Self::Committed,
            2 => Self::Relaxed(settled[random.usize(..4)]),
            _ => Self::Abandoned,
        }
    }
}

impl Part {
    fn random(random: &mut fastrand::Rng) -> Self {
        let (device, lane) = (random.u64(1..=DEVICES), random.u8(..2));
        match random.u8(..10) {
            0..3 => Self::Event { id: random.u64(..STREAMS), len: random.usize(..3_000) },
            3 => Self::Gap { device, lane, len: random.u64(1..100_000), reason: random.u8(..) },
            4 => Self::Consumer { name: random.usize(..CONSUMERS.len()), percent: random.u64(..=100) },
            _ => {
                let text = |random: &mut fastrand::Rng| random.bool().then(|| random.usize(..60));
                let texts = (0..random.usize(1..60)).map(|_| text(random)).collect();
                let time = [TimeColumn::None, TimeColumn::Delta, TimeColumn::DeltaOfDeltas];
                let place = match random.u8(..10) {
                    0 | 1 => BatchPlace::Again,
                    2 => BatchPlace::Ahead,
                    _ => BatchPlace::Next,
                };
                Self::Batch { device, lane, texts, time: time[random.usize(..3)], place }
            }
        }
    }
}

pub(super) const DEVICES: u64 = 3;
pub(super) const CONSUMERS: [&str; 2] = ["upstream", "sums"];
const STREAMS: u64 = 4;

/// The most operations of a case.
const OPERATIONS_MAX: usize = 16;

//! What a line may do to a frame, and what may befall its two ends.

use std::fmt;

use fastrand::Rng;

/// What a line may do to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The frame is lost.
    Drop,
    /// The frame arrives twice.
    Duplicate,
    /// The frame arrives after some that were sent later.
    Reorder,
    /// The frame arrives seconds late: when it does, its session may be long over.
    Delay,
    /// One to three bits of it are wrong.
    Flip,
    /// Only a beginning of it arrives, so that what follows runs into it.
    Cut,
    /// Bytes that nobody sent stand before it.
    Noise,
    /// The cable was out while it was sent.
    Outage,
}

impl Fault {
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Each kind once.
    pub const ALL: [Self; 8] = [
        Self::Drop,
        Self::Duplicate,
        Self::Reorder,
        Self::Delay,
        Self::Flip,
        Self::Cut,
        Self::Noise,
        Self::Outage,
    ];
}

/// How often each fault that strikes single frames does so, in frames of a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultRates {
    per_mille: [u16; Fault::COUNT],
}

impl FaultRates {
    /// A line without faults.
    pub const NONE: Self = Self { per_mille: [0; Fault::COUNT] };

    /// Draws a line: each kind of fault may be absent, rare or frequent, up to `worst` frames of a thousand, and at
    /// times one is the rule.
    pub fn draw(rng: &mut Rng, worst: u16) -> Self {
        let mut rates = Self::NONE;
        for fault in Fault::ALL.into_iter().filter(|&fault| fault != Fault::Outage) {
            rates.per_mille[fault as usize] = match rng.u32(0..32) {
                0 if worst > 0 => RULE_PER_MILLE,
                0..16 => rng.u16(0..=worst),
                _ => 0,
            };
        }
        rates
    }

    /// The same line, on which `fault` strikes `per_mille` frames of a thousand.
    #[must_use]
    pub fn with(mut self, fault: Fault, per_mille: u16) -> Self {
        self.per_mille[fault as usize] = per_mille;
        self
    }

    /// Whether `fault` strikes the next frame.
    pub fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        let per_mille = self.per_mille[fault as usize];
        per_mille > 0 && rng.u16(0..1000) < per_mille
    }
}

/// How many frames of a thousand a fault strikes that is the rule on its line.
const RULE_PER_MILLE: u16 = 450;

/// How often each fault struck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::COUNT]);

impl FaultCounts {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often `fault` struck.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (total, more) in self.0.iter_mut().zip(other.0) {
            *total += more;
        }
    }
}

impl fmt::Display for FaultCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{fault:?} {}", self.of(fault))?;
        }
        Ok(())
    }
}

//! A run whose events and columns are sealed.
//!
//! ```text
//! 0        12                    20                                     n − 16   n
//! ┌────────┬─────────────────────┬──────────────────────────────────────┬────────┐
//! │ nonce  │ writing incarnation │ sealed: ends │ events │ ticks        │ tag    │
//! └────────┴─────────────────────┴──────────────────────────────────────┴────────┘
//! ```
//!
//! The whole is the run's *unit*. It stands where a plain run has its events, and is moved whole. What seals and opens it
//! is not this module's concern.

#[cfg(any(test, feature = "encryption"))]
use super::run::Origin;
#[cfg(any(test, feature = "encryption"))]
use crate::StreamSequence;

/// What a unit was sealed as: the run that it belongs to, and no other.
#[cfg(any(test, feature = "encryption"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealedRun {
    /// The place of the first event in the stream.
    pub(crate) first: StreamSequence,
    /// How many events there are.
    pub(crate) count: u32,
    /// The shape, as the run's header has it.
    pub(crate) shape: u32,
    /// The device that the events come from.
    pub(crate) origin: Option<Origin>,
}

/// What stands before the sealed bytes: nonce and incarnation.
pub(crate) const UNIT_FRONT_LEN: usize = 20;

/// What a unit adds to the events and columns that it holds: its front and the tag.
pub(crate) const UNIT_OVERHEAD: usize = UNIT_FRONT_LEN + 16;

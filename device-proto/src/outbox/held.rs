//! What an outbox holds until it is durable: sealed batches, and gaps between them.

use varve_core::{DeviceSequence, GapReason};

use crate::chain::Chain;

/// A sealed batch or a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) first: DeviceSequence,
    /// How many sequences it takes.
    pub(crate) count: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Where in the ring the batch stands, and its CRC once that is known.
    Batch { offset: u32, len: u16, crc: Option<u32> },
    /// A gap grows until it is first sent; from then on its length is part of the chain.
    Gap { reason: GapReason, growing: bool },
}

impl Held {
    /// The sequence behind it.
    pub(crate) const fn end(&self) -> DeviceSequence {
        DeviceSequence(self.first.0 + self.count)
    }

    /// How much of the host's credit it takes.
    pub(crate) const fn credit(&self) -> u32 {
        match self.what {
            What::Batch { len, .. } => len as u32,
            What::Gap { .. } => GAP_CREDIT,
        }
    }

    /// The chain behind it, or `None` for a batch whose CRC is not known.
    pub(crate) fn chain_after(&self, chain: Chain) -> Option<Chain> {
        match self.what {
            What::Batch { crc, .. } => crc.map(|crc| chain.after_batch(crc)),
            What::Gap { reason, .. } => Some(chain.after_gap(self.first, self.count, reason)),
        }
    }
}

/// What a gap takes of the host's credit, in bytes.
pub const GAP_CREDIT: u32 = 32;

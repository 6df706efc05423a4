//! The chain over what a device has emitted: 4 bytes that tell two histories apart.

use varve_core::{Crc32c, DeviceSequence, GapReason, crc32c};

/// The chain at one boundary between batches and gaps. Two histories that agree in the chain at a sequence agree, but
/// for one chance in 2³², in every byte before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chain(pub u32);

impl Chain {
    /// The chain at sequence 0 of an epoch.
    pub const START: Self = Self(0);

    /// The chain behind a batch, given the CRC-32C of the batch.
    pub fn after_batch(self, batch_crc: u32) -> Self {
        let mut crc = Crc32c::seeded(self.0);
        crc.update(&batch_crc.to_le_bytes());
        Self(crc.finish())
    }

    /// The chain behind a gap.
    pub fn after_gap(self, first: DeviceSequence, len: u64, reason: GapReason) -> Self {
        let mut bytes = [0; 17];
        bytes[..8].copy_from_slice(&first.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
        bytes[16] = reason.into();
        self.after_batch(crc32c(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_links_its_checksum_to_the_chain_before() {
        let batch_crc = crc32c(b"123456789");
        let expected = crc32c(&[0, 0, 0, 0, 0x83, 0x92, 0x06, 0xe3]);
        assert_eq!(Chain::START.after_batch(batch_crc), Chain(expected));
    }

    #[test]
    fn every_field_of_a_gap_and_all_that_came_before_it_count() {
        let chain =
            |chain: u32, first, len, reason| Chain(chain).after_gap(DeviceSequence(first), len, reason);
        let gap = chain(1, 2, 3, GapReason::OutboxFull);
        assert_ne!(gap, chain(0, 2, 3, GapReason::OutboxFull));
        assert_ne!(gap, chain(1, 0, 3, GapReason::OutboxFull));
        assert_ne!(gap, chain(1, 2, 0, GapReason::OutboxFull));
        assert_ne!(gap, chain(1, 2, 3, GapReason::Unarchivable));
    }
}

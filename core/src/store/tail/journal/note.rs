//! The second sector of the tail: in which boot of the machine it was written last, and what was durable then.

use crate::store::log::tables::array;

/// What the owner notes once it has recovered, before it writes the first record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Note {
    /// The boot of the machine.
    pub(in crate::store) boot_id: [u8; 16],
    /// The CRC of the meta page of LMDB that holds what was recovered.
    pub(in crate::store) confirmed: u32,
}

impl Note {
    /// The bytes that the sector begins with.
    pub(in crate::store) fn encode(self, incarnation: u64) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..field::CONFIRMED].copy_from_slice(&self.boot_id);
        bytes[field::CONFIRMED..field::CRC].copy_from_slice(&self.confirmed.to_le_bytes());
        let crc = crc(&bytes, incarnation);
        bytes[field::CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the sector; `None` where nothing was noted, or the writing was cut short.
    pub(in crate::store) fn parse(bytes: &[u8; LEN], incarnation: u64) -> Option<Self> {
        let u32_at = |at| array(bytes, at).map(u32::from_le_bytes);
        let note = Self { boot_id: array(bytes, 0)?, confirmed: u32_at(field::CONFIRMED)? };
        (u32_at(field::CRC)? == crc(bytes, incarnation)).then_some(note)
    }
}

fn crc(bytes: &[u8; LEN], incarnation: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&incarnation.to_le_bytes()), &bytes[..field::CRC])
}

/// The length of the note in bytes; the rest of its sector is zeros.
pub(super) const LEN: usize = 24;

mod field {
    //! Where the fields of the note stand; the boot's id comes first.
    pub(super) const CONFIRMED: usize = 16;
    pub(super) const CRC: usize = 20;
}

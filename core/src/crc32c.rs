//! CRC-32C (Castagnoli, RFC 3720): the checksum of frames, journal records, blocks and chains.

use crc::{CRC_32_ISCSI, Crc, Digest, Table};

const CASTAGNOLI: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);
static ENGINE: Crc<u32, Table<1>> = CASTAGNOLI;

/// A checksum in the making, for bytes that come in pieces.
#[derive(Clone)]
pub struct Crc32c(Digest<'static, u32, Table<1>>);

impl Crc32c {
    /// A checksum over nothing yet.
    pub fn new() -> Self {
        Self(ENGINE.digest())
    }

    /// A checksum that starts with the 4 bytes of `seed`, little-endian, as if they stood before the message.
    pub fn seeded(seed: u32) -> Self {
        let mut crc = Self::new();
        crc.update(&seed.to_le_bytes());
        crc
    }

    /// Takes in the next bytes of the message.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes taken in.
    pub fn finish(self) -> u32 {
        self.0.finalize()
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Crc32c").field(&self.clone().finish()).finish()
    }
}

/// The CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    ENGINE.checksum(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_the_published_one() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_seed_stands_before_the_message() {
        let mut seeded = Crc32c::seeded(0x0403_0201);
        seeded.update(&[5, 6]);
        assert_eq!(seeded.finish(), crc32c(&[1, 2, 3, 4, 5, 6]));
    }
}

//! The first sector of the tail: what it is, whose, and how long its segments are.

use super::{SEGMENT_LEN_MAX, SEGMENT_LEN_MIN, SEGMENTS, SEGMENTS_SECTOR};
use crate::store::error::{Damage, OpenError, Place};
use crate::store::log::format::FORMAT_VERSION;
use crate::store::log::tables::array;
use crate::store::tail::record::SECTOR_LEN;

/// The header of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct FileHeader {
    pub(in crate::store) incarnation: u64,
    pub(in crate::store) segment_sectors: u32,
}

impl FileHeader {
    /// The bytes that the file begins with.
    pub(in crate::store) fn encode(self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[..field::VERSION].copy_from_slice(&MAGIC);
        bytes[field::VERSION..field::INCARNATION].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[field::INCARNATION..field::SEGMENT].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[field::SEGMENT..field::CRC].copy_from_slice(&self.segment_sectors.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..field::CRC]);
        bytes[field::CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what a file begins with. A later version may have another header behind its number.
    pub(in crate::store) fn parse(bytes: &[u8; LEN]) -> Result<Self, OpenError> {
        let damage = |reason| Damage { place: Place::TailHeader, reason };
        let u32_at = |at| array(bytes, at).map_or(0, u32::from_le_bytes);
        if !bytes.starts_with(&MAGIC) {
            return Err(damage("its magic number is wrong").into());
        }
        let found = u32_at(field::VERSION);
        if found > FORMAT_VERSION {
            return Err(OpenError::NewerFormat { found, supported: FORMAT_VERSION });
        }
        if crc32c::crc32c(&bytes[..field::CRC]) != u32_at(field::CRC) {
            return Err(damage("its checksum is wrong").into());
        }
        let incarnation = array(bytes, field::INCARNATION).map_or(0, u64::from_le_bytes);
        let header = Self { incarnation, segment_sectors: u32_at(field::SEGMENT) };
        let reason = "its segments have a length that none may have";
        Ok(header.checked().ok_or_else(|| damage(reason))?)
    }

    /// The header that a file of `len` bytes had.
    pub(super) fn of_len(incarnation: u64, len: u64) -> Option<Self> {
        let segment_sectors = (len / SECTOR_LEN as u64).checked_sub(SEGMENTS_SECTOR)? / SEGMENTS;
        Self { incarnation, segment_sectors: segment_sectors.try_into().ok()? }.checked()
    }

    fn checked(self) -> Option<Self> {
        let segment_len = u64::from(self.segment_sectors) * SECTOR_LEN as u64;
        (SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX).contains(&segment_len).then_some(self)
    }

    /// The length of the file in bytes.
    pub(in crate::store) fn file_len(self) -> u64 {
        (SEGMENTS_SECTOR + SEGMENTS * u64::from(self.segment_sectors)) * SECTOR_LEN as u64
    }
}

/// The length of the header in bytes; the rest of its sector is zeros.
pub(super) const LEN: usize = 24;

const MAGIC: [u8; 4] = *b"VRVT";

mod field {
    //! Where the fields of the header stand; the magic number comes first.
    pub(super) const VERSION: usize = 4;
    pub(super) const INCARNATION: usize = 8;
    pub(super) const SEGMENT: usize = 16;
    pub(super) const CRC: usize = 20;
}

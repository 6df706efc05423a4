//! Where records stand in a segment, in bytes from its start.
//!
//! ```text
//! 0                     4,096                 8,192
//! ┌─────────┬─────────┬─┬─────────┬───────────┬─────────┬───────────┐
//! │ commit 1│ commit 2│0│ commit 3│ 0 …       │ commit 4│ 0 …       │
//! └─────────┴─────────┴─┴─────────┴───────────┴─────────┴───────────┘
//!  flushed together                ▲ flushed   ▲ the next flush
//! ```
//!
//! A record begins at a multiple of 64 bytes. Where it does not begin a sector it ends in the same one, and both were
//! flushed together: a flush closes the sector that the last record ends in, so that no write touches what is durable.

use crate::store::tail::record::{HEADER_LEN, SECTOR_LEN};

/// Where a record of `len` bytes goes behind what ends at `end`.
pub(in crate::store::tail) fn place_behind(end: u32, len: usize) -> u32 {
    let (place, sector) = (end.next_multiple_of(ALIGNMENT), next_sector(end));
    if len <= (sector - place) as usize { place } else { sector }
}

/// Where a record may stand that follows what ends at `end`: there, or at the start of the next sector.
pub(super) fn places_behind(end: u32) -> [u32; 2] {
    [end.next_multiple_of(ALIGNMENT), next_sector(end)]
}

/// Whether a record of `len` bytes may stand at `at` of a segment of `segment_len` bytes.
pub(super) fn may_stand(at: u32, len: usize, segment_len: u32) -> bool {
    let end = u64::from(at) + len as u64;
    let end_max =
        if at.is_multiple_of(SECTOR_LEN as u32) { segment_len } else { next_sector(at).min(segment_len) };
    at.is_multiple_of(ALIGNMENT) && end <= end_max.into()
}

/// The start of the first sector at or behind `at`.
pub(in crate::store::tail) fn next_sector(at: u32) -> u32 {
    at.next_multiple_of(SECTOR_LEN as u32)
}

/// What a record's place is a multiple of: no record is shorter.
pub(super) const ALIGNMENT: u32 = 64;

const _: () = assert!(SECTOR_LEN.is_multiple_of(ALIGNMENT as usize) && HEADER_LEN >= ALIGNMENT as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_shares_a_sector_where_it_ends_in_it() {
        let cases = [
            (0, 1, 0),
            (1, 1, 64),
            (64, 4032, 64),
            (64, 4033, 4096),
            (65, 3968, 128),
            (65, 3969, 4096),
            (4033, 1, 4096),
            (4096, 9000, 4096),
            (4160, 9000, 8192),
        ];
        for (end, len, place) in cases {
            assert_eq!(place_behind(end, len), place, "{len} bytes behind {end}");
            assert!(places_behind(end).contains(&place));
            assert!(may_stand(place, len, place + len as u32));
            assert!(!may_stand(place, len, place + len as u32 - 1), "it reaches beyond the segment");
        }
    }

    #[test]
    fn a_record_stands_nowhere_else() {
        let refused = [(32, 1), (63, 1), (64, 4033), (4032, 65), (8191, 1)];
        for (at, len) in refused {
            assert!(!may_stand(at, len, 1 << 20), "{len} bytes at {at}");
        }
    }
}

//! Memory that is asked for before it is needed.
//!
//! Nothing here was checked, nor is it used: whatever the bytes are, it is read from within them or not at all.

use std::hint::black_box;

use super::field;
use super::run::{self, RUN_LEN};
use crate::store::log::tables::array;

/// Fetches the headers of the block `bytes` and of its run at `index`.
pub(in crate::store) fn fetch_headers(bytes: &[u8], index: usize) {
    let run_at = run_at(index);
    // Where the run ends, the header of the next one tells.
    for at in [0, field::RUNS - 1, run_at, run_at + RUN_LEN + run::field::EVENTS_AT] {
        black_box(bytes.get(at).copied());
    }
}

/// Fetches the events and the columns of the run at `index` of the block `bytes`, or the front of them where they are
/// long. The headers are fetched by then.
pub(in crate::store) fn fetch_events(bytes: &[u8], index: usize) {
    let number = |at| array(bytes, at).map_or(0, u32::from_le_bytes) as usize;
    let run_at = run_at(index);
    let events_at = number(run_at + run::field::EVENTS_AT);
    let events_end = number(run_at + RUN_LEN + run::field::EVENTS_AT);
    let events_len = events_end.saturating_sub(events_at).min(FETCHED_LEN_MAX);
    let columns_at = number(run_at + run::field::COLUMNS_AT);
    let lines = (0..events_len).step_by(LINE_LEN).map(|place| events_at + place);
    for at in lines.chain([columns_at]) {
        black_box(bytes.get(at).copied());
    }
}

fn run_at(index: usize) -> usize {
    field::RUNS + index * RUN_LEN
}

/// What processors fetch at once, or a multiple of it.
const LINE_LEN: usize = 64;

/// A processor that is led through the front of a run fetches the rest by itself.
const FETCHED_LEN_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_header_claims_nothing_outside_of_the_bytes_is_read() {
        let len = field::RUNS + 2 * RUN_LEN;
        for claim in [0, 1, len as u32, u32::MAX - 1, u32::MAX] {
            let mut bytes = vec![0; len];
            for at in (0..len).step_by(4) {
                bytes[at..at + 4].copy_from_slice(&claim.to_le_bytes());
            }
            for (len, index) in [(0, 0), (len, 0), (len, 1), (len - 1, 1), (len, usize::from(u16::MAX))] {
                fetch_headers(&bytes[..len], index);
                fetch_events(&bytes[..len], index);
            }
        }
    }
}

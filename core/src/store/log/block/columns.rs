//! The columns of a block: ends of events, ticks, the global order, ingest times.

use std::io::{self, Write};

use super::run::END_LEN;
use crate::store::log::tables::array;
use crate::{VARINT_LEN_MAX, read_varint, unzigzag, write_varint, zigzag};

/// Pairs of varints: a value, and for how many events it holds.
#[derive(Clone, Debug)]
pub(crate) struct Pairs<'a> {
    bytes: &'a [u8],
    at: usize,
    only: Option<(u64, u32)>,
}

impl<'a> Pairs<'a> {
    /// The pairs at the front of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, only: None }
    }

    /// A column that was left out, since it has a single pair.
    pub(super) fn one(value: u64, n: u32) -> Self {
        Self { bytes: &[], at: 0, only: Some((value, n)) }
    }

    /// How many bytes the pairs taken so far have.
    pub(super) fn read_len(&self) -> usize {
        self.at
    }

    #[inline]
    fn take(&mut self) -> Option<u64> {
        let (value, len) = read_varint(self.bytes.get(self.at..)?)?;
        self.at += len;
        Some(value)
    }
}

impl Iterator for Pairs<'_> {
    type Item = (u64, u32);

    #[inline]
    fn next(&mut self) -> Option<(u64, u32)> {
        // As most are.
        if let Some(&[value @ 0..0x80, n @ 1..0x80]) = self.bytes.get(self.at..self.at + 2) {
            self.at += 2;
            return Some((value.into(), n.into()));
        }
        if let Some(only) = self.only.take() {
            return Some(only);
        }
        let value = self.take()?;
        let n = u32::try_from(self.take()?).ok()?;
        (n > 0).then_some((value, n))
    }
}

/// The ingest times: pairs of the zigzag difference to the time before, and how many events came at that time.
pub(crate) struct IngestTimes<'a> {
    pairs: Pairs<'a>,
    time: u64,
}

impl<'a> IngestTimes<'a> {
    /// The times of a column that counts from `base`.
    pub(super) fn new(base: u64, column: &'a [u8]) -> Self {
        Self { pairs: Pairs::new(column), time: base }
    }

    /// A column that was left out, since there is a single time.
    pub(super) fn one(time: u64, n: u32) -> Self {
        Self { pairs: Pairs::one(0, n), time }
    }

    /// How many bytes the times taken so far have.
    pub(super) fn read_len(&self) -> usize {
        self.pairs.read_len()
    }
}

impl Iterator for IngestTimes<'_> {
    type Item = (u64, u32);

    #[inline]
    fn next(&mut self) -> Option<(u64, u32)> {
        let (difference, n) = self.pairs.next()?;
        self.time = self.time.wrapping_add_signed(unzigzag(difference));
        Some((self.time, n))
    }
}

/// The ticks of a run: the first, the difference to it, then differences of differences.
#[derive(Clone, Debug)]
pub(crate) struct Ticks<'a> {
    bytes: &'a [u8],
    at: usize,
    state: TickState,
}

/// What the next tick is told against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TickState {
    seen: u32,
    ticks: u64,
    delta: i64,
}

impl<'a> Ticks<'a> {
    /// The ticks at the front of `column`.
    pub(super) fn new(column: &'a [u8]) -> Self {
        Self { bytes: column, at: 0, state: TickState::default() }
    }

    /// How many bytes the ticks taken so far have.
    pub(super) fn read_len(&self) -> usize {
        self.at
    }
}

impl Iterator for Ticks<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (value, len) = read_varint(self.bytes.get(self.at..)?)?;
        self.at += len;
        Some(self.state.decode(value))
    }
}

impl TickState {
    /// The varint that tells `ticks`, and the state after it.
    pub(super) fn encode(mut self, ticks: u64) -> (u64, Self) {
        let delta = ticks.wrapping_sub(self.ticks) as i64;
        let value = match self.seen {
            0 => ticks,
            _ => zigzag(delta.wrapping_sub(self.delta)),
        };
        self.step(ticks, delta);
        (value, self)
    }

    fn decode(&mut self, value: u64) -> u64 {
        if self.seen == 0 {
            self.step(value, 0);
            return value;
        }
        let delta = self.delta.wrapping_add(unzigzag(value));
        let ticks = self.ticks.wrapping_add_signed(delta);
        self.step(ticks, delta);
        ticks
    }

    fn step(&mut self, ticks: u64, delta: i64) {
        self.delta = if self.seen == 0 { 0 } else { delta };
        self.ticks = ticks;
        self.seen = self.seen.saturating_add(1);
    }
}

/// Checks that the ends of a run's events rise, up to the run's last byte.
pub(super) fn check_ends(ends: &[u8], events_len: usize) -> Result<(), &'static str> {
    let mut before = 0;
    for index in 0..ends.len() / END_LEN {
        let end = array(ends, index * END_LEN).map_or(0, u16::from_le_bytes);
        if end < before {
            return Err("an event ends before it begins");
        }
        before = end;
    }
    if usize::from(before) == events_len { Ok(()) } else { Err("a run's last end is not its own") }
}

/// Writes a varint to `out`.
pub(super) fn emit_varint(value: u64, out: &mut impl Write) -> io::Result<()> {
    let mut buffer = [0; VARINT_LEN_MAX];
    let len = write_varint(value, &mut buffer).expect("the buffer holds any varint");
    out.write_all(&buffer[..len])
}

/// How many bytes a varint takes.
#[inline]
pub(super) const fn varint_len(value: u64) -> usize {
    // As most are.
    if value < 0x80 {
        return 1;
    }
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_for_no_events_ends_the_pairs_however_long_it_is() {
        let pairs = |bytes: &[u8]| Pairs::new(bytes).collect::<Vec<_>>();
        assert_eq!(pairs(&[3, 1, 4, 0, 5, 1]), [(3, 1)]);
        assert_eq!(pairs(&[0x83, 1, 0x81, 1, 0x84, 1, 0, 5, 1]), [(0x83, 0x81)]);
        assert_eq!(pairs(&[3, 1, 4]), [(3, 1)]);
        assert_eq!(Pairs::one(3, 7).collect::<Vec<_>>(), [(3, 7)]);
    }
}

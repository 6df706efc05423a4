//! The events of a run, back to back, and where each of them ends.

use super::run::END_LEN;
use crate::store::log::tables::array;

/// The events of a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RunEvents<'a> {
    /// The events' bytes.
    bytes: &'a [u8],
    /// Where each event ends, as a u16; empty where all have one length.
    ends: &'a [u8],
    /// The length of every event; 0 where they differ.
    stride: u32,
    count: u32,
}

/// Takes the events of a run in order, from one of them on. It ends early where an end is damaged.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunEventsIter<'a> {
    bytes: &'a [u8],
    ends: &'a [u8],
    stride: usize,
    /// Where `bytes` begin, from the run's first byte.
    start: usize,
}

impl<'a> RunEvents<'a> {
    /// The `count` events at the front of `bytes`, of `stride` bytes each, or else with an end for each in `ends`;
    /// `None` where they exceed `bytes`.
    pub(super) fn locate(bytes: &'a [u8], ends: &'a [u8], stride: usize, count: usize) -> Option<Self> {
        let len = match stride {
            0 => end_at(ends, count.checked_sub(1)?)?,
            _ => stride.checked_mul(count)?,
        };
        let (stride, count) = (u32::try_from(stride).ok()?, u32::try_from(count).ok()?);
        Some(Self { bytes: bytes.get(..len)?, ends, stride, count })
    }

    /// How many events there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    /// The bytes of the event at `index`, or `None` past the last or where its end is damaged.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<&'a [u8]> {
        if index >= self.len() {
            return None;
        }
        if self.stride > 0 {
            let stride = self.stride as usize;
            return self.bytes.get(index * stride..)?.get(..stride);
        }
        let start = if index == 0 { 0 } else { end_at(self.ends, index - 1)? };
        self.bytes.get(start..end_at(self.ends, index)?)
    }

    /// The `len` events from `index` on, or those of them that there are.
    pub(crate) fn iter_range(&self, index: usize, len: usize) -> RunEventsIter<'a> {
        let index = index.min(self.len());
        let len = len.min(self.len() - index);
        let stride = self.stride as usize;
        let start = match (index, stride) {
            (0, _) => Some(0),
            (_, 0) => end_at(self.ends, index - 1),
            _ => Some(stride * index),
        };
        let start = start.unwrap_or(usize::MAX);
        let rest = self.bytes.get(start..).unwrap_or_default();
        let bytes = if stride == 0 { Some(rest) } else { rest.get(..stride * len) };
        let ends = self.ends.get(index * END_LEN..(index + len) * END_LEN);
        RunEventsIter { bytes: bytes.unwrap_or_default(), ends: ends.unwrap_or_default(), stride, start }
    }

    /// The bytes of all of them.
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The column of ends.
    pub(super) fn ends(&self) -> &'a [u8] {
        self.ends
    }
}

impl<'a> RunEventsIter<'a> {
    /// The length that all have, and the bytes of those to come; `None` where lengths differ.
    #[inline]
    pub(crate) fn alike(&self) -> Option<(usize, &'a [u8])> {
        (self.stride > 0).then_some((self.stride, self.bytes))
    }

    /// Passes over the next `n` events, where all have one length.
    #[inline]
    pub(crate) fn skip_alike(&mut self, n: usize) {
        self.bytes = &self.bytes[n * self.stride..];
    }
}

impl<'a> Iterator for RunEventsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let mut len = self.stride;
        if len == 0 {
            let (end, ends) = self.ends.split_first_chunk::<END_LEN>()?;
            let end = usize::from(u16::from_le_bytes(*end));
            len = end.checked_sub(self.start)?;
            (self.ends, self.start) = (ends, end);
        }
        let (event, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(event)
    }
}

/// Where the event at `index` ends, as the column of ends tells.
#[inline]
fn end_at(ends: &[u8], index: usize) -> Option<usize> {
    array(ends, index * END_LEN).map(|end| u16::from_le_bytes(end).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: &RunEvents<'_>, expected: &[&[u8]]) {
        assert_eq!(events.len(), expected.len());
        for from in 0..expected.len() + 2 {
            let rest: Vec<_> = events.iter_range(from, events.len()).collect();
            assert_eq!(rest, expected[from.min(expected.len())..], "from {from}");
            assert_eq!(events.get(from), expected.get(from).copied(), "at {from}");
            for len in 0..expected.len() + 2 {
                let some: Vec<_> = events.iter_range(from, len).collect();
                assert_eq!(some, rest[..len.min(rest.len())], "{len} from {from}");
            }
        }
    }

    #[test]
    fn events_of_one_length_need_no_ends() {
        let events = RunEvents::locate(b"aabbccdd", &[], 2, 3).unwrap();
        check(&events, &[b"aa", b"bb", b"cc"]);
        assert_eq!(events.bytes(), b"aabbcc");
        assert!(RunEvents::locate(b"aabbcc", &[], 2, 4).is_none());
        assert!(RunEvents::locate(b"aa", &[], usize::MAX, 2).is_none());
    }

    #[test]
    fn events_of_many_lengths_go_by_their_ends() {
        let ends = [1, 0, 1, 0, 4, 0, 4, 0];
        let events = RunEvents::locate(b"abbbcc", &ends, 0, 4).unwrap();
        check(&events, &[b"a", b"", b"bbb", b""]);
        assert!(RunEvents::locate(b"abb", &ends, 0, 4).is_none());
        assert!(RunEvents::locate(b"abbb", &ends, 0, 5).is_none());
        assert!(RunEvents::locate(b"", &[], 0, 0).is_none());
    }

    #[test]
    fn damaged_ends_end_the_run_early_and_lend_nothing_else() {
        let ends = [2, 0, 1, 0, 9, 0, 4, 0];
        let events = RunEvents::locate(b"abcd", &ends, 0, 4).unwrap();
        assert_eq!(events.iter_range(0, 4).collect::<Vec<_>>(), [b"ab"]);
        assert_eq!((events.get(1), events.get(2), events.get(3)), (None, None, None));
    }
}

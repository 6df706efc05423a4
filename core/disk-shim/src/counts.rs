//! How much a program asked of the disk.

use std::collections::HashSet;
use std::ops::{AddAssign, Range};

/// What was asked for one file, or for several together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that wrote.
    pub writes: u64,
    /// Bytes that they wrote.
    pub bytes: u64,
    /// Flushes: `fsync`, `fdatasync`, and each write through `O_SYNC` or `O_DSYNC`. Those of directories count too.
    pub flushes: u64,
    /// Bytes that the flushes sent to the device: the pages of 4,096 bytes that had been written since the flush
    /// before. What a file system adds (its journal, its inodes) is not in it.
    pub device_bytes: u64,
}

/// The counts of a file, with the pages that the next flush will send.
#[derive(Debug, Default)]
pub(crate) struct FileCounts {
    counts: Counts,
    dirty: HashSet<u64>,
}

impl FileCounts {
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn write(&mut self, at: u64, len: u64) {
        self.counts.writes += 1;
        self.counts.bytes += len;
        self.dirty.extend(pages(&(at..at + len)));
    }

    pub(crate) fn flush(&mut self, range: &Range<u64>) {
        let before = self.dirty.len();
        let pages = pages(range);
        self.dirty.retain(|page| !pages.contains(page));
        self.counts.flushes += 1;
        self.counts.device_bytes += (before - self.dirty.len()) as u64 * PAGE_LEN;
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.writes += other.writes;
        self.bytes += other.bytes;
        self.flushes += other.flushes;
        self.device_bytes += other.device_bytes;
    }
}

fn pages(range: &Range<u64>) -> Range<u64> {
    range.start / PAGE_LEN..range.end.div_ceil(PAGE_LEN)
}

/// The unit in which the system's cache sends a file to its device, in bytes.
const PAGE_LEN: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_sent_once_a_flush_however_often_it_was_written() {
        let mut file = FileCounts::default();
        file.write(4000, 200);
        file.write(0, 1);
        file.flush(&(0..u64::MAX));
        assert_eq!(file.counts(), Counts { writes: 2, bytes: 201, flushes: 1, device_bytes: 8192 });
        file.flush(&(0..u64::MAX));
        assert_eq!(file.counts().device_bytes, 8192, "nothing was written since");
    }

    #[test]
    fn a_synchronous_write_sends_its_own_pages_alone() {
        let mut file = FileCounts::default();
        file.write(0, 4096);
        file.write(8192, 10);
        file.flush(&(8192..8202));
        assert_eq!(file.counts().device_bytes, 4096);
        file.flush(&(0..u64::MAX));
        assert_eq!(file.counts().device_bytes, 8192);
    }
}

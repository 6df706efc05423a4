//! One direction of a serial line: bytes arrive later, in order unless told otherwise, and not all of them sound.

use std::collections::VecDeque;

/// A line in memory.
pub(crate) struct Line {
    pub(crate) delay_us: u64,
    pub(crate) faults: Faults,
    random: Random,
    under_way: VecDeque<(u64, Vec<u8>)>,
    pub(crate) bytes: u64,
}

/// What befalls the pieces that are written, each in so many of 1,000.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) late: u64,
    pub(crate) flipped: u64,
    pub(crate) cut: u64,
}

impl Faults {
    pub(crate) const fn all(per_mille: u64) -> Self {
        Self { lost: per_mille, doubled: per_mille, late: per_mille, flipped: per_mille, cut: per_mille }
    }
}

/// Xorshift64* (Vigna, 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    pub(crate) fn hits(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

impl Line {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            delay_us: 1_000,
            faults: Faults::default(),
            random: Random(seed | 1),
            under_way: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(crate) fn write(&mut self, now: u64, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let faults = self.faults;
        let mut bytes = bytes.to_vec();
        if self.random.hits(faults.lost) {
            return;
        }
        if self.random.hits(faults.cut) {
            bytes.truncate(self.random.below(bytes.len() as u64) as usize);
        }
        if self.random.hits(faults.flipped) && !bytes.is_empty() {
            let at = self.random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << self.random.below(8);
        }
        let late = if self.random.hits(faults.late) { self.random.below(3_000_000) } else { 0 };
        if self.random.hits(faults.doubled) {
            let later = self.random.below(6_000_000);
            self.under_way.push_back((now + self.delay_us + later, bytes.clone()));
        }
        self.under_way.push_back((now + self.delay_us + late, bytes));
    }

    /// When the next bytes arrive.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.under_way.iter().map(|(at, _)| *at).min()
    }

    pub(crate) fn read(&mut self, now: u64) -> Option<Vec<u8>> {
        let index = self.under_way.iter().position(|(at, _)| *at <= now)?;
        self.under_way.remove(index).map(|(_, bytes)| bytes)
    }

    /// Forgets what is under way, and returns it.
    pub(crate) fn cut(&mut self) -> Vec<u8> {
        self.under_way.drain(..).flat_map(|(_, bytes)| bytes).collect()
    }
}

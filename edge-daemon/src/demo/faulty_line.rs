//! Faults of a line: bytes lost and flipped, frames doubled, and the line cut for a while.

use varve_device_proto::FRAME_LEN_MAX;

use super::random::Random;

/// One direction of a line that harms some of the bytes it carries.
#[derive(Debug)]
pub(crate) struct FaultyLine {
    random: Random,
    /// How many bytes pass unharmed before the next fault; `None` on a line without faults.
    until_fault: Option<u64>,
    /// What comes before this time is lost.
    cut_until_us: u64,
    /// What came since the last 00, up to [`DOUBLED_LEN_MAX`].
    frame: Vec<u8>,
    /// The frame under way comes twice.
    doubles: bool,
    faults: u64,
}

impl FaultyLine {
    /// A line that harms nothing.
    pub(crate) const fn sound() -> Self {
        Self::new(Random::new(0), None)
    }

    /// A line with about one fault in [`FAULT_DISTANCE_MEAN`] bytes, drawn from `seed`.
    pub(crate) const fn faulty(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let until_fault = Some(distance(&mut random));
        Self::new(random, until_fault)
    }

    const fn new(random: Random, until_fault: Option<u64>) -> Self {
        Self { random, until_fault, cut_until_us: 0, frame: Vec::new(), doubles: false, faults: 0 }
    }

    /// Carries `bytes` at `now_us`: what arrives is appended to `arrived`.
    pub(crate) fn carry(&mut self, now_us: u64, bytes: &[u8], arrived: &mut Vec<u8>) {
        for &byte in bytes {
            match &mut self.until_fault {
                _ if now_us < self.cut_until_us => {}
                None => arrived.push(byte),
                Some(until_fault) if *until_fault > 0 => {
                    *until_fault -= 1;
                    self.pass(byte, arrived);
                }
                Some(_) => self.harm(now_us, byte, arrived),
            }
        }
    }

    /// How many faults there were.
    pub(crate) const fn faults(&self) -> u64 {
        self.faults
    }

    fn harm(&mut self, now_us: u64, byte: u8, arrived: &mut Vec<u8>) {
        self.faults += 1;
        self.until_fault = Some(distance(&mut self.random));
        match self.random.below(4) {
            0 => {}
            1 => {
                let flipped = byte ^ 1 << self.random.below(8);
                self.pass(flipped, arrived);
            }
            2 => {
                self.doubles = true;
                self.pass(byte, arrived);
            }
            _ => self.cut_until_us = now_us + self.random.below(CUT_US_MAX),
        }
    }

    fn pass(&mut self, byte: u8, arrived: &mut Vec<u8>) {
        arrived.push(byte);
        if self.frame.len() < DOUBLED_LEN_MAX {
            self.frame.push(byte);
        }
        if byte == 0 {
            if std::mem::take(&mut self.doubles) {
                arrived.extend_from_slice(&self.frame);
            }
            self.frame.clear();
        }
    }
}

/// The mean number of unharmed bytes between two faults.
pub(crate) const FAULT_DISTANCE_MEAN: u64 = 6_000;

/// The longest frame that is doubled whole, with what COBS adds to it and its 00; of a longer one its front is.
const DOUBLED_LEN_MAX: usize = FRAME_LEN_MAX + FRAME_LEN_MAX / 254 + 2;

/// The longest time that a line is cut, in microseconds.
const CUT_US_MAX: u64 = 50_000;

const fn distance(random: &mut Random) -> u64 {
    random.below(2 * FAULT_DISTANCE_MEAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_line_carries_every_byte() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let mut arrived = Vec::new();
        FaultyLine::sound().carry(0, &bytes, &mut arrived);
        assert_eq!(arrived, bytes);
    }

    #[test]
    fn a_faulty_line_harms_by_its_seed_and_about_as_often_as_it_says() {
        let bytes = vec![0x55; 600_000];
        let carried = |seed| {
            let mut line = FaultyLine::faulty(seed);
            let mut arrived = Vec::new();
            for (chunk, bytes) in (0..).zip(bytes.chunks(100)) {
                line.carry(chunk * 1_000, bytes, &mut arrived);
            }
            (arrived, line.faults())
        };
        let (arrived, faults) = carried(7);
        assert_eq!(carried(7), (arrived.clone(), faults));
        assert!((60..140).contains(&faults), "{faults}");
        assert_ne!(arrived, carried(8).0);
    }

    #[test]
    fn a_doubled_frame_comes_twice_whole() {
        let (mut line, mut arrived) = (FaultyLine::faulty(3), Vec::new());
        for n in 1..100_000_u32 {
            let frame = [n.to_be_bytes().map(|byte| byte | 0x80), [1; 4]].concat();
            line.carry(u64::from(n) * 1_000, &[frame.as_slice(), &[0]].concat(), &mut arrived);
        }
        let arrived: Vec<&[u8]> = arrived.split(|byte| *byte == 0).collect();
        let doubled = arrived.windows(2).filter(|pair| pair[0] == pair[1] && pair[0].len() == 8).count();
        assert!(doubled > line.faults() as usize / 8, "{doubled} of {} faults", line.faults());
    }
}

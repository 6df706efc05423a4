//! Inputs that are nearly what they should be.

use crate::INPUT_LEN_MAX;

/// Makes new inputs out of known ones, in the same order for the same seed.
#[derive(Clone, Debug)]
pub struct Mutation {
    random: fastrand::Rng,
}

impl Mutation {
    /// The mutations of this seed.
    pub fn with_seed(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed) }
    }

    /// An input of `known`, changed in a few places; at most [`INPUT_LEN_MAX`] bytes.
    ///
    /// # Panics
    ///
    /// Where nothing is known.
    pub fn next_of(&mut self, known: &[Vec<u8>]) -> Vec<u8> {
        let mut input = known[self.random.usize(..known.len())].clone();
        for _ in 0..1 << self.random.u8(..4) {
            let other = &known[self.random.usize(..known.len())];
            self.change(&mut input, other);
        }
        input.truncate(INPUT_LEN_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        match self.random.u8(..13) {
            0 => input.truncate(self.place(input)),
            1 => self.insert(input),
            2 => self.splice(input, other),
            3 => self.repeat(input),
            4 => self.remove(input),
            5 | 6 => self.set_number(input),
            7 | 8 => self.add(input),
            9 | 10 => self.set_byte(input),
            11 => self.fill(input),
            _ => self.flip(input),
        }
    }

    /// A place in the input: near its front as often as anywhere, since there the headers are.
    fn place(&mut self, input: &[u8]) -> usize {
        let end = if self.random.bool() { input.len() } else { input.len().min(FRONT_LEN) };
        self.random.usize(..=end)
    }

    fn range(&mut self, input: &[u8]) -> std::ops::Range<usize> {
        let start = self.place(input);
        let len = self.random.usize(..=PIECE_LEN_MAX.min(input.len() - start));
        start..start + len
    }

    fn flip(&mut self, input: &mut [u8]) {
        let (place, bit) = (self.place(input), self.random.u8(..8));
        input.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << bit);
    }

    fn set_byte(&mut self, input: &mut [u8]) {
        let (place, any) = (self.place(input), self.random.u8(..));
        let value = [0, 1, 2, 0x7f, 0x80, 0xff, any][self.random.usize(..7)];
        input.get_mut(place).into_iter().for_each(|byte| *byte = value);
    }

    /// Makes the least or the largest of a number.
    fn fill(&mut self, input: &mut [u8]) {
        let (place, len) = (self.place(input), self.random.usize(1..=8));
        let value = if self.random.bool() { 0xff } else { 0 };
        input.iter_mut().skip(place).take(len).for_each(|byte| *byte = value);
    }

    /// Writes a number at the edge of something.
    fn set_number(&mut self, input: &mut [u8]) {
        let edge = [0, 1, 1 << 16, 1 << 31, 1 << 32, 1 << 63, input.len() as u64][self.random.usize(..7)];
        let value = edge.wrapping_add_signed(self.random.i64(-2..=2)).to_le_bytes();
        let (place, len) = (self.place(input), [2, 4, 8][self.random.usize(..3)]);
        if let Some(bytes) = input.get_mut(place..place + len) {
            bytes.copy_from_slice(&value[..len]);
        }
    }

    /// Adds a small number to one that stands there.
    fn add(&mut self, input: &mut [u8]) {
        let (place, amount) = (self.place(input), self.random.i16(-16..=16));
        if let Some(bytes) = input.get_mut(place..).and_then(|bytes| bytes.first_chunk_mut::<2>()) {
            *bytes = u16::from_le_bytes(*bytes).wrapping_add_signed(amount).to_le_bytes();
        }
    }

    fn insert(&mut self, input: &mut Vec<u8>) {
        let place = self.place(input);
        let bytes: Vec<u8> = (0..self.random.usize(1..=8)).map(|_| self.random.u8(..)).collect();
        input.splice(place..place, bytes);
    }

    fn remove(&mut self, input: &mut Vec<u8>) {
        let range = self.range(input);
        input.drain(range);
    }

    fn repeat(&mut self, input: &mut Vec<u8>) {
        let (piece, place) = (self.range(input), self.place(input));
        let piece = input[piece].to_vec();
        input.splice(place..place, piece);
    }

    fn splice(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let (there, here) = (self.range(other), self.range(input));
        input.splice(here, other[there].iter().copied());
    }
}

/// Where most headers end.
const FRONT_LEN: usize = 160;

/// The longest piece that is moved at once.
const PIECE_LEN_MAX: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_makes_one_sequence_of_inputs() {
        let known = [vec![1, 2, 3, 4, 5, 6, 7, 8, 9], vec![], vec![0; 300]];
        let inputs = |seed| {
            let mut mutation = Mutation::with_seed(seed);
            (0..200).map(|_| mutation.next_of(&known)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().filter(|input| known.contains(input)).count() < 60);
    }
}

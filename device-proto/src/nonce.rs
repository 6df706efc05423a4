//! Numbers that differ: nonces and sessions.

/// A source of numbers that repeat for no practical purpose (SplitMix64, Steele, Lea and Flood, 2014). They keep
/// stale frames apart; they keep no secret.
#[derive(Clone, Debug)]
pub(crate) struct NonceSource {
    state: u64,
}

impl NonceSource {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Lets `entropy` into what follows.
    pub(crate) fn stir(&mut self, entropy: u64) {
        self.state = mix(self.state ^ entropy);
    }

    /// The next number, never 0.
    pub(crate) fn next(&mut self) -> u32 {
        loop {
            self.state = self.state.wrapping_add(GOLDEN_GAMMA);
            let nonce = (mix(self.state) >> 32) as u32;
            if nonce != 0 {
                return nonce;
            }
        }
    }
}

/// A bijection in which each input bit moves about half of the output's.
pub(crate) const fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// 2⁶⁴ divided by the golden ratio, odd.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut nonces = NonceSource::new(1_234_567);
        assert_eq!(nonces.next(), (6_457_827_717_110_365_317_u64 >> 32) as u32);
        assert_eq!(nonces.next(), (3_203_168_211_198_807_973_u64 >> 32) as u32);
    }

    #[test]
    fn equal_seeds_part_once_entropy_differs() {
        let (mut one, mut other) = (NonceSource::new(0), NonceSource::new(0));
        one.stir(1);
        other.stir(2);
        assert_ne!(one.next(), other.next());
    }
}

//! The 16 bits of a sequence that travel.

use varve_core::DeviceSequence;

/// The low 16 bits of the first sequence of a batch. Since never more than [`IN_FLIGHT_MAX`] events are under way, the
/// receiver knows the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortSequence(pub(crate) u16);

/// The most events that a device sends beyond what the host has received.
pub const IN_FLIGHT_MAX: u64 = 32_767;

impl ShortSequence {
    pub(crate) const fn of(sequence: DeviceSequence) -> Self {
        Self(sequence.0 as u16)
    }

    /// The sequence with these low bits that is nearest to `expected`.
    pub(crate) const fn expand(self, expected: DeviceSequence) -> DeviceSequence {
        let ahead = self.0.wrapping_sub(expected.0 as u16) as u64;
        let behind = TURN - ahead;
        if ahead > IN_FLIGHT_MAX && behind <= expected.0 {
            DeviceSequence(expected.0 - behind)
        } else {
            DeviceSequence(expected.0.wrapping_add(ahead))
        }
    }
}

/// After how many sequences the low bits repeat.
const TURN: u64 = 1 << 16;

const _: () = assert!(2 * IN_FLIGHT_MAX < TURN);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sequence: u64, expected: u64) {
        let short = ShortSequence::of(DeviceSequence(sequence));
        assert_eq!(short.expand(DeviceSequence(expected)), DeviceSequence(sequence));
    }

    #[test]
    fn the_nearest_sequence_is_found_on_both_sides_of_every_wrap() {
        for expected in [0, 1, 32_767, 32_768, 65_535, 65_536, 65_537, 1 << 32, u64::MAX - 40_000] {
            for distance in [0, 1, 2, 255, 32_766, 32_767] {
                check(expected + distance, expected);
                if distance <= expected {
                    check(expected - distance, expected);
                }
            }
        }
    }

    #[test]
    fn nothing_is_below_zero() {
        assert_eq!(ShortSequence(65_535).expand(DeviceSequence(3)), DeviceSequence(65_535));
    }
}

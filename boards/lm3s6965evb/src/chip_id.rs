//! What tells this board from every other one of its kind.

use crate::register::Register;

/// The Ethernet address that the factory wrote into the two user registers, in the order of transmission.
pub(crate) fn read() -> [u8; 6] {
    let [a, b, c, _] = USER_REGISTER_0.read().to_le_bytes();
    let [d, e, f, _] = USER_REGISTER_1.read().to_le_bytes();
    [a, b, c, d, e, f]
}

// SAFETY: user registers of the LM3S6965, data sheet section 7.6; reading has no side effect.
const USER_REGISTER_0: Register = unsafe { Register::at(0x400F_E1E0) };
// SAFETY: as above.
const USER_REGISTER_1: Register = unsafe { Register::at(0x400F_E1E4) };

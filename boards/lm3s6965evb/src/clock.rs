//! The core's clock: 50 MHz from the PLL and the board's 8 MHz crystal.

use crate::register::Register;

/// The frequency of the core, of SysTick and of the UARTs, in hertz.
pub(crate) const CORE_HZ: u32 = 50_000_000;

/// Moves the core from the oscillator it woke up with to the PLL. Call it once, before anything counts time.
pub(crate) fn start() {
    RCC.modify(BYPASS, USE_DIVIDER);
    RCC.modify(XTAL_8_MHZ | DIVIDE_BY_4 | USE_DIVIDER, XTAL | OSCILLATOR_SOURCE | PLL_POWER_DOWN | DIVIDER);
    let mut reads_left = PLL_LOCK_READS_MAX;
    while RAW_INTERRUPTS.read() & PLL_LOCKED == 0 {
        reads_left -= 1;
        assert!(reads_left > 0, "the PLL does not lock: is the crystal there?");
    }
    RCC.modify(0, BYPASS);
}

/// Several times the 0.5 ms that the data sheet allows the PLL, at 12 MHz and some ten cycles a read.
const PLL_LOCK_READS_MAX: u32 = 10_000;

// SAFETY: system control registers of the LM3S6965, data sheet section 6.5.
const RAW_INTERRUPTS: Register = unsafe { Register::at(0x400F_E050) };
// SAFETY: as above.
const RCC: Register = unsafe { Register::at(0x400F_E060) };

const PLL_LOCKED: u32 = 1 << 6;
const OSCILLATOR_SOURCE: u32 = 0b11 << 4;
const XTAL: u32 = 0b1111 << 6;
const XTAL_8_MHZ: u32 = 0xE << 6;
const BYPASS: u32 = 1 << 11;
const PLL_POWER_DOWN: u32 = 1 << 13;
const USE_DIVIDER: u32 = 1 << 22;
const DIVIDER: u32 = 0b1111 << 23;
/// The PLL gives 200 MHz.
const DIVIDE_BY_4: u32 = 3 << 23;

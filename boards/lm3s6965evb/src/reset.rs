//! Why the chip started.

use varve_device_proto::ResetReason;

use crate::register::Register;

/// The cause of the last reset, which is then forgotten: the hardware only ever adds to it.
pub(crate) fn reason() -> ResetReason {
    let causes = RESET_CAUSE.read();
    RESET_CAUSE.write(0);
    // Power comes first: after it, the other bits mean nothing.
    let reasons = [
        (POWER, ResetReason::Power),
        (BROWN_OUT, ResetReason::BrownOut),
        (WATCHDOG, ResetReason::Watchdog),
        (SOFTWARE, ResetReason::Software),
        (PIN, ResetReason::Pin),
    ];
    reasons.iter().find(|(cause, _)| causes & cause != 0).map_or(ResetReason::Unknown, |&(_, reason)| reason)
}

// SAFETY: the reset cause register of the LM3S6965, data sheet section 6.5.
const RESET_CAUSE: Register = unsafe { Register::at(0x400F_E05C) };

const PIN: u32 = 1 << 0;
const POWER: u32 = 1 << 1;
const BROWN_OUT: u32 = 1 << 2;
const WATCHDOG: u32 = 1 << 3;
const SOFTWARE: u32 = 1 << 4;

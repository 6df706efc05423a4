//! How deep the stack gets.

use core::arch::asm;

/// The deepest that the stack got in any of the calls that were watched.
#[derive(Default)]
pub struct StackDepth {
    bytes: usize,
}

impl StackDepth {
    /// Makes a call and watches its stack. No interrupt may come meanwhile, and the stack has
    /// [`STACK_DEPTH_MAX`] bytes left.
    // Neither this nor the call may become part of the caller, whose frame is not counted.
    #[inline(never)]
    pub fn watch(&mut self, call: &mut dyn FnMut()) {
        let top = paint();
        call();
        self.bytes = self.bytes.max(top - deepest_touched(top));
    }

    /// The deepest so far, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Fills the unused stack with a pattern and returns where it begins.
#[inline(always)]
fn paint() -> usize {
    let top: usize;
    // SAFETY: it reads a register.
    unsafe { asm!("mov {}, sp", out(reg) top, options(nomem, nostack, preserves_flags)) };
    for address in (top - STACK_DEPTH_MAX..top).step_by(WORD_LEN) {
        // SAFETY: below the stack pointer nothing is kept, interrupts aside, of which there are none; the caller
        // left that much room.
        unsafe { (address as *mut u32).write_volatile(PATTERN) };
    }
    top
}

/// The lowest address below `top` that does not hold the pattern any more.
fn deepest_touched(top: usize) -> usize {
    let mut addresses = (top - STACK_DEPTH_MAX..top).step_by(WORD_LEN);
    // SAFETY: as where it was painted.
    let touched = addresses.find(|&address| unsafe { (address as *const u32).read_volatile() } != PATTERN);
    touched.unwrap_or(top)
}

/// Deeper than any call is expected to get.
const STACK_DEPTH_MAX: usize = 4096;
const WORD_LEN: usize = 4;
const PATTERN: u32 = 0x57AC_57AC;

//! A memory-mapped register of 32 bits.

/// The address of a register that this chip has, and that may be read and written at any time: making one is
/// where the promise is given.
#[derive(Clone, Copy)]
pub(crate) struct Register(usize);

impl Register {
    /// Names the register at `address`.
    ///
    /// # Safety
    /// `address` is that of a 32-bit register of this chip, and no read or write of it breaks memory safety.
    pub(crate) const unsafe fn at(address: usize) -> Self {
        Self(address)
    }

    /// Reads the register, side effects of the hardware included.
    pub(crate) fn read(self) -> u32 {
        // SAFETY: `at` was promised a register that may be read.
        unsafe { (self.0 as *const u32).read_volatile() }
    }

    /// Writes the register.
    pub(crate) fn write(self, value: u32) {
        // SAFETY: `at` was promised a register that may be written.
        unsafe { (self.0 as *mut u32).write_volatile(value) }
    }

    /// Sets and clears bits in one critical section, so that an interrupt never sees or undoes half of it.
    pub(crate) fn modify(self, set: u32, clear: u32) {
        critical_section::with(|_| self.write(self.read() & !clear | set));
    }
}

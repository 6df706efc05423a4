//! The ends that are faults: a panic and a hard fault are logged, and the emulator exits with a code of its own.

use core::panic::PanicInfo;

use cortex_m_rt::ExceptionFrame;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    defmt::error!("{}", defmt::Display2Format(info));
    semihosting::process::exit(PANICKED)
}

#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    defmt::error!("hard fault at {=u32:#x}, called from {=u32:#x}", frame.pc(), frame.lr());
    semihosting::process::exit(FAULTED)
}

const PANICKED: i32 = 101;
const FAULTED: i32 = 102;

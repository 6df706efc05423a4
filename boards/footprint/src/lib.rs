//! What the programs here have in common: an event, and an end.
//!
//! - `baseline` makes up events and drops them.
//! - `link` sends them; what it is larger by is what the link and the outbox cost.
//! - `session` runs the link against a host on the same chip, and prints how deep its stack gets and how many
//!   instructions it spends with interrupts off. It needs an emulator that counts instructions as time.
#![no_std]

mod stack;

use core::panic::PanicInfo;

use rkyv::{Archive, Serialize};
use varve_core::Event;

pub use stack::StackDepth;

/// An event of 20 bytes of plain data.
#[derive(Clone, Copy, Archive, Serialize, Event)]
pub struct Sample {
    /// Which sample it is.
    pub count: u32,
    /// What was measured.
    pub values: [f32; 4],
}

impl Sample {
    /// The sample of this count.
    pub fn made_up(count: u32) -> Self {
        Self { count, values: [count as f32; 4] }
    }
}

/// Without the message, whose formatting would be most of the program.
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    semihosting::process::exit(101)
}

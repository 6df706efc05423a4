//! The event types that the example firmware and the host share.
//!
//! A product has a crate like this one: the firmware names its types to emit them, a program on the gateway to read
//! them back typed. `varved` needs neither; it knows every event by the descriptor that the device sends.
//!
//! A board in an emulator has no sensors, so each type can also make itself up from its own count. The host makes
//! up the same event from the count that it reads, and so can hold every byte that arrives against the one sent.
#![no_std]
#![forbid(unsafe_code)]

mod door_opened;
mod temperature;

pub use door_opened::{DOOR_NAME_LEN_MAX, DoorOpened, OpenedBy};
pub use temperature::Temperature;

//! Hardware-in-the-loop tests of Varve.
#![forbid(unsafe_code)]

mod board;
mod cable;
mod emulator;
pub mod firmware;
mod not_here;

pub use board::Board;
pub use cable::Cable;
pub use emulator::Emulator;
pub use not_here::NotHere;

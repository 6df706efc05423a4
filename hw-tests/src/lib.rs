//! Hardware-in-the-loop tests of Varve.
#![forbid(unsafe_code)]

mod artifact;
mod board;
mod cable;
mod daemon;
mod emulator;
pub mod firmware;
mod not_here;

pub use board::Board;
pub use cable::Cable;
pub use daemon::Daemon;
pub use emulator::Emulator;
pub use not_here::NotHere;

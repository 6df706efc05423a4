//! Hardware-in-the-loop tests of Varve.
#![forbid(unsafe_code)]

mod artifact;
mod board;
mod board_account;
mod cable;
mod daemon;
mod emulator;
mod firmware;
mod not_here;
mod own_mounts;
mod patience;
mod simulated_device;
pub mod simulation;

pub use board::Board;
pub use board_account::BoardAccount;
pub use cable::{Cable, Port};
pub use daemon::Daemon;
pub use emulator::Emulator;
pub use not_here::NotHere;
pub use own_mounts::{mount_small_disk, remount_read_only, with_own_mounts};
pub use patience::{PATIENCE, eventually};
pub use simulated_device::{DeviceReport, SimulatedDevice};

/// The README's programs compile, and the one that can run does.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

//! Sees what a program asks of the disk: counts it, records it, and fails it.
//!
//! A program that uses this crate calls its `open`, `pwrite`, `fsync` and so on in place of the C library's, since the
//! linker finds them first; that holds for C code in the program too. They hand every call on to the system. For files
//! under a directory with a [`Watch`] they also
//!
//! - **count**: calls, bytes, flushes, and the bytes that the flushes sent to the device ([`Counts`]);
//! - **record**: the operations in the order in which the system took them ([`Operation`]), from which a [`Disk`] tells
//!   what a power cut at any moment may leave;
//! - **fail**: the n-th call of a kind, once or from then on ([`Fault`]), or all growth beyond some room.
//!
//! Of every file, a flush can be made to take some time ([`set_flush_time`]).
//!
//! What does not go through the C library is not seen: writes to a mapped file, and system calls that a program makes by
//! itself (as `rustix` does, unless it is built with its feature `use-libc`). A test should check that [`Disk`] rebuilds
//! its files. Files that were open before the watch began are not seen either, nor is a duplicate of a descriptor.
//!
//! It works on Linux with the GNU C library and 64-bit words ([`IS_SUPPORTED`]); elsewhere nothing is seen.

#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod calls;
mod counts;
mod disk;
mod fault;
mod flush_time;
mod operation;
#[cfg(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"))]
mod system;
mod watch;

pub use counts::Counts;
pub use disk::Disk;
pub use fault::{Call, Failure, Fault, Lasting};
pub use flush_time::set_flush_time;
pub use operation::{FileId, Operation};
pub use watch::Watch;

/// Whether calls are seen on this target.
pub const IS_SUPPORTED: bool =
    cfg!(all(target_os = "linux", target_env = "gnu", target_pointer_width = "64"));

/// The unit in which a disk keeps or loses what was not flushed, in bytes.
pub const SECTOR_LEN: usize = 512;

//! The calls that share a file with other processes: its bytes as memory, and its locks.

use std::ffi::{c_int, c_void};
use std::ptr;

use super::refused;
use crate::fault::Call;
use crate::system;

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap(
    place: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: i64,
) -> *mut c_void {
    match refused(Call::Map, fd) {
        Some(error) => ptr::without_provenance_mut(system::fail(error) as usize),
        // SAFETY: the caller upholds the contract.
        None => unsafe { system::mmap(place, len, protection, flags, fd, at) },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    place: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: i64,
) -> *mut c_void {
    // SAFETY: both have the same contract.
    unsafe { mmap(place, len, protection, flags, fd, at) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn flock(fd: c_int, operation: c_int) -> c_int {
    let refused = if operation & libc::LOCK_UN == 0 { refused(Call::Lock, fd) } else { None };
    refused.map_or_else(|| system::flock(fd, operation), system::fail)
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    let is_locking = match command {
        libc::F_GETLK => true,
        libc::F_SETLK | libc::F_SETLKW => {
            let lock = ptr::with_exposed_provenance::<libc::flock>(argument);
            // SAFETY: the caller upholds the contract: to these commands the argument is a lock.
            c_int::from(unsafe { (*lock).l_type }) != libc::F_UNLCK
        }
        _ => false,
    };
    match if is_locking { refused(Call::Lock, fd) } else { None } {
        Some(error) => system::fail(error),
        // SAFETY: the caller upholds the contract.
        None => unsafe { system::fcntl(fd, command, argument) },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: both have the same contract.
    unsafe { fcntl(fd, command, argument) }
}

//! The calls by which a file system tells of itself.

use std::ffi::{c_char, c_int};

use super::{refused, refused_name};
use crate::fault::Call;
use crate::system;

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn statfs(path: *const c_char, out: *mut libc::statfs) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    match unsafe { refused_name(Call::FileSystem, libc::AT_FDCWD, path) } {
        Some(error) => system::fail(error),
        // SAFETY: the caller upholds the contract.
        None => unsafe { libc::syscall(libc::SYS_statfs, path, out) as c_int },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn statfs64(path: *const c_char, out: *mut libc::statfs64) -> c_int {
    // SAFETY: both have the same contract, and with 64-bit words they tell the same.
    unsafe { statfs(path, out.cast()) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatfs(fd: c_int, out: *mut libc::statfs) -> c_int {
    match refused(Call::FileSystem, fd) {
        Some(error) => system::fail(error),
        // SAFETY: the caller upholds the contract.
        None => unsafe { libc::syscall(libc::SYS_fstatfs, fd, out) as c_int },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatfs64(fd: c_int, out: *mut libc::statfs64) -> c_int {
    // SAFETY: as for `statfs64`.
    unsafe { fstatfs(fd, out.cast()) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatvfs(fd: c_int, out: *mut libc::statvfs) -> c_int {
    match refused(Call::FileSystem, fd) {
        Some(error) => system::fail(error),
        // SAFETY: the type is that of the function; the caller upholds the contract.
        None => unsafe {
            system::next::<unsafe extern "C" fn(c_int, *mut libc::statvfs) -> c_int>(c"fstatvfs")(fd, out)
        },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatvfs64(fd: c_int, out: *mut libc::statvfs64) -> c_int {
    // SAFETY: as for `statfs64`.
    unsafe { fstatvfs(fd, out.cast()) }
}

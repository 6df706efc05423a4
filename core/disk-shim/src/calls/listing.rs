//! The calls that list the names in a directory.

use std::ffi::{c_char, c_int};
use std::ptr;

use libc::{DIR, dirent, dirent64};

use super::{close, refused, watched_open};
use crate::fault::Call;
use crate::{system, watch};

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn opendir(path: *const c_char) -> *mut DIR {
    const FLAGS: c_int = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    let fd = unsafe { watched_open(libc::AT_FDCWD, path, FLAGS, 0) };
    if fd < 0 {
        return ptr::null_mut();
    }
    // SAFETY: the descriptor was opened just now.
    let listing = unsafe { libc::fdopendir(fd) };
    if listing.is_null() {
        // SAFETY: nobody uses the descriptor.
        unsafe { close(fd) };
    }
    listing
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn readdir(listing: *mut DIR) -> *mut dirent {
    // SAFETY: the caller upholds the contract: it is open.
    match refused(Call::List, unsafe { libc::dirfd(listing) }) {
        Some(error) => {
            system::fail(error);
            ptr::null_mut()
        }
        // SAFETY: the type is that of the function; the caller upholds the contract.
        None => unsafe { system::next::<unsafe extern "C" fn(*mut DIR) -> *mut dirent>(c"readdir")(listing) },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn readdir64(listing: *mut DIR) -> *mut dirent64 {
    // SAFETY: both have the same contract, and with 64-bit words they give the same.
    unsafe { readdir(listing).cast() }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn closedir(listing: *mut DIR) -> c_int {
    // SAFETY: the caller upholds the contract: it is open.
    watch::detach(unsafe { libc::dirfd(listing) });
    // SAFETY: the type is that of the function; the caller upholds the contract.
    unsafe { system::next::<unsafe extern "C" fn(*mut DIR) -> c_int>(c"closedir")(listing) }
}

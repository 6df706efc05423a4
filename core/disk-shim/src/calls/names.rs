//! The calls that change or tell what a directory holds.

use std::ffi::{c_char, c_int, c_uint};

use super::{error_of, located, refused};
use crate::fault::Call;
use crate::system;

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller upholds the contract: both are strings that end with 0.
    let located = unsafe { (located(from), located(to)) };
    let (Some((directory, from_name)), Some((_, to_name))) = located else {
        // SAFETY: as above.
        return unsafe { system::rename(from, to) };
    };
    let mut state = directory.lock();
    if let Some(failure) = state.strike(Call::Rename, &from_name) {
        return system::fail(error_of(Call::Rename, failure));
    }
    // SAFETY: as above.
    let returned = unsafe { system::rename(from, to) };
    if returned == 0 {
        state.renamed(&from_name, &to_name);
    }
    returned
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    let Some((directory, name)) = (unsafe { located(path) }) else {
        // SAFETY: as above.
        return unsafe { system::unlink(path) };
    };
    let mut state = directory.lock();
    if let Some(failure) = state.strike(Call::Remove, &name) {
        return system::fail(error_of(Call::Remove, failure));
    }
    // SAFETY: as above.
    let returned = unsafe { system::unlink(path) };
    if returned == 0 {
        state.removed(&name);
    }
    returned
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    match unsafe { refused_name(Call::Remove, path) } {
        Some(error) => system::fail(error),
        // SAFETY: as above.
        None => unsafe { system::rmdir(path) },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    match unsafe { refused_name(Call::MakeDirectory, path) } {
        Some(error) => system::fail(error),
        // SAFETY: as above.
        None => unsafe { system::mkdir(path, mode) },
    }
}

/// # Safety
///
/// As the C library's call of this name. The path may be null, which the system refuses.
#[unsafe(no_mangle)]
unsafe extern "C" fn statx(
    at: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    out: *mut libc::statx,
) -> c_int {
    let refused = match () {
        () if path.is_null() => None,
        () if flags & libc::AT_EMPTY_PATH != 0 => refused(Call::Stat, at),
        // SAFETY: the caller upholds the contract: it is a string that ends with 0.
        () => unsafe { refused_name(Call::Stat, path) },
    };
    match refused {
        Some(error) => system::fail(error),
        // SAFETY: the caller upholds the contract.
        None => unsafe { system::statx(at, path, flags, mask, out) },
    }
}

/// How a call on a name is to fail, if it is.
///
/// # Safety
///
/// `path` is a string that ends with 0.
unsafe fn refused_name(call: Call, path: *const c_char) -> Option<c_int> {
    // SAFETY: the caller upholds it.
    let (directory, name) = unsafe { located(path) }?;
    let failure = directory.lock().strike(call, &name)?;
    Some(error_of(call, failure))
}

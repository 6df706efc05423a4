//! The calls that change or tell what stands under a name.

use std::ffi::{c_char, c_int, c_uint};

use super::{error_of, located_at, refused, refused_name};
use crate::fault::Call;
use crate::system;

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller upholds the contract.
    unsafe { renameat2(libc::AT_FDCWD, from, libc::AT_FDCWD, to, 0) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn renameat2(
    from_at: c_int,
    from: *const c_char,
    to_at: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller upholds the contract: both are strings that end with 0.
    let located = unsafe { (located_at(from_at, from), located_at(to_at, to)) };
    let (Some((directory, from_name)), Some((_, to_name))) = located else {
        // SAFETY: as above.
        return unsafe { system::renameat2(from_at, from, to_at, to, flags) };
    };
    let mut state = directory.lock();
    if let Some(failure) = state.strike(Call::Rename, &from_name) {
        return system::fail(error_of(Call::Rename, failure));
    }
    // SAFETY: as above.
    let returned = unsafe { system::renameat2(from_at, from, to_at, to, flags) };
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
    // SAFETY: the caller upholds the contract.
    unsafe { unlinkat(libc::AT_FDCWD, path, 0) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    // SAFETY: the caller upholds the contract.
    unsafe { unlinkat(libc::AT_FDCWD, path, libc::AT_REMOVEDIR) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(at: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    let Some((directory, name)) = (unsafe { located_at(at, path) }) else {
        // SAFETY: as above.
        return unsafe { system::unlinkat(at, path, flags) };
    };
    let mut state = directory.lock();
    if let Some(failure) = state.strike(Call::Remove, &name) {
        return system::fail(error_of(Call::Remove, failure));
    }
    // SAFETY: as above.
    let returned = unsafe { system::unlinkat(at, path, flags) };
    if returned == 0 && flags & libc::AT_REMOVEDIR == 0 {
        state.removed(&name);
    }
    returned
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    match unsafe { refused_name(Call::MakeDirectory, libc::AT_FDCWD, path) } {
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
        () => unsafe { refused_name(Call::Stat, at, path) },
    };
    match refused {
        Some(error) => system::fail(error),
        // SAFETY: the caller upholds the contract.
        None => unsafe { system::statx(at, path, flags, mask, out) },
    }
}

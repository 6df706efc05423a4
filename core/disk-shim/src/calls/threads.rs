//! The call that starts a thread.

use std::ffi::{c_int, c_void};

use libc::{pthread_attr_t, pthread_t};

use super::error_of;
use crate::fault::Call;
use crate::{system, watch};

/// What a thread runs.
type Start = extern "C" fn(*mut c_void) -> *mut c_void;

type Create = unsafe extern "C" fn(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void) -> c_int;

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    match watch::strike_spawn() {
        // This call returns its error.
        Some(failure) => error_of(Call::Spawn, failure),
        // SAFETY: the type is that of the function; the caller upholds the contract.
        None => unsafe { system::next::<Create>(c"pthread_create")(thread, attributes, start, argument) },
    }
}

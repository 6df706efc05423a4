//! The calls that a program makes in place of the C library's.
//!
//! Each has the signature and the contract of its namesake, but for `open`, `openat` and `fcntl`: they take a number of arguments
//! that varies, which a stable Rust function cannot. On the targets of this module an argument that may be absent
//! stands where it would stand if it were always there, so that it can be read, and is ignored where it means nothing.
#![allow(unsafe_code)]

mod listing;
mod names;
mod sharing;
mod telling;
mod threads;

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use libc::iovec;

use crate::fault::{Call, Failure};
use crate::flush_time::flush_time;
use crate::system;
use crate::watch::{self, Descriptor, Directory, Node};

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: the caller upholds the contract.
    unsafe { watched_open(libc::AT_FDCWD, path, flags, mode) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: both have the same contract.
    unsafe { open(path, flags, mode) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: the caller upholds the contract.
    unsafe { watched_open(directory, path, flags, mode) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn openat64(directory: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: both have the same contract.
    unsafe { openat(directory, path, flags, mode) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    watch::detach(fd);
    // SAFETY: the caller upholds the contract.
    unsafe { system::close(fd) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn read(fd: c_int, out: *mut c_void, len: usize) -> isize {
    match refused(Call::Read, fd) {
        Some(error) => system::fail(error) as isize,
        // SAFETY: the caller upholds the contract.
        None => unsafe { system::read(fd, out, len) },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread(fd: c_int, out: *mut c_void, len: usize, at: i64) -> isize {
    match refused(Call::Read, fd) {
        Some(error) => system::fail(error) as isize,
        // SAFETY: the caller upholds the contract.
        None => unsafe { system::pread(fd, out, len, at) },
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(fd: c_int, out: *mut c_void, len: usize, at: i64) -> isize {
    // SAFETY: both have the same contract.
    unsafe { pread(fd, out, len, at) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn lseek(fd: c_int, to: i64, whence: c_int) -> i64 {
    match refused(Call::Seek, fd) {
        Some(error) => system::fail(error).into(),
        None => system::lseek(fd, to, whence),
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn lseek64(fd: c_int, to: i64, whence: c_int) -> i64 {
    // SAFETY: both have the same contract.
    unsafe { lseek(fd, to, whence) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize {
    match watch::descriptor(fd) {
        // SAFETY: the caller upholds the contract: `bytes` holds `len` bytes.
        Some(descriptor) => watched_write(&descriptor, fd, unsafe { view(bytes, len) }, None),
        // SAFETY: the caller upholds the contract.
        None => lasting(fd, || unsafe { system::write(fd, bytes, len) }),
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, len: usize, at: i64) -> isize {
    match watch::descriptor(fd) {
        // SAFETY: the caller upholds the contract: `bytes` holds `len` bytes.
        Some(descriptor) => watched_write(&descriptor, fd, unsafe { view(bytes, len) }, Some(at)),
        // SAFETY: the caller upholds the contract.
        None => lasting(fd, || unsafe { system::pwrite(fd, bytes, len, at) }),
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, len: usize, at: i64) -> isize {
    // SAFETY: both have the same contract.
    unsafe { pwrite(fd, bytes, len, at) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> isize {
    match watch::descriptor(fd) {
        // SAFETY: the caller upholds the contract: there are `count` parts.
        Some(descriptor) => watched_write(&descriptor, fd, &unsafe { gather(parts, count) }, None),
        // SAFETY: the caller upholds the contract.
        None => lasting(fd, || unsafe { libc::syscall(libc::SYS_writev, fd, parts, count) as isize }),
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev(fd: c_int, parts: *const iovec, count: c_int, at: i64) -> isize {
    match watch::descriptor(fd) {
        // SAFETY: the caller upholds the contract: there are `count` parts.
        Some(descriptor) => watched_write(&descriptor, fd, &unsafe { gather(parts, count) }, Some(at)),
        // SAFETY: the caller upholds the contract. The kernel takes the place in two words, the upper one of which
        // a 64-bit kernel ignores.
        None => lasting(fd, || unsafe { libc::syscall(libc::SYS_pwritev, fd, parts, count, at, 0) as isize }),
    }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwritev64(fd: c_int, parts: *const iovec, count: c_int, at: i64) -> isize {
    // SAFETY: both have the same contract.
    unsafe { pwritev(fd, parts, count, at) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate(fd: c_int, len: i64) -> c_int {
    let Some(Descriptor { directory, node }) = watch::descriptor(fd) else {
        return system::ftruncate(fd, len);
    };
    let Node::File { file, .. } = node else { return system::fail(libc::EINVAL) };
    let mut state = directory.lock();
    if let Some(failure) = state.strike_node(Call::Truncate, &node) {
        return system::fail(error_of(Call::Truncate, failure));
    }
    let returned = system::ftruncate(fd, len);
    if returned == 0 {
        state.truncated(file, len as u64);
    }
    returned
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftruncate64(fd: c_int, len: i64) -> c_int {
    // SAFETY: both have the same contract.
    unsafe { ftruncate(fd, len) }
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    watched_flush(fd, system::fsync)
}

/// # Safety
///
/// As the C library's call of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    watched_flush(fd, system::fdatasync)
}

/// # Safety
///
/// As the C library's `openat`.
unsafe fn watched_open(at: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: the caller upholds the contract: it is a string that ends with 0.
    let located = unsafe { located_at(at, path) };
    // SAFETY: as above.
    let open = || unsafe { system::openat(at, path, flags, mode) };
    let Some((directory, name)) = located else { return open() };
    let mut state = directory.lock();
    if let Some(failure) = state.strike(Call::Open, &name) {
        return system::fail(error_of(Call::Open, failure));
    }
    // SAFETY: as above.
    let before = unsafe { system::metadata(at, path) };
    let fd = open();
    if fd < 0 {
        return fd;
    }
    let node = if before.is_some_and(|metadata| metadata.is_dir) {
        Node::Directory(name)
    } else {
        let file = state.opened(&name, before.map(|metadata| metadata.len));
        if flags & libc::O_TRUNC != 0 {
            state.truncated(file, 0);
        }
        Node::File { file, is_synchronous: flags & (libc::O_SYNC | libc::O_DSYNC) != 0 }
    };
    drop(state);
    watch::attach(fd, Descriptor { directory, node });
    fd
}

/// How a call on a descriptor is to fail, if it is.
fn refused(call: Call, fd: c_int) -> Option<c_int> {
    let descriptor = watch::descriptor(fd)?;
    let failure = descriptor.directory.lock().strike_node(call, &descriptor.node)?;
    Some(error_of(call, failure))
}

/// How a call on a name is to fail, if it is.
///
/// # Safety
///
/// `path` is a string that ends with 0.
unsafe fn refused_name(call: Call, at: c_int, path: *const c_char) -> Option<c_int> {
    // SAFETY: the caller upholds it.
    let (directory, name) = unsafe { located_at(at, path) }?;
    let failure = directory.lock().strike(call, &name)?;
    Some(error_of(call, failure))
}

/// Writes at a place, or where the descriptor stands.
fn watched_write(descriptor: &Descriptor, fd: c_int, bytes: &[u8], at: Option<i64>) -> isize {
    let Node::File { file, is_synchronous } = descriptor.node else {
        return system::fail(libc::EBADF) as isize;
    };
    let mut state = descriptor.directory.lock();
    let place = at.unwrap_or_else(|| system::position(fd)) as u64;
    let failure = state.strike_node(Call::Write, &descriptor.node);
    let failed_late = is_synchronous && failure == Some(Failure::Device);
    let taken = match failure {
        Some(Failure::Short) if bytes.len() > 1 => bytes.len() / 2,
        Some(failure) if !failed_late => return system::fail(error_of(Call::Write, failure)) as isize,
        _ => bytes.len(),
    };
    let taken = state.room_for(file, place, taken as u64) as usize;
    if taken == 0 && !bytes.is_empty() {
        return system::fail(libc::ENOSPC) as isize;
    }
    let bytes = &bytes[..taken];
    let returned = lasting(fd, || match at {
        // SAFETY: the pointer and the length are a slice's.
        Some(at) => unsafe { system::pwrite(fd, bytes.as_ptr().cast(), bytes.len(), at) },
        // SAFETY: as above.
        None => unsafe { system::write(fd, bytes.as_ptr().cast(), bytes.len()) },
    });
    let Ok(written) = usize::try_from(returned) else { return returned };
    state.written(file, place, &bytes[..written]);
    let range = place..place + written as u64;
    match (is_synchronous, failed_late) {
        (true, true) => {
            state.flush_failed(file, range);
            return system::fail(libc::EIO) as isize;
        }
        (true, false) => {
            let covers = state.recorded();
            state.flushed(file, range, covers);
        }
        _ => {}
    }
    returned
}

/// Makes a write, which takes as long as a flush where the descriptor flushes what it writes.
fn lasting<R>(fd: c_int, write: impl FnOnce() -> R) -> R {
    if !flush_time().is_zero() && system::is_synchronous(fd) { at_least(write) } else { write() }
}

/// Flushes, and returns no sooner than a flush is to take.
fn at_least<R>(flush: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let returned = flush();
    sleep(flush_time().saturating_sub(start.elapsed()));
    returned
}

/// No sleep of no time: it would let others go first.
fn sleep(time: Duration) {
    if !time.is_zero() {
        system::wake_in_time();
        thread::sleep(time);
    }
}

fn watched_flush(fd: c_int, flush: fn(c_int) -> c_int) -> c_int {
    let flush = || at_least(|| flush(fd));
    let Some(Descriptor { directory, node }) = watch::descriptor(fd) else { return flush() };
    let mut state = directory.lock();
    let covers = state.recorded();
    if let Some(failure) = state.strike_node(Call::Flush, &node) {
        if let Node::File { file, .. } = node {
            state.flush_failed(file, WHOLE);
        }
        return system::fail(error_of(Call::Flush, failure));
    }
    let delay = state.delay(&node);
    drop(state);
    sleep(delay);
    let returned = flush();
    let mut state = directory.lock();
    match (returned, node) {
        (0, Node::File { file, .. }) => state.flushed(file, WHOLE, covers),
        (0, Node::Directory(name)) => state.directory_flushed(name, covers),
        (_, Node::File { file, .. }) => state.flush_failed(file, WHOLE),
        (_, Node::Directory(_)) => {}
    }
    returned
}

fn error_of(call: Call, failure: Failure) -> c_int {
    match (failure, call) {
        (Failure::Device | Failure::Short, _) => libc::EIO,
        (Failure::Full, _) => libc::ENOSPC,
        (Failure::Exhausted, Call::Open) => libc::EMFILE,
        (Failure::Exhausted, Call::Lock) => libc::ENOLCK,
        (Failure::Exhausted, Call::Spawn) => libc::EAGAIN,
        (Failure::Exhausted, _) => libc::ENOMEM,
        (Failure::Denied, _) => libc::EACCES,
    }
}

/// The watched directory that `path`, which may begin in the directory `at`, is in, and its name there.
///
/// # Safety
///
/// `path` is a string that ends with 0.
unsafe fn located_at(at: c_int, path: *const c_char) -> Option<(Arc<Directory>, PathBuf)> {
    if !watch::is_watching() {
        return None;
    }
    // SAFETY: the caller upholds it.
    let path = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()));
    if at == libc::AT_FDCWD || path.is_absolute() { watch::locate(path) } else { watch::locate_in(at, path) }
}

/// # Safety
///
/// `bytes` holds `len` bytes that outlive the result; where there are none it may be null.
unsafe fn view<'a>(bytes: *const c_void, len: usize) -> &'a [u8] {
    // SAFETY: the caller upholds it, and none are read through null.
    if len == 0 { &[] } else { unsafe { slice::from_raw_parts(bytes.cast(), len) } }
}

/// Copies the parts of a write into one.
///
/// # Safety
///
/// There are `count` parts, each of as many bytes as it says.
unsafe fn gather(parts: *const iovec, count: c_int) -> Vec<u8> {
    // SAFETY: the caller upholds it.
    let parts = unsafe { slice::from_raw_parts(parts, count.max(0) as usize) };
    let mut bytes = Vec::new();
    for part in parts {
        // SAFETY: as above.
        bytes.extend_from_slice(unsafe { view(part.iov_base, part.iov_len) });
    }
    bytes
}

/// A flush sends every byte of the file.
const WHOLE: Range<u64> = 0..u64::MAX;

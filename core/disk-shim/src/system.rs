//! The system's own calls, which the C library's of the same names would make.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulong, c_void};
use std::mem;

use libc::{SYS_close, SYS_fcntl, SYS_fdatasync, SYS_flock, SYS_fsync, SYS_ftruncate, SYS_lseek};
use libc::{SYS_mkdirat, SYS_mmap, SYS_openat, SYS_pread64, SYS_pwrite64, SYS_read, SYS_renameat2};
use libc::{SYS_statx, SYS_unlinkat, SYS_write};

/// The C library's function of this name, where it is more than a system call.
///
/// # Safety
///
/// `F` is the type of a pointer to that function.
pub(crate) unsafe fn next<F: Copy>(name: &CStr) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the name ends with 0.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!function.is_null(), "the C library has {name:?}");
    // SAFETY: the caller upholds it; both are pointers.
    unsafe { mem::transmute_copy(&function) }
}

/// What a path stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metadata {
    pub(crate) is_dir: bool,
    pub(crate) len: u64,
}

/// # Safety
///
/// As the C library's `openat`: `path` is a string that ends with 0.
pub(crate) unsafe fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: the caller upholds it; the kernel copies the path.
    unsafe { libc::syscall(SYS_openat, directory, path, flags, mode) as c_int }
}

/// # Safety
///
/// As the C library's `close`: nothing uses the descriptor any more.
pub(crate) unsafe fn close(fd: c_int) -> c_int {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_close, fd) as c_int }
}

/// # Safety
///
/// As the C library's `read`: `out` has room for `len` bytes.
pub(crate) unsafe fn read(fd: c_int, out: *mut c_void, len: usize) -> isize {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_read, fd, out, len) as isize }
}

/// # Safety
///
/// As the C library's `pread`: `out` has room for `len` bytes.
pub(crate) unsafe fn pread(fd: c_int, out: *mut c_void, len: usize, at: i64) -> isize {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_pread64, fd, out, len, at) as isize }
}

/// # Safety
///
/// As the C library's `write`: `bytes` holds `len` bytes.
pub(crate) unsafe fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_write, fd, bytes, len) as isize }
}

/// # Safety
///
/// As the C library's `pwrite`: `bytes` holds `len` bytes.
pub(crate) unsafe fn pwrite(fd: c_int, bytes: *const c_void, len: usize, at: i64) -> isize {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_pwrite64, fd, bytes, len, at) as isize }
}

/// # Safety
///
/// As the C library's `renameat2`: both paths are strings that end with 0.
pub(crate) unsafe fn renameat2(
    from_at: c_int,
    from: *const c_char,
    to_at: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    // SAFETY: the caller upholds it; the kernel copies the paths.
    unsafe { libc::syscall(SYS_renameat2, from_at, from, to_at, to, flags) as c_int }
}

/// # Safety
///
/// As the C library's `unlinkat`: `path` is a string that ends with 0.
pub(crate) unsafe fn unlinkat(at: c_int, path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: the caller upholds it; the kernel copies the path.
    unsafe { libc::syscall(SYS_unlinkat, at, path, flags) as c_int }
}

/// # Safety
///
/// As the C library's `mkdir`: `path` is a string that ends with 0.
pub(crate) unsafe fn mkdir(path: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: the caller upholds it; the kernel copies the path.
    unsafe { libc::syscall(SYS_mkdirat, libc::AT_FDCWD, path, mode) as c_int }
}

/// # Safety
///
/// As the C library's `statx`: `path` is a string that ends with 0, or null, and `out` has room for what is told.
pub(crate) unsafe fn statx(
    at: c_int,
    path: *const c_char,
    flags: c_int,
    mask: c_uint,
    out: *mut libc::statx,
) -> c_int {
    // SAFETY: the caller upholds it; the kernel checks both pointers.
    unsafe { libc::syscall(SYS_statx, at, path, flags, mask, out) as c_int }
}

/// What stands at a path; `None` where nothing does.
///
/// # Safety
///
/// `path` is a string that ends with 0.
pub(crate) unsafe fn metadata(at: c_int, path: *const c_char) -> Option<Metadata> {
    // SAFETY: zeros are a value of this structure of numbers.
    let mut told: libc::statx = unsafe { mem::zeroed() };
    // SAFETY: the caller upholds it for the path; `told` is writable.
    let returned = unsafe { statx(at, path, 0, libc::STATX_TYPE | libc::STATX_SIZE, &raw mut told) };
    let is_dir = u32::from(told.stx_mode) & libc::S_IFMT == libc::S_IFDIR;
    (returned == 0).then_some(Metadata { is_dir, len: told.stx_size })
}

/// # Safety
///
/// As the C library's `mmap`: what is mapped in place of other memory is used by nobody.
pub(crate) unsafe fn mmap(
    place: *mut c_void,
    len: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    at: i64,
) -> *mut c_void {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_mmap, place, len, protection, flags, fd, at) as *mut c_void }
}

/// # Safety
///
/// As the C library's `fcntl`: what `argument` means to `command` is there.
pub(crate) unsafe fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller upholds it.
    unsafe { libc::syscall(SYS_fcntl, fd, command, argument) as c_int }
}

pub(crate) fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: the call takes numbers alone.
    unsafe { libc::syscall(SYS_flock, fd, operation) as c_int }
}

pub(crate) fn lseek(fd: c_int, to: i64, whence: c_int) -> i64 {
    // SAFETY: the call takes numbers alone.
    unsafe { libc::syscall(SYS_lseek, fd, to, whence) as i64 }
}

pub(crate) fn ftruncate(fd: c_int, len: i64) -> c_int {
    // SAFETY: the call takes numbers alone, and touches no memory of the process.
    unsafe { libc::syscall(SYS_ftruncate, fd, len) as c_int }
}

pub(crate) fn fsync(fd: c_int) -> c_int {
    // SAFETY: the call takes a number alone.
    unsafe { libc::syscall(SYS_fsync, fd) as c_int }
}

pub(crate) fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: the call takes a number alone.
    unsafe { libc::syscall(SYS_fdatasync, fd) as c_int }
}

/// Where the next byte that is written without naming a place goes.
pub(crate) fn position(fd: c_int) -> i64 {
    // SAFETY: the call takes numbers alone.
    let appends = unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_APPEND != 0;
    lseek(fd, 0, if appends { libc::SEEK_END } else { libc::SEEK_CUR })
}

/// Whether the descriptor flushes what is written through it.
pub(crate) fn is_synchronous(fd: c_int) -> bool {
    // SAFETY: the call takes numbers alone.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags != -1 && flags & (libc::O_SYNC | libc::O_DSYNC) != 0
}

/// Has the system wake this thread when it asked to be woken, not up to 50 µs later, to wake several at once.
pub(crate) fn wake_in_time() {
    const SLACK_NANOS: c_ulong = 1;
    // SAFETY: the call takes numbers alone, and changes this thread's timers alone.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NANOS) };
}

/// Makes a call fail with `error`.
pub(crate) fn fail(error: c_int) -> c_int {
    // SAFETY: the location is this thread's own.
    unsafe { *libc::__errno_location() = error };
    -1
}

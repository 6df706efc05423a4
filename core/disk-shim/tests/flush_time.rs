//! Flushes take the time that is set for the process. A test apart, since every other flush of the process would take it too.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::{Duration, Instant};

use varve_disk_shim::{IS_SUPPORTED, Watch, set_flush_time};

/// Longer than a write takes.
const FLUSH: Duration = Duration::from_millis(30);

/// Linux's flag for a descriptor that flushes what is written through it.
const O_DSYNC: i32 = 0o10_000;

/// How often a write may be late for want of a processor.
const TRIES: usize = 100;

#[test]
fn whatever_flushes_takes_the_time_and_nothing_else_does() {
    if !IS_SUPPORTED {
        let _ = writeln!(std::io::stderr(), "skipped: calls are seen with glibc on 64-bit Linux alone");
        return;
    }
    set_flush_time(FLUSH);
    for is_watched in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let _watch = is_watched.then(|| Watch::new(dir.path()).unwrap());
        let mut plain =
            OpenOptions::new().create_new(true).write(true).open(dir.path().join("plain")).unwrap();
        let path = dir.path().join("flushing");
        let mut flushing =
            OpenOptions::new().create_new(true).write(true).custom_flags(O_DSYNC).open(path).unwrap();

        assert!(time(|| plain.sync_data().unwrap()) >= FLUSH);
        assert!(time(|| plain.sync_all().unwrap()) >= FLUSH);
        assert!(time(|| flushing.write_all(b"event").unwrap()) >= FLUSH);
        assert!(time(|| flushing.write_all_at(b"event", 0).unwrap()) >= FLUSH);
        assert!((0..TRIES).any(|_| time(|| plain.write_all(b"event").unwrap()) < FLUSH));
    }
    set_flush_time(Duration::ZERO);
}

fn time(call: impl FnOnce()) -> Duration {
    let start = Instant::now();
    call();
    start.elapsed()
}

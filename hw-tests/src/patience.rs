//! Waiting for what must happen, however busy the machine is.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that takes a moment on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` gives something.
///
/// # Panics
/// At the end of [`PATIENCE`], with what was waited for.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited in vain for this: {what}");
        thread::sleep(LOOK_PERIOD);
    }
}

const LOOK_PERIOD: Duration = Duration::from_millis(2);

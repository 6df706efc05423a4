//! What a test needs and this machine has not.

use std::{env, fmt, io::Write};

/// The reason why a test cannot run on this machine.
#[derive(Clone, Debug)]
pub struct NotHere {
    reason: String,
}

impl NotHere {
    /// Gives the reason, and what would mend it.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// Says on the terminal that the test of this name is skipped, and why: past the test harness, which hides
    /// what a passing test prints.
    ///
    /// # Panics
    /// With `VARVE_REQUIRE_EMULATOR=1`, under which nothing may be skipped.
    pub fn skip(&self, test: &str) {
        assert!(
            env::var_os("VARVE_REQUIRE_EMULATOR").is_none_or(|value| value != "1"),
            "{test} must run: {self}"
        );
        // A closed terminal is no reason to fail.
        let _ = writeln!(std::io::stderr(), "skipped {test}: {self}");
    }
}

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

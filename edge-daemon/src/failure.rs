//! Why a command could not do its work, as one line for the person who gave it.

use std::fmt;
use std::io;

/// What went wrong and what to do about it: printed as one line, and the process ends with [`Failure::EXIT_CODE`].
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    remedy: String,
}

impl Failure {
    /// The exit code of a command that could not do its work.
    pub(crate) const EXIT_CODE: u8 = 2;

    /// A failure that says what is wrong, and the remedy.
    pub(crate) fn new(what: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { what: one_line(what), remedy: one_line(remedy) }
    }

    /// What is wrong.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub(crate) fn remedy(&self) -> &str {
        &self.remedy
    }

    /// The system did not give what the process needs: `what` says what that was.
    pub(crate) fn of_system(what: &str, error: &io::Error) -> Self {
        Self::new(format!("{what}: {error}"), "see what the system lacks")
    }

    /// Standard output does not take what is printed.
    pub(crate) fn of_stdout(error: &io::Error) -> Self {
        Self::new(format!("standard output failed: {error}"), "check where it goes")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.remedy)
    }
}

fn one_line(text: impl fmt::Display) -> String {
    text.to_string().replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_says_what_and_what_to_do() {
        let failure = Failure::new("no port\nat /dev/ttyACM0", "plug it in");
        assert_eq!(failure.to_string(), "no port at /dev/ttyACM0; plug it in");
    }
}

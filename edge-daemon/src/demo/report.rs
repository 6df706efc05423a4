//! What a simulated device tells the demo, as lines of text over a pipe.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// One line that a simulated device prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// `port PATH`: the port to open; the first line.
    Port(PathBuf),
    /// `progress …`: how far it is; printed every so often.
    Progress(Progress),
    /// `done …`: every event was offered and everything in the outbox is durable; the last line.
    Done(Progress),
}

/// How far a simulated device is. Numbers of events, but for `faults`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Offered to the outbox: as many device sequences were allotted.
    pub(crate) offered: u64,
    /// Dropped by the full outbox, and recorded there as gaps.
    pub(crate) dropped: u64,
    /// Faults of the line in both directions.
    pub(crate) faults: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, progress) = match self {
            Self::Port(path) => return write!(f, "port {}", path.display()),
            Self::Progress(progress) => ("progress", progress),
            Self::Done(progress) => ("done", progress),
        };
        write!(f, "{word} {} {} {}", progress.offered, progress.dropped, progress.faults)
    }
}

impl FromStr for Report {
    type Err = UnknownReport;

    fn from_str(line: &str) -> Result<Self, UnknownReport> {
        let (word, rest) = line.split_once(' ').ok_or(UnknownReport)?;
        match word {
            "port" => Ok(Self::Port(PathBuf::from(rest))),
            "progress" => Ok(Self::Progress(rest.parse()?)),
            "done" => Ok(Self::Done(rest.parse()?)),
            _ => Err(UnknownReport),
        }
    }
}

impl FromStr for Progress {
    type Err = UnknownReport;

    fn from_str(rest: &str) -> Result<Self, UnknownReport> {
        let mut numbers = rest.split(' ').map(|number| number.parse::<u64>().map_err(|_| UnknownReport));
        let mut next = || numbers.next().ok_or(UnknownReport)?;
        Ok(Self { offered: next()?, dropped: next()?, faults: next()? })
    }
}

/// The line is none that a simulated device prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnknownReport;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_survive_the_pipe() {
        let progress = Progress { offered: 10_000, dropped: 3, faults: 17 };
        for report in [
            Report::Port(PathBuf::from("/dev/pts/3")),
            Report::Progress(progress),
            Report::Done(Progress::default()),
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        for line in ["", "done", "done 1 2", "done 1 2 x", "hello 1 2 3"] {
            assert_eq!(line.parse::<Report>(), Err(UnknownReport), "{line}");
        }
    }
}

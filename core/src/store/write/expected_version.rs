//! What a stream must hold for an append to be stored: the check of optimistic concurrency.

use std::fmt;

/// The version at which a stream is expected. The version is the place that the stream's next event takes: how many events
/// it ever got, absent ones included.
///
/// Who reads a stream, decides by what it read, and appends what follows from that, names the version that it read.
/// Where somebody else was faster, the append fails with
/// [`ConcurrencyConflict`](crate::AppendError::ConcurrencyConflict) and stores nothing: read on, and decide again.
///
/// ```
/// use varve_core::{AppendError, ExpectedVersion, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// let mut orders = varve.stream::<u16, 2>("orders")?;
/// let (order, quantity) = (StreamId(42), 3);
/// orders.append_expecting(order, ExpectedVersion::NoStream, &quantity)?;
/// orders.append_expecting(order, ExpectedVersion::Exact(1), &quantity)?;
///
/// match orders.append_expecting(order, ExpectedVersion::Exact(1), &quantity) {
///     Err(AppendError::ConcurrencyConflict { actual, .. }) => assert_eq!(actual, 2),
///     other => panic!("{other:?}"),
/// }
/// assert_eq!(orders.reader().version(order)?, 2);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExpectedVersion {
    /// At any version.
    #[default]
    Any,
    /// The stream never got an event: the same as `Exact(0)`.
    NoStream,
    /// The stream got this many events.
    Exact(u64),
}

impl ExpectedVersion {
    /// Whether a stream at `version` is as expected.
    pub(in crate::store) fn is_met_by(self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::NoStream => version == 0,
            Self::Exact(expected) => version == expected,
        }
    }
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no events"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

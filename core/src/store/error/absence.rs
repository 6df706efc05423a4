//! Events that are not there: why, which, and where reading goes on.

use std::fmt;
use std::ops::Range;

use crate::store::error::ReadError;
use crate::{GlobalSequence, StreamId, StreamSequence};

/// Events that have their places and cannot be had: why, which they are, and so where to read on.
///
/// | what is read | which events are told | where it goes on |
/// |---|---|---|
/// | one event | it, and neighbours that are absent with it | at the end of their range, by the caller |
/// | forward | those from the iterator's place on, once | at the end of their range, by itself |
/// | backward | those before the iterator's place, once | before their range, by itself |
///
/// The range holds the place that was read. What reads the log tells [`Absence::log`], what reads one stream tells
/// [`Absence::stream`]; where both are told, they are the same events. Neighbours of several blocks may be told of in
/// several absences.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Absence {
    /// Why they cannot be had.
    pub reason: AbsenceReason,
    /// Their places in the log. `None` where one stream is read: its events need not be neighbours in the log.
    pub log: Option<Range<GlobalSequence>>,
    /// Their stream, and their places in it. `None` where they may be of several.
    pub stream: Option<AbsentInStream>,
}

/// Why events cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AbsenceReason {
    /// The store's retention let them go, with all before them.
    Retired,
    /// They were lost to damage, and a salvage set their places aside.
    Quarantined,
    /// Their stream was shredded: nobody can open them any more.
    Shredded,
    /// They are sealed, and the store was opened without its master key, or by a build without the feature
    /// `encryption`. Who has the key reads them.
    Sealed,
}

/// A stream, and places in it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbsentInStream {
    /// The stream's name.
    pub name: String,
    /// Which stream of the name.
    pub id: StreamId,
    /// The places.
    pub range: Range<StreamSequence>,
}

impl Absence {
    /// How many events there are.
    pub fn events(&self) -> u64 {
        match (&self.log, &self.stream) {
            (Some(log), _) => log.end.0 - log.start.0,
            (None, Some(stream)) => stream.range.end.0 - stream.range.start.0,
            (None, None) => 0,
        }
    }

    /// Events of the log, be they of one stream or of several.
    pub(in crate::store) fn in_log(reason: AbsenceReason, range: Range<GlobalSequence>) -> Self {
        Self { reason, log: Some(range), stream: None }
    }

    /// Events of a stream.
    pub(in crate::store) fn in_stream(
        reason: AbsenceReason,
        name: &str,
        id: StreamId,
        range: Range<StreamSequence>,
    ) -> Self {
        Self { reason, log: None, stream: Some(AbsentInStream { name: name.into(), id, range }) }
    }

    /// Of the events of a run that is absent, `len` that are neighbours in the log too: the first is the one at `index`
    /// of the run, and stands at `first`.
    pub(in crate::store) fn of_stretch(mut self, first: GlobalSequence, index: u64, len: u64) -> Self {
        self.log = Some(first..GlobalSequence(first.0.saturating_add(len)));
        if let Some(stream) = &mut self.stream {
            let start = stream.range.start.0.saturating_add(index);
            stream.range = StreamSequence(start)..StreamSequence(start.saturating_add(len));
        }
        self
    }
}

impl ReadError {
    /// Whether it tells why events cannot be had: an iterator that gives it in their place does not end with it.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Absent(_))
    }

    /// As [`Absence::of_stretch`], where it is an absence.
    pub(in crate::store) fn of_stretch(self, first: GlobalSequence, index: u64, len: u64) -> Self {
        match self {
            Self::Absent(absence) => absence.of_stretch(first, index, len).into(),
            error => error,
        }
    }

    /// Where it is an absence of the log that holds `next`, leaves out what is before that, and moves it behind.
    pub(in crate::store) fn passed_in_log(mut self, next: &mut GlobalSequence) -> Self {
        if let Self::Absent(absence) = &mut self
            && let Some(range) = absence.log.as_mut().filter(|range| range.contains(next))
        {
            range.start = *next;
            *next = range.end;
        }
        self
    }

    /// Where it is an absence of a stream that holds `next`, leaves out what is before that, and moves it behind.
    pub(in crate::store) fn passed_in_stream(mut self, next: &mut StreamSequence) -> Self {
        if let Self::Absent(absence) = &mut self
            && let Some(stream) = absence.stream.as_mut().filter(|stream| stream.range.contains(next))
        {
            stream.range.start = *next;
            *next = stream.range.end;
        }
        self
    }
}

impl From<Absence> for ReadError {
    fn from(absence: Absence) -> Self {
        Self::Absent(Box::new(absence))
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            AbsenceReason::Retired => "retired by the store's retention",
            AbsenceReason::Quarantined => "lost to damage",
            AbsenceReason::Shredded => "shredded",
            AbsenceReason::Sealed => "sealed, and the store was opened without its master key",
        })?;
        if let Some(AbsentInStream { name, id, range }) = &self.stream {
            write!(f, ": stream `{name}` {id} from stream sequence {} on", range.start)?;
        }
        if let Some(range) = &self.log {
            write!(f, ": the log from global sequence {} on", range.start)?;
        }
        write!(f, ", events: {}", self.events())
    }
}

impl AbsenceReason {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retired => "retired",
            Self::Quarantined => "quarantined",
            Self::Shredded => "shredded",
            Self::Sealed => "sealed",
        }
    }
}

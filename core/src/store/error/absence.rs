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
///
/// ```
/// use varve_core::{AbsenceReason, GlobalSequence, ReadError, RetentionPolicy, StreamId, Varve};
///
/// # let dir = tempfile::tempdir()?;
/// let mut varve = Varve::new(dir.path())?;
/// varve.stream::<[u8; 4096], 4096>("frames")?.append_batch(StreamId(7), &[[0; 4096]; 40])?;
/// let mut policy = RetentionPolicy::default();
/// policy.events_max = Some(20);
/// let first = varve.retain(&policy)?.first;
///
/// let (mut here, mut gone) = (0, 0);
/// for event in varve.snapshot()?.iter_from(GlobalSequence(3))? {
///     match event {
///         Ok(_) => here += 1,
///         Err(ReadError::Absent(absence)) => {
///             assert_eq!(absence.reason, AbsenceReason::Retired);
///             assert_eq!(absence.log, Some(GlobalSequence(3)..first));
///             gone += absence.events();
///         }
///         Err(error) => return Err(error.into()),
///     }
/// }
/// assert_eq!((here, gone), (40 - first.0, first.0 - 3));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten events of a run that begins at 100 of its stream.
    fn run(reason: AbsenceReason) -> Absence {
        Absence::in_stream(reason, "doors", StreamId(7), StreamSequence(100)..StreamSequence(110))
    }

    #[test]
    fn part_of_a_run_is_told_in_the_log_and_in_its_stream_alike() {
        let part = run(AbsenceReason::Shredded).of_stretch(GlobalSequence(40), 3, 5);
        assert_eq!(part.events(), 5);
        assert_eq!(part.log, Some(GlobalSequence(40)..GlobalSequence(45)));
        assert_eq!(part.stream.unwrap().range, StreamSequence(103)..StreamSequence(108));
    }

    #[test]
    fn what_is_passed_is_left_out_and_an_absence_elsewhere_moves_nobody() {
        let mut next = StreamSequence(104);
        let ReadError::Absent(rest) = ReadError::from(run(AbsenceReason::Sealed)).passed_in_stream(&mut next)
        else {
            panic!("it is an absence")
        };
        assert_eq!((next, rest.events()), (StreamSequence(110), 6));
        let error = ReadError::from(run(AbsenceReason::Sealed)).passed_in_stream(&mut next);
        assert!(next == StreamSequence(110) && error.is_absence());
        let mut next = GlobalSequence(9);
        let lost = Absence::in_log(AbsenceReason::Quarantined, GlobalSequence(5)..GlobalSequence(9));
        let _ = ReadError::from(lost.clone()).passed_in_log(&mut next);
        assert_eq!(next, GlobalSequence(9));
        let mut next = GlobalSequence(8);
        let _ = ReadError::from(lost).passed_in_log(&mut next);
        assert_eq!(next, GlobalSequence(9));
    }

    #[test]
    fn each_reason_is_told_with_the_places() {
        let log = |reason| Absence::in_log(reason, GlobalSequence(0)..GlobalSequence(60)).to_string();
        let text = "retired by the store's retention: the log from global sequence 0 on, events: 60";
        assert_eq!(log(AbsenceReason::Retired), text);
        let text = "lost to damage: the log from global sequence 0 on, events: 60";
        assert_eq!(log(AbsenceReason::Quarantined), text);
        let text = "shredded: stream `doors` 7 from stream sequence 100 on, events: 10";
        assert_eq!(run(AbsenceReason::Shredded).to_string(), text);
        assert!(run(AbsenceReason::Sealed).to_string().contains("without its master key"));
    }
}

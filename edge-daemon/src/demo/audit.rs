//! What a store holds of a demo's devices, read anew after the daemon has closed it.

use std::collections::HashMap;
use std::fmt;

use varve_core::{
    Absence, DeviceId, Event, GapEvent, GlobalSequence, ReadError, StreamId, VarveView, access,
};

use super::events::{Climate, Notice};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Of each device.
    pub(crate) devices: HashMap<DeviceId, DeviceAudit>,
    /// What must not be, in words; nothing in a sound store. At most [`FAULTS_MAX`] are told.
    pub(crate) faults: Vec<String>,
    /// The number that follows in each sequence.
    next: HashMap<Sequence, u64>,
    /// Whether events were absent, so that a sequence that is met for the first time may begin anywhere.
    has_missed: bool,
}

/// What was found of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceAudit {
    /// Events in its streams.
    pub(crate) stored: u64,
    /// Events in its gaps.
    pub(crate) gap_events: u64,
}

/// What has numbers without holes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Sequence {
    Log,
    Stream(String, StreamId),
    /// All that a device offered, gaps included.
    Device(DeviceId),
}

/// The most faults that are told: one shows that something is wrong, many do not show it better.
pub(crate) const FAULTS_MAX: usize = 8;

impl Audit {
    /// Reads the whole log. It checks that global and stream sequences have no holes, and that each device's events are
    /// there once and in the order in which it offered them. Events that are absent are a fault, and it goes on behind them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn of(view: &VarveView) -> Result<Self, ReadError> {
        let mut audit = Self::default();
        for event in view.global_reader().iter_from(GlobalSequence(0))?.iter()? {
            match event {
                Ok(event) => {
                    audit.follow(Sequence::Log, event.global_seq.0, 1);
                    let stream = Sequence::Stream(event.stream_name.to_owned(), event.stream_id);
                    audit.follow(stream, event.stream_seq.0, 1);
                    audit.take_in(event.stream_name, event.stream_id, event.payload);
                }
                Err(ReadError::Absent(absence)) => audit.miss(&absence),
                Err(error) => return Err(error),
            }
        }
        Ok(audit)
    }

    fn take_in(&mut self, stream: &str, id: StreamId, bytes: &[u8]) {
        if stream == GapEvent::STREAM {
            match access::<GapEvent>(bytes) {
                Ok(gap) => self.take_gap(gap.device.to_native(), gap.first.to_native(), gap.len.to_native()),
                Err(error) => self.fault(format!("a gap cannot be read: {error}")),
            }
            return;
        }
        match offered_before(stream, bytes) {
            Some(nth) => self.take_event(DeviceId(id.0 >> 8), nth),
            None => self.fault(format!("an event of stream {stream} cannot be read")),
        }
    }

    fn take_event(&mut self, device: DeviceId, nth: u64) {
        self.follow(Sequence::Device(device), nth, 1);
        self.devices.entry(device).or_default().stored += 1;
    }

    fn take_gap(&mut self, device: u64, first: u64, len: u64) {
        let device = DeviceId(device);
        self.follow(Sequence::Device(device), first, len);
        self.devices.entry(device).or_default().gap_events += len;
    }

    /// Notes that events are absent. They may be of any stream and of any device: what comes next of these is not known.
    fn miss(&mut self, absence: &Absence) {
        self.fault(absence.to_string());
        self.has_missed = true;
        self.next.clear();
        self.next.extend(absence.log.as_ref().map(|range| (Sequence::Log, range.end.0)));
    }

    /// Notes that `len` numbers of a sequence are taken from `first` on, which are to follow those before.
    fn follow(&mut self, sequence: Sequence, first: u64, len: u64) {
        let expected = self.next.get(&sequence).copied().or((!self.has_missed).then_some(0));
        if let Some(expected) = expected.filter(|&expected| expected != first) {
            self.fault(format!("{sequence}: {expected} should follow, and {first} does"));
        }
        self.next.insert(sequence, first.saturating_add(len));
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("the log"),
            Self::Stream(name, id) => write!(f, "stream {name} {id}"),
            Self::Device(device) => write!(f, "device {device}"),
        }
    }
}

/// How many events the device had offered before this one, as the event itself says.
fn offered_before(stream: &str, bytes: &[u8]) -> Option<u64> {
    match stream {
        Climate::STREAM => access::<Climate>(bytes).ok().map(|event| event.nth.to_native()),
        Notice::STREAM => access::<Notice>(bytes).ok().map(|event| event.nth.to_native()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use varve_core::{RetentionPolicy, Varve};

    fn audit(events: &[u64], gaps: &[(usize, u64, u64)]) -> Audit {
        let mut audit = Audit::default();
        for (place, &nth) in events.iter().enumerate() {
            for &(_, first, len) in gaps.iter().filter(|gap| gap.0 == place) {
                audit.take_gap(5, first, len);
            }
            audit.take_event(DeviceId(5), nth);
        }
        audit
    }

    #[test]
    fn events_and_gaps_that_follow_each_other_are_sound() {
        let audit = audit(&[0, 1, 7], &[(2, 2, 5)]);
        assert_eq!(audit.faults, Vec::<String>::new());
        assert_eq!(audit.devices[&DeviceId(5)], DeviceAudit { stored: 3, gap_events: 5 });
    }

    #[test]
    fn a_lost_a_doubled_and_a_misplaced_event_are_faults() {
        assert_eq!(audit(&[0, 2], &[]).faults.len(), 1);
        assert_eq!(audit(&[0, 0], &[]).faults.len(), 1);
        assert_eq!(audit(&[1, 0], &[]).faults.len(), 2);
        assert_eq!(audit(&[0, 4], &[(1, 2, 2)]).faults.len(), 1);
        assert_eq!(audit(&vec![3; 100], &[]).faults.len(), FAULTS_MAX);
    }

    #[test]
    fn absent_events_are_a_fault_and_what_is_behind_them_is_audited() {
        const EVENTS: u64 = 10_000;
        let dir = tempfile::tempdir().unwrap();
        let mut varve = Varve::new(dir.path()).unwrap();
        let mut climate = varve.stream::<Climate, 32>(Climate::STREAM).unwrap();
        let event = |nth| Climate { nth, temperature: 21.5, humidity: 40.0, pressure: 101_325 };
        climate.append_batch(StreamId(5 << 8), &(0..EVENTS).map(event).collect::<Vec<_>>()).unwrap();
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(EVENTS / 2);
        let retired = varve.retain(&policy).unwrap();
        let found = Audit::of(&varve).unwrap();
        assert!(retired.events > 0);
        assert_eq!(found.devices[&DeviceId(5)].stored, EVENTS - retired.events);
        let [fault] = &found.faults[..] else { panic!("{:?}", found.faults) };
        assert!(fault.starts_with("retired"), "{fault}");
    }
}

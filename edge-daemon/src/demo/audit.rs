//! What a store holds of a demo's devices, read anew after the daemon has closed it.

use std::collections::HashMap;

use varve_core::{
    DeviceId, Event, GapEvent, GlobalSequence, ReadError, StreamId, StreamSequence, VarveView, access,
};

use super::events::{Climate, Notice};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    /// Of each device.
    pub(crate) devices: HashMap<DeviceId, DeviceAudit>,
    /// What must not be, in words; nothing in a sound store. At most [`FAULTS_MAX`] are told.
    pub(crate) faults: Vec<String>,
}

/// What was found of one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceAudit {
    /// Events in its streams.
    pub(crate) stored: u64,
    /// Events in its gaps.
    pub(crate) gap_events: u64,
    /// The place that the next event would have among all that the device offered, were none in gaps.
    next: u64,
}

/// The most faults that are told: one shows that something is wrong, many do not show it better.
pub(crate) const FAULTS_MAX: usize = 8;

impl Audit {
    /// Reads the whole log. It checks that global and stream sequences have no holes, and that each device's events are
    /// there once and in the order in which it offered them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) fn of(view: &VarveView) -> Result<Self, ReadError> {
        let mut audit = Self::default();
        let mut streams: HashMap<(String, StreamId), StreamSequence> = HashMap::new();
        let mut next_global = 0;
        for event in view.global_reader().iter_from(GlobalSequence(0))?.iter()? {
            let event = event?;
            audit.expect("global sequence", next_global, event.global_seq.0);
            next_global = event.global_seq.0 + 1;
            let key = (event.stream_name.to_owned(), event.stream_id);
            let next = streams.entry(key).or_default();
            audit.expect("stream sequence", next.0, event.stream_seq.0);
            next.0 += 1;
            audit.take_in(event.stream_name, event.stream_id, event.payload);
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
        let expected = self.devices.entry(device).or_default().next;
        self.expect("a device's event", expected, nth);
        let device = self.devices.entry(device).or_default();
        device.stored += 1;
        device.next = nth + 1;
    }

    fn take_gap(&mut self, device: u64, first: u64, len: u64) {
        let expected = self.devices.entry(DeviceId(device)).or_default().next;
        self.expect("a device's gap", expected, first);
        let device = self.devices.entry(DeviceId(device)).or_default();
        device.gap_events += len;
        device.next = first.saturating_add(len);
    }

    fn expect(&mut self, what: &str, expected: u64, found: u64) {
        if expected != found {
            self.fault(format!("{what}: {expected} should follow, and {found} does"));
        }
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
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
        assert_eq!(audit.devices[&DeviceId(5)], DeviceAudit { stored: 3, gap_events: 5, next: 8 });
    }

    #[test]
    fn a_lost_a_doubled_and_a_misplaced_event_are_faults() {
        assert_eq!(audit(&[0, 2], &[]).faults.len(), 1);
        assert_eq!(audit(&[0, 0], &[]).faults.len(), 1);
        assert_eq!(audit(&[1, 0], &[]).faults.len(), 2);
        assert_eq!(audit(&[0, 4], &[(1, 2, 2)]).faults.len(), 1);
        assert_eq!(audit(&vec![3; 100], &[]).faults.len(), FAULTS_MAX);
    }
}

//! The closing account of a demo.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use super::audit::{Audit, DeviceAudit};
use super::fleet::Fleet;
use super::report::Progress;
use super::simulated_device::device_id;

/// What went in, what came out, and what it took. Events, where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Account {
    /// What each device offered, and what the store holds of it.
    pub(crate) devices: Vec<DeviceAccount>,
    /// Batches and gaps that came again and were refused.
    pub(crate) duplicates_refused: u64,
    /// Frames that came whole.
    pub(crate) frames: u64,
    /// Frames that came broken.
    pub(crate) frames_malformed: u64,
    /// Bytes on the wire, both ways.
    pub(crate) wire_bytes: u64,
    /// Bytes that the store takes on the disk.
    pub(crate) disk_bytes: u64,
    /// Faults of the lines.
    pub(crate) line_faults: u64,
    /// Commits.
    pub(crate) commits: u64,
    /// From the first event offered to the last one durable.
    pub(crate) elapsed: Duration,
    /// Processor time of the daemon alone.
    pub(crate) cpu: Duration,
    /// Memory of the daemon's own in KiB, soon after its start and at its end.
    pub(crate) memory_kib: Option<(u64, u64)>,
    /// The seed of the faults.
    pub(crate) seed: Option<u64>,
    /// What must not be in the store.
    pub(crate) faults: Vec<String>,
    /// The demo was told to end before the devices were done.
    pub(crate) is_interrupted: bool,
}

/// One device's account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceAccount {
    /// Offered to the device's outbox.
    pub(crate) offered: u64,
    /// Dropped by the outbox, since it was full.
    pub(crate) dropped: u64,
    /// Found in the store.
    pub(crate) stored: u64,
    /// In gaps that the store recorded.
    pub(crate) gap_events: u64,
}

impl DeviceAccount {
    /// No gap may hide an event that the outbox had taken: it would be lost all the same.
    const fn balances(self) -> bool {
        self.offered == self.stored + self.gap_events && self.gap_events == self.dropped
    }
}

impl Account {
    /// Whether each device's events are all stored or in a recorded gap, and the store is sound.
    pub(crate) fn balances(&self) -> bool {
        self.faults.is_empty() && self.devices.iter().all(|device| device.balances())
    }

    /// Adds what the devices offered, and what the store holds of them.
    pub(crate) fn add_devices(&mut self, fleet: &Fleet, audit: Audit) {
        for (number, device) in (0..).zip(fleet.devices()) {
            let Progress { offered, dropped, faults } = device.progress();
            let found = audit.devices.get(&device_id(number)).copied().unwrap_or_default();
            let DeviceAudit { stored, gap_events } = found;
            self.devices.push(DeviceAccount { offered, dropped, stored, gap_events });
            self.line_faults += faults;
        }
        self.faults = audit.faults;
        self.is_interrupted = !fleet.is_done();
    }

    /// The account as one JSON object.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        json!({
            "offered": self.offered(),
            "stored": self.stored(),
            "duplicates_refused": self.duplicates_refused,
            "gap_events": self.gap_events(),
            "frames": self.frames,
            "wire_bytes": self.wire_bytes,
            "disk_bytes": self.disk_bytes,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "balances": self.balances(),
            "devices": self.devices.len(),
            "frames_malformed": self.frames_malformed,
            "line_faults": self.line_faults,
            "commits": self.commits,
            "cpu_s": self.cpu.as_secs_f64(),
            "memory_kib_start": self.memory_kib.map(|memory| memory.0),
            "memory_kib_end": self.memory_kib.map(|memory| memory.1),
            "seed": self.seed,
            "faults": self.faults,
        })
    }

    fn offered(&self) -> u64 {
        self.devices.iter().map(|device| device.offered).sum()
    }

    fn stored(&self) -> u64 {
        self.devices.iter().map(|device| device.stored).sum()
    }

    fn gap_events(&self) -> u64 {
        self.devices.iter().map(|device| device.gap_events).sum()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per_event = |bytes: u64| bytes as f64 / self.stored().max(1) as f64;
        let seconds = self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        writeln!(f, "  offered            {:>12}", self.offered())?;
        writeln!(f, "  stored             {:>12}   read back from the closed store", self.stored())?;
        writeln!(
            f,
            "  in gaps            {:>12}   dropped by full outboxes, and recorded",
            self.gap_events()
        )?;
        writeln!(f, "  duplicates refused {:>12}   frames that came again", self.duplicates_refused)?;
        if let Some(seed) = self.seed {
            writeln!(
                f,
                "  line faults        {:>12}   seed {seed}; {} frames came broken",
                self.line_faults, self.frames_malformed
            )?;
        }
        writeln!(
            f,
            "  wire               {:>12.2}   bytes an event, both ways ({} frames)",
            per_event(self.wire_bytes),
            self.frames
        )?;
        writeln!(f, "  disk               {:>12.2}   bytes an event", per_event(self.disk_bytes))?;
        writeln!(
            f,
            "  time               {:>12.2}   s, {:.0} events/s, {} commits",
            seconds,
            self.stored() as f64 / seconds,
            self.commits
        )?;
        write!(f, "  daemon             {:>12.2}   of one core", self.cpu.as_secs_f64() / seconds)?;
        if let Some((start, end)) = self.memory_kib {
            write!(f, "; {start} KiB of memory soon after the start, {end} at the end")?;
        }
        writeln!(f, "\n")?;
        for fault in &self.faults {
            writeln!(f, "  fault: {fault}")?;
        }
        for (number, device) in self.devices.iter().enumerate().filter(|(_, device)| !device.balances()) {
            let DeviceAccount { offered, dropped, stored, gap_events } = device;
            writeln!(
                f,
                "  device {number}: offered {offered}, dropped {dropped}, stored {stored}, in gaps {gap_events}"
            )?;
        }
        f.write_str(match (self.balances(), self.is_interrupted) {
            (true, _) => "The account balances: every event is stored once, or is in a recorded gap.",
            (false, true) => "Interrupted: the devices still held some of what they had offered.",
            (false, false) => "THE ACCOUNT DOES NOT BALANCE.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(devices: &[(u64, u64, u64)]) -> Account {
        let device = |&(offered, stored, gap_events)| DeviceAccount {
            offered,
            dropped: gap_events,
            stored,
            gap_events,
        };
        Account { devices: devices.iter().map(device).collect(), ..Account::default() }
    }

    #[test]
    fn an_account_balances_device_by_device() {
        assert!(account(&[(10, 8, 2), (5, 5, 0)]).balances());
        assert!(!account(&[(10, 9, 0), (5, 6, 0)]).balances());
        assert!(!Account { faults: vec!["a hole".into()], ..account(&[(1, 1, 0)]) }.balances());
        let mut hidden = account(&[(10, 8, 2)]);
        hidden.devices[0].dropped = 1;
        assert!(!hidden.balances(), "a gap hides an event that was not dropped");
    }

    #[test]
    fn the_json_has_the_promised_keys() {
        let json = account(&[(10, 8, 2), (5, 5, 0)]).to_json();
        assert_eq!((json["offered"].as_u64(), json["stored"].as_u64()), (Some(15), Some(13)));
        for key in ["duplicates_refused", "gap_events", "frames", "wire_bytes", "disk_bytes", "elapsed_s"] {
            assert!(json[key].is_number(), "{key}");
        }
    }

    #[test]
    fn what_does_not_balance_is_named() {
        let text = account(&[(10, 8, 2), (5, 4, 0)]).to_string();
        assert!(text.contains("device 1: offered 5, dropped 0, stored 4, in gaps 0"), "{text}");
        assert!(text.ends_with("DOES NOT BALANCE."), "{text}");
    }
}

//! The whole log of a daemon, and whether it holds what devices offered.

use std::{collections::HashMap, path::Path};

use serde_json::Value;
use varve_hw_tests::DeviceReport;

use crate::commands::lines;

/// A daemon's log from a place on, as `tail` prints it.
pub(crate) struct Log {
    first: u64,
    lines: Vec<Value>,
}

impl Log {
    /// The whole log.
    pub(crate) fn read(directory: &Path) -> Self {
        Self::read_from(0, directory)
    }

    /// The log from global sequence `first` on, before which there are no events of devices.
    pub(crate) fn read_from(first: u64, directory: &Path) -> Self {
        Self { first, lines: lines("tail", directory, &["--from", &first.to_string()]) }
    }

    pub(crate) fn gaps(&self) -> impl Iterator<Item = &Value> {
        self.lines.iter().filter(|line| line["stream"] == "varve.gap").map(|line| &line["event"])
    }

    /// Global and stream sequences have no holes.
    pub(crate) fn assert_sequences(&self) {
        let mut streams: HashMap<String, u64> = HashMap::new();
        for (global, line) in (self.first..).zip(&self.lines) {
            assert_eq!(line["global_seq"], global);
            let next = streams.entry(format!("{} {}", line["stream"], line["stream_id"])).or_default();
            assert_eq!(line["stream_seq"], *next, "{line}");
            *next += 1;
        }
    }

    /// Each device's events are there once and in order, but for those that its outbox dropped: these, and no others,
    /// are in gaps. The reports are of all devices, in any order.
    pub(crate) fn assert_holds(&self, reports: &[DeviceReport]) {
        self.assert_sequences();
        let mut devices: HashMap<u64, DeviceReport> = HashMap::new();
        for line in &self.lines {
            let event = &line["event"];
            let (device, first, len) = if line["stream"] == "varve.gap" {
                (event["device"].as_u64(), &event["first"], event["len"].as_u64().unwrap())
            } else {
                (line["stream_id"].as_u64().map(|id| id >> 8), &event["nth"], 0)
            };
            let held = devices.entry(device.unwrap()).or_default();
            assert_eq!(*first, held.offered, "{line}");
            held.offered += len.max(1);
            held.dropped += len;
        }
        let sorted = |mut reports: Vec<DeviceReport>| {
            reports.sort_unstable_by_key(|report| (report.offered, report.dropped));
            reports
        };
        assert_eq!(sorted(devices.into_values().collect()), sorted(reports.to_vec()));
    }
}

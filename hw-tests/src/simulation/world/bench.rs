//! A device on its bench.

use varve_core::DeviceId;

use crate::simulation::device::SimulatedDevice;
use crate::simulation::line::Line;

/// A device with its line, and where that is plugged in.
pub(super) struct Bench<'w> {
    pub(super) id: DeviceId,
    pub(super) device: SimulatedDevice<'w>,
    pub(super) up: Line,
    pub(super) down: Line,
    pub(super) plug: Option<Plug>,
    /// How many sessions the line has seen.
    pub(super) sessions: u64,
    pub(super) next_burst_us: u64,
    pub(super) events_left: u64,
}

/// A port of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plug {
    pub(super) gateway: usize,
    pub(super) port: usize,
}

impl Bench<'_> {
    /// When something happens here next, seen from `now_us`; `host_us`: when the host's link wants to be polled.
    pub(super) fn next_us(&self, now_us: u64, host_us: Option<u64>) -> u64 {
        let device_us = self.device.poll_timeout().map(|timeout_us| timeout_us.max(self.up.ready_at()));
        let host_us = host_us.map(|timeout_us| timeout_us.max(self.down.ready_at()));
        let ready =
            [self.up.ready_at(), self.down.ready_at()].into_iter().filter(|&ready_us| ready_us > now_us);
        let burst_us = (self.events_left > 0).then_some(self.next_burst_us);
        let events = [device_us, host_us, burst_us, self.up.next_arrival(), self.down.next_arrival()];
        events.into_iter().flatten().chain(ready).min().unwrap_or(u64::MAX)
    }
}

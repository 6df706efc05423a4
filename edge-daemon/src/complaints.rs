//! What a port's log is told of a device that misbehaves, at a bounded rate.

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::warn;
use varve_core::DeviceId;
use varve_device_proto::Refusal;

use crate::device_name::DeviceName;
use crate::rate_limit::RateLimit;

/// What has been told, and how often.
#[derive(Debug)]
pub(crate) struct Complaints {
    malformed: RateLimit,
    new_refusals: RateLimit,
    same_refusals: RateLimit,
    refused: Option<(DeviceId, Refusal)>,
}

impl Complaints {
    /// Nothing has been told.
    pub(crate) const fn new() -> Self {
        Self {
            malformed: RateLimit::new(PERIOD),
            new_refusals: RateLimit::new(NEW_PERIOD),
            same_refusals: RateLimit::new(PERIOD),
            refused: None,
        }
    }

    /// Tells that so many frames of `port` could not be read.
    pub(crate) fn tell_malformed(&mut self, port: &Path, frames: u64) {
        if let Some(frames) = self.malformed.admit(Instant::now(), frames) {
            warn!(port = %port.display(), frames, "frames that cannot be read were dropped");
        }
    }

    /// Tells that the device at `port` is refused.
    pub(crate) fn tell_refused(&mut self, port: &Path, device: DeviceId, reason: Refusal, detail: &str) {
        let is_same = self.refused.replace((device, reason)) == Some((device, reason));
        let limit = if is_same { &mut self.same_refusals } else { &mut self.new_refusals };
        if let Some(times) = limit.admit(Instant::now(), 1) {
            let device = DeviceName(device);
            warn!(port = %port.display(), %device, %reason, detail, times, "the device is refused");
        }
    }

    /// Notes that a device was admitted: the next refusal is a new one.
    pub(crate) const fn forget_refusal(&mut self) {
        self.refused = None;
    }
}

/// How often the log tells of what goes on being wrong, and of what is newly so.
const PERIOD: Duration = Duration::from_secs(10);
const NEW_PERIOD: Duration = Duration::from_secs(1);

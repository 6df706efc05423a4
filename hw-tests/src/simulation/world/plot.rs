//! The special part of a run: floods, sequences that wrap, clones.

use fastrand::Rng;

use super::World;
use super::bench::Plug;
use crate::simulation::log::Log;
use crate::simulation::scenario::{Plot, Scenario};
use crate::simulation::tap::Tap;

/// How far the plot has come. Until it is over no blow changes the history of device or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scene {
    /// The flood, or the usurper, comes then.
    Ebb { until_us: u64 },
    /// The log is to come to hold all below that sequence of the first device.
    Storing { next: u64 },
    /// Two copies of a device make histories of their own, the original a short one.
    Diverging { until_us: u64 },
    /// A usurper has the device's place until then.
    Usurped { until_us: u64 },
    /// The device is back until then, and its epoch is over.
    Banned { until_us: u64 },
    /// A clone stands in for its original until then.
    Standing { until_us: u64 },
    /// Nothing special happens any more.
    Over,
}

impl Scene {
    /// Where a plot begins.
    pub(super) fn first(scenario: &Scenario, rng: &mut Rng) -> Self {
        match scenario.plot {
            Plot::Ordinary | Plot::Pair => Self::Over,
            Plot::Flood { .. } | Plot::Wrap | Plot::Usurper => {
                Self::Ebb { until_us: rng.u64(0..scenario.duration_us / 4) }
            }
            Plot::Clone => Self::Diverging { until_us: DIVERGING_US_MAX },
        }
    }

    /// Whether a device must be silent, having offered so much.
    pub(super) fn silences(self, index: usize, offered: u64) -> bool {
        matches!(self, Self::Diverging { .. }) && index == ORIGINAL && offered >= ORIGINAL_OFFERED_MAX
    }
}

impl<L: Log, T: Tap> World<'_, L, T> {
    /// Goes on with the plot, if it is time.
    pub(super) fn play_on(&mut self) {
        self.scene = match self.scene {
            Scene::Ebb { until_us } if until_us <= self.now_us => self.end_ebb(),
            Scene::Storing { next } if self.stored_next() >= next || self.benches[0].events_left == 0 => {
                Scene::Over
            }
            Scene::Diverging { .. } if self.is_clone_ready() => self.swap_for_clone(),
            Scene::Diverging { until_us } if until_us <= self.now_us => Scene::Over,
            Scene::Standing { until_us } if until_us <= self.now_us => {
                self.swap_for_original();
                Scene::Over
            }
            Scene::Usurped { until_us } if until_us <= self.now_us => {
                self.truth.death(self.benches[CLONE].device.life());
                self.swap_for_original();
                Scene::Banned { until_us: self.now_us + BANNED_US }
            }
            Scene::Banned { until_us } if until_us <= self.now_us => {
                self.reset_device(ORIGINAL);
                Scene::Over
            }
            scene => scene,
        }
    }

    fn end_ebb(&mut self) -> Scene {
        let offered = self.benches[0].device.offered(&self.truth);
        match self.scenario.plot {
            Plot::Flood { events } => Scene::Storing { next: self.flood(events) },
            Plot::Usurper if self.is_epoch_stored() => self.swap_for_usurper(),
            Plot::Usurper if self.benches[ORIGINAL].events_left > 0 => self.scene,
            Plot::Usurper => Scene::Over,
            _ => {
                let before = self.rng.u64(100..600);
                self.flood(WRAP - before - offered);
                Scene::Storing { next: WRAP + 100 }
            }
        }
    }

    /// Lets the first device offer events at once until so many in a row were dropped; returns its next ordinal.
    fn flood(&mut self, dropped: u64) -> u64 {
        let device = &mut self.benches[0].device;
        let mut dropped_in_a_row = 0;
        while dropped_in_a_row < dropped {
            let is_kept = device.emit(self.now_us, &mut self.truth);
            dropped_in_a_row = if is_kept { 0 } else { dropped_in_a_row + 1 };
        }
        device.offered(&self.truth)
    }

    /// Whether both copies of the device have a history in one and the same epoch, the clone the longer one: then
    /// the chain alone can tell them apart.
    fn is_clone_ready(&self) -> bool {
        let epochs = [ORIGINAL, CLONE].map(|index| self.benches[index].device.tenure().map(|(key, _)| key));
        let clone_offered = self.benches[CLONE].device.offered(&self.truth);
        epochs[0].is_some() && epochs[0] == epochs[1] && (1..clone_offered).contains(&self.stored_next())
    }

    fn swap_for_clone(&mut self) -> Scene {
        // At times the original stays, and the host meets the same device at two ports.
        if self.rng.bool() {
            self.plug(ORIGINAL, None);
            self.plug(CLONE, Some(Plug { gateway: 0, port: 0 }));
        } else {
            self.plug(CLONE, Some(Plug { gateway: 0, port: 1 }));
        }
        Scene::Standing { until_us: self.now_us + STANDING_US }
    }

    /// Whether the log has the device's epoch: else a usurper would get it too.
    fn is_epoch_stored(&self) -> bool {
        let known = self.gateways[0].log().latest_epoch(self.benches[ORIGINAL].id);
        let tenure = self.benches[ORIGINAL].device.tenure();
        known.zip(tenure).is_some_and(|(known, (key, _))| known.epoch == key.epoch)
    }

    /// To the host a device without a history is one that was reset, whatever becomes of the other.
    fn swap_for_usurper(&mut self) -> Scene {
        self.truth.death(self.benches[ORIGINAL].device.life());
        self.plug(ORIGINAL, None);
        self.plug(CLONE, Some(Plug { gateway: 0, port: 0 }));
        Scene::Usurped { until_us: self.now_us + STANDING_US }
    }

    fn swap_for_original(&mut self) {
        self.plug(CLONE, None);
        self.plug(ORIGINAL, Some(Plug { gateway: 0, port: 0 }));
    }

    fn plug(&mut self, index: usize, plug: Option<Plug>) {
        self.benches[index].plug = plug;
        if let Some(Plug { gateway, port }) = plug {
            self.gateways[gateway].reopen(port, &mut self.coverage);
        }
    }

    /// The sequence that the log lacks next of the first device.
    fn stored_next(&self) -> u64 {
        let known = self.gateways[0].log().latest_epoch(self.benches[0].id);
        known.and_then(|known| known.lanes.first().map(|lane| lane.next.0)).unwrap_or(0)
    }
}

/// The sequence whose low 16 bits are those of the first.
const WRAP: u64 = 1 << 16;

/// The bench of a device that has a clone.
pub(super) const ORIGINAL: usize = 0;

/// The bench of its clone, or of a usurper.
pub(super) const CLONE: usize = 1;

/// How many events the original offers before the clone takes its place: few, so that the clone still holds its own
/// batches from there, and often one ends where one of the original does.
const ORIGINAL_OFFERED_MAX: u64 = 6;

/// How long the clone has to come by a history.
const DIVERGING_US_MAX: u64 = 10_000_000;

/// How long a device is plugged in whose epoch is over.
const BANNED_US: u64 = 6_000_000;

/// How long a clone or a usurper is plugged in.
const STANDING_US: u64 = 14_000_000;

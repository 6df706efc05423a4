//! What befalls the ends of a line.

use varve_device_proto::{DeviceState, HostState};

use super::World;
use super::bench::Plug;
use super::plot::Scene;
use crate::simulation::coverage::Coverage;
use crate::simulation::device::SimulatedDevice;
use crate::simulation::log::Log;
use crate::simulation::oracle::{Violation, judge};
use crate::simulation::scenario::Blow;
use crate::simulation::tap::Tap;

impl<L: Log, T: Tap> World<'_, L, T> {
    /// Strikes the next blow, if its time has come.
    pub(super) fn strike_blow(&mut self) -> Result<(), Violation> {
        if self.next_blow_us > self.now_us && !self.is_ambush() {
            return Ok(());
        }
        self.next_blow_us = self.now_us + self.rng.u64(1..=self.scenario.blow_us_max);
        let blow = self.scenario.blows[self.rng.usize(0..self.scenario.blows.len())];
        if self.scene != Scene::Over && blow.changes_history() {
            return Ok(());
        }
        let index = self.rng.usize(0..self.benches.len());
        // Most pauses leave the session alive, some are longer than it lives.
        let pause_us_max = if self.rng.u32(0..6) == 0 { PAUSE_US_MAX } else { PAUSE_US_MAX / 30 };
        let until_us = self.now_us + self.rng.u64(0..pause_us_max);
        let struck = match blow {
            Blow::DeviceReset => self.reset_device(index),
            Blow::HostCrash => self.crash_host(until_us),
            Blow::PortReopened => self.reopen_port(index),
            Blow::Outage => self.cut_line(index, until_us),
            Blow::StoreCopied => self.copy_store(),
            Blow::StoreRestored => self.restore_store(until_us)?,
            Blow::StoreReplaced => self.replace_store(until_us)?,
        };
        if struck {
            Coverage::count(&mut self.coverage.blows, blow);
        }
        Ok(())
    }

    /// Whether to strike while a link is on its way into a session: such moments are short.
    fn is_ambush(&mut self) -> bool {
        let is_on_its_way = self.benches.iter().any(|bench| {
            let host = bench.plug.map(|plug| self.gateways[plug.gateway].state(plug.port));
            !matches!(bench.device.state(), DeviceState::Apart | DeviceState::Live)
                || !matches!(host, None | Some(HostState::Apart | HostState::Live))
        });
        is_on_its_way && self.rng.u32(0..AMBUSH_ODDS) == 0
    }

    pub(super) fn reset_device(&mut self, index: usize) -> bool {
        if self.shelf.is_full() {
            return false;
        }
        let bench = &mut self.benches[index];
        Coverage::count(&mut self.coverage.device_states_at_reset, bench.device.state());
        self.truth.death(bench.device.life());
        bench.device =
            SimulatedDevice::start(bench.id, self.shelf, &mut self.truth, self.now_us, &mut self.rng);
        true
    }

    fn crash_host(&mut self, until_us: u64) -> bool {
        self.gateways[0].crash(until_us, &mut self.coverage);
        true
    }

    fn reopen_port(&mut self, index: usize) -> bool {
        let plug = self.benches[index].plug;
        if let Some(Plug { gateway, port }) = plug {
            self.gateways[gateway].reopen(port, &mut self.coverage);
        }
        plug.is_some()
    }

    fn cut_line(&mut self, index: usize, until_us: u64) -> bool {
        self.benches[index].up.cut_until(until_us);
        self.benches[index].down.cut_until(until_us);
        true
    }

    fn copy_store(&mut self) -> bool {
        self.gateways[0].copy_log();
        true
    }

    fn restore_store(&mut self, until_us: u64) -> Result<bool, Violation> {
        let has_copy = self.gateways[0].has_copy();
        if has_copy {
            self.lose_store(until_us)?;
            self.gateways[0].restore_log();
        }
        Ok(has_copy)
    }

    fn replace_store(&mut self, until_us: u64) -> Result<bool, Violation> {
        self.lose_store(until_us)?;
        self.gateways[0].replace_log();
        Ok(true)
    }

    /// The power fails, and what was stored is judged for the last time.
    fn lose_store(&mut self, until_us: u64) -> Result<(), Violation> {
        self.crash_host(until_us);
        let log = self.gateways[0].log();
        let verdict = judge(&log.account(), log.incarnation(), &self.truth)?;
        for (&life, &reached) in &verdict.reached {
            self.truth.forgive(life, reached);
        }
        self.note(&verdict);
        Ok(())
    }
}

/// The longest that an outage or a host without power lasts: longer than a session survives.
const PAUSE_US_MAX: u64 = 4_500_000;

/// One of so many steps on the way into a session is struck.
const AMBUSH_ODDS: u32 = 100;

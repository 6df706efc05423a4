//! Devices, lines and gateways under one virtual clock.
//!
//! ```text
//!  SimulatedDevice ── up ──► Gateway ── Log
//!        │        ◄─ down ──    │
//!        └──────── Truth ───────┴──── Account ───► judge
//! ```

mod bench;
mod blows;
mod plot;

use std::fmt;

use fastrand::Rng;
use varve_core::DeviceId;
use varve_device_proto::Refusal;

use super::coverage::Coverage;
use super::device::{Shelf, SimulatedDevice};
use super::gateway::Gateway;
use super::line::Line;
use super::log::Log;
use super::oracle::{Verdict, Violation, judge, judge_caught_up};
use super::scenario::{Plot, Scenario};
use super::tap::Tap;
use super::truth::Truth;
use bench::{Bench, Plug};
use plot::{CLONE, ORIGINAL, Scene};

/// Devices, lines and gateways under one virtual clock. Times are µs.
pub struct World<'w, L, T> {
    scenario: Scenario,
    now_us: u64,
    rng: Rng,
    shelf: &'w Shelf,
    truth: Truth,
    coverage: Coverage,
    gateways: Vec<Gateway<L>>,
    benches: Vec<Bench<'w>>,
    tap: T,
    next_blow_us: u64,
    /// How many steps the present moment has taken.
    steps_now: u32,
    scene: Scene,
}

/// A run that failed, and how to see it again.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The conditions.
    pub scenario: Scenario,
    /// When it showed.
    pub at_us: u64,
    /// What broke.
    pub violation: Violation,
}

impl<'w, L: Log, T: Tap> World<'w, L, T> {
    /// A world as the scenario wants it, with an empty log.
    pub fn new(scenario: Scenario, log: L, tap: T, shelf: &'w Shelf) -> Self {
        let mut rng = Rng::with_seed(scenario.seed ^ WORLD_SALT);
        let twin_gateway = (scenario.plot == Plot::Clone).then(|| log.fork());
        let ports = if matches!(scenario.plot, Plot::Pair | Plot::Clone) { 2 } else { 1 };
        let mut gateways = vec![Gateway::new(log, ports, scenario.flush_us_max, rng.fork())];
        // The clone's host never gets its flush through, so that the clone keeps all that it has.
        gateways.extend(twin_gateway.map(|log| Gateway::new(log, 1, NEVER_US, rng.fork())));
        let scene = Scene::first(&scenario, &mut rng);
        let mut world = Self {
            next_blow_us: rng.u64(0..=scenario.blow_us_max),
            scenario,
            now_us: 0,
            rng,
            shelf,
            truth: Truth::default(),
            coverage: Coverage { runs: 1, ..Coverage::default() },
            gateways,
            benches: Vec::new(),
            tap,
            steps_now: 0,
            scene,
        };
        world.set_up_benches();
        world
    }

    fn set_up_benches(&mut self) {
        let plug = |gateway, port| Some(Plug { gateway, port });
        let benches = match self.scenario.plot {
            Plot::Pair => vec![(FIRST_DEVICE, plug(0, 0)), (SECOND_DEVICE, plug(0, 1))],
            Plot::Clone => vec![(FIRST_DEVICE, plug(0, 0)), (FIRST_DEVICE, plug(1, 0))],
            Plot::Usurper => vec![(FIRST_DEVICE, plug(0, 0)), (FIRST_DEVICE, None)],
            _ => vec![(FIRST_DEVICE, plug(0, 0))],
        };
        for (id, plug) in benches {
            let Scenario { up, down, byte_ns, latency_us, .. } = self.scenario;
            let is_true = plug.is_some_and(|plug| plug.gateway == 0);
            let events_left = if is_true { self.scenario.events } else { CLONE_EVENTS };
            self.benches.push(Bench {
                id,
                device: SimulatedDevice::start(id, self.shelf, &mut self.truth, self.now_us, &mut self.rng),
                up: Line::new(self.rng.fork(), up, byte_ns, latency_us),
                down: Line::new(self.rng.fork(), down, byte_ns, latency_us),
                plug,
                sessions: 0,
                next_burst_us: self.rng.u64(0..=self.scenario.pause_us_max()),
                events_left,
            });
        }
    }

    /// Lives through the faults, then through a quiet end, and judges what is stored.
    ///
    /// # Errors
    ///
    /// The first law that was broken.
    pub fn run(mut self) -> Result<Coverage, Box<Failure>> {
        match self.live() {
            Ok(()) => Ok(self.coverage),
            Err(violation) => {
                Err(Box::new(Failure { scenario: self.scenario, at_us: self.now_us, violation }))
            }
        }
    }

    fn live(&mut self) -> Result<(), Violation> {
        while self.scene != Scene::Over || self.benches.iter().any(|bench| bench.events_left > 0) {
            self.step(u64::MAX)?;
            self.play_on();
            self.strike_blow()?;
        }
        self.calm_down();
        let calm_us = self.now_us;
        while self.now_us < calm_us + QUIET_US_MAX && !self.is_caught_up() {
            self.step(calm_us + QUIET_US_MAX)?;
        }
        self.coverage.caught_up_us_max = self.now_us - calm_us;
        self.judge_end()?;
        // What is still on its way, from whatever session, changes nothing any more.
        let drained_us = self.now_us + DRAIN_US;
        while self.now_us < drained_us {
            self.step(drained_us)?;
        }
        let verdict = self.judge_end()?;
        self.note(&verdict);
        self.coverage.offered = self.truth.lives().map(|(_, life)| life.offered).sum();
        self.coverage.offered_min = self.coverage.offered;
        for bench in &self.benches {
            self.coverage.faults.add(bench.up.counts());
            self.coverage.faults.add(bench.down.counts());
        }
        Ok(())
    }

    /// Lets the time go on to whatever happens next, or to `until_us`, and lets it happen.
    fn step(&mut self, until_us: u64) -> Result<(), Violation> {
        self.advance(self.next_us().min(until_us))?;
        for gateway in &mut self.gateways {
            gateway.poll(self.now_us);
        }
        for index in 0..self.benches.len() {
            self.deliver(index);
            self.emit(index);
            self.transmit(index);
            self.note_refusals(index)?;
        }
        Ok(())
    }

    /// # Errors
    ///
    /// [`Violation::Spinning`] where a timer asks for the same moment again and again.
    fn advance(&mut self, next_us: u64) -> Result<(), Violation> {
        if next_us > self.now_us {
            self.now_us = next_us;
            self.steps_now = 0;
        }
        self.steps_now += 1;
        if self.steps_now > STEPS_NOW_MAX { Err(Violation::Spinning) } else { Ok(()) }
    }

    fn next_us(&self) -> u64 {
        let benches = self.benches.iter().map(|bench| {
            let host_us =
                bench.plug.and_then(|plug| self.gateways[plug.gateway].poll_port_timeout(plug.port));
            bench.next_us(self.now_us, host_us)
        });
        let gateways = self.gateways.iter().filter_map(Gateway::poll_timeout);
        benches.chain(gateways).chain([self.next_blow_us]).min().unwrap_or(u64::MAX)
    }

    /// Hands over what has arrived.
    fn deliver(&mut self, index: usize) {
        let bench = &mut self.benches[index];
        while let Some(mut frame) = bench.up.poll_arrival(self.now_us) {
            self.tap.pass_up(index, &mut frame.bytes);
            let Some(plug) = bench.plug else { continue };
            let late = bench.sessions - frame.session;
            self.coverage.sessions_late_max = self.coverage.sessions_late_max.max(late);
            for piece in pieces(&mut self.rng, &frame.bytes) {
                let began = self.gateways[plug.gateway].handle_bytes(
                    self.now_us,
                    plug.port,
                    piece,
                    &mut self.coverage,
                );
                bench.sessions += began;
            }
        }
        while let Some(mut frame) = bench.down.poll_arrival(self.now_us) {
            self.tap.pass_down(index, &mut frame.bytes);
            let late = bench.sessions - frame.session;
            self.coverage.sessions_late_max = self.coverage.sessions_late_max.max(late);
            for piece in pieces(&mut self.rng, &frame.bytes) {
                bench.device.handle_bytes(self.now_us, piece, &mut self.truth);
            }
        }
    }

    /// Lets a device's sensors speak, if it is time.
    fn emit(&mut self, index: usize) {
        let bench = &mut self.benches[index];
        if bench.events_left == 0 || bench.next_burst_us > self.now_us {
            return;
        }
        if self.scene.silences(index, bench.device.offered(&self.truth)) {
            bench.next_burst_us = self.now_us + self.rng.u64(1..=self.scenario.pause_us_max());
            return;
        }
        let burst = self.rng.u64(1..=self.scenario.burst_max).min(bench.events_left);
        bench.events_left -= burst;
        bench.next_burst_us = self.now_us + self.rng.u64(0..=self.scenario.pause_us_max());
        for _ in 0..burst {
            bench.device.emit(self.now_us, &mut self.truth);
        }
    }

    /// Lets both ends of a line send as much as it takes now.
    fn transmit(&mut self, index: usize) {
        let bench = &mut self.benches[index];
        let mut bytes = [0; TRANSMIT_LEN_MAX];
        if bench.up.ready_at() <= self.now_us {
            let room = self.rng.usize(1..=TRANSMIT_LEN_MAX);
            let len = bench.device.poll_transmit(self.now_us, &mut bytes[..room], &mut self.truth);
            bench.up.transmit(self.now_us, &bytes[..len], bench.sessions);
        }
        let Some(plug) = bench.plug else { return };
        if bench.down.ready_at() <= self.now_us {
            let room = self.rng.usize(1..=TRANSMIT_LEN_MAX);
            let gateway = &mut self.gateways[plug.gateway];
            let len = gateway.poll_transmit(self.now_us, plug.port, &mut bytes[..room], &mut self.coverage);
            bench.down.transmit(self.now_us, &bytes[..len], bench.sessions);
        }
    }

    /// Notes why hosts refused a device.
    ///
    /// # Errors
    ///
    /// [`Violation::Refused`] where it was honest.
    fn note_refusals(&mut self, index: usize) -> Result<(), Violation> {
        while let Some(refusal) = self.benches[index].device.poll_refusal() {
            Coverage::count(&mut self.coverage.refusals, refusal.into());
            let is_just = match refusal {
                // A line that loses a descriptor again and again wears out a host's patience for a while.
                Refusal::Descriptor => true,
                Refusal::Chain | Refusal::Behind => self.scenario.plot == Plot::Clone && index == CLONE,
                Refusal::DuplicateDevice => self.scenario.plot == Plot::Clone,
                Refusal::EpochClosed => self.scenario.plot == Plot::Usurper && index == ORIGINAL,
                _ => false,
            };
            if !is_just {
                return Err(Violation::Refused { life: self.benches[index].device.life(), refusal });
            }
        }
        Ok(())
    }

    /// Ends all faults and blows.
    fn calm_down(&mut self) {
        self.next_blow_us = u64::MAX;
        for bench in &mut self.benches {
            bench.up.heal();
            bench.down.heal();
        }
    }

    /// Whether the log holds all that the devices on its ports ever offered, and they know it.
    fn is_caught_up(&self) -> bool {
        let log = self.gateways[0].log();
        self.plugged_in().all(|bench| {
            let Some((key, tenure)) = bench.device.tenure() else { return false };
            let offered = self.truth.life(tenure.life).map_or(0, |life| life.offered);
            let stored = log.latest_epoch(bench.id).filter(|known| known.epoch == key.epoch);
            let next = stored.map(|known| known.lanes.first().map_or(0, |lane| lane.next.0));
            key.incarnation == log.incarnation()
                && next.is_some_and(|next| tenure.base + next == offered)
                && bench.device.is_empty()
        })
    }

    fn plugged_in(&self) -> impl Iterator<Item = &Bench<'w>> {
        self.benches.iter().filter(|bench| bench.plug.is_some_and(|plug| plug.gateway == 0))
    }

    /// Judges the log after a quiet end, in which nothing may have been left behind.
    fn judge_end(&self) -> Result<Verdict, Violation> {
        let log = self.gateways[0].log();
        let account = log.account();
        let verdict = judge(&account, log.incarnation(), &self.truth)?;
        for bench in self.plugged_in() {
            judge_caught_up(&account, bench.device.life(), bench.device.tenure(), &self.truth)?;
        }
        Ok(verdict)
    }

    /// Notes what has occurred in a log that is left for good.
    fn note(&mut self, verdict: &Verdict) {
        let coverage = &mut self.coverage;
        coverage.stored += verdict.stored;
        coverage.gap_events += verdict.gap_events;
        coverage.wraps += verdict.wraps;
        coverage.gap_len_max = coverage.gap_len_max.max(verdict.gap_len_max);
        for &absence in &verdict.absences {
            Coverage::count(&mut coverage.absences, absence);
        }
    }
}

/// Cuts a frame into pieces as a port may hand it over.
fn pieces<'b>(rng: &mut Rng, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
    let (first, rest) = bytes.split_at(if rng.u32(0..4) == 0 { rng.usize(0..=bytes.len()) } else { 0 });
    [first, rest].into_iter().filter(|piece| !piece.is_empty())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, at_us, violation } = self;
        writeln!(f, "seed {}, after {} s: {violation}", scenario.seed, *at_us as f64 / 1e6)?;
        write!(f, "{scenario:?}")
    }
}

/// Keeps the dice of the world apart from those of the scenario.
const WORLD_SALT: u64 = 0x5EED_0F57_0A7E_D0D0;

/// The most bytes that an end hands to its line at once.
const TRANSMIT_LEN_MAX: usize = 256;

const FIRST_DEVICE: DeviceId = DeviceId(0xA1);
const SECOND_DEVICE: DeviceId = DeviceId(0xB2);

/// How many events a clone or a usurper offers.
const CLONE_EVENTS: u64 = 400;

/// The longest that it takes to store what is left, once the line is sound.
const QUIET_US_MAX: u64 = 60_000_000;

/// How long the world goes on after that: longer than any frame is late.
const DRAIN_US: u64 = 30_000_000;

/// A flush that never ends.
const NEVER_US: u64 = u64::MAX / 2;

/// More steps at one moment are a loop.
const STEPS_NOW_MAX: u32 = 20_000;

//! A device of the simulation: the real outbox and the real link, and a generator in place of sensors.

use std::cell::OnceCell;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use fastrand::Rng;
use varve_core::{DeviceId, Epoch, TimeColumn};
use varve_device_proto::{DeviceConfig, DeviceEvent, DeviceLink, DeviceState, Outbox, Refusal, ResetReason};

use super::emission::{CHANNELS, Emission, EmissionChannel, Note, Sample};
use super::truth::{EpochKey, LifeId, Tenure, Truth};

/// The outbox of a simulated device.
pub(super) type SimulatedOutbox = Outbox<NoopRawMutex, OUTBOX_RING_LEN, OUTBOX_SLOTS>;

/// Room for the outboxes of all lives of a world, since a link borrows its own.
pub struct Shelf(Vec<OnceCell<SimulatedOutbox>>);

/// A device with power.
pub(super) struct SimulatedDevice<'w> {
    id: DeviceId,
    life: LifeId,
    outbox: &'w SimulatedOutbox,
    link: DeviceLink<'w, NoopRawMutex, OUTBOX_RING_LEN, OUTBOX_SLOTS>,
    clock: DeviceClock,
    epoch: Option<(u64, Epoch)>,
    /// The ordinal of the event whose sequence is 0.
    base: u64,
}

/// A clock that starts at 0 with its device.
#[derive(Clone, Copy, Debug)]
struct DeviceClock {
    started_us: u64,
    tick_hz: u32,
}

impl Default for Shelf {
    fn default() -> Self {
        Self((0..LIVES_MAX).map(|_| OnceCell::new()).collect())
    }
}

impl Shelf {
    fn place(&self, life: LifeId) -> &SimulatedOutbox {
        let place = &self.0[life.0 as usize];
        place.get_or_init(|| Outbox::new(&CHANNELS, TimeColumn::Delta))
    }

    /// Whether another life would find no room.
    pub fn is_full(&self) -> bool {
        self.0.last().is_none_or(|last| last.get().is_some())
    }
}

impl<'w> SimulatedDevice<'w> {
    /// Gives a device power: it begins a life.
    pub(super) fn start(
        id: DeviceId,
        shelf: &'w Shelf,
        truth: &mut Truth,
        now_us: u64,
        rng: &mut Rng,
    ) -> Self {
        let life = truth.birth(id);
        let outbox = shelf.place(life);
        let tick_hz = [1_000_000, 32_768, 1_000][rng.usize(0..3)];
        // Devices without a source of randomness start each life with the same seed.
        let seed = if rng.bool() { rng.u64(..) } else { 0 };
        let config = DeviceConfig { device: id, tick_hz, reset: ResetReason::Unknown, seed };
        let clock = DeviceClock { started_us: now_us, tick_hz };
        Self { id, life, outbox, link: DeviceLink::new(config, outbox, 0), clock, epoch: None, base: 0 }
    }

    /// The present life.
    pub(super) fn life(&self) -> LifeId {
        self.life
    }

    /// How many events the present life has offered.
    pub(super) fn offered(&self, truth: &Truth) -> u64 {
        truth.life(self.life).map_or(0, |life| life.offered)
    }

    /// How far the link is on its way into a session.
    pub(super) fn state(&self) -> DeviceState {
        self.link.state()
    }

    /// Offers the next event to the outbox, and says whether there was room for it.
    ///
    /// # Panics
    ///
    /// Where the outbox gives it another sequence than the next one.
    pub(super) fn emit(&mut self, now_us: u64, truth: &mut Truth) -> bool {
        let (ordinal, sequence, is_kept) = self.offer(now_us, truth);
        assert_eq!(sequence + self.base, ordinal, "the sequence of {:?}'s event {ordinal}", self.life);
        is_kept
    }

    /// Takes in bytes from the line.
    pub(super) fn handle_bytes(&mut self, now_us: u64, bytes: &[u8], truth: &mut Truth) {
        self.link.handle_bytes(self.clock.ticks(now_us), bytes);
        self.note_epoch(now_us, truth);
        self.note_durable(truth);
    }

    /// The next bytes for the line.
    pub(super) fn poll_transmit(&mut self, now_us: u64, out: &mut [u8], truth: &mut Truth) -> usize {
        let len = self.link.poll_transmit(self.clock.ticks(now_us), out);
        self.note_durable(truth);
        len
    }

    /// When the link wants to be polled.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.link.poll_timeout().map(|ticks| self.clock.time_of(ticks))
    }

    /// The next refusal that the link has met.
    pub(super) fn poll_refusal(&mut self) -> Option<Refusal> {
        std::iter::from_fn(|| self.link.poll_event()).find_map(|event| match event {
            DeviceEvent::Refused(refusal) => Some(refusal),
            _ => None,
        })
    }

    /// Whether the device holds nothing any more.
    pub(super) fn is_empty(&self) -> bool {
        self.outbox.stats().held_events == 0
    }

    /// The epoch that the device is in, and since which ordinal.
    pub(super) fn tenure(&self) -> Option<(EpochKey, Tenure)> {
        let (incarnation, epoch) = self.epoch?;
        let key = EpochKey { incarnation, device: self.id, epoch };
        Some((key, Tenure { life: self.life, base: self.base }))
    }

    /// A store may have given the device an epoch, and its events new sequences.
    fn note_epoch(&mut self, now_us: u64, truth: &mut Truth) {
        if self.link.epoch() == self.epoch {
            return;
        }
        let is_rebased = self.epoch.is_some();
        self.epoch = self.link.epoch();
        if is_rebased {
            self.rebase(now_us, truth);
        }
        if let Some((key, tenure)) = self.tenure() {
            truth.take_up(key, tenure);
        }
    }

    /// Only the next event's sequence tells how the outbox counts from now on.
    fn rebase(&mut self, now_us: u64, truth: &mut Truth) {
        let (ordinal, sequence, _) = self.offer(now_us, truth);
        self.base = ordinal - sequence;
    }

    /// Offers the next event: its ordinal, the sequence that it got, and whether there was room for it.
    fn offer(&mut self, now_us: u64, truth: &mut Truth) -> (u64, u64, bool) {
        let life = truth.life_mut(self.life);
        let ordinal = life.offered;
        let (sequence, is_kept) = self.push(self.clock.ticks(now_us), &Emission::of(self.life, ordinal));
        life.offered += 1;
        if !is_kept {
            life.dropped.push(ordinal);
        }
        (ordinal, sequence, is_kept)
    }

    fn note_durable(&self, truth: &mut Truth) {
        let held = self.outbox.stats().held_events;
        let life = truth.life_mut(self.life);
        life.gave_up(life.offered - life.dropped.count() - held);
    }

    /// Pushes an event; its sequence, and whether there was room for it.
    fn push(&self, ticks: u64, emission: &Emission) -> (u64, bool) {
        let channel = emission.channel as usize;
        let pushed = match emission.channel {
            EmissionChannel::Note => {
                self.outbox.channel::<Note>(channel).map(|notes| notes.try_push(ticks, &emission.note()))
            }
            EmissionChannel::Sample | EmissionChannel::SecondSample => self
                .outbox
                .channel::<Sample>(channel)
                .map(|samples| samples.try_push(ticks, &emission.sample())),
        };
        match pushed.expect("the table names the channel's type") {
            Ok(sequence) => (sequence.0, true),
            Err(dropped) => (dropped.sequence.0, false),
        }
    }
}

impl DeviceClock {
    fn ticks(&self, now_us: u64) -> u64 {
        (now_us - self.started_us) * u64::from(self.tick_hz) / 1_000_000
    }

    /// The first µs at which the clock shows that many ticks.
    fn time_of(&self, ticks: u64) -> u64 {
        self.started_us + (ticks * 1_000_000).div_ceil(u64::from(self.tick_hz))
    }
}

/// The most lives of all devices of a world.
pub(super) const LIVES_MAX: usize = 128;

const OUTBOX_RING_LEN: usize = 4096;
const OUTBOX_SLOTS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_in_ticks_is_due_at_its_time_and_not_before() {
        for tick_hz in [1_000_000, 32_768, 1_000] {
            let clock = DeviceClock { started_us: 17, tick_hz };
            for ticks in [1, 2, 999, 32_769] {
                let time_us = clock.time_of(ticks);
                assert_eq!((clock.ticks(time_us), clock.ticks(time_us - 1)), (ticks, ticks - 1), "{tick_hz}");
            }
        }
    }
}

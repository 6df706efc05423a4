//! What really happened on the devices: which events each life of a device offered, which its outbox dropped, and
//! which it gave up because the host said that they are durable.

use std::collections::BTreeMap;
use std::ops::Range;

use varve_core::{DeviceId, Epoch};

/// What really happened, over all devices and lives of a world.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    lives: Vec<Life>,
    tenures: BTreeMap<EpochKey, Vec<Tenure>>,
}

/// One unbroken life of a device's memory, by its place in the order of births.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LifeId(pub u32);

/// An epoch that a store allotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EpochKey {
    /// The store, by its incarnation.
    pub incarnation: u64,
    /// The device.
    pub device: DeviceId,
    /// The epoch.
    pub epoch: Epoch,
}

/// A life within an epoch: the event of ordinal `base + n` has the sequence `n` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenure {
    /// Which life.
    pub life: LifeId,
    /// The first ordinal that belongs to the epoch.
    pub base: u64,
}

/// What one life of a device did. Its events have ordinals from 0, whatever sequences they get.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// The device's id.
    pub device: DeviceId,
    /// Whether its memory is gone.
    pub ended: bool,
    /// How many events it offered to its outbox.
    pub offered: u64,
    /// Those that the outbox dropped.
    pub dropped: Ranges,
    /// All below were given up by the device, for they were durable.
    pub durable: u64,
    /// The oldest that it may still hold.
    pub oldest: u64,
    /// All below may be missing in the log: the host lost its own memory after it had stored them.
    pub forgiven: u64,
}

impl Truth {
    /// A device starts.
    pub(super) fn birth(&mut self, device: DeviceId) -> LifeId {
        let dropped = Ranges::default();
        self.lives.push(Life {
            device,
            ended: false,
            offered: 0,
            dropped,
            durable: 0,
            oldest: 0,
            forgiven: 0,
        });
        LifeId(self.lives.len() as u32 - 1)
    }

    /// A device loses its memory.
    pub(super) fn death(&mut self, life: LifeId) {
        self.lives[life.0 as usize].ended = true;
    }

    /// The life of that number, if there was one.
    pub(super) fn life(&self, life: LifeId) -> Option<&Life> {
        self.lives.get(life.0 as usize)
    }

    /// All lives, in the order of their births.
    pub(super) fn lives(&self) -> impl Iterator<Item = (LifeId, &Life)> {
        self.lives.iter().enumerate().map(|(index, life)| (LifeId(index as u32), life))
    }

    /// The life of that number, to add to.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub(super) fn life_mut(&mut self, life: LifeId) -> &mut Life {
        &mut self.lives[life.0 as usize]
    }

    /// A life takes up an epoch that a store allotted to it.
    pub(super) fn take_up(&mut self, key: EpochKey, tenure: Tenure) {
        let tenures = self.tenures.entry(key).or_default();
        if !tenures.contains(&tenure) {
            tenures.push(tenure);
        }
    }

    /// Who has held that epoch. A store restored from an older copy may allot an epoch a second time.
    pub(super) fn tenures(&self, key: EpochKey) -> &[Tenure] {
        self.tenures.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The epochs that a store allotted to a device, in their order, and who held them.
    pub(super) fn epochs_of(
        &self,
        incarnation: u64,
        device: DeviceId,
    ) -> impl Iterator<Item = (EpochKey, &Tenure)> {
        let key = |epoch| EpochKey { incarnation, device, epoch };
        let epochs = self.tenures.range(key(Epoch(0))..=key(Epoch(u32::MAX)));
        epochs.flat_map(|(&key, tenures)| tenures.iter().map(move |tenure| (key, tenure)))
    }

    /// The host lost its memory, in which it had all events of a life below that ordinal.
    pub(super) fn forgive(&mut self, life: LifeId, reached: u64) {
        let forgiven = &mut self.life_mut(life).forgiven;
        *forgiven = reached.max(*forgiven);
    }
}

impl Life {
    /// Notes that the device no longer holds the first `count` of the events that it kept.
    pub(super) fn gave_up(&mut self, count: u64) {
        let durable = if count == 0 { 0 } else { self.dropped.nth_absent(count - 1) + 1 };
        self.durable = self.durable.max(durable);
        self.oldest = self.oldest.max(self.dropped.nth_absent(count));
    }

    /// Whether the log may lack these without breaking a promise to the device: it was never told that one of them is
    /// durable, or the host has forgotten since that it was.
    pub(super) fn may_lack(&self, ordinals: &Range<u64>) -> bool {
        ordinals.start >= self.durable || ordinals.end <= self.forgiven || self.durable <= self.forgiven
    }
}

/// A growing set of numbers, as ranges in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a number that is above all others.
    pub(super) fn push(&mut self, number: u64) {
        match self.0.last_mut() {
            Some(last) if last.end == number => last.end += 1,
            last => {
                assert!(last.is_none_or(|last| last.end < number), "{number} is out of order");
                self.0.push(number..number + 1);
            }
        }
    }

    /// Whether every number of `range` is in the set.
    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        let index = self.0.partition_point(|held| held.end <= range.start);
        range.is_empty()
            || self.0.get(index).is_some_and(|held| held.start <= range.start && range.end <= held.end)
    }

    /// The number that `count` others precede of those that are not in the set.
    pub(super) fn nth_absent(&self, count: u64) -> u64 {
        self.0.iter().fold(count, |number, range| {
            if range.start <= number { number + (range.end - range.start) } else { number }
        })
    }

    /// How many numbers the set holds.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_gave_up_counts_without_what_it_dropped() {
        let mut truth = Truth::default();
        let life = truth.birth(DeviceId(1));
        let life = truth.life_mut(life);
        for ordinal in [0, 3, 4] {
            life.dropped.push(ordinal);
        }
        for (count, durable) in [(0, 0), (1, 2), (2, 3), (3, 6), (4, 7)] {
            life.gave_up(count);
            assert_eq!(life.durable, durable, "{count}");
        }
        assert!(life.may_lack(&(7..9)) && !life.may_lack(&(6..9)));
        life.forgiven = 7;
        assert!(life.may_lack(&(6..9)));
    }

    #[test]
    fn ranges_grow_together_and_cover_what_they_hold() {
        let mut ranges = Ranges::default();
        for number in [2, 3, 4, 7, 8] {
            ranges.push(number);
        }
        assert_eq!(ranges, Ranges(vec![2..5, 7..9]));
        assert_eq!(ranges.count(), 5);
        for (range, covered) in [
            (2..5, true),
            (3..4, true),
            (7..9, true),
            (4..8, false),
            (1..3, false),
            (9..10, false),
            (6..6, true),
        ] {
            assert_eq!(ranges.covers(&range), covered, "{range:?}");
        }
    }
}

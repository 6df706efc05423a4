//! Faults of the line and resets of both sides, at random. The seed of a failure is in its message.

use crate::line::{Faults, Random};
use crate::pair::Pair;

/// Pushes 2,000 events while everything goes wrong, then lets the line heal.
fn check(seed: u64, faults: Faults) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9) | 1);
    let mut pair = Pair::new(seed);
    pair.piece_len = 1 + random.below(400) as usize;
    pair.to_host.faults = faults;
    pair.to_device.faults = faults;
    for value in 0..2_000 {
        let _ = pair.push(value);
        let pause = if random.hits(20) { random.below(2_000_000) } else { random.below(3_000) };
        pair.run(pause);
        if random.hits(2) {
            pair.restart_host();
        }
    }
    pair.to_host.faults = Faults::default();
    pair.to_device.faults = Faults::default();
    pair.drain();
    pair.run(10_000_000);
    pair.drain();
    pair.check_stored();
    assert_eq!(pair.store.latest().cursor.next.0, pair.outbox.stats().offered);
    assert!(pair.store.refused.is_empty(), "{:?}", pair.store.refused);
    assert_eq!(pair.store.epochs.len(), 1);
}

#[test]
fn nothing_is_lost_or_doubled_on_a_bad_line() {
    for seed in 1..=20 {
        eprintln!("seed {seed}");
        check(seed, Faults::all(10 * (seed % 6)));
    }
}

#[test]
fn every_life_of_a_resetting_device_is_conserved() {
    for seed in 100..110 {
        eprintln!("seed {seed}");
        let mut random = Random(seed);
        let mut pair = Pair::new(seed);
        pair.to_host.faults = Faults::all(20);
        pair.to_device.faults = Faults::all(20);
        for _ in 0..10 {
            for value in 0..100 {
                let _ = pair.push(value);
                pair.run(random.below(30_000));
            }
            if random.hits(500) {
                pair.restart_host();
            }
            if random.hits(500) {
                pair.reset_device();
            }
        }
        pair.to_host.faults = Faults::default();
        pair.to_device.faults = Faults::default();
        pair.drain();
        pair.check_stored();
        pair.store.epochs.values().for_each(|stored| stored.check_conservation());
        assert_eq!(pair.store.epochs.values().filter(|stored| !stored.closed).count(), 1);
    }
}

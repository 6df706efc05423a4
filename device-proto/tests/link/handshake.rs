//! How sessions begin and end.

use varve_core::Epoch;
use varve_device_proto::{DeviceEvent, GapReason, LostReason, Refusal};

use crate::pair::{CHANNELS, Pair};
use crate::store::Store;

#[test]
fn a_host_and_a_device_find_each_other() {
    let mut pair = Pair::new(1);
    pair.run_until("connected", |pair| pair.device.is_connected());
    assert!(pair.now < 10_000, "the host speaks first, and at once");
    assert_eq!(pair.device.epoch(), Some((0xfeed, Epoch(1))));
    assert!(matches!(pair.events[..], [DeviceEvent::Connected { .. }]));
    let clock = pair.store.sessions[0].clock;
    assert!(clock.host_us.abs_diff(clock.ticks) <= clock.uncertainty_us && clock.uncertainty_us <= 1_000);
}

#[test]
fn a_session_of_which_nobody_has_news_lives_on() {
    let mut pair = Pair::connected();
    pair.run(60_000_000);
    assert_eq!((pair.store.sessions.len(), pair.store.lost.len()), (1, 0));
    assert!(pair.store.statuses >= 59);
    assert_eq!(pair.device.stats().sessions, 1);
}

#[test]
fn descriptors_are_fetched_once_and_before_the_first_event() {
    let mut pair = Pair::new(1);
    pair.store.fetches = true;
    pair.push(7).unwrap();
    pair.drain();
    assert_eq!(pair.store.descriptors.len(), CHANNELS.len());
    pair.check_stored();
    let before = pair.store.descriptors.clone();
    pair.restart_host();
    pair.run(5_000_000);
    assert_eq!((pair.store.sessions.len(), &pair.store.descriptors), (2, &before));
}

#[test]
fn events_from_before_the_first_session_are_kept() {
    let mut pair = Pair::new(1);
    for value in 0..300 {
        pair.push(value).unwrap();
    }
    pair.drain();
    pair.check_stored();
}

#[test]
fn a_reset_device_begins_a_new_epoch_and_closes_the_old_one() {
    let mut pair = Pair::connected();
    pair.push(1).unwrap();
    pair.drain();
    pair.reset_device();
    pair.push(2).unwrap();
    pair.drain();
    assert_eq!(pair.store.lost, [LostReason::Reset]);
    assert_eq!(pair.store.epochs.len(), 2);
    assert!(pair.store.epochs[&1].closed && !pair.store.epochs[&2].closed);
    pair.check_stored();
}

#[test]
fn a_restarted_host_goes_on_where_its_store_is() {
    let mut pair = Pair::connected();
    for round in 0..5 {
        for value in 0..40 {
            pair.push(round * 100 + value).unwrap();
        }
        pair.run(1_500);
        pair.restart_host();
        pair.run(500_000);
    }
    pair.drain();
    assert_eq!(pair.store.epochs.len(), 1);
    pair.check_stored();
}

#[test]
fn an_epoch_that_was_never_stored_may_be_allotted_again() {
    let mut pair = Pair::new(1);
    pair.commit_us = 60_000_000;
    pair.run_until("connected", |pair| pair.device.is_connected());
    pair.restart_host();
    assert!(pair.store.epochs.is_empty());
    pair.commit_us = 2_000;
    pair.push(1).unwrap();
    pair.drain();
    assert_eq!(pair.store.epochs.keys().copied().collect::<Vec<_>>(), [1]);
    pair.check_stored();
}

#[test]
fn a_restored_host_records_a_gap_and_goes_on() {
    let mut pair = Pair::connected();
    pair.push(1).unwrap();
    pair.drain();
    let backup = pair.store.clone();
    pair.push(2).unwrap();
    pair.push(3).unwrap();
    pair.drain();
    pair.store = backup;
    pair.restart_host();
    pair.push(4).unwrap();
    pair.drain();
    let stored = pair.store.latest();
    stored.check_conservation();
    assert_eq!(stored.gaps, [(1, 2, GapReason::HostRestored)]);
    assert_eq!(stored.events.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn a_device_of_another_store_is_numbered_anew() {
    let mut pair = Pair::connected();
    for value in 0..5 {
        pair.push(value).unwrap();
    }
    pair.drain();
    for value in 5..9 {
        pair.push(value).unwrap();
    }
    pair.store = Store::new(0xbeef);
    pair.kept = (0..4).map(|at| (at, 5 + at as u32)).collect();
    pair.restart_host();
    pair.drain();
    assert_eq!(pair.device.epoch(), Some((0xbeef, Epoch(1))));
    pair.check_stored();
}

#[test]
fn a_clone_is_refused_by_its_chain() {
    let mut pair = Pair::connected();
    pair.push(1).unwrap();
    pair.run_until("stored", |pair| {
        pair.store.epochs.get(&1).is_some_and(|stored| stored.cursor.next.0 == 1)
    });
    // Another history of the same length under the same name.
    let cursor = &mut pair.store.epochs.get_mut(&1).unwrap().cursor;
    cursor.chain.0 ^= 1;
    pair.restart_host();
    pair.run(2_000_000);
    assert_eq!(pair.store.refused, [Refusal::Chain]);
    assert!(pair.events.contains(&DeviceEvent::Refused(Refusal::Chain)));
    assert_eq!(pair.store.sessions.len(), 1);
    assert!(!pair.device.is_connected());
}

#[test]
fn a_device_that_emitted_less_than_is_stored_is_refused_and_keeps_what_it_holds() {
    let mut pair = Pair::connected();
    pair.drain();
    pair.store.epochs.get_mut(&1).unwrap().cursor.next.0 = 9;
    pair.restart_host();
    pair.push(1).unwrap();
    pair.run(20_000_000);
    assert_eq!(pair.outbox.stats().held_events, 1);
    let refusals =
        pair.events.iter().filter(|event| **event == DeviceEvent::Refused(Refusal::Behind)).count();
    assert!((4..=6).contains(&refusals), "{refusals} refusals in 20 s: every 4 s");
}

#[test]
fn a_silent_line_ends_the_session_on_both_sides_and_its_return_begins_another() {
    let mut pair = Pair::connected();
    pair.to_host.faults.lost = 1_000;
    pair.to_device.faults.lost = 1_000;
    pair.push(1).unwrap();
    pair.run(3_100_000);
    assert_eq!(pair.store.lost, [LostReason::Silent]);
    assert_eq!(pair.events.last(), Some(&DeviceEvent::Silent));
    pair.run(20_000_000);
    pair.to_host.faults.lost = 0;
    pair.to_device.faults.lost = 0;
    let before = pair.now;
    pair.drain();
    assert!(pair.now - before < 5_000_000);
    pair.check_stored();
}

#[test]
fn a_frame_of_an_earlier_session_does_no_harm() {
    let mut pair = Pair::connected();
    for value in 0..10 {
        pair.push(value).unwrap();
    }
    pair.settle();
    let stale = pair.to_host.cut();
    assert!(stale.len() > 40, "a batch is under way");
    pair.restart_host();
    pair.drain();
    let bad_before = pair.host.stats().bad_frames;
    let duplicates_before = pair.host.stats().duplicates;
    pair.to_host.write(pair.now, &stale);
    pair.run(10_000);
    assert!(pair.host.stats().bad_frames > bad_before);
    assert_eq!(pair.host.stats().duplicates, duplicates_before);
    pair.check_stored();
}

#[test]
fn each_side_ignores_its_own_echo() {
    let mut pair = Pair::connected();
    pair.push(1).unwrap();
    pair.settle();
    let echo = pair.to_host.cut();
    pair.device.handle_bytes(pair.now, &echo);
    assert!(pair.device.stats().echoes > 0);
    pair.drain();
    pair.check_stored();
}

#[test]
fn a_late_hello_does_not_disturb_a_session() {
    let mut pair = Pair::new(1);
    pair.to_host.faults.doubled = 1_000;
    pair.run(20_000_000);
    assert_eq!(pair.store.sessions.len(), 1);
    assert!(pair.store.lost.is_empty());
}

#[test]
fn a_slow_line_still_connects() {
    let mut pair = Pair::new(1);
    pair.to_host.delay_us = 900_000;
    pair.to_device.delay_us = 300_000;
    pair.push(1).unwrap();
    pair.drain();
    pair.check_stored();
}

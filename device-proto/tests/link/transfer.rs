//! How events travel inside a session.

use varve_core::DeviceSequence;
use varve_device_proto::{BATCH_LEN_MAX, GapReason};

use crate::pair::{Pair, TestOutbox};

#[test]
fn events_arrive_in_order_and_once() {
    let mut pair = Pair::connected();
    for value in 0..5_000 {
        pair.push(value).unwrap();
        pair.run(200);
    }
    pair.drain();
    pair.check_stored();
    assert_eq!(pair.device.stats().resent, 0);
    assert_eq!(pair.host.stats().duplicates, 0);
}

#[test]
fn a_lone_event_leaves_at_once() {
    let mut pair = Pair::connected();
    pair.push(1).unwrap();
    let before = pair.now;
    pair.run_until("received", |pair| pair.host.stats().events == 1);
    assert_eq!(pair.now - before, pair.to_host.delay_us);
}

#[test]
fn events_gather_while_others_are_under_way() {
    let mut pair = Pair::connected();
    pair.to_host.delay_us = 15_000;
    for value in 0..11 {
        pair.push(value).unwrap();
        pair.run(1_000);
    }
    pair.drain();
    assert_eq!(pair.host.stats().batches, 2);
}

#[test]
fn events_wait_no_longer_than_the_linger() {
    let mut pair = Pair::connected();
    pair.to_device.delay_us = 1_000_000;
    pair.push(1).unwrap();
    pair.run(5_000);
    pair.push(2).unwrap();
    let before = pair.now;
    pair.run_until("received", |pair| pair.host.stats().events == 2);
    assert_eq!(pair.now - before, 20_000 + pair.to_host.delay_us);
}

#[test]
fn a_frame_leaves_a_byte_at_a_time() {
    let mut pair = Pair::connected();
    pair.piece_len = 1;
    for value in 0..500 {
        pair.push(value).unwrap();
    }
    pair.drain();
    pair.check_stored();
}

#[test]
fn a_full_outbox_drops_and_the_host_records_the_gap() {
    let mut pair = Pair::connected();
    pair.to_device.faults.lost = 1_000;
    let mut dropped = 0;
    for value in 0..3_000 {
        match pair.push(value) {
            Ok(_) => {}
            Err(lost) => {
                assert_eq!(
                    (lost.sequence, lost.reason),
                    (DeviceSequence(value.into()), GapReason::OutboxFull)
                );
                dropped += 1;
            }
        }
        pair.run(100);
    }
    assert!(dropped > 1_000);
    assert_eq!(pair.outbox.stats().dropped, dropped);
    pair.to_device.faults.lost = 0;
    pair.drain();
    pair.push(9_999).unwrap();
    pair.drain();
    pair.check_stored();
    let stored = pair.store.latest();
    assert_eq!(stored.gaps.iter().map(|(_, len, _)| len).sum::<u64>(), dropped);
    assert_eq!(stored.cursor.next.0, pair.outbox.stats().offered);
}

fn check_long_gap(len: u64) {
    let mut pair = Pair::connected();
    pair.to_device.faults.lost = 1_000;
    while pair.push(1).is_ok() {}
    for _ in 1..len {
        assert!(pair.push(2).is_err());
    }
    pair.to_device.faults.lost = 0;
    pair.run_until("room", |pair| pair.outbox.is_empty());
    for value in 0..300 {
        pair.push(value).unwrap();
    }
    pair.drain();
    pair.check_stored();
    let gaps: Vec<_> = pair.store.latest().gaps.iter().map(|(_, len, _)| *len).collect();
    assert_eq!(gaps, [len]);
}

#[test]
fn a_gap_may_be_longer_than_16_bits() {
    check_long_gap(200_000);
}

#[test]
fn a_gap_of_exactly_a_turn_of_the_short_sequence_is_no_confusion() {
    check_long_gap(0x1_0000);
    check_long_gap(0x3_0000);
}

#[test]
fn a_gap_does_not_grow_once_it_was_sent() {
    let mut pair = Pair::connected();
    pair.to_device.faults.lost = 1_000;
    while pair.push(1).is_ok() {}
    pair.run(2_000_000);
    assert!(pair.device.stats().gaps_sent > 0 || pair.device.stats().batches_sent > 0);
    for value in 0..10 {
        let _ = pair.push(value);
    }
    pair.to_device.faults.lost = 0;
    pair.drain();
    pair.check_stored();
}

#[test]
fn the_short_sequence_wraps() {
    let mut pair = Pair::connected();
    pair.commit_us = 1;
    for value in 0..140_000 {
        while pair.outbox.stats().held_bytes > 3_000 {
            let end = pair.now + 1_000;
            pair.advance(end);
        }
        pair.push(value).unwrap();
    }
    pair.drain();
    pair.check_stored();
    assert_eq!(pair.store.latest().events.len(), 140_000);
}

#[test]
fn nothing_is_sent_without_credit() {
    let mut pair = Pair::new(1);
    pair.store.credit = 0;
    for value in 0..400 {
        pair.push(value).unwrap();
    }
    pair.run(10_000_000);
    assert_eq!(pair.device.stats().batches_sent, 0);
    // The news of the credit is lost, and is repeated.
    pair.to_device.faults.lost = 1_000;
    pair.store.credit = 10_000;
    pair.host.set_credit(crate::store::LANE, 10_000);
    pair.run(900_000);
    pair.to_device.faults.lost = 0;
    pair.drain();
    pair.check_stored();
}

#[test]
fn credit_bounds_what_is_under_way() {
    let mut pair = Pair::new(1);
    pair.store.credit = 1;
    pair.run_until("connected", |pair| pair.device.is_connected());
    pair.run(10_000);
    for value in 0..800 {
        pair.push(value).unwrap();
    }
    let sent_before = pair.to_host.bytes;
    pair.settle();
    assert!(pair.to_host.bytes - sent_before <= TestOutbox::BATCH_LEN_MAX as u64 + 18);
    pair.drain();
    pair.check_stored();
    assert_eq!(pair.host.stats().over_credit, 0);
}

#[test]
fn what_is_received_is_not_sent_again_while_the_disk_is_slow() {
    let mut pair = Pair::connected();
    pair.commit_us = 2_500_000;
    for value in 0..200 {
        pair.push(value).unwrap();
    }
    pair.drain();
    assert_eq!(pair.device.stats().resent, 0);
    pair.check_stored();
}

#[test]
fn small_batches_leave_slots_for_large_ones_while_the_disk_is_slow() {
    let mut pair = Pair::connected();
    pair.commit_us = 2_000_000;
    for value in 0..450 {
        pair.push(value).expect("4 KiB hold 450 events of 4 bytes and their times");
        pair.run(1_000);
    }
    pair.drain();
    pair.check_stored();
}

#[test]
fn a_lost_batch_comes_again_within_a_round_trip() {
    let mut pair = Pair::connected();
    for value in 0..20 {
        pair.push(value).unwrap();
        pair.run(10_000);
    }
    pair.to_host.faults.lost = 1_000;
    pair.push(100).unwrap();
    pair.settle();
    pair.to_host.faults.lost = 0;
    let before = pair.now;
    pair.run(1_000);
    pair.push(101).unwrap();
    pair.run_until("received", |pair| pair.host.stats().events == 22);
    assert!(pair.now - before < 30_000, "took {} µs", pair.now - before);
    assert_eq!((pair.host.stats().out_of_order, pair.device.stats().timeouts), (1, 0));
    pair.drain();
    pair.check_stored();
}

/// A pair with one batch that the host has, and the device does not know it and is sending it again.
fn resending() -> (Pair, Vec<u8>) {
    let mut pair = Pair::connected();
    for value in 0..50 {
        pair.push(value).unwrap();
    }
    pair.to_device.delay_us = 10_000_000;
    pair.run(10_000);
    let ack = pair.to_device.cut();
    pair.now = pair.device.poll_timeout().unwrap();
    let mut piece = [0; 20];
    assert_eq!(pair.device.poll_transmit(pair.now, &mut piece), piece.len());
    assert_eq!(pair.device.stats().timeouts, 1);
    pair.to_host.write(pair.now, &piece);
    pair.to_device.delay_us = 1_000;
    (pair, ack)
}

#[test]
fn a_batch_that_is_being_sent_is_not_forgotten() {
    let (mut pair, ack) = resending();
    pair.device.handle_bytes(pair.now, &ack);
    assert_eq!(pair.outbox.stats().held_events, 50);
    pair.settle();
    assert!(pair.outbox.is_empty());
    pair.run(10_000);
    assert_eq!((pair.host.stats().duplicates, pair.host.stats().bad_frames), (1, 0));
}

#[test]
fn a_frame_of_an_earlier_session_is_given_up_half_way() {
    let (mut pair, _) = resending();
    pair.restart_host();
    pair.drain();
    pair.check_stored();
    assert_eq!(pair.device.stats().aborted, 0, "the hello waits for the end of the frame");
    let (mut pair, _) = resending();
    pair.device.handle_bytes(pair.now + 3_000_000, &[]);
    pair.now += 3_000_000;
    pair.settle();
    assert_eq!(pair.device.stats().aborted, 1);
    pair.drain();
    pair.check_stored();
}

#[test]
fn an_acknowledgement_that_was_overtaken_changes_nothing() {
    let (mut pair, ack) = resending();
    pair.settle();
    pair.drain();
    for value in 50..60 {
        pair.push(value).unwrap();
    }
    pair.device.handle_bytes(pair.now, &ack);
    pair.drain();
    assert_eq!(pair.device.stats().ignored, 0);
    pair.check_stored();
}

#[test]
fn one_loss_makes_the_device_go_back_once() {
    let mut pair = Pair::connected();
    pair.to_host.delay_us = 50_000;
    for value in 0..20 {
        pair.push(value).unwrap();
        pair.drain();
    }
    pair.to_host.faults.lost = 1_000;
    pair.push(100).unwrap();
    pair.settle();
    pair.to_host.faults.lost = 0;
    for value in 0..8 {
        pair.run(25_000);
        pair.push(value).unwrap();
    }
    pair.drain();
    pair.check_stored();
    // The lost one, and three behind it that were under way when the loss showed.
    assert_eq!((pair.device.stats().resent, pair.device.stats().timeouts), (4, 0));
    assert!(pair.host.stats().out_of_order >= 2);
}

#[test]
fn a_full_frame_of_any_content_has_at_most_18_bytes_of_overhead() {
    use varve_device_proto::{FrameEncoder, SHORT_SEQUENCE_LEN, Seal};
    for content in [0u8, 1, 0xff] {
        let mut batch = vec![content; SHORT_SEQUENCE_LEN + 1 + 4 + 64 * 20];
        batch[0] = 3;
        let mut encoder = FrameEncoder::new();
        let mut wire = [0; BATCH_LEN_MAX];
        encoder.begin(Seal::Session(1));
        let len = encoder.poll(&mut &batch[..], &mut wire);
        assert!(encoder.is_idle());
        assert!(len - 64 * 20 <= 18, "{} bytes of overhead", len - 64 * 20);
    }
}

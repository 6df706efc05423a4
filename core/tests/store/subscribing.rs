//! A subscription catches up, then follows, and neither skips nor repeats an event.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use varve_core::{
    Config, EVENT_LEN_MAX, GlobalSequence, ReadError, RetentionPolicy, StreamId, Subscription,
    TURN_EVENTS_MAX, Turn, Varve,
};

use crate::damage::large_door;
use crate::{Door, Reading, absence, new_dir, open, reading};

/// The events that a turn has left.
fn seen(turn: &mut Turn<'_>) -> Vec<u64> {
    turn.iter().unwrap().map(|event| event.unwrap().global_seq.0).collect()
}

fn try_seen(subscription: &mut Subscription) -> Option<Vec<u64>> {
    subscription.try_next_turn().unwrap().map(|mut turn| seen(&mut turn))
}

#[test]
fn a_turn_takes_what_is_stored_up_to_its_bound() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    let len = TURN_EVENTS_MAX as u64;
    stream.append_batch(StreamId(0), &vec![7; TURN_EVENTS_MAX + 5]).unwrap();
    let mut subscription = varve.subscribe(GlobalSequence(2));
    assert_eq!(try_seen(&mut subscription), Some((2..len + 2).collect()));
    assert_eq!(try_seen(&mut subscription), Some((len + 2..len + 5).collect()));
    assert_eq!(try_seen(&mut subscription), None);
    assert_eq!(subscription.next_global_seq(), GlobalSequence(len + 5));
}

#[test]
fn what_a_turn_did_not_give_comes_again() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append_batch(StreamId(0), &[7; 5]).unwrap();
    let mut subscription = varve.subscribe(GlobalSequence(0));
    let mut turn = subscription.try_next_turn().unwrap().unwrap();
    assert_eq!((turn.len(), turn.is_empty()), (5, false));
    assert_eq!(turn.iter().unwrap().take(2).count(), 2);
    assert_eq!(turn.len(), 3);
    drop(turn);
    let mut turn = subscription.try_next_turn().unwrap().unwrap();
    assert_eq!(seen(&mut turn), [2, 3, 4]);
    assert!(turn.is_empty());
    assert!(seen(&mut turn).is_empty());
    drop(turn);
    subscription.seek(GlobalSequence(3));
    assert_eq!(try_seen(&mut subscription), Some(vec![3, 4]));
}

#[test]
fn a_turn_sees_the_log_as_it_began_and_the_next_one_goes_on_there() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append(StreamId(0), &0).unwrap();
    let mut subscription = varve.subscribe(GlobalSequence(0));
    let mut turn = subscription.try_next_turn().unwrap().unwrap();
    stream.append(StreamId(0), &1).unwrap();
    assert_eq!(seen(&mut turn), [0]);
    drop(turn);
    assert_eq!(try_seen(&mut subscription), Some(vec![1]));
}

#[test]
fn a_future_turn_wakes_with_the_commit_and_may_be_dropped() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    let mut subscription = varve.subscribe(GlobalSequence(1));
    let mut context = Context::from_waker(Waker::noop());
    assert!(pin!(assert_send(subscription.next_turn())).poll(&mut context).is_pending());
    let mut turn = pin!(subscription.next_turn());
    stream.append(StreamId(0), &reading(0)).unwrap();
    assert!(turn.as_mut().poll(&mut context).is_pending(), "the event before the place does not count");
    stream.append(StreamId(0), &reading(1)).unwrap();
    let Poll::Ready(turn) = turn.poll(&mut context) else { panic!("there is an event") };
    assert_eq!(seen(&mut turn.unwrap()), [1]);
}

#[test]
fn events_come_once_and_in_order_while_they_are_written() {
    const EVENTS: u64 = 3_000;
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    thread::scope(|scope| {
        for from in [0, 1, EVENTS / 2] {
            let mut subscription = varve.subscribe(GlobalSequence(from));
            scope.spawn(move || {
                let mut next = from;
                while next < EVENTS {
                    for event in subscription.next_turn_blocking().unwrap().iter().unwrap() {
                        let event = event.unwrap();
                        assert_eq!(event.archived::<u64>().unwrap().to_native(), next);
                        next += 1;
                    }
                }
            });
        }
        for n in 0..EVENTS {
            stream.append(StreamId(n % 3), &n).unwrap();
        }
    });
}

#[test]
fn a_subscription_holds_nothing_between_turns() {
    let dir = new_dir();
    let mut config = Config::default();
    config.readers_max = 1;
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append(StreamId(0), &0).unwrap();
    let mut subscription = varve.subscribe(GlobalSequence(0));
    let turn = subscription.try_next_turn().unwrap().unwrap();
    assert!(matches!(varve.snapshot(), Err(ReadError::TooManyReaders)));
    drop(turn);
    let snapshot = varve.snapshot().unwrap();
    assert!(matches!(subscription.try_next_turn(), Err(ReadError::TooManyReaders)));
    drop(snapshot);
    assert_eq!(try_seen(&mut subscription), Some(vec![0]), "a failure costs no event");
}

#[test]
fn damage_is_an_error_that_stays_until_it_is_passed() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
    for _ in 0..2 {
        doors.append(StreamId(0), &large_door("Ada")).unwrap();
    }
    varve.fold().unwrap();
    varve.stream::<u64, 8>("numbers").unwrap().append(StreamId(0), &2).unwrap();
    drop((varve, doors));
    crate::damage::break_block(dir.path(), 1);
    let varve = open(&dir);
    let mut subscription = varve.subscribe(GlobalSequence(0));
    let mut turn = subscription.try_next_turn().unwrap().unwrap();
    let events: Vec<_> = turn.iter().unwrap().map(|event| event.is_ok()).collect();
    assert_eq!(events, [true, false]);
    drop(turn);
    for _ in 0..2 {
        let mut turn = subscription.try_next_turn().unwrap().unwrap();
        assert!(matches!(turn.iter(), Err(ReadError::Corrupt(_))));
    }
    subscription.seek(GlobalSequence(2));
    assert_eq!(try_seen(&mut subscription), Some(vec![2]));
}

#[test]
fn what_was_retired_is_told_once_however_much_it_is() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    let end = 40 * TURN_EVENTS_MAX as u64;
    stream.append_batch(StreamId(0), &(0..end).collect::<Vec<_>>()).unwrap();
    let mut policy = RetentionPolicy::default();
    policy.events_max = Some(5);
    let first = varve.retain(&policy).unwrap().first;
    assert!(first.0 > TURN_EVENTS_MAX as u64, "more is gone than a turn has");
    let mut subscription = varve.subscribe(GlobalSequence(3));
    let mut turn = subscription.try_next_turn().unwrap().unwrap();
    let told: Vec<_> = turn.iter().unwrap().map(absence).collect();
    assert_eq!((told.len(), &told[0].log), (1, &Some(GlobalSequence(3)..first)));
    assert!(turn.is_empty());
    drop(turn);
    let mut left = Vec::new();
    while let Some(seen) = try_seen(&mut subscription) {
        left.extend(seen);
    }
    assert!(left.into_iter().eq(first.0..end));
}

#[test]
fn a_blocked_thread_wakes_for_a_single_event() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    let mut subscription = varve.subscribe(GlobalSequence(0));
    let (told, tells) = mpsc::channel();
    thread::spawn(move || while told.send(seen(&mut subscription.next_turn_blocking().unwrap())).is_ok() {});
    for n in 0..20 {
        stream.append(StreamId(0), &n).unwrap();
        let seen = tells.recv_timeout(Duration::from_secs(20)).expect("the thread woke");
        assert_eq!(seen, [n]);
    }
}

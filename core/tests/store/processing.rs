//! A processor handles every event, resumes where its cursor stands, and is not stopped by a poison event.

use std::cell::{Cell, RefCell};

use varve_core::{
    APPEND_OPERATIONS_MAX, AppendError, Config, EVENT_LEN_MAX, Effects, Event, EventHandler, EventView,
    GlobalSequence, HANDLER_ATTEMPTS_MAX, HandlerError, POISON_REASON_LEN_MAX, PROCESSOR_TURN_EVENTS_MAX,
    PoisonEvent, Processor, ProcessorError, Progress, ReadError, Stream, StreamId, Varve,
};

use crate::damage::large_door;
use crate::{Door, new_dir, open};

/// A store with the numbers 0 to `len` in the stream "numbers", one commit each.
fn with_numbers(dir: &tempfile::TempDir, len: u64) -> Varve {
    let mut varve = open(dir);
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    for n in 0..len {
        numbers.append(StreamId(0), &n).unwrap();
    }
    varve
}

/// A handler that appends the number of each event to the stream "copies".
pub(crate) fn copy_to(copies: &Stream<u64, 8>) -> impl EventHandler + '_ {
    move |event: &EventView<'_>, effects: &mut Effects<'_>| {
        if event.stream_name == "numbers" {
            effects.event(copies, StreamId(0), &event.archived::<u64>()?.to_native())?;
        }
        Ok(())
    }
}

pub(crate) fn copies(varve: &Varve) -> Vec<u64> {
    let reader = varve.stream_reader::<u64>("copies").unwrap();
    let copies = reader.iter_stream(StreamId(0), None).unwrap();
    copies.iter().map(|event| event.unwrap().archived.to_native()).collect()
}

/// The reports of poison events: the consumer, the place, the attempts and the reason.
fn reports(varve: &Varve) -> Vec<(String, u64, u32, String)> {
    let reader = varve.stream_reader::<PoisonEvent>(PoisonEvent::STREAM).unwrap();
    let reports = reader.iter_stream(PoisonEvent::STREAM_ID, None).unwrap();
    let report = |event: Result<varve_core::StreamEvent<'_, PoisonEvent>, ReadError>| {
        let report = event.unwrap().archived;
        let (place, attempts) = (report.global_seq.to_native(), report.attempts.to_native());
        (report.consumer.to_string(), place, attempts, report.reason.to_string())
    };
    reports.iter().map(report).collect()
}

fn progress<H: EventHandler>(processor: &mut Processor<H>) -> Option<(usize, usize, u64)> {
    let turn = processor.try_turn().unwrap();
    turn.map(|Progress { handled, set_aside, next, .. }| (handled, set_aside, next.0))
}

fn finish<H: EventHandler>(processor: &mut Processor<H>) {
    while processor.try_turn().unwrap().is_some() {}
}

#[test]
fn a_processor_resumes_where_its_cursor_stands() {
    let dir = new_dir();
    let varve = with_numbers(&dir, 10);
    let seen = RefCell::new(Vec::new());
    let note = |event: &EventView<'_>, _: &mut Effects<'_>| {
        seen.borrow_mut().push(event.global_seq.0);
        Ok(())
    };
    let mut processor = Processor::new(&varve, "notes", note).unwrap().commit_every(4);
    assert_eq!(progress(&mut processor), Some((4, 0, 4)));
    assert_eq!(varve.consumer("notes").unwrap(), Some(GlobalSequence(4)));
    drop((processor, varve));
    let varve = open(&dir);
    let mut processor = Processor::new(&varve, "notes", note).unwrap();
    assert_eq!(progress(&mut processor), Some((6, 0, 10)));
    assert_eq!(progress(&mut processor), None);
    assert_eq!(seen.take(), (0..10).collect::<Vec<_>>());
    Processor::new(&varve, "others", note).unwrap().try_turn().unwrap();
    assert_eq!(seen.take(), (0..10).collect::<Vec<_>>(), "each name has a cursor of its own");
}

#[test]
fn a_turn_has_a_bound() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    numbers.append_batch(StreamId(0), &vec![7; PROCESSOR_TURN_EVENTS_MAX + 1]).unwrap();
    let ignore = |_: &EventView<'_>, _: &mut Effects<'_>| Ok(());
    let mut processor = Processor::new(&varve, "turns", ignore).unwrap().commit_every(usize::MAX);
    let len = PROCESSOR_TURN_EVENTS_MAX;
    assert_eq!(progress(&mut processor), Some((len, 0, len as u64)));
    assert_eq!(progress(&mut processor), Some((1, 0, len as u64 + 1)));
    let mut processor = Processor::new(&varve, "small turns", ignore).unwrap().commit_every(0);
    assert_eq!(progress(&mut processor), Some((1, 0, 1)));
}

#[test]
fn effects_are_stored_once_though_another_processor_has_the_same_name() {
    let dir = new_dir();
    let mut varve = with_numbers(&dir, 3);
    let stream = varve.stream::<u64, 8>("copies").unwrap();
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    let is_first = Cell::new(true);
    let outrun = |event: &EventView<'_>, effects: &mut Effects<'_>| {
        if is_first.replace(false) {
            finish(&mut Processor::new(&varve, "copies", copy_to(&stream)).unwrap());
        }
        copy_to(&stream).handle(event, effects)
    };
    let mut processor = Processor::new(&varve, "copies", outrun).unwrap();
    let error = processor.try_turn().unwrap_err();
    let expected = Some(GlobalSequence(6));
    assert!(
        matches!(
            error,
            ProcessorError::Append(AppendError::ConsumerMoved { expected: None, actual }) if actual == expected
        ),
        "{error}"
    );
    finish(&mut processor);
    assert_eq!(copies(&varve), [0, 1, 2]);
    numbers.append(StreamId(0), &3).unwrap();
    finish(&mut processor);
    assert_eq!(copies(&varve), [0, 1, 2, 3], "nothing is left of the turn that failed");
}

#[test]
fn a_poison_event_is_set_aside_and_reported_with_what_it_was() {
    let dir = new_dir();
    let mut varve = with_numbers(&dir, 5);
    let stream = varve.stream::<u64, 8>("copies").unwrap();
    let given = Cell::new(0);
    let reason = "ä".repeat(POISON_REASON_LEN_MAX);
    let refuse_two = |event: &EventView<'_>, effects: &mut Effects<'_>| {
        copy_to(&stream).handle(event, effects)?;
        if event.global_seq == GlobalSequence(2) {
            given.set(given.get() + 1);
            return Err(HandlerError::from(reason.as_str()));
        }
        Ok(())
    };
    let mut processor = Processor::new(&varve, "copies", refuse_two).unwrap();
    assert_eq!(progress(&mut processor), Some((2, 0, 2)), "what precedes it is committed");
    assert_eq!(copies(&varve), [0, 1]);
    for _ in 2..HANDLER_ATTEMPTS_MAX {
        assert_eq!(progress(&mut processor), Some((0, 0, 2)));
    }
    assert_eq!(progress(&mut processor), Some((0, 1, 3)));
    finish(&mut processor);
    assert_eq!(given.get(), HANDLER_ATTEMPTS_MAX);
    assert_eq!(copies(&varve), [0, 1, 3, 4], "a refused event has no effects");
    let kept = reason[..POISON_REASON_LEN_MAX].to_owned();
    assert_eq!(reports(&varve), [("copies".into(), 2, HANDLER_ATTEMPTS_MAX, kept)]);
    let mut append = varve.begin();
    append.consumer("copies", GlobalSequence(2)).unwrap();
    append.commit().unwrap();
    assert_eq!(
        progress(&mut processor),
        Some((0, 0, 2)),
        "an event that is asked for again has all attempts"
    );
}

#[test]
fn an_event_that_is_handled_after_all_is_no_poison() {
    let dir = new_dir();
    let mut varve = with_numbers(&dir, 2);
    let stream = varve.stream::<u64, 8>("copies").unwrap();
    let given = Cell::new(0u32);
    let late = |event: &EventView<'_>, effects: &mut Effects<'_>| {
        given.set(given.get() + 1);
        copy_to(&stream).handle(event, effects)?;
        if given.get().is_multiple_of(HANDLER_ATTEMPTS_MAX) { Ok(()) } else { Err("not yet".into()) }
    };
    let mut processor = Processor::new(&varve, "copies", late).unwrap();
    while varve.consumer("copies").unwrap() < Some(GlobalSequence(2)) {
        processor.try_turn().unwrap();
    }
    assert_eq!(copies(&varve), [0, 1]);
    assert_eq!(reports(&varve), []);
}

#[test]
fn a_handler_that_refuses_everything_comes_to_an_end() {
    let dir = new_dir();
    let varve = with_numbers(&dir, 3);
    let refuse = |_: &EventView<'_>, _: &mut Effects<'_>| Err(HandlerError::from("no"));
    let mut processor = Processor::new(&varve, "no", refuse).unwrap();
    finish(&mut processor);
    let places: Vec<u64> = reports(&varve).iter().map(|report| report.1).collect();
    assert_eq!(places, [0, 1, 2], "a report that is refused makes no report");
    assert_eq!(varve.consumer("no").unwrap(), Some(GlobalSequence(6)));
}

#[test]
fn effects_that_fill_an_append_are_committed_in_several_turns() {
    const LEN: usize = 60_000;
    let dir = new_dir();
    let mut varve = with_numbers(&dir, 400);
    let blobs = varve.stream::<[u8; LEN], LEN>("blobs").unwrap();
    let given = Cell::new(0);
    let expand = |event: &EventView<'_>, effects: &mut Effects<'_>| {
        given.set(given.get() + 1);
        if event.stream_name == "numbers" {
            effects.event(&blobs, StreamId(0), &[event.global_seq.0 as u8; LEN])?;
        }
        Ok(())
    };
    finish(&mut Processor::new(&varve, "blobs", expand).unwrap());
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(800));
    assert_eq!(given.get(), 800, "no event met a full append and came again");
    assert_eq!(reports(&varve), []);
}

#[test]
fn one_event_may_have_as_many_effects_as_an_append_holds() {
    let dir = new_dir();
    let mut varve = with_numbers(&dir, 1);
    let stream = varve.stream::<u64, 8>("copies").unwrap();
    let expand = |event: &EventView<'_>, effects: &mut Effects<'_>| {
        let copies = if event.stream_name == "numbers" { APPEND_OPERATIONS_MAX as u64 } else { 0 };
        (0..copies).try_for_each(|copy| effects.event(&stream, StreamId(0), &copy))?;
        Ok(())
    };
    let mut processor = Processor::new(&varve, "expands", expand).unwrap();
    assert_eq!(progress(&mut processor), Some((1, 0, 1)));
    assert_eq!(copies(&varve).len(), APPEND_OPERATIONS_MAX);
}

#[test]
fn the_map_may_grow_under_a_processors_commit() {
    const LEN: usize = 60_000;
    let dir = new_dir();
    let mut config = Config::default();
    config.map_size = Some(1 << 20);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    numbers.append_batch(StreamId(0), &[7; 40]).unwrap();
    let blobs = varve.stream::<[u8; LEN], LEN>("blobs").unwrap();
    let expand = |event: &EventView<'_>, effects: &mut Effects<'_>| {
        if event.stream_name == "numbers" {
            effects.event(&blobs, StreamId(0), &[7; LEN])?;
        }
        Ok(())
    };
    finish(&mut Processor::new(&varve, "blobs", expand).unwrap());
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(80));
}

#[test]
fn damage_stops_a_processor_after_the_events_before_it() {
    let dir = new_dir();
    let mut varve = with_numbers(&dir, 2);
    let mut doors = varve.stream::<Door, EVENT_LEN_MAX>("doors").unwrap();
    (0..2).for_each(|_| assert!(doors.append(StreamId(0), &large_door("Ada")).is_ok()));
    varve.fold().unwrap();
    varve.stream::<u64, 8>("numbers").unwrap().append_batch(StreamId(0), &[2, 3]).unwrap();
    drop((varve, doors));
    crate::damage::break_block(dir.path(), 3);
    let varve = open(&dir);
    let ignore = |_: &EventView<'_>, _: &mut Effects<'_>| Ok(());
    let mut processor = Processor::new(&varve, "reads", ignore).unwrap();
    assert_eq!(progress(&mut processor), Some((3, 0, 3)));
    for _ in 0..2 {
        let error = processor.try_turn().unwrap_err();
        assert!(matches!(error, ProcessorError::Read(ReadError::Corrupt(_))), "{error}");
    }
    let mut append = varve.begin();
    append.consumer("reads", GlobalSequence(4)).unwrap();
    append.commit().unwrap();
    assert_eq!(progress(&mut processor), Some((2, 0, 6)), "it goes on where it was sent");
}

#[test]
fn a_processor_has_a_name() {
    let dir = new_dir();
    let varve = with_numbers(&dir, 1);
    let ignore = |_: &EventView<'_>, _: &mut Effects<'_>| Ok(());
    let error = Processor::new(&varve, "", ignore).unwrap_err();
    assert!(matches!(error, AppendError::ConsumerName { len: 0 }), "{error}");
}

#[cfg(feature = "notify")]
mod running {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_run_handles_what_is_there_and_what_comes() {
        let dir = new_dir();
        let mut varve = with_numbers(&dir, 3);
        let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
        let handled = Cell::new(0);
        let count = |_: &EventView<'_>, _: &mut Effects<'_>| {
            handled.set(handled.get() + 1);
            Ok(())
        };
        let mut processor = Processor::new(&varve, "counts", count).unwrap().commit_every(2);
        let mut context = Context::from_waker(Waker::noop());
        let mut run = pin!(processor.run());
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert_eq!(handled.get(), 2, "other tasks run after a turn");
        for _ in 0..3 {
            assert!(run.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(handled.get(), 3);
        numbers.append(StreamId(0), &3).unwrap();
        assert!(run.as_mut().poll(&mut context).is_pending());
        assert_eq!(handled.get(), 4);
        assert_eq!(varve.consumer("counts").unwrap(), Some(GlobalSequence(4)));
    }

    #[test]
    fn a_blocked_run_wakes_for_a_single_event_and_ends_with_an_error() {
        let dir = new_dir();
        let mut varve = with_numbers(&dir, 0);
        let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
        let (told, tells) = mpsc::channel();
        let (mut thief, stolen) = (varve.begin(), GlobalSequence(3));
        thief.consumer("tells", stolen).unwrap();
        let tell = move |event: &EventView<'_>, _: &mut Effects<'_>| {
            if event.global_seq == GlobalSequence(9) {
                thief.commit()?;
            }
            Ok(told.send(event.global_seq.0)?)
        };
        let mut processor = Processor::new(&varve, "tells", tell).unwrap();
        let run = thread::spawn(move || processor.run_blocking().unwrap_err());
        for n in 0..10 {
            numbers.append(StreamId(0), &n).unwrap();
            assert_eq!(tells.recv_timeout(Duration::from_secs(20)), Ok(n));
        }
        let error = run.join().unwrap();
        assert!(
            matches!(
                &error,
                ProcessorError::Append(AppendError::ConsumerMoved { actual, .. }) if *actual == Some(stolen)
            ),
            "{error}"
        );
    }
}

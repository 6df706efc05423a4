//! What the store that Varve grew from gets wrong, each as a test that passes here. Its follow loop has a test of
//! its own, `seed_follow.rs`; damage that it hides is in `damage.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use varve_core::{GlobalSequence, ReadError, StreamId, StreamSequence};

use crate::{Door, door, new_dir, open};

#[test]
fn a_tailing_reader_sees_every_event_while_appends_race_and_fail() {
    const WRITERS: u64 = 4;
    const APPENDS: u64 = 300;
    let dir = new_dir();
    let mut varve = open(&dir);
    let done = AtomicBool::new(false);
    let handles: Vec<_> = (0..WRITERS).map(|_| varve.stream::<Door, 64>("doors").unwrap()).collect();
    thread::scope(|scope| {
        let tail = scope.spawn(|| {
            let mut next = 0;
            loop {
                let finished = done.load(Ordering::Acquire);
                let snapshot = varve.snapshot().unwrap();
                for event in snapshot.iter_from(GlobalSequence(next)).unwrap() {
                    assert_eq!(event.unwrap().global_seq.0, next, "an event was skipped");
                    next += 1;
                }
                if finished {
                    return next;
                }
            }
        });
        let writers: Vec<_> = (0..)
            .zip(handles)
            .map(|(writer, mut stream)| {
                scope.spawn(move || {
                    for n in 0..APPENDS {
                        if n % 7 == 3 {
                            assert!(stream.append(StreamId(writer), &door(&"x".repeat(65))).is_err());
                        }
                        let (seq, _) = stream.append(StreamId(writer), &door("Ada")).unwrap();
                        assert_eq!(seq.0, n);
                    }
                })
            })
            .collect();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::Release);
        assert_eq!(tail.join().unwrap(), WRITERS * APPENDS);
    });
}

#[test]
fn two_handles_on_one_stream_never_collide() {
    const APPENDS: u64 = 1_000;
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut streams =
        [varve.stream::<u64, 8>("numbers").unwrap(), varve.stream::<u64, 8>("numbers").unwrap()];
    thread::scope(|scope| {
        for stream in &mut streams {
            scope.spawn(|| {
                (0..APPENDS).map(|n| stream.append(StreamId(1), &n)).all(|appended| appended.is_ok())
            });
        }
    });
    let seqs: Vec<_> = streams[0].reader().iter_stream(StreamId(1), None).unwrap().collect_bytes().unwrap();
    assert_eq!(seqs.len() as u64, 2 * APPENDS);
    assert!(seqs.iter().zip(0..).all(|((seq, _), n)| seq.0 == n));
}

#[test]
fn neither_names_nor_megabytes_run_out() {
    let dir = new_dir();
    let mut varve = open(&dir);
    for n in 0..300 {
        let mut stream = varve.stream::<u64, 8>(&format!("stream-{n}")).unwrap();
        stream.append_batch(StreamId(n), &[n; 10_000]).unwrap();
    }
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(3_000_000));
    assert_eq!(varve.streams().unwrap().len(), 300);
}

#[test]
fn one_thread_appends_while_it_iterates() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append_batch(StreamId(1), &[1, 2, 3]).unwrap();
    let mut readers = [stream.reader(), stream.reader()];
    for event in &stream.reader().iter_stream(StreamId(1), None).unwrap() {
        let number = event.unwrap().archived.to_native();
        let (seq, _) = stream.append(StreamId(2), &number).unwrap();
        let found = readers.each_mut().map(|reader| reader.get_archived(StreamId(2), seq).unwrap().unwrap());
        assert!(found.iter().all(|found| **found == number));
    }
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(6));
}

#[test]
fn a_name_is_as_long_as_it_may_be_or_refused() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let longest = "é".repeat(127) + "x";
    varve.stream::<u64, 8>(&longest).unwrap().append(StreamId(1), &9).unwrap();
    let events = varve.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap();
    assert_eq!(events[0].stream_name, longest);
    for name in ["x".repeat(256), String::new(), "x".repeat(100_000)] {
        let error = varve.stream::<u64, 8>(&name).unwrap_err();
        assert!(matches!(error, ReadError::StreamName { len } if len == name.len()), "{error}");
    }
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn the_last_stream_id_is_a_stream_like_any_other() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append_batch(StreamId(u64::MAX), &[1, 2]).unwrap();
    stream.append_batch(StreamId(u64::MAX - 1), &[3]).unwrap();
    stream.append_batch(StreamId(0), &[4]).unwrap();
    let events = stream.reader().iter_stream(StreamId(u64::MAX), None).unwrap();
    assert_eq!(events.iter().map(|event| event.unwrap().archived.to_native()).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn types_of_one_size_are_not_one_type() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append(StreamId(1), &0x0807_0605_0403_0201).unwrap();
    let error = varve.stream::<[u8; 8], 8>("numbers").unwrap_err();
    assert!(matches!(error, ReadError::LayoutMismatch(_)), "{error}");
    assert!(varve.stream::<i64, 8>("numbers").is_err());
    assert_eq!(
        *stream.reader().get_archived(StreamId(1), StreamSequence(0)).unwrap().unwrap(),
        0x0807_0605_0403_0201
    );
}

#[test]
fn readers_and_writers_move_between_threads() {
    fn assert_send<T: Send>(_: &T) {}
    let dir = new_dir();
    let mut varve = open(&dir);
    let stream = varve.stream::<u64, 8>("numbers").unwrap();
    assert_send(&varve);
    assert_send(&stream);
    assert_send(&stream.reader());
    assert_send(&varve.global_reader());
    assert_send(&varve.snapshot().unwrap());
    assert_send(&stream.reader().iter_stream(StreamId(0), None).unwrap());
    assert_send(&varve.begin());
}

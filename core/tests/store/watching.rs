//! A watcher wakes when there is something to read, and not before.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use varve_core::{GlobalReader, GlobalSequence, Stream, StreamId, Varve};

use crate::{Reading, new_dir, open, reading, scaled};

#[test]
fn a_wait_ends_with_the_commit_that_makes_the_event_readable() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    let watcher = stream.watcher();
    let mut context = Context::from_waker(Waker::noop());
    let mut wait = pin!(watcher.wait_for_global_seq(GlobalSequence(2)));
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending);
    stream.append_batch(StreamId(0), &[reading(0), reading(1)]).unwrap();
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Pending, "the event after the last cannot be read");
    stream.append(StreamId(0), &reading(2)).unwrap();
    assert_eq!(wait.as_mut().poll(&mut context), Poll::Ready(GlobalSequence(2)));
    assert!(varve.global_reader().get_bytes(GlobalSequence(2)).unwrap().is_some());
    let mut old = pin!(watcher.wait_for_global_seq(GlobalSequence(0)));
    assert_eq!(old.as_mut().poll(&mut context), Poll::Ready(GlobalSequence(0)));
}

/// Reads the event that it was to wait for.
struct ReadingWaker {
    reader: GlobalReader,
    from: GlobalSequence,
    found: mpsc::Sender<bool>,
}

impl Wake for ReadingWaker {
    fn wake(self: Arc<Self>) {
        let _ = self.found.send(self.reader.clone().get_bytes(self.from).unwrap().is_some());
    }
}

/// Whatever made the event readable: a commit, one that does not fit the tail, a flush, or what looks after a store.
#[test]
fn whoever_is_woken_may_read_at_once() {
    type Commit = fn(&mut Varve, &mut Stream<Reading, 32>);
    let commits: [Commit; 4] = [
        |_, stream| {
            stream.append(StreamId(0), &reading(0)).unwrap();
        },
        |_, stream| {
            stream.append_batch(StreamId(0), &vec![reading(0); 100_000]).unwrap();
        },
        |varve, stream| {
            commit_relaxed(varve, stream);
            varve.flush().unwrap();
        },
        |varve, stream| {
            commit_relaxed(varve, stream);
            varve.fold().unwrap();
        },
    ];
    for commit in commits {
        let dir = new_dir();
        let mut varve = open(&dir);
        let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
        let (found, told) = mpsc::channel();
        let from = GlobalSequence(0);
        let waker = Arc::new(ReadingWaker { reader: varve.global_reader(), from, found }).into();
        let watcher = varve.watcher();
        let mut wait = pin!(watcher.wait_for_global_seq(from));
        assert_eq!(wait.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        thread::spawn(move || commit(&mut varve, &mut stream));
        assert!(told.recv_timeout(Duration::from_secs(60)).expect("it reads, and waits for nobody"));
    }
}

fn commit_relaxed(varve: &mut Varve, stream: &Stream<Reading, 32>) {
    let mut append = varve.begin();
    append.event(stream, StreamId(0), &reading(0)).unwrap();
    append.commit_relaxed().unwrap();
}

#[test]
fn every_waiting_thread_wakes() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    thread::scope(|scope| {
        let waits: Vec<_> = (0..8)
            .map(|n| {
                let watcher = varve.watcher();
                scope.spawn(move || watcher.wait_for_global_seq_blocking(GlobalSequence(n)))
            })
            .collect();
        for n in 0..8 {
            thread::sleep(Duration::from_millis(1));
            stream.append(StreamId(0), &reading(n)).unwrap();
        }
        let woken: Vec<_> = waits.into_iter().map(|wait| wait.join().unwrap().0).collect();
        assert_eq!(woken, (0..8).collect::<Vec<_>>());
    });
}

#[test]
fn a_watched_view_can_be_opened_again_as_soon_as_it_is_dropped() {
    let dir = new_dir();
    drop(open(&dir));
    for round in 0..scaled(2_000) {
        let view = Varve::open_read_only(dir.path()).unwrap();
        let watcher = view.watcher();
        // Whatever the thread behind it is doing just then.
        let dropped = Instant::now() + Duration::from_micros(round % 300);
        while Instant::now() < dropped {}
        drop((view, watcher));
    }
}

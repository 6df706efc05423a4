//! The documented follow loop of the store that Varve grew from, which there sees nothing: here it sees every
//! event.
#![cfg(feature = "notify")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};

use varve_core::{GlobalSequence, StreamId, Varve};

const EVENTS: u64 = 2_000;

#[test]
fn the_follow_loop_sees_every_event() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let mut varve = Varve::with_config(dir.path(), relaxed())?;
    let mut stream = varve.stream::<u64, 8>("numbers")?;
    let producer = thread::spawn(move || {
        for number in 0..EVENTS / 2 {
            stream.append(StreamId(number % 3), &number).unwrap();
            stream.append_batch(StreamId(3), &[number]).unwrap();
        }
    });
    let seen = block_on(follow(&varve))?;
    producer.join().unwrap();
    assert_eq!(seen, (0..EVENTS).collect::<Vec<_>>());
    Ok(())
}

async fn follow(varve: &Varve) -> Result<Vec<u64>, Box<dyn std::error::Error>> {
    let watcher = varve.watcher();
    let mut seen = Vec::new();

    // In an async context (works with any runtime: tokio, async-std, smol, etc.)
    let mut cursor = GlobalSequence(0);
    loop {
        // Try to read new events
        let reader = varve.global_reader();
        let iter = reader.iter_from(cursor)?;
        let events = iter.collect_all()?;
        if events.is_empty() {
            if cursor.0 == EVENTS {
                return Ok(seen);
            }
            // No new events - efficiently wait for writes instead of polling
            cursor = watcher.wait_for_global_seq(cursor).await;
        } else {
            // Process events...
            for event in events {
                seen.push(event.global_seq.0);
                cursor = GlobalSequence(event.global_seq.0 + 1);
            }
        }
    }
}

fn relaxed() -> varve_core::Config {
    let mut config = varve_core::Config::default();
    config.durability = varve_core::Durability::Relaxed;
    config
}

/// The smallest runtime there is: it parks the thread until the future is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

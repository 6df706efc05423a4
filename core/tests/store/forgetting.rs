//! Threads append while others fold, retire and shred what is stored, and followers in two processes hear of every place of
//! the log once and in order: of an event, or why it cannot be had.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use varve_core::{
    AbsenceReason, Config, EventView, GlobalSequence, ReadError, RetentionPolicy, Stream, StreamId,
    TAIL_LEN_MIN, Varve, VarveView,
};

use crate::second_process::start;
use crate::{Door, door, new_dir_in_memory, relaxed, scaled};

#[test]
fn followers_hear_of_every_place_while_events_are_retired_and_shredded() {
    let mut absent = 0;
    for _ in 0..scaled(20) {
        let dir = new_dir_in_memory();
        let mut varve = Varve::with_config(dir.path(), config()).unwrap();
        let mut other_process = start("follow what is forgotten", dir.path());
        let followers = start_followers(varve.view());
        forget_while_appending(&mut varve);
        for _ in 0..followers.count {
            // A wake-up that is lost is a follower that waits for ever.
            let heard = followers.ended.recv_timeout(PATIENCE).expect("every follower comes to the end");
            assert_eq!(heard.next, varve.next_global_seq().unwrap().0);
            absent += heard.absent;
        }
        assert!(other_process.wait().unwrap().success());
    }
    assert!(absent > 0, "nobody was late enough to miss anything");
}

/// What the second process does.
pub(crate) fn follow_what_is_forgotten(path: &Path) {
    follow(&Varve::open_read_only_with_config(path, config()).unwrap());
}

/// Followers in this process, and what they tell when they come to the end.
struct Followers {
    count: usize,
    ended: std::sync::mpsc::Receiver<Heard>,
}

/// Each on a thread that is left alone if it never ends.
fn start_followers(view: &VarveView) -> Followers {
    let (end, ended) = channel();
    let ways: &[fn(&VarveView) -> Heard] = &[
        follow,
        follow_slowly,
        #[cfg(feature = "notify")]
        wait_and_follow,
    ];
    let count = ways.len();
    for way in ways {
        let (view, end) = (view.clone(), end.clone());
        thread::spawn(move || end.send(way(&view)));
    }
    Followers { count, ended }
}

fn forget_while_appending(varve: &mut Varve) {
    let doors = varve.stream::<Door, 2_048>("doors").unwrap();
    let mut end = varve.stream::<u64, 8>(END).unwrap();
    let is_over = AtomicBool::new(false);
    let varve = &*varve;
    thread::scope(|scope| {
        let appenders: Vec<_> = (0..APPENDERS)
            .map(|id| (doors.clone(), id))
            .map(|(doors, id)| scope.spawn(move || append(doors, id)))
            .collect();
        let is_over = &is_over;
        scope.spawn(|| repeat(is_over, |_| varve.fold().unwrap()));
        let mut policy = RetentionPolicy::default();
        policy.events_max = Some(EVENTS_KEPT);
        scope.spawn(move || {
            repeat(is_over, |_| {
                varve.retain(&policy).unwrap();
            })
        });
        #[cfg(feature = "encryption")]
        scope.spawn(|| repeat(is_over, |turn| shred(varve, StreamId(turn % APPENDERS))));
        appenders.into_iter().for_each(|appender| appender.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
    });
    end.append(StreamId(0), &0).unwrap();
}

/// Appends doors, each with its stream and its place there as its text.
fn append(mut doors: Stream<Door, 2_048>, id: u64) {
    let mut next = 0;
    for turn in 0..COMMITS {
        let batch: Vec<_> = (next..=next + turn % 3).map(|seq| door(&text(id, seq))).collect();
        next += batch.len() as u64;
        doors.append_batch(StreamId(id), &batch).unwrap();
    }
}

/// Does something again and again, each time with its number.
fn repeat(is_over: &AtomicBool, work: impl FnMut(u64)) {
    (0..).take_while(|_| !is_over.load(Ordering::Relaxed)).for_each(work);
}

#[cfg(feature = "encryption")]
fn shred(varve: &Varve, id: StreamId) {
    match varve.shred("doors", id) {
        // It holds nothing yet.
        Ok(()) | Err(varve_core::AppendError::Keys(varve_core::KeysError::NotSealed { .. })) => {}
        Err(error) => panic!("{error}"),
    }
    thread::sleep(Duration::from_millis(5));
}

fn text(id: u64, seq: u64) -> String {
    format!("{id} {seq} {:900}", "")
}

/// What a follower has heard of.
#[derive(Default)]
struct Heard {
    next: u64,
    absent: u64,
    has_ended: bool,
}

impl Heard {
    fn hear(&mut self, event: Result<EventView<'_>, ReadError>) {
        match event {
            Ok(event) => {
                assert_eq!(event.global_seq.0, self.next, "an event was skipped or came again");
                self.next += 1;
                self.has_ended = event.stream_name == END;
                if !self.has_ended {
                    let text = text(event.stream_id.0, event.stream_seq.0);
                    assert_eq!(event.archived::<Door>().unwrap().who, text.as_str());
                }
            }
            Err(ReadError::Absent(gone)) => {
                assert!(matches!(gone.reason, AbsenceReason::Retired | AbsenceReason::Shredded), "{gone}");
                let range = gone.log.expect("it is told in the log");
                assert_eq!(range.start.0, self.next, "a place was skipped or came again");
                assert!(range.end.0 > self.next, "{range:?} is no place");
                self.absent += range.end.0 - range.start.0;
                self.next = range.end.0;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Looks again and again at what has come, until the event that ends the round.
fn follow(view: &VarveView) -> Heard {
    follow_every(Duration::ZERO, view)
}

/// The same, and late, so that much is gone by then.
fn follow_slowly(view: &VarveView) -> Heard {
    follow_every(Duration::from_millis(50), view)
}

fn follow_every(period: Duration, view: &VarveView) -> Heard {
    let (mut heard, start) = (Heard::default(), Instant::now());
    while !heard.has_ended {
        assert!(start.elapsed() < PATIENCE, "only {} places came", heard.next);
        thread::sleep(period);
        let snapshot = match view.snapshot() {
            Ok(snapshot) => snapshot,
            // The owner was faster than the reading.
            Err(ReadError::Overtaken) => continue,
            Err(error) => panic!("{error}"),
        };
        snapshot.iter_from(GlobalSequence(heard.next)).unwrap().for_each(|event| heard.hear(event));
    }
    heard
}

/// The same by a subscription.
#[cfg(feature = "notify")]
fn wait_and_follow(view: &VarveView) -> Heard {
    let (mut heard, mut subscription) = (Heard::default(), view.subscribe(GlobalSequence(0)));
    while !heard.has_ended {
        let mut turn = subscription.next_turn_blocking().unwrap();
        turn.iter().unwrap().for_each(|event| heard.hear(event));
    }
    heard
}

/// A short tail, and doors that are sealed, where they can be.
fn config() -> Config {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    #[cfg(feature = "encryption")]
    {
        let mut encryption = varve_core::Encryption::new(varve_core::MasterKey::from_bytes([3; 32]));
        encryption.streams = varve_core::SealedStreams::Named(vec!["doors".into()]);
        config.encryption = Some(encryption);
    }
    config
}

const APPENDERS: u64 = 3;

/// The commits of each appender.
const COMMITS: u64 = 200;

/// What retention leaves, but for the rest of a block.
const EVENTS_KEPT: u64 = 100;

/// The stream whose event ends a round.
const END: &str = "end";

const PATIENCE: Duration = Duration::from_secs(60);

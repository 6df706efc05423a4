//! Many threads append while others fold and follow, in this process and in another: what was acknowledged is where it
//! was said to be, and every follower sees the same log, event by event and without a gap.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use varve_core::{
    Append, Config, Epoch, Event, GlobalSequence, ReadError, Stream, StreamId, TAIL_LEN_MIN, Varve, VarveView,
};

use crate::second_process::start;
use crate::{DEVICE, Reading, binding, device_batch, new_dir_in_memory, readings, scaled};

#[test]
fn followers_see_every_event_while_many_append_and_fold() {
    for round in 0..scaled(30) {
        let dir = new_dir_in_memory();
        let mut varve = open(dir.path());
        let mut other_process = start("follow to the end", dir.path());
        let digest = follow_a_round(&mut varve, round);
        let mut told = String::new();
        other_process.stdout.take().expect("it is piped").read_to_string(&mut told).unwrap();
        assert!(other_process.wait().unwrap().success(), "round {round}: {told}");
        assert!(told.contains(&format!("digest {digest:016x}")), "round {round}: {told}");
        drop(varve);
        assert_eq!(follow(open(dir.path()).view()), digest, "round {round}: after all was recovered");
    }
}

#[test]
fn commits_that_share_a_flush_share_a_sector_which_takes_none_behind_it() {
    let dir = new_dir_in_memory();
    let mut varve = Varve::new(dir.path()).unwrap();
    let numbers = varve.stream::<u64, 8>("numbers").unwrap();
    let mut append = varve.begin();
    for flush in 0..3 {
        for _ in 0..flush {
            append.event(&numbers, StreamId(0), &flush).unwrap();
            append.commit_relaxed().unwrap();
        }
        append.event(&numbers, StreamId(0), &flush).unwrap();
        append.commit().unwrap();
    }
    assert_eq!(sectors_of_records(dir.path()), [0, 1, 1, 2, 2, 2]);
    drop((varve, numbers, append));
    let stored = Varve::open_read_only(dir.path()).unwrap();
    assert_eq!(stored.snapshot().unwrap().iter_from(GlobalSequence(0)).unwrap().count(), 6);
}

#[test]
fn as_many_commits_share_a_flush_as_there_are() {
    const SMALL: u64 = 5_000;
    let dir = new_dir_in_memory();
    let mut config = Config::default();
    config.tail_len = TAIL_LEN_MIN;
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let numbers = varve.stream::<u64, 8>("numbers").unwrap();
    let mut append = varve.begin();
    for number in 0..SMALL {
        append.event(&numbers, StreamId(0), &number).unwrap();
        append.commit_relaxed().unwrap();
    }
    varve.flush().unwrap();
    let count =
        |varve: &Varve| varve.snapshot().unwrap().iter_from(GlobalSequence(0)).unwrap().count() as u64;
    assert_eq!(count(&varve), SMALL);
    drop((varve, numbers, append));
    assert_eq!(count(&open(dir.path())), SMALL, "after all was recovered");
}

/// The sectors of the tail's first segment in which its records begin.
fn sectors_of_records(dir: &Path) -> Vec<usize> {
    let tail = fs::read(dir.join("tail")).unwrap();
    let places = (2 * 4096..tail.len()).step_by(64).filter(|&at| tail[at..].starts_with(b"VRVR"));
    let sectors_per_segment = (tail.len() / 4096 - 2) / 3;
    let first = |at: usize| (at / 4096 - 2) % sectors_per_segment;
    places.map(first).collect()
}

/// What the other process does.
pub(crate) fn follow_to_the_end(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    let told = format!("digest {:016x}\n", follow(&view));
    std::io::stdout().write_all(told.as_bytes()).unwrap();
}

/// Appends and folds from many threads, follows from others, and returns the digest of the log.
fn follow_a_round(varve: &mut Varve, round: u64) -> u64 {
    let mut prepare = varve.begin();
    prepare.open_epoch(DEVICE, Epoch(1)).unwrap();
    prepare.descriptor(Reading::DESCRIPTOR).unwrap();
    prepare.commit().unwrap();
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    let batches = varve.begin();
    let is_over = AtomicBool::new(false);
    let varve = &*varve;
    thread::scope(|scope| {
        let appenders: Vec<_> = (0..APPENDERS)
            .map(|id| {
                let numbers = numbers.clone();
                scope.spawn(move || append_numbers(numbers, id, round))
            })
            .collect();
        let device = scope.spawn(move || append_batches(batches));
        scope.spawn(|| fold_until(varve, &is_over));
        let polling = scope.spawn(|| follow(varve.view()));
        #[cfg(feature = "notify")]
        let waiting = scope.spawn(|| wait_and_follow(varve.view()));
        let mut acknowledged: Vec<_> =
            appenders.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        acknowledged.extend(device.join().unwrap());
        let (_, end) = numbers.append(StreamId(END), &END).unwrap();
        is_over.store(true, Ordering::Relaxed);
        check_acknowledged(varve.view(), &acknowledged, end);
        let digest = polling.join().unwrap();
        #[cfg(feature = "notify")]
        assert_eq!(waiting.join().unwrap(), digest);
        digest
    })
}

/// Where events were said to be: the global sequence of the first, and the bytes of each.
type Acknowledged = Vec<(GlobalSequence, Vec<Vec<u8>>)>;

/// Appends numbers one by one, in batches, and once more than the tail takes.
fn append_numbers(mut numbers: Stream<u64, 8>, id: u64, round: u64) -> Acknowledged {
    let mut next = 0;
    let mut append = |turn: u64| {
        let n = if (turn, id) == (COMMITS / 2, round % APPENDERS) { BULK } else { 1 + turn % 4 };
        let batch: Vec<_> = (next..next + n).map(|n| n * APPENDERS + id).collect();
        next += n;
        let appended = numbers.append_batch(StreamId(id), &batch).unwrap();
        let (first, places) = (appended.get(0).unwrap().1, appended.iter().map(|(_, global)| global.0));
        assert!(places.eq(first.0..first.0 + n), "a batch stands together");
        (first, batch.iter().map(|n| n.to_le_bytes().to_vec()).collect())
    };
    (0..COMMITS).map(&mut append).collect()
}

/// Appends what a device sent, some of it twice.
fn append_batches(mut append: Append) -> Acknowledged {
    let channels = [binding::<Reading>("climate", StreamId::of_device(DEVICE, 0))];
    let mut acknowledged = Acknowledged::new();
    let mut first = 0;
    for turn in 0..COMMITS {
        let n = 1 + turn % 9;
        let batch = readings(first, n);
        let again = if turn % 5 == 0 { 2 } else { 1 };
        (0..again).for_each(|_| append.device_batch(device_batch(&channels, first, &batch)).unwrap());
        let committed = append.commit().unwrap();
        assert_eq!((committed.events, committed.duplicates), (n, (again - 1) * n));
        let events = varve_core::Batch::new_checked(&batch).unwrap();
        acknowledged.push((committed.first, events.events().map(|event| event.bytes.to_vec()).collect()));
        first += n;
    }
    acknowledged
}

fn fold_until(varve: &Varve, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        varve.fold().unwrap();
        thread::sleep(Duration::from_millis(3));
    }
}

/// Everything that was acknowledged is where it was said to be, and nothing else is there.
fn check_acknowledged(
    view: &VarveView,
    acknowledged: &[(GlobalSequence, Vec<Vec<u8>>)],
    end: GlobalSequence,
) {
    let mut log = vec![None; end.0 as usize];
    for (first, events) in acknowledged {
        for (global, event) in (first.0 as usize..).zip(events) {
            assert!(log[global].replace(event).is_none(), "{global} was given away twice");
        }
    }
    let snapshot = view.snapshot().unwrap();
    let mut events = snapshot.iter_from(GlobalSequence(0)).unwrap();
    for listed in log {
        let event = events.next().expect("the log goes on up to its end");
        assert_eq!(Some(&event.unwrap().payload.to_vec()), listed);
    }
}

/// Looks again and again at what has come, until the event that ends the round.
fn follow(view: &VarveView) -> u64 {
    let (mut follower, start) = (Follower::default(), Instant::now());
    while !follower.has_ended {
        assert!(start.elapsed() < PATIENCE, "only {} events came", follower.next);
        let snapshot = match view.snapshot() {
            Ok(snapshot) => snapshot,
            // The store is not there yet, or the owner was faster than the reading: both pass.
            Err(ReadError::Overtaken) => continue,
            Err(error) => panic!("{error}"),
        };
        let events = snapshot.iter_from(GlobalSequence(follower.next)).unwrap();
        events.for_each(|event| follower.see(event.unwrap()));
        thread::yield_now();
    }
    follower.digest.finish()
}

/// The same by a subscription.
#[cfg(feature = "notify")]
fn wait_and_follow(view: &VarveView) -> u64 {
    let (mut follower, mut subscription) = (Follower::default(), view.subscribe(GlobalSequence(0)));
    while !follower.has_ended {
        let mut turn = subscription.next_turn_blocking().unwrap();
        turn.iter().unwrap().for_each(|event| follower.see(event.unwrap()));
    }
    follower.digest.finish()
}

/// What a follower has seen.
#[derive(Default)]
struct Follower {
    next: u64,
    streams: HashMap<(String, StreamId), u64>,
    digest: DefaultHasher,
    has_ended: bool,
}

impl Follower {
    fn see(&mut self, event: varve_core::EventView<'_>) {
        assert_eq!(event.global_seq.0, self.next, "an event was skipped or came again");
        self.next += 1;
        let next = self.streams.entry((event.stream_name.to_string(), event.stream_id)).or_default();
        assert_eq!(event.stream_seq.0, *next);
        *next += 1;
        (event.stream_name, event.stream_id.0, event.payload).hash(&mut self.digest);
        self.has_ended |= event.stream_id == StreamId(END);
    }
}

fn open(path: &Path) -> Varve {
    let mut config = Config::default();
    config.tail_len = TAIL_LEN_MIN;
    Varve::with_config(path, config).unwrap()
}

const APPENDERS: u64 = 3;

/// The commits of each appender in a round.
const COMMITS: u64 = 120;

/// More numbers than the tail takes in one commit.
const BULK: u64 = 40_000;

/// The stream and the number that end a round.
const END: u64 = 1 << 40;

const PATIENCE: Duration = Duration::from_secs(60);

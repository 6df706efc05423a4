//! Owners that are killed at any moment, under load and with folds running: what they acknowledged is there, once, and
//! everything else is there whole or not at all.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use varve_core::{
    Append, Config, DeviceGap, DeviceSequence, Durability, Epoch, Event, GapReason, GlobalSequence,
    OpenError, Stream, StreamId, StreamSequence, TAIL_LEN_MIN, Varve, VarveView,
};

use crate::second_process::start;
use crate::{DEVICE, Door, LANE, Reading, binding, device_batch, door, new_dir, readings, relaxed, scaled};

/// What an owner acknowledged before it was killed.
#[derive(Debug, Default)]
struct Acknowledged {
    /// How many commits, over all rounds.
    commits: u64,
    /// Numbers of the last round: which stream, which number, where in the log.
    numbers: Vec<(u64, u64, u64)>,
    /// How many numbers of each stream.
    streams: [u64; STREAMS as usize],
    /// How many doors.
    doors: u64,
    /// How far the device's lane is stored.
    device: u64,
    /// How many effects of the consumer.
    effects: u64,
}

/// What a store that was read from end to end holds.
#[derive(Debug, Default)]
struct Held {
    streams: [u64; STREAMS as usize],
    doors: u64,
    readings: u64,
    effects: u64,
}

impl Acknowledged {
    /// What a store must hold at least.
    fn held(&self) -> Held {
        Held { streams: self.streams, doors: self.doors, readings: 0, effects: self.effects }
    }
}

impl Held {
    /// Whether a store that holds this much holds `other`.
    fn holds(&self, other: &Self) -> bool {
        self.streams.iter().zip(&other.streams).all(|(held, other)| held >= other)
            && self.doors >= other.doors
            && self.readings >= other.readings
            && self.effects >= other.effects
    }
}

#[test]
fn an_owner_that_is_killed_at_any_moment_loses_nothing_and_doubles_nothing() {
    let (rounds, mut commits) = (scaled(500), 0);
    for first in (0..rounds).step_by(ROUNDS_PER_STORE as usize) {
        let dir = new_dir();
        let mut acknowledged = Acknowledged::default();
        for seed in first..rounds.min(first + ROUNDS_PER_STORE) {
            let mut random = fastrand::Rng::with_seed(seed);
            kill_once("endure", dir.path(), &mut random, &mut acknowledged);
            // Else the next owner finds what this one left, and is killed perhaps while it recovers that.
            if random.bool() {
                let held = check(dir.path(), &acknowledged);
                held.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
        }
        check(dir.path(), &acknowledged).unwrap_or_else(|error| panic!("from seed {first}: {error}"));
        commits += acknowledged.commits;
    }
    // A commit takes a sector of the tail at least, so that most rounds saw a fold.
    assert!(commits > rounds * TAIL_LEN_MIN / 3 / 4096, "{commits} commits in {rounds} rounds");
}

/// The control: one that acknowledges what is yet to be committed is caught.
#[test]
fn an_owner_that_acknowledges_too_early_is_caught() {
    let dir = new_dir();
    let mut acknowledged = Acknowledged::default();
    let caught = (0..100).any(|seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        kill_once("endure and lie", dir.path(), &mut random, &mut acknowledged);
        check(dir.path(), &acknowledged).is_err()
    });
    assert!(caught, "nobody noticed that it lied: {acknowledged:?}");
}

/// Appends until it is killed, and tells what is stored; one that lies tells it before.
pub(crate) fn endure(path: &Path, lies: bool) {
    // Whatever goes wrong ends the process, and the one that is to kill it finds it dead.
    let tell_of = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell_of(panic);
        std::process::abort();
    }));
    let mut config = config();
    // What is not flushed survives the process all the same, and more happens in a round.
    let is_durable = std::process::id().is_multiple_of(2);
    config.durability = if is_durable { Durability::Durable } else { Durability::Relaxed };
    let mut varve = Varve::with_config(path, config).unwrap();
    let mut admission = varve.begin();
    admission.open_epoch(DEVICE, Epoch(1)).unwrap();
    admission.descriptor(Reading::DESCRIPTOR).unwrap();
    admission.commit().unwrap();
    let ack = |text: String, commit: &mut dyn FnMut() -> u64| {
        if lies {
            tell(&format!("{text} {}", u64::MAX));
            commit();
        } else {
            let at = commit();
            tell(&format!("{text} {at}"));
        }
    };
    let ack = &ack;
    let next = varve.device(DEVICE).unwrap().unwrap().lane(LANE).map_or(0, |lane| lane.next.0);
    let effects = varve.stream::<u64, 8>("effects").unwrap();
    let doors = varve.stream::<Door, DOOR_LEN_MAX>("doors").unwrap();
    let (device, effect) = (varve.begin(), varve.begin());
    thread::scope(|scope| {
        for id in 0..STREAMS {
            let numbers = varve.stream::<u64, 8>("numbers").unwrap();
            scope.spawn(move || append_numbers(numbers, id, ack));
        }
        scope.spawn(move || append_doors(doors, ack));
        scope.spawn(move || append_batches(device, next, ack));
        scope.spawn(move || append_effects(effect, effects, ack));
    });
}

/// Tells of a commit, and runs it.
type Ack<'a> = &'a (dyn Fn(String, &mut dyn FnMut() -> u64) + Sync);

/// Appends numbers, a few at a time.
fn append_numbers(mut numbers: Stream<u64, 8>, id: u64, ack: Ack<'_>) {
    let mut next = numbers.reader().version(StreamId(id)).unwrap();
    for turn in 1.. {
        let n = 1 + turn % 3;
        let batch: Vec<_> = (next..next + n).collect();
        next += n;
        ack(format!("n {id} {}", next - 1), &mut || {
            let appended = numbers.append_batch(StreamId(id), &batch).unwrap();
            let (seq, global) = appended.get(n as usize - 1).unwrap();
            assert_eq!(seq.0, next - 1);
            global.0
        });
    }
}

/// Appends doors, each with its number as its text, one by one, and now and then more than the tail takes.
fn append_doors(mut doors: Stream<Door, DOOR_LEN_MAX>, ack: Ack<'_>) {
    let mut next = doors.reader().version(StreamId(0)).unwrap();
    for turn in 1.. {
        let (n, width) = if turn % 30 == 0 { (BULK, DOOR_LEN_MAX - 100) } else { (1, 1) };
        let batch: Vec<_> = (next..next + n as u64).map(|n| door(&format!("{n:0width$}"))).collect();
        next += batch.len() as u64;
        ack(format!("t 0 {next}"), &mut || {
            doors.append_batch(StreamId(0), &batch).unwrap().get(0).unwrap().1.0
        });
    }
}

/// Appends a device's readings and gaps, each reading with its place in the lane as its uptime.
fn append_batches(mut append: Append, mut next: u64, ack: Ack<'_>) {
    let channels = [binding::<Reading>("climate", StreamId(9))];
    for turn in 1.. {
        let n = 1 + turn % 20;
        let batch = readings(next, n);
        if turn % 7 == 0 {
            let (device, epoch, lane, first) = (DEVICE, Epoch(1), LANE, DeviceSequence(next));
            let (reason, chain, ingest_us) = (GapReason::OutboxFull, 0, 0);
            append
                .device_gap(DeviceGap { device, epoch, lane, first, len: n, reason, chain, ingest_us })
                .unwrap();
        } else {
            append.device_batch(device_batch(&channels, next, &batch)).unwrap();
        }
        next += n;
        ack(format!("d 0 {next}"), &mut || {
            let committed = append.commit().unwrap();
            assert!(committed.refused.is_empty() && committed.duplicates == 0, "{committed:?}");
            committed.first.0
        });
    }
}

/// Appends effects, each with the cursor of the consumer that says how many there are.
fn append_effects(mut append: Append, effects: Stream<u64, 8>, ack: Ack<'_>) {
    let from = effects.reader().version(StreamId(0)).unwrap();
    for n in from.. {
        append.event(&effects, StreamId(0), &n).unwrap();
        append.consumer("worker", GlobalSequence(n + 1)).unwrap();
        ack(format!("e 0 {}", n + 1), &mut || append.commit().unwrap().first.0);
    }
}

fn tell(text: &str) {
    io::stdout().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Starts an owner in a process of its own, kills it at some moment, and notes what it acknowledged.
fn kill_once(role: &str, path: &Path, random: &mut fastrand::Rng, acknowledged: &mut Acknowledged) {
    let mut child = start(role, path);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    acknowledged.numbers.clear();
    if random.u8(..5) == 0 {
        // Perhaps while it opens the store.
        thread::sleep(Duration::from_micros(random.u64(..40_000)));
    } else {
        let told = lines.by_ref().take(random.usize(1..600));
        told.for_each(|line| acknowledged.note(&line));
        thread::sleep(Duration::from_micros(random.u64(..3_000)));
    }
    child.kill().unwrap();
    lines.for_each(|line| acknowledged.note(&line));
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(SIGKILL), "it ended by itself: {status}");
}

impl Acknowledged {
    /// Takes a line that an owner told.
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let [what @ ("n" | "t" | "d" | "e"), id, n, global] = words[..] else { return };
        let [id, n, global] = [id, n, global].map(|word| word.parse::<u64>().unwrap());
        self.commits += 1;
        match what {
            "n" => {
                self.streams[id as usize] = n + 1;
                self.numbers.push((id, n, global));
            }
            "t" => self.doors = n,
            "d" => self.device = n,
            _ => self.effects = n,
        }
    }
}

/// Reads a store from end to end, without an owner and then as one, and says what is wrong with it.
fn check(path: &Path, acknowledged: &Acknowledged) -> Result<(), String> {
    // How many events the owner said are durable, the last time that it did.
    let told = fs::read(path.join("watermark")).ok();
    let told = told.map(|told| u64::from_le_bytes(*told[32..].first_chunk().unwrap()));
    let found = match Varve::open_read_only(path) {
        // On a busy machine an owner may be killed before it has made the store.
        Err(OpenError::NotAStore { .. }) if acknowledged.commits == 0 => Some(Held::default()),
        // It was killed at a large commit, or as it opened the store, which only an owner may confirm.
        Err(OpenError::Unrecovered { .. }) => None,
        view => {
            let view = view.map_err(|error| error.to_string())?;
            let end = view.next_global_seq().unwrap().0;
            if told.is_some_and(|told| told != end) {
                return Err(format!("{told:?} events were told of, and who read without an owner saw {end}"));
            }
            Some(read(&view)?)
        }
    };
    let varve = Varve::with_config(path, config()).map_err(|error| error.to_string())?;
    let held = read(&varve)?;
    // An owner may find more, which no flush is known to have reached.
    if let Some(found) = found.filter(|found| !held.holds(found) || !found.holds(&acknowledged.held())) {
        return Err(format!(
            "it holds {held:?} of {acknowledged:?}, and who read it without an owner found {found:?}"
        ));
    }
    let lane = varve.device(DEVICE).unwrap().and_then(|device| device.lane(LANE).copied());
    let (next, lost) = lane.map_or((0, 0), |lane| (lane.next.0, lane.gap_total));
    let consumer = varve.consumer("worker").unwrap().unwrap_or_default().0;
    if !held.holds(&acknowledged.held()) || next < acknowledged.device {
        return Err(format!("it holds {held:?} of {acknowledged:?}"));
    }
    if (held.readings + lost, held.effects) != (next, consumer) {
        return Err(format!("{held:?}, {lost} lost, but the cursors are {next} and {consumer}"));
    }
    let mut numbers = varve.stream_reader::<u64>("numbers").unwrap();
    let mut log = varve.global_reader();
    for &(id, n, global) in acknowledged.numbers.iter().filter(|number| number.2 < u64::MAX) {
        let event = log.get(GlobalSequence(global)).unwrap().ok_or("an acknowledged event is missing")?;
        if (event.stream_id.0, event.stream_seq.0) != (id, n) {
            return Err(format!("number {n} of {id} was stored at {global}, where {event:?} stands"));
        }
        assert_eq!(numbers.get_archived(StreamId(id), StreamSequence(n)).unwrap().unwrap().to_native(), n);
    }
    Ok(())
}

/// Reads every event: each number, reading and effect must be the next of its kind.
fn read(varve: &VarveView) -> Result<Held, String> {
    let mut held = Held::default();
    let snapshot = varve.snapshot().unwrap();
    let mut device_next = 0;
    for (global, event) in snapshot.iter_from(GlobalSequence(0)).unwrap().enumerate() {
        let event = event.map_err(|error| error.to_string())?;
        let is_next = |count: &mut u64| {
            *count += 1;
            event.archived::<u64>().unwrap().to_native() == *count - 1 && event.stream_seq.0 == *count - 1
        };
        let is_right = match event.stream_name {
            "numbers" => is_next(&mut held.streams[event.stream_id.0 as usize]),
            "effects" => is_next(&mut held.effects),
            "doors" => {
                held.doors += 1;
                event.archived::<Door>().unwrap().who.parse() == Ok(held.doors - 1)
            }
            "climate" => {
                held.readings += 1;
                let sequence = event.origin().unwrap().unwrap().sequence.0;
                let is_later = sequence >= std::mem::replace(&mut device_next, sequence + 1);
                is_later && event.archived::<Reading>().unwrap().uptime.to_native() == sequence
            }
            _ => true,
        };
        if !is_right || event.global_seq.0 != global as u64 {
            return Err(format!("event {global} is {event:?}, after {held:?}"));
        }
    }
    Ok(held)
}

/// The shortest tail, so that folds are frequent.
fn config() -> Config {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    config
}

const SIGKILL: i32 = 9;

/// How many streams of numbers there are, each with a thread of its own.
const STREAMS: u64 = 3;

/// As many doors of the largest size as no record of the tail takes.
const BULK: usize = 140;
const DOOR_LEN_MAX: usize = 2_048;

/// How many owners a store sees before another one begins: reading all of it takes ever longer.
const ROUNDS_PER_STORE: u64 = 10;

//! A second process reads while the owner writes. The test binary runs itself again to be that process.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use varve_core::{
    Append, AppendError, Committed, Config, GlobalSequence, OpenError, Processor, ReadError, StreamId,
    TAIL_LEN_MIN, Varve, VarveView,
};

use crate::processing::{copies, copy_to};
use crate::{Door, door, new_dir, open, relaxed};

const ROLE: &str = "VARVE_TEST_ROLE";
const STORE: &str = "VARVE_TEST_STORE";
const EVENTS: u64 = 400;
const NUMBERS_TOLD: u64 = 20 * 40_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the second process does; in a plain run of the tests, nothing.
#[test]
fn second_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let path = env::var(STORE).unwrap();
    match role.as_str() {
        "follow" => follow(Path::new(&path)),
        #[cfg(feature = "notify")]
        "watch" => watch(Path::new(&path)),
        #[cfg(feature = "notify")]
        "subscribe" => subscribe(Path::new(&path)),
        #[cfg(feature = "encryption")]
        "read sealed" => crate::sealing::read_beside_the_owner(Path::new(&path)),
        "follow to the end" => crate::concurrent::follow_to_the_end(Path::new(&path)),
        "tell what is seen" => crate::model::tell_what_is_seen(),
        "follow what is forgotten" => crate::forgetting::follow_what_is_forgotten(Path::new(&path)),
        "bear damage" => crate::hostile::bear_damage(Path::new(&path)),
        "own" => own(Path::new(&path)),
        "hold a snapshot" => crate::pinning::hold_a_snapshot(Path::new(&path)),
        "keep a view" => crate::as_of::keep_a_view(Path::new(&path)),
        "process" => process(Path::new(&path)),
        "try to own" => {
            let error = Varve::new(&path).unwrap_err();
            assert!(matches!(error, OpenError::Owned { .. }), "{error}");
        }
        "tell the end" => tell_the_end(Path::new(&path)),
        "see the map grow" => see_the_map_grow(Path::new(&path)),
        "fill the disk" => fill_the_disk(Path::new(&path)),
        "live in a small address space" => {
            let mut varve = Varve::new(&path).unwrap();
            varve.stream::<Door, 64>("doors").unwrap().append(StreamId(0), &door("Ada")).unwrap();
        }
        "see what is told" => see_what_is_told(Path::new(&path)),
        "endure" => crate::killed::endure(Path::new(&path), false),
        "endure and lie" => crate::killed::endure(Path::new(&path), true),
        role => panic!("{role} is no role"),
    }
}

/// Follows the log by waiting for each event.
#[cfg(feature = "notify")]
fn watch(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    let watcher = view.watcher();
    tell("ready");
    for next in (0..EVENTS).map(GlobalSequence) {
        assert_eq!(watcher.wait_for_global_seq_blocking(next), next);
        let is_there = || view.global_reader().get_bytes(next).map(|bytes| bytes.is_some());
        assert!(patiently(is_there));
    }
}

/// Follows the log by a subscription, which catches up and then waits.
#[cfg(feature = "notify")]
fn subscribe(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    let mut subscription = view.subscribe(GlobalSequence(0));
    tell("ready");
    let mut next = 0;
    while next < EVENTS {
        let mut turn = match subscription.next_turn_blocking() {
            // As `patiently`: the next turn begins where this one would.
            Err(ReadError::Overtaken) => continue,
            turn => turn.unwrap(),
        };
        for event in turn.iter().unwrap() {
            let event = event.unwrap();
            assert_eq!(event.global_seq.0, next, "an event was skipped or came again");
            assert_eq!(event.archived::<Door>().unwrap().who, next.to_string().as_str());
            next += 1;
        }
    }
}

/// Follows the log by looking at the number of the last commit, until all events are there.
fn follow(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    tell("ready");
    let (mut next, mut last_commit, start) = (0, None, Instant::now());
    while next < EVENTS {
        assert!(start.elapsed() < PATIENCE, "only {next} events came");
        if last_commit.replace(view.last_commit()) == Some(view.last_commit()) {
            std::thread::yield_now();
            continue;
        }
        let snapshot = patiently(|| view.snapshot());
        for event in snapshot.iter_from(GlobalSequence(next)).unwrap() {
            let event = event.unwrap();
            assert_eq!(event.global_seq.0, next, "an event was skipped");
            assert_eq!(event.archived::<Door>().unwrap().who, next.to_string().as_str());
            next += 1;
        }
    }
}

/// Reads again where the owner was faster: on a busy machine it may be held up for longer than a reader waits.
fn patiently<R>(mut read: impl FnMut() -> Result<R, ReadError>) -> R {
    let start = Instant::now();
    loop {
        match read() {
            Err(ReadError::Overtaken) if start.elapsed() < PATIENCE => {}
            read => return read.unwrap(),
        }
    }
}

/// Tells where the log ends, for each line of its standard input.
fn tell_the_end(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    for _ in io::stdin().lines() {
        match view.next_global_seq() {
            Err(ReadError::Storage(error)) => tell(&format!("refused {error:?}")),
            _ => tell(&format!("end {}", patiently(|| view.next_global_seq()))),
        }
    }
}

/// Reads with a map of the size that the store has now, while the owner makes it grow.
fn see_the_map_grow(path: &Path) {
    let mut config = Config::default();
    config.map_size = Some(1 << 20);
    let view = Varve::open_read_only_with_config(path, config).unwrap();
    let snapshot = view.snapshot().unwrap();
    tell("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    assert!(matches!(view.snapshot(), Err(ReadError::MapGrown)));
    assert_eq!(snapshot.next_global_seq().unwrap(), GlobalSequence(1), "what is open stays open");
    drop(snapshot);
    assert!(view.next_global_seq().unwrap() > GlobalSequence(1));
}

/// Appends until no file may grow any more, and so no fold succeeds: the store refuses what the tail has no room for, for as
/// long as that is so, and is read as before.
fn fill_the_disk(path: &Path) {
    let mut config = Config::default();
    config.tail_len = TAIL_LEN_MIN;
    let mut varve = Varve::with_config(path, config).unwrap();
    let mut stream = varve.stream::<[u8; 4000], 4000>("blobs").unwrap();
    let mut stored = 0;
    let error = loop {
        match stream.append(StreamId(0), &[7; 4000]) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Storage(_)), "{error}");
    assert!(matches!(stream.append(StreamId(0), &[7; 4000]), Err(AppendError::Storage(_))));
    assert!(stored > 10);
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(stored));
    drop((varve, stream));
    let varve = Varve::open_read_only(path).unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(stored), "what was acknowledged is there");
}

/// Looks at the log until it has seen [`NUMBERS_TOLD`] numbers, and never sees more than the owner says are durable.
fn see_what_is_told(path: &Path) {
    let view = Varve::open_read_only(path).unwrap();
    tell("ready");
    let mut seen = 0;
    while seen < NUMBERS_TOLD {
        seen = patiently(|| view.next_global_seq()).0;
        let watermark = std::fs::read(path.join("watermark")).unwrap();
        // It may be written just now, and then holds no less than before.
        let told = u64::from_le_bytes(watermark[32..40].try_into().unwrap());
        assert!(seen <= told, "{seen} events are seen, and {told} told");
    }
}

/// Copies the numbers, a few in each commit, and is killed long before the end.
fn process(path: &Path) {
    let mut varve = Varve::with_config(path, relaxed()).unwrap();
    let copies = varve.stream::<u64, 8>("copies").unwrap();
    let mut processor = Processor::new(&varve, "copies", copy_to(&copies)).unwrap().commit_every(3);
    for turn in 0.. {
        let progress = processor.try_turn().unwrap();
        if turn == 20 {
            tell("ready");
        }
        if progress.is_none() {
            break;
        }
    }
}

/// Tells the first process.
pub(crate) fn tell(text: &str) {
    io::stdout().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Owns the store until its standard input ends.
fn own(path: &Path) {
    let mut varve = Varve::new(path).unwrap();
    varve.stream::<Door, 64>("doors").unwrap().append(StreamId(0), &door("0")).unwrap();
    tell("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

pub(crate) fn start(role: &str, path: &Path) -> Child {
    start_under("", role, path)
}

/// Starts the second process under limits that a shell sets first.
pub(crate) fn start_under(limits: &str, role: &str, path: &Path) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{limits} exec \"$0\" \"$@\"")])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "second_process::second_process", "--nocapture", "--test-threads=1"])
        .envs([(ROLE, role), (STORE, path.to_str().unwrap())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

pub(crate) fn wait_for(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(text)), "it ended before it said {text:?}");
}

#[test]
fn a_reader_in_another_process_sees_every_event() {
    follow_in("follow");
}

#[cfg(feature = "notify")]
#[test]
fn a_watcher_in_another_process_wakes_for_every_event() {
    follow_in("watch");
}

#[cfg(feature = "notify")]
#[test]
fn a_subscription_in_another_process_sees_every_event() {
    follow_in("subscribe");
}

/// Every event fills a sector of a tail that is as short as one may be: it is written over again and again meanwhile.
fn follow_in(role: &str) {
    let dir = new_dir();
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut stream = varve.stream::<Door, 64>("doors").unwrap();
    stream.append(StreamId(0), &door("0")).unwrap();
    let mut child = start(role, dir.path());
    wait_for(&mut child, "ready");
    for n in 1..EVENTS {
        stream.append(StreamId(n % 5), &door(&n.to_string())).unwrap();
    }
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_in_another_process_sees_nothing_that_a_power_cut_could_take_back() {
    let dir = new_dir();
    let mut varve = Varve::new(dir.path()).unwrap();
    let doors = varve.stream::<Door, 64>("doors").unwrap();
    let mut reader = start("tell the end", dir.path());
    let mut input = reader.stdin.take().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut end = || {
        writeln!(input, "look").unwrap();
        let told = lines.find_map(|line| line.split("end ").nth(1)?.parse::<u64>().ok());
        told.expect("it tells where the log ends")
    };
    let append = |commit: fn(&mut Append) -> Result<Committed, AppendError>| {
        let mut append = varve.begin();
        append.event(&doors, StreamId(0), &door("Ada")).unwrap();
        commit(&mut append).unwrap();
    };
    assert_eq!(end(), 0);
    append(Append::commit);
    assert_eq!(end(), 1);
    append(Append::commit_relaxed);
    append(Append::commit_relaxed);
    assert_eq!(
        (end(), varve.next_global_seq().unwrap()),
        (1, GlobalSequence(1)),
        "nothing of it was flushed"
    );
    varve.flush().unwrap();
    assert_eq!((end(), varve.next_global_seq().unwrap()), (3, GlobalSequence(3)));
    drop(input);
    assert!(reader.wait().unwrap().success());
}

/// An owner is killed over a commit that LMDB took, and that no record confirms yet.
#[test]
fn a_reader_that_stays_sees_nothing_that_a_killed_owner_did_not_confirm() {
    let dir = new_dir();
    let mut varve = Varve::new(dir.path()).unwrap();
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    numbers.append(StreamId(0), &7).unwrap();
    let mut reader = start("tell the end", dir.path());
    let mut input = reader.stdin.take().unwrap();
    let mut lines = BufReader::new(reader.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut look = || {
        writeln!(input, "look").unwrap();
        lines.find(|line| line.contains("end ") || line.contains("refused")).unwrap()
    };
    assert!(look().ends_with("end 1"));
    let unconfirmed = ["tail", "watermark"].map(|name| dir.path().join(name));
    let before = unconfirmed.each_ref().map(|path| std::fs::read(path).unwrap());
    numbers.append_batch(StreamId(0), &vec![7; 40_000]).unwrap();
    drop((varve, numbers));
    for (path, bytes) in unconfirmed.iter().zip(&before) {
        std::fs::write(path, bytes).unwrap();
    }
    let seen = look();
    assert!(seen.contains("refused"), "{seen}");
    drop(open(&dir));
    assert!(look().ends_with("end 40001"), "an owner has confirmed it");
    drop(input);
    assert!(reader.wait().unwrap().success());
}

#[test]
fn an_owner_that_says_nothing_is_not_waited_for_without_end() {
    let dir = new_dir();
    open(&dir).stream::<Door, 64>("doors").unwrap().append(StreamId(0), &door("Ada")).unwrap();
    std::fs::write(dir.path().join("watermark"), [0; 64]).unwrap();
    let owner = File::open(dir.path().join("owner.lock")).unwrap();
    owner.lock().unwrap();
    let view = Varve::open_read_only(dir.path()).unwrap();
    assert!(matches!(view.snapshot(), Err(ReadError::Overtaken)));
    owner.unlock().unwrap();
    assert_eq!(view.next_global_seq().unwrap(), GlobalSequence(1), "it is no owner any more");
}

#[test]
fn a_store_without_an_owner_is_read_with_its_tail() {
    let dir = new_dir();
    let mut view = None::<VarveView>;
    for owners in 1..=3 {
        let mut owner = start("own", dir.path());
        wait_for(&mut owner, "ready");
        owner.kill().unwrap();
        owner.wait().unwrap();
        let beside = view.get_or_insert_with(|| Varve::open_read_only(dir.path()).unwrap());
        assert_eq!(beside.next_global_seq().unwrap(), GlobalSequence(owners), "it sees what each owner left");
        let events = beside.snapshot().unwrap().iter_from(GlobalSequence(0)).unwrap().count();
        assert_eq!(events as u64, owners);
    }
}

/// An owner is killed before a record is flushed, which is read all the same until the power is cut.
#[test]
fn without_an_owner_what_the_last_one_did_not_tell_of_is_not_read() {
    let dir = new_dir();
    let mut varve = Varve::new(dir.path()).unwrap();
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    numbers.append(StreamId(0), &7).unwrap();
    let watermark = dir.path().join("watermark");
    let before = std::fs::read(&watermark).unwrap();
    numbers.append(StreamId(0), &8).unwrap();
    drop((varve, numbers));
    std::fs::write(&watermark, before).unwrap();
    let view = Varve::open_read_only(dir.path()).unwrap();
    assert_eq!(view.next_global_seq().unwrap(), GlobalSequence(1));
    drop(view);
    drop(open(&dir));
    let view = Varve::open_read_only(dir.path()).unwrap();
    assert_eq!(view.next_global_seq().unwrap(), GlobalSequence(2), "an owner has flushed it");
}

#[test]
fn a_reader_beside_an_owner_in_another_process_reads_and_does_not_own() {
    let dir = new_dir();
    let mut owner = start("own", dir.path());
    wait_for(&mut owner, "ready");
    assert!(matches!(Varve::new(dir.path()), Err(OpenError::Owned { .. })));
    let view = Varve::open_read_only(dir.path()).unwrap();
    assert_eq!(view.next_global_seq().unwrap(), GlobalSequence(1));
    drop(view);
    let mut rival = start("try to own", dir.path());
    assert!(rival.wait().unwrap().success());
    owner.stdin.take().unwrap().flush().unwrap();
    assert!(owner.wait().unwrap().success());
    assert_eq!(open(&dir).next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn a_reader_maps_as_much_as_the_owner_once_nothing_is_open() {
    let dir = new_dir();
    let mut config = Config::default();
    config.map_size = Some(1 << 20);
    let mut varve = Varve::with_config(dir.path(), config).unwrap();
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    stream.append(StreamId(0), &1).unwrap();
    let mut reader = start("see the map grow", dir.path());
    wait_for(&mut reader, "ready");
    stream.append_batch(StreamId(0), &vec![2; 1_000_000]).unwrap();
    drop(reader.stdin.take());
    assert!(reader.wait().unwrap().success());
}

#[test]
fn a_file_that_may_not_grow_refuses_commits_and_keeps_what_it_has() {
    let dir = new_dir();
    // A signal would tell of the limit; ignored, the write fails. The limit, in 512 bytes, leaves room for the tail.
    let mut owner = start_under("trap '' XFSZ; ulimit -f 2000;", "fill the disk", dir.path());
    assert!(owner.wait().unwrap().success());
}

/// LMDB takes a commit that is too large for the tail before a record of the tail confirms it.
#[test]
fn a_reader_in_another_process_sees_no_large_commit_before_it_is_told() {
    let dir = new_dir();
    let mut varve = Varve::new(dir.path()).unwrap();
    let mut stream = varve.stream::<u64, 8>("numbers").unwrap();
    let mut reader = start("see what is told", dir.path());
    wait_for(&mut reader, "ready");
    let numbers = vec![7; 40_000];
    for _ in 0..NUMBERS_TOLD / numbers.len() as u64 {
        stream.append_batch(StreamId(0), &numbers).unwrap();
    }
    assert!(reader.wait().unwrap().success());
}

#[test]
fn a_small_address_space_takes_a_smaller_map() {
    let dir = new_dir();
    let mut owner = start_under("ulimit -v 8000000;", "live in a small address space", dir.path());
    assert!(owner.wait().unwrap().success());
    assert_eq!(open(&dir).next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn a_processor_that_is_killed_resumes_and_stores_its_effects_once() {
    const NUMBERS: u64 = 200_000;
    let dir = new_dir();
    let mut varve = open(&dir);
    let numbers: Vec<u64> = (0..NUMBERS).collect();
    varve.stream::<u64, 8>("numbers").unwrap().append_batch(StreamId(0), &numbers).unwrap();
    drop(varve);
    for _ in 0..3 {
        let mut owner = start("process", dir.path());
        wait_for(&mut owner, "ready");
        owner.kill().unwrap();
        owner.wait().unwrap();
    }
    let mut varve = open(&dir);
    let done = varve.consumer("copies").unwrap().unwrap().0.min(NUMBERS);
    assert!(done >= 3 * 20 * 3, "three processes committed at least 20 turns of 3 events, not {done} events");
    assert_eq!(copies(&varve), numbers[..done as usize]);
    let stream = varve.stream::<u64, 8>("copies").unwrap();
    let mut processor = Processor::new(&varve, "copies", copy_to(&stream)).unwrap();
    while processor.try_turn().unwrap().is_some() {}
    assert_eq!(copies(&varve), numbers);
}

#[test]
fn an_owner_that_is_killed_leaves_the_store_free_and_whole() {
    let dir = new_dir();
    let mut owner = start("own", dir.path());
    wait_for(&mut owner, "ready");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let mut varve = open(&dir);
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(1));
    let mut stream = varve.stream::<Door, 64>("doors").unwrap();
    assert_eq!(stream.append(StreamId(0), &door("1")).unwrap().1, GlobalSequence(1));
}

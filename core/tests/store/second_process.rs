//! A second process reads while the owner writes. The test binary runs itself again to be that process.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use varve_core::{GlobalSequence, OpenError, StreamId, Varve};

use crate::{Door, door, new_dir, open};

const ROLE: &str = "VARVE_TEST_ROLE";
const STORE: &str = "VARVE_TEST_STORE";
const EVENTS: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the second process does; in a plain run of the tests, nothing.
#[test]
fn second_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let path = env::var(STORE).unwrap();
    match role.as_str() {
        "follow" => follow(Path::new(&path)),
        "own" => own(Path::new(&path)),
        "try to own" => {
            let error = Varve::new(&path).unwrap_err();
            assert!(matches!(error, OpenError::Owned { .. }), "{error}");
        }
        role => panic!("{role} is no role"),
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
        let snapshot = view.snapshot().unwrap();
        for event in snapshot.iter_from(GlobalSequence(next)).unwrap() {
            let event = event.unwrap();
            assert_eq!(event.global_seq.0, next, "an event was skipped");
            assert_eq!(event.archived::<Door>().unwrap().who, next.to_string().as_str());
            next += 1;
        }
    }
}

/// Tells the first process.
fn tell(text: &str) {
    io::stdout().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Owns the store until its standard input ends.
fn own(path: &Path) {
    let mut varve = Varve::new(path).unwrap();
    varve.stream::<Door, 64>("doors").unwrap().append(StreamId(0), &door("0")).unwrap();
    tell("ready");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn start(role: &str, path: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "second_process::second_process", "--nocapture", "--test-threads=1"])
        .envs([(ROLE, role), (STORE, path.to_str().unwrap())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn wait_for(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(text)), "it ended before it said {text:?}");
}

#[test]
fn a_reader_in_another_process_sees_every_event() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Door, 64>("doors").unwrap();
    stream.append(StreamId(0), &door("0")).unwrap();
    let mut child = start("follow", dir.path());
    wait_for(&mut child, "ready");
    for n in 1..EVENTS {
        stream.append(StreamId(n % 5), &door(&n.to_string())).unwrap();
    }
    assert!(child.wait().unwrap().success());
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

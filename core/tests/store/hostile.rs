//! Flipped bits in any file of a store: an error with a place, or the state before the last commit; never a wrong event.
//! Another process reads the damaged stores, since LMDB follows whatever its own pages say, and may die of them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use varve_core::{
    AppendError, Config, DeviceRecord, Epoch, Event, GlobalSequence, OpenError, ReadError, StreamId,
    StreamInfo, TAIL_LEN_MIN, Varve, VarveView,
};

use crate::damage::blocks;
use crate::second_process::start_under;
use crate::{DEVICE, Door, Reading, binding, device_batch, door, new_dir_in_memory, readings, scaled};

/// Which bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    /// A block in LMDB's data file.
    Block,
    /// A record of the tail.
    Record,
    /// The first two sectors of the tail.
    TailHead,
    Watermark,
    /// Anything in LMDB's data file.
    Lmdb,
}

#[test]
fn damaged_bytes_of_our_own_are_an_error_or_nothing_and_never_a_crash() {
    let deaths = bear(&[Area::Block, Area::Record, Area::TailHead, Area::Watermark], scaled(2_000));
    assert!(deaths.is_empty(), "the process died: {deaths:?}");
}

#[test]
fn damaged_pages_of_lmdb_never_show_a_wrong_event() {
    let cases = scaled(500);
    let deaths = bear(&[Area::Lmdb], cases);
    eprintln!("{} of {cases} damaged data files took the process down", deaths.len());
    // Many readings end well: else this test would see nothing.
    assert!((deaths.len() as u64) < cases / 2);
}

/// Lets other processes read so many damaged stores, and returns the seeds and signals of those that were killed.
fn bear(areas: &[Area], cases: u64) -> Vec<(u64, i32)> {
    let dir = new_dir_in_memory();
    make_image(dir.path());
    let mut deaths = Vec::new();
    let mut next = 0;
    while next < cases {
        let end = cases.min(next + CASES_PER_PROCESS);
        fs::write(dir.path().join("task"), format!("{next} {end} {areas:?}")).unwrap();
        // Whoever is led in circles, or asked for memory without end, dies as well.
        let limits = "ulimit -t 60; ulimit -v 4000000; ulimit -c 0;";
        let mut child = start_under(limits, "bear damage", dir.path());
        let mut seed = next;
        for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
            seed = line.unwrap().strip_prefix("seed ").map_or(seed, |seed| seed.parse().unwrap());
        }
        let status = child.wait().unwrap();
        next = seed + 1;
        match status.signal() {
            Some(signal) => deaths.push((seed, signal)),
            None => assert!(status.success(), "seed {seed} of {areas:?}: see above"),
        }
    }
    deaths
}

/// A store as a killed owner leaves it: blocks in LMDB, records in the tail, and a watermark.
fn make_image(dir: &Path) {
    let (store, image) = (dir.join("store"), dir.join("image"));
    let mut varve = Varve::with_config(&store, config()).unwrap();
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.commit().unwrap();
    let mut doors = varve.stream::<Door, 5_000>("doors").unwrap();
    let channels = [binding::<Reading>("climate", StreamId(9))];
    for turn in 0..FOLDED_TURNS + TAIL_TURNS {
        if turn == FOLDED_TURNS {
            varve.fold().unwrap();
        }
        doors.append(StreamId(turn % 3), &door(&"x".repeat(1 + (turn as usize * 97) % 4_000))).unwrap();
        let batch = readings(turn * 5, 5);
        append.device_batch(device_batch(&channels, turn * 5, &batch)).unwrap();
        // A row of its own, which no later record replaces.
        append.consumer(&consumer(turn), GlobalSequence(turn)).unwrap();
        append.commit().unwrap();
    }
    copy(&store, &image);
}

/// What the other process does: for each seed it damages a copy of the image, and reads all that it can.
pub(crate) fn bear_damage(dir: &Path) {
    let task = fs::read_to_string(dir.join("task")).unwrap();
    let mut words = task.splitn(3, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let seeds = number()..number();
    let areas = [Area::Block, Area::Record, Area::TailHead, Area::Watermark, Area::Lmdb];
    let areas: Vec<_> = areas.into_iter().filter(|area| task.contains(&format!("{area:?}"))).collect();
    let (image, damaged) = (dir.join("image"), dir.join("damaged"));
    copy(&image, &damaged);
    let whole = Whole::of(Varve::with_config(&damaged, config()).unwrap().view()).unwrap();
    assert_eq!(whole.log.len() as u64, 6 * (FOLDED_TURNS + TAIL_TURNS));
    for seed in seeds {
        std::io::stdout().write_all(format!("seed {seed}\n").as_bytes()).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let area = areas[random.usize(..areas.len())];
        copy(&image, &damaged);
        damage(&damaged, area, &mut random);
        check(&damaged, area, &whole);
    }
}

/// Flips a few bits of an area.
fn damage(dir: &Path, area: Area, random: &mut fastrand::Rng) {
    let name = match area {
        Area::Block | Area::Lmdb => "data.mdb",
        Area::Record | Area::TailHead => "tail",
        Area::Watermark => "watermark",
    };
    let path = dir.join(name);
    let mut file = fs::read(&path).unwrap();
    let range = match area {
        Area::Block => one_of(blocks(&file), random),
        Area::Record => one_of(records(&file), random),
        Area::TailHead => 0..2 * SECTOR_LEN,
        Area::Watermark | Area::Lmdb => 0..file.len(),
    };
    for _ in 0..random.usize(1..5) {
        let at = place(&range, random);
        file[at] ^= 1 << random.u8(..8);
    }
    fs::write(&path, file).unwrap();
}

/// A place in a range: near its front, where the headers are, near its end, where the rows of a record are, or anywhere.
fn place(range: &Range<usize>, random: &mut fastrand::Rng) -> usize {
    match random.u8(..3) {
        0 => random.usize(range.start..range.end.min(range.start + 128)),
        1 => random.usize(range.start.max(range.end.saturating_sub(128))..range.end),
        _ => random.usize(range.clone()),
    }
}

fn one_of(mut ranges: Vec<Range<usize>>, random: &mut fastrand::Rng) -> Range<usize> {
    let index = random.usize(..ranges.len());
    ranges.swap_remove(index)
}

/// Where the records of the tail stand.
fn records(file: &[u8]) -> Vec<Range<usize>> {
    let starts =
        (2 * SECTOR_LEN..file.len()).step_by(SECTOR_LEN).filter(|&at| file[at..].starts_with(b"VRVR"));
    starts
        .map(|at| at..at + 64 + u32::from_le_bytes(file[at + 4..][..4].try_into().unwrap()) as usize)
        .collect()
}

/// Reads the store beside no owner and as its owner, who then appends.
fn check(dir: &Path, area: Area, whole: &Whole) {
    let beside =
        Varve::open_read_only_with_config(dir, config()).map_err(|error| tolerate_open(area, &error));
    if let Ok(view) = beside {
        check_shown(&view, area, whole);
    }
    let Ok(mut varve) = Varve::with_config(dir, config()).map_err(|error| tolerate_open(area, &error)) else {
        return;
    };
    check_shown(&varve, area, whole);
    let appended =
        varve.stream::<Door, 5_000>("doors").map(|mut doors| doors.append(StreamId(7), &door("new")));
    match appended {
        Ok(Ok((_, global))) => {
            let new = varve.global_reader().get_bytes(global).map(|bytes| bytes.map(|bytes| bytes.to_vec()));
            assert!(area == Area::Lmdb || new.unwrap().is_some(), "what was appended is there");
        }
        Ok(Err(error)) => {
            assert!(area == Area::Lmdb || matches!(error, AppendError::Corrupt(_)), "{area:?}: {error}");
        }
        Err(error) => tolerate(area, &error),
    }
}

/// What is shown is what was stored. In the tail alone the last commit may count as torn: no later one tells that it was
/// flushed.
fn check_shown(view: &VarveView, area: Area, whole: &Whole) {
    match Whole::of(view) {
        Ok(shown) if shown.log.len() == whole.log.len() => {
            assert!(area == Area::Lmdb || shown == *whole, "{area:?}")
        }
        Ok(shown) => {
            assert!(
                area == Area::Lmdb || area == Area::Record && whole.may_lack(shown.log.len()),
                "{area:?}"
            );
            assert!(area == Area::Lmdb || whole.log.starts_with(&shown.log), "{area:?}");
        }
        Err(error) => tolerate(area, &error),
    }
    for (global, stored) in whole.log.iter().enumerate() {
        match view.global_reader().get_bytes(GlobalSequence(global as u64)) {
            Ok(Some(bytes)) => assert!(&*bytes == stored, "{area:?}: {global} is another event"),
            Ok(None) => {
                let is_torn = area == Area::Record && whole.may_lack(global);
                assert!(area == Area::Lmdb || is_torn, "{area:?}: {global} is absent");
            }
            Err(error) => tolerate(area, &error),
        }
    }
}

/// All that a store shows.
#[derive(PartialEq)]
struct Whole {
    log: Vec<Vec<u8>>,
    streams: Vec<StreamInfo>,
    devices: Vec<DeviceRecord>,
    consumers: Vec<Option<GlobalSequence>>,
}

impl Whole {
    /// Reads everything, or up to what is damaged first.
    fn of(view: &VarveView) -> Result<Self, ReadError> {
        let snapshot = view.snapshot()?;
        let log =
            snapshot.iter_from(GlobalSequence(0))?.map(|event| event.map(|event| event.payload.to_vec()));
        let log = log.collect::<Result<_, _>>()?;
        let consumers = (0..FOLDED_TURNS + TAIL_TURNS).map(|turn| view.consumer(&consumer(turn)));
        let consumers = consumers.collect::<Result<_, _>>()?;
        Ok(Self { log, streams: view.streams()?, devices: view.devices()?, consumers })
    }

    /// Whether what follows the first `events` is no more than the last commit.
    fn may_lack(&self, events: usize) -> bool {
        self.log.len() - events <= EVENTS_OF_LAST_COMMIT
    }
}

/// Damage of our own bytes has a name and a place.
fn tolerate(area: Area, error: &ReadError) {
    assert!(area == Area::Lmdb || matches!(error, ReadError::Corrupt(_)), "{area:?}: {error}");
}

fn tolerate_open(area: Area, error: &OpenError) {
    // The version of the tail's format is one of its bytes.
    let is_named = matches!(error, OpenError::Corrupt(_) | OpenError::NewerFormat { .. });
    assert!(area == Area::Lmdb || is_named, "{area:?}: {error}");
}

/// The consumer that a turn moves, once for all.
fn consumer(turn: u64) -> String {
    format!("the consumer of turn {turn}")
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.tail_len = TAIL_LEN_MIN;
    config.map_size = Some(16 << 20);
    config
}

/// Few enough for the time that a process gets.
const CASES_PER_PROCESS: u64 = 100;

/// How many turns are folded, and how many the tail holds.
const FOLDED_TURNS: u64 = 30;
const TAIL_TURNS: u64 = 12;

/// A batch of a device.
const EVENTS_OF_LAST_COMMIT: usize = 5;

const SECTOR_LEN: usize = 4096;

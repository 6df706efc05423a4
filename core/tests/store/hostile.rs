//! Damage to any file of a store: an error with a place, or none at all; never a wrong event, nor fewer of them. Another
//! process reads the damaged stores, since LMDB follows whatever its own pages say, and may die of them.

mod blow;
mod image;
mod shown;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use crate::second_process::start_under;
use crate::{new_dir_in_memory, scaled};
use blow::Area;
use image::{copy, make_image};
use shown::Whole;

#[test]
fn damaged_bytes_of_our_own_are_an_error_or_nothing_and_never_a_crash() {
    let deaths = bear(&Area::OUR_OWN, scaled(2_000));
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
    make_image(dir.path(), "image");
    make_image(dir.path(), "other");
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

/// What the other process does: for each seed it damages a copy of the image, and reads all that it can.
pub(crate) fn bear_damage(dir: &Path) {
    let task = fs::read_to_string(dir.join("task")).unwrap();
    let mut words = task.splitn(3, ' ');
    let mut number = || words.next().unwrap().parse::<u64>().unwrap();
    let seeds = number()..number();
    let known = Area::OUR_OWN.into_iter().chain([Area::Lmdb]);
    let areas: Vec<_> = known.filter(|area| task.contains(&format!("{area:?}"))).collect();
    let (image, other, damaged) = (dir.join("image"), dir.join("other"), dir.join("damaged"));
    copy(&image, &damaged);
    let whole = Whole::of_image(&damaged);
    for seed in seeds {
        std::io::stdout().write_all(format!("seed {seed}\n").as_bytes()).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        let area = areas[random.usize(..areas.len())];
        copy(&image, &damaged);
        let blow = blow::strike(&damaged, &other, area, &mut random);
        shown::check(&damaged, &blow, &whole);
        #[cfg(feature = "encryption")]
        shown::check_mended(&damaged, &image, &blow, &whole);
    }
}

/// Few enough for the time that a process gets.
const CASES_PER_PROCESS: u64 = 100;

//! The store that is damaged.

use std::fs;
use std::path::Path;

use varve_core::{Config, Epoch, Event, GlobalSequence, StreamId, TAIL_LEN_MIN, Varve};

use crate::{DEVICE, Door, Reading, binding, device_batch, door, readings, relaxed};

/// Makes a store as a killed owner leaves it: blocks in LMDB, records in the tail, a watermark, and keys, some of them
/// written with the file and some appended.
pub(super) fn make_image(dir: &Path, name: &str) {
    let (store, image) = (dir.join("store"), dir.join(name));
    let _ = fs::remove_dir_all(&store);
    let mut varve = Varve::with_config(&store, config()).unwrap();
    let mut append = varve.begin();
    append.open_epoch(DEVICE, Epoch(1)).unwrap();
    append.descriptor(Reading::DESCRIPTOR).unwrap();
    append.commit().unwrap();
    drop(append);
    (0..FOLDED_TURNS).for_each(|turn| append_a_turn(&mut varve, turn));
    drop(varve);
    let mut varve = Varve::with_config(&store, config()).unwrap();
    (FOLDED_TURNS..TURNS).for_each(|turn| append_a_turn(&mut varve, turn));
    copy(&store, &image);
}

fn append_a_turn(varve: &mut Varve, turn: u64) {
    let channels = [binding::<Reading>("climate", StreamId(9))];
    let mut doors = varve.stream::<Door, 5_000>("doors").unwrap();
    doors.append(StreamId(turn % 3), &door(&"x".repeat(1 + (turn as usize * 97) % 4_000))).unwrap();
    let mut letters = varve.stream::<Door, 5_000>(LETTERS).unwrap();
    letters.append(letters_of(turn), &door(&format!("the letter of turn {turn}"))).unwrap();
    let mut append = varve.begin();
    let batch = readings(turn * 5, 5);
    append.device_batch(device_batch(&channels, turn * 5, &batch)).unwrap();
    // A row of its own, which no later record replaces.
    append.consumer(&consumer(turn), GlobalSequence(turn)).unwrap();
    append.commit().unwrap();
}

/// The stream of a turn's letter: every few turns one begins that is new.
fn letters_of(turn: u64) -> StreamId {
    StreamId(if turn.is_multiple_of(2) { turn / 6 } else { 0 })
}

/// The consumer that a turn moves, once for all.
pub(super) fn consumer(turn: u64) -> String {
    format!("the consumer of turn {turn}")
}

/// Makes a directory of the files of another.
pub(super) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub(super) fn config() -> Config {
    let mut config = relaxed();
    config.tail_len = TAIL_LEN_MIN;
    config.map_size = Some(16 << 20);
    #[cfg(feature = "encryption")]
    {
        let mut encryption = varve_core::Encryption::new(varve_core::MasterKey::from_bytes([7; 32]));
        encryption.streams = varve_core::SealedStreams::Named(vec![LETTERS.into()]);
        config.encryption = Some(encryption);
    }
    config
}

/// The name of the streams that are sealed, where they can be.
pub(super) const LETTERS: &str = "letters";

/// How many turns are folded, and how many there are: the tail holds the rest.
const FOLDED_TURNS: u64 = 30;
pub(super) const TURNS: u64 = 42;

/// A turn is a door, a letter, and a batch of five events.
pub(super) const EVENTS_OF_TURN: u64 = 7;

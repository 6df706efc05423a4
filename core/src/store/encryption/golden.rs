//! The bytes that `keys.txt` pins, which were worked out from FORMAT.md alone.

use std::fs;

use super::key_file::fill_page;
use super::keyring::{Found, Keyring};
use super::stream_key::Meaning;
use super::{MasterKey, Suite};
use crate::store::log::block::{Origin, SealedRun};
use crate::store::sealing::KEYS_FILE;
use crate::{DescriptorHash, DeviceId, DeviceSequence, Epoch, Lane, StreamId, StreamSequence};

const RING: u64 = 0x0102_0304_0506_0708;

#[test]
fn keys_and_a_unit_are_byte_for_byte_what_the_format_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = ["header", "key", "shredded"].map(bytes).concat();
    fill_page(&mut file);
    fs::write(dir.path().join(KEYS_FILE), &file).unwrap();
    let master = MasterKey::from_bytes(std::array::from_fn(|byte| byte as u8));
    let beside = Keyring::open_read_only(dir.path(), &master, Some(RING)).unwrap();
    check(&beside);
    let owner = Keyring::open(dir.path(), &master, Suite::default(), Some(RING)).unwrap();
    check(&owner);
    owner.rotate_master(&MasterKey::from_bytes([9; 32])).unwrap();
    let after = fs::read(dir.path().join(KEYS_FILE)).unwrap();
    let entries =
        [bytes("key"), bytes("shredded")].map(|entry| after.windows(entry.len()).any(|at| at == entry));
    assert_eq!(entries, [true; 2], "it writes what it reads");
}

fn check(keyring: &Keyring) {
    let found = |name, id, seq| keyring.key_of(name, StreamId(id), StreamSequence(seq)).unwrap();
    assert!(matches!(found("rooms", 7, 2), Found::Shredded { first: StreamSequence(3) }));
    assert!(matches!(found("halls", 8, 8), Found::Shredded { first: StreamSequence(9) }));
    let Found::Key(key) = found("rooms", 7, 70_000) else { panic!("the stream has a key") };
    assert_eq!(key.secret_bytes(), std::array::from_fn(|byte| 0x40 + byte as u8));
    let origin = Origin { device: 4, epoch: Epoch(2), lane: Lane(1), first: DeviceSequence(30) };
    let run = SealedRun { first: StreamSequence(70_000), count: 3, shape: 0x0c00_0013, origin: Some(origin) };
    let meaning = Meaning { descriptor: DescriptorHash([3; 8]), device: Some(DeviceId(9)) };
    assert_eq!(**key.open(&run, &meaning, &bytes("unit")).expect("it is what was sealed"), *b"three events");
}

/// The bytes of a line.
fn bytes(name: &str) -> Vec<u8> {
    let file = include_str!("../../../tests/golden/keys.txt");
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let bytes = line.expect("the file has the line").split(' ').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<_, _>>().expect("it is in hex")
}

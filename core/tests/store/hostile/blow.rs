//! What befalls a store.

use std::fs;
use std::ops::Range;
use std::path::Path;

use crate::damage::blocks;

/// Which bytes are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Area {
    /// A block in LMDB's data file.
    Block,
    /// A record of the tail.
    Record,
    /// The first two sectors of the tail.
    Head,
    /// Any byte of a file that is not LMDB's data file.
    Byte,
    /// All of such a file.
    File,
    /// Anything in LMDB's data file.
    Lmdb,
}

/// Damage that was done.
#[derive(Clone, Debug)]
pub(super) struct Blow {
    pub(super) area: Area,
    /// The file.
    pub(super) name: &'static str,
    manner: Manner,
}

/// How a file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// A few of its bits are flipped.
    Flipped,
    CutShort,
    /// Something stands behind its end.
    Longer,
    Zeroed,
    /// It is that of another store.
    Swapped,
    Gone,
}

impl Area {
    /// All of which no process dies.
    pub(super) const OUR_OWN: [Self; 5] = [Self::Block, Self::Record, Self::Head, Self::Byte, Self::File];
}

impl Blow {
    /// Whether LMDB's own pages are damaged, which have no checksum.
    pub(super) fn is_lmdbs(&self) -> bool {
        self.area == Area::Lmdb
    }

    /// Whether the file is no longer the store's own.
    pub(super) fn leaves_no_own(&self) -> bool {
        matches!(self.manner, Manner::Swapped | Manner::Gone)
    }
}

/// Damages the store in `dir`; the file of another one may come from `other`.
pub(super) fn strike(dir: &Path, other: &Path, area: Area, random: &mut fastrand::Rng) -> Blow {
    let name = match area {
        Area::Block | Area::Lmdb => "data.mdb",
        Area::Record | Area::Head => "tail",
        Area::Byte | Area::File => beside_lmdb(dir)[random.usize(..beside_lmdb(dir).len())],
    };
    let manners = [Manner::CutShort, Manner::Longer, Manner::Zeroed, Manner::Swapped, Manner::Gone];
    let manner = if area == Area::File { manners[random.usize(..manners.len())] } else { Manner::Flipped };
    let blow = Blow { area, name, manner };
    let path = dir.join(name);
    let mut file = fs::read(&path).unwrap();
    match manner {
        Manner::Flipped => flip(&mut file, area, random),
        Manner::CutShort => file.truncate(random.usize(..file.len().max(1))),
        Manner::Longer => file.resize(file.len() + random.usize(1..10_000), random.u8(..)),
        Manner::Zeroed => file.fill(0),
        Manner::Swapped => file = fs::read(other.join(name)).unwrap(),
        Manner::Gone => return fs::remove_file(&path).map(|()| blow).unwrap(),
    }
    fs::write(&path, file).unwrap();
    blow
}

/// The files of a store but for LMDB's data file.
fn beside_lmdb(dir: &Path) -> Vec<&'static str> {
    let known = ["keys", "lock.mdb", "owner.lock", "tail", "watermark"];
    for file in fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name()) {
        assert!(file == "data.mdb" || known.iter().any(|name| file == *name), "a new kind of file: {file:?}");
    }
    known.into_iter().filter(|name| dir.join(name).exists()).collect()
}

/// Flips a few bits of an area.
fn flip(file: &mut [u8], area: Area, random: &mut fastrand::Rng) {
    let range = match area {
        Area::Block => one_of(blocks(file), random),
        Area::Record => one_of(records(file), random),
        Area::Head => 0..2 * SECTOR_LEN,
        Area::Byte | Area::File | Area::Lmdb => 0..file.len(),
    };
    for _ in 0..random.usize(1..5) {
        if !range.is_empty() {
            file[place(&range, random)] ^= 1 << random.u8(..8);
        }
    }
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
    let starts = (2 * SECTOR_LEN..file.len()).step_by(64).filter(|&at| file[at..].starts_with(b"VRVR"));
    starts
        .map(|at| at..at + 64 + u32::from_le_bytes(file[at + 4..][..4].try_into().unwrap()) as usize)
        .collect()
}

const SECTOR_LEN: usize = 4096;

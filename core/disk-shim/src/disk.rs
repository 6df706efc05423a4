//! A disk that keeps what was flushed, and of the rest what it likes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::SECTOR_LEN;
use crate::operation::{FileId, Operation};
use crate::watch::moved;

/// The files of one directory: what a program reads of them, and what is certain to be on the disk.
///
/// Operations are applied as they were recorded. At any point between two of them [`Disk::power_cut`] gives what a power
/// cut may leave there:
///
/// - of each sector that was written since it was last flushed, the bytes of any of those writes, or those before;
/// - at most one sector, whose write was under way, as garbage;
/// - of a length that changed since, any of its values;
/// - of the changes to the names in the directory since it was last flushed, the first few.
///
/// After a kill, in contrast, the disk goes on as it is: nothing that was written is lost, and nothing more is certain.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    stable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names that may not be on the disk yet, with the number of the operation that made each.
    changes: Vec<(u64, NameChange)>,
    /// The files of the recording that is being applied.
    files: HashMap<FileId, usize>,
    /// How many operations were applied, of all recordings and of this one.
    applied: u64,
    recording_start: u64,
    ignores_flushes: bool,
}

/// The bytes of a file.
#[derive(Clone, Debug, Default)]
struct Inode {
    visible: Vec<u8>,
    stable: Vec<u8>,
    /// The writes of each sector that may not be on the disk yet, the latest last.
    pending: BTreeMap<u64, Vec<Version<Box<[u8; SECTOR_LEN]>>>>,
    /// The lengths that may not be on the disk yet, the latest last.
    lens: Vec<Version<usize>>,
}

/// What an operation made of a sector or of a length.
#[derive(Clone, Debug)]
struct Version<T> {
    operation: u64,
    /// Whether a flush that was to send it failed: then no later one does.
    is_given_up: bool,
    value: T,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create { name: PathBuf, inode: usize },
    Rename { from: PathBuf, to: PathBuf, inode: usize },
    RenameDirectory { from: PathBuf, to: PathBuf },
    Remove { name: PathBuf },
}

impl Disk {
    /// A disk without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// A disk without files that says it has flushed, and has not.
    pub fn ignoring_flushes() -> Self {
        Self { ignores_flushes: true, ..Self::default() }
    }

    /// Begins a recording of another process, on what the one before has left.
    pub fn begin_recording(&mut self) {
        self.files.clear();
        self.recording_start = self.applied;
    }

    /// Applies the next operation of the recording.
    ///
    /// # Panics
    ///
    /// Where it uses a file that the disk does not have: the recording is of another disk.
    pub fn apply(&mut self, operation: &Operation) {
        let now = self.applied;
        self.applied += 1;
        match operation {
            Operation::Find { file, name } => {
                let inode = *self.names.get(name).expect("the file was on the disk");
                self.files.insert(*file, inode);
            }
            Operation::Create { file, name } => {
                self.inodes.push(Inode::default());
                let inode = self.inodes.len() - 1;
                self.files.insert(*file, inode);
                self.change(now, NameChange::Create { name: name.clone(), inode });
            }
            Operation::Write { file, at, bytes } => self.inode(*file).write(now, *at as usize, bytes),
            Operation::Truncate { file, len } => self.inode(*file).truncate(now, *len as usize),
            Operation::Flush { .. } | Operation::FlushDirectory { .. } if self.ignores_flushes => {}
            Operation::Flush { file, range, covers } => {
                let covers = self.recording_start + *covers as u64;
                let sectors = range.start / SECTOR_LEN as u64..range.end.div_ceil(SECTOR_LEN as u64);
                self.inode(*file).flush(sectors, covers);
            }
            Operation::FailedFlush { file, .. } => self.inode(*file).give_up(),
            Operation::Rename { from, to } => {
                let (from, to) = (from.clone(), to.clone());
                self.change(
                    now,
                    match self.names.get(&from) {
                        Some(&inode) => NameChange::Rename { from, to, inode },
                        None => NameChange::RenameDirectory { from, to },
                    },
                );
            }
            Operation::Remove { name } => self.change(now, NameChange::Remove { name: name.clone() }),
            Operation::FlushDirectory { name, covers } => {
                self.flush_names(name, self.recording_start + *covers as u64);
            }
            Operation::Mark(_) => {}
        }
    }

    /// The disk as it may be after a power cut now. How much of what was not flushed it keeps is drawn too: all, nothing,
    /// and what is between.
    pub fn power_cut(&self, random: &mut Rng) -> Self {
        let kept = [0.0, 0.1, 0.5, 0.9, 1.0][random.usize(..5)];
        let mut inodes: Vec<_> = self.inodes.iter().map(|inode| inode.power_cut(kept, random)).collect();
        self.tear(&mut inodes, random);
        let mut names = self.stable_names.clone();
        let reached = random.usize(..=self.changes.len());
        self.changes[..reached].iter().for_each(|(_, change)| change.apply(&mut names));
        Self {
            inodes,
            stable_names: names.clone(),
            names,
            ignores_flushes: self.ignores_flushes,
            ..Self::default()
        }
    }

    /// The disk after a power cut now of which it kept nothing but what is certain.
    pub fn certain(&self) -> Self {
        let names = self.stable_names.clone();
        Self {
            inodes: self.inodes.iter().map(Inode::certain).collect(),
            stable_names: names.clone(),
            names,
            ignores_flushes: self.ignores_flushes,
            ..Self::default()
        }
    }

    /// As [`Disk::certain`], but for the first sector of the last write that is not certain: it was under way, and is garbage.
    pub fn certain_but_torn(&self, random: &mut Rng) -> Self {
        let mut cut = self.certain();
        let under_way = self.inodes.iter().enumerate().flat_map(|(at, inode)| {
            let last = |versions: &[Version<_>]| versions.last().map(|version| version.operation);
            inode.pending.iter().map(move |(&sector, versions)| (last(versions), Reverse(sector), at))
        });
        if let Some((_, Reverse(sector), inode)) = under_way.max() {
            cut.inodes[inode].make_garbage(sector, random);
        }
        cut
    }

    /// The bytes of each file, as a program reads them now.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.names.iter().map(|(name, &inode)| (name.as_path(), self.inodes[inode].visible.as_slice()))
    }

    /// Whether a file holds `bytes` somewhere, as a program reads it now: one too that has no name any more, since a file
    /// system only forgets where it was.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let Some(first) = bytes.first() else { return true };
        // Of most places the first byte tells that they are others.
        let is_there = |window: &[u8]| window[0] == *first && window == bytes;
        self.inodes.iter().any(|inode| inode.visible.windows(bytes.len()).any(is_there))
    }

    /// Changes the bytes of a file, on the disk too; nothing where it is not there.
    pub fn patch(&mut self, name: &Path, change: impl FnOnce(&mut [u8])) {
        if let Some(&inode) = self.names.get(name) {
            let inode = &mut self.inodes[inode];
            change(&mut inode.visible);
            inode.stable.clone_from(&inode.visible);
        }
    }

    /// Writes the files to the directory `dir`.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn restore(&self, dir: &Path) -> io::Result<()> {
        self.files().try_for_each(|(name, bytes)| {
            let path = dir.join(name);
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(path, bytes)
        })
    }

    fn inode(&mut self, file: FileId) -> &mut Inode {
        let inode = *self.files.get(&file).expect("the file was created or found before");
        &mut self.inodes[inode]
    }

    fn change(&mut self, now: u64, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push((now, change));
    }

    fn flush_names(&mut self, directory: &Path, covers: u64) {
        let mut left: Vec<(u64, NameChange)> = Vec::new();
        for (operation, change) in std::mem::take(&mut self.changes) {
            if operation >= covers || change.name().parent() != Some(directory) {
                left.push((operation, change));
                continue;
            }
            change.apply(&mut self.stable_names);
            if let NameChange::RenameDirectory { from, to } = &change {
                // What is not certain to be in the directory may yet be, under its new name.
                left.iter_mut().for_each(|(_, earlier)| earlier.move_along(from, to));
            }
        }
        self.changes = left;
    }

    /// Makes garbage of one of the sectors that may be under way, or of none.
    fn tear(&self, cut: &mut [Inode], random: &mut Rng) {
        let under_way: Vec<(usize, u64)> = self
            .inodes
            .iter()
            .enumerate()
            .flat_map(|(at, inode)| inode.pending.keys().map(move |&sector| (at, sector)))
            .collect();
        let Some(&(inode, sector)) = random.choice(&under_way) else { return };
        if random.bool() {
            cut[inode].make_garbage(sector, random);
        }
    }
}

impl Inode {
    fn write(&mut self, now: u64, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.visible.len() {
            self.resize(now, end);
        }
        self.visible[at..end].copy_from_slice(bytes);
        self.note_sectors(now, at, end);
    }

    fn truncate(&mut self, now: u64, len: usize) {
        let before = self.visible.len();
        self.resize(now, len);
        // What was cut off must not come back when the file grows again.
        self.note_sectors(now, len.min(before), before);
    }

    fn resize(&mut self, now: u64, len: usize) {
        self.visible.resize(len, 0);
        self.lens.push(Version { operation: now, is_given_up: false, value: len });
    }

    fn note_sectors(&mut self, now: u64, start: usize, end: usize) {
        for sector in (start / SECTOR_LEN) as u64..end.div_ceil(SECTOR_LEN) as u64 {
            let value = Box::new(sector_of(&self.visible, sector));
            let version = Version { operation: now, is_given_up: false, value };
            self.pending.entry(sector).or_default().push(version);
        }
    }

    /// Makes the sectors certain that operations before `covers` wrote, and the length.
    fn flush(&mut self, sectors: std::ops::Range<u64>, covers: u64) {
        if let Some(len) = take_flushed(&mut self.lens, covers) {
            self.stable.resize(len, 0);
        }
        let stable = &mut self.stable;
        self.pending.retain(|&sector, versions| {
            if let Some(bytes) = sectors.contains(&sector).then(|| take_flushed(versions, covers)).flatten() {
                put_sector(stable, sector, &bytes);
            }
            !versions.is_empty()
        });
    }

    fn give_up(&mut self) {
        let versions = self.pending.values_mut().flatten();
        versions.for_each(|version| version.is_given_up = true);
    }

    /// Fills a sector with garbage, as far as the file reaches.
    fn make_garbage(&mut self, sector: u64, random: &mut Rng) {
        let start = sector as usize * SECTOR_LEN;
        let end = (start + SECTOR_LEN).min(self.visible.len());
        if start < end {
            random.fill(&mut self.visible[start..end]);
            self.stable.clone_from(&self.visible);
        }
    }

    /// The file without the versions that may not be on the disk yet.
    fn certain(&self) -> Self {
        Self { visible: self.stable.clone(), stable: self.stable.clone(), ..Self::default() }
    }

    /// The file with each version kept with the probability `kept`, unless a later one is.
    fn power_cut(&self, kept: f64, random: &mut Rng) -> Self {
        let mut keeps = || random.f64() < kept;
        let mut bytes = self.stable.clone();
        if let Some(version) = self.lens.iter().rev().find(|_| keeps()) {
            bytes.resize(version.value, 0);
        }
        for (&sector, versions) in &self.pending {
            if let Some(version) = versions.iter().rev().find(|_| keeps()) {
                put_sector(&mut bytes, sector, &version.value);
            }
        }
        Self { visible: bytes.clone(), stable: bytes, ..Self::default() }
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            // What is not certain to be in the directory does not come along.
            Self::RenameDirectory { from, to } => {
                *names = std::mem::take(names)
                    .into_iter()
                    .map(|(name, inode)| (moved(&name, from, to).unwrap_or(name), inode))
                    .collect();
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }

    /// Takes the change along where the directory `from` is now called `to`.
    fn move_along(&mut self, from: &Path, to: &Path) {
        let names = match self {
            Self::Create { name, .. } | Self::Remove { name } => [Some(name), None],
            Self::Rename { from, to, .. } | Self::RenameDirectory { from, to } => [Some(from), Some(to)],
        };
        for name in names.into_iter().flatten() {
            if let Some(moved) = moved(name, from, to) {
                *name = moved;
            }
        }
    }

    /// The name that the change is about: the one that is there since.
    fn name(&self) -> &Path {
        match self {
            Self::Create { name, .. } | Self::Remove { name } => name,
            Self::Rename { to, .. } | Self::RenameDirectory { to, .. } => to,
        }
    }
}

/// Takes the latest version that a flush sends, and all before it.
fn take_flushed<T>(versions: &mut Vec<Version<T>>, covers: u64) -> Option<T> {
    let flushed = versions.iter().rposition(|version| version.operation < covers && !version.is_given_up)?;
    versions.drain(..=flushed).next_back().map(|version| version.value)
}

/// The bytes of a sector, with zeros after the end of the file.
fn sector_of(bytes: &[u8], sector: u64) -> [u8; SECTOR_LEN] {
    let mut out = [0; SECTOR_LEN];
    let bytes = bytes.get(sector as usize * SECTOR_LEN..).unwrap_or_default();
    let len = bytes.len().min(SECTOR_LEN);
    out[..len].copy_from_slice(&bytes[..len]);
    out
}

/// Puts the bytes of a sector as far as the file reaches.
fn put_sector(bytes: &mut [u8], sector: u64, value: &[u8; SECTOR_LEN]) {
    let Some(bytes) = bytes.get_mut(sector as usize * SECTOR_LEN..) else { return };
    let len = bytes.len().min(SECTOR_LEN);
    bytes[..len].copy_from_slice(&value[..len]);
}

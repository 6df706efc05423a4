//! The directories that are watched, and the files in them that are open.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::io;
use std::mem;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::{self, ThreadId};
use std::time::Duration;

use crate::counts::{Counts, FileCounts};
use crate::fault::{ArmedFault, Call, Failure, Fault};
use crate::operation::{FileId, Operation};

/// Sees the calls on files under one directory, from when it is made until it is dropped.
///
/// Every thread of the process is seen. Begin before the files are opened.
#[derive(Debug)]
pub struct Watch {
    directory: Arc<Directory>,
}

/// A watched directory.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The thread that began the watch.
    thread: ThreadId,
    state: Mutex<State>,
}

/// What is known of a watched directory. Held locked while a call changes a file, so that operations are recorded in
/// the order in which the system took them; not while it flushes, so that writes can go on meanwhile.
#[derive(Debug, Default)]
pub(crate) struct State {
    files: HashMap<PathBuf, FileId>,
    names: Vec<PathBuf>,
    /// How far each file was ever written, but for what was cut off again.
    extents: Vec<u64>,
    counts: Vec<FileCounts>,
    directory_flushes: u64,
    log: Option<Vec<Operation>>,
    /// How many operations were taken out of the log.
    taken: usize,
    fault: Option<ArmedFault>,
    slow: Option<SlowFile>,
    grown: u64,
    room: Option<u64>,
}

/// A file whose flushes take their time.
#[derive(Debug)]
struct SlowFile {
    name: PathBuf,
    flush: Duration,
}

/// An open descriptor under a watched directory.
#[derive(Clone, Debug)]
pub(crate) struct Descriptor {
    pub(crate) directory: Arc<Directory>,
    pub(crate) node: Node,
}

/// What a descriptor stands for.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    File { file: FileId, is_synchronous: bool },
    Directory(PathBuf),
}

impl Watch {
    /// Counts the calls on files under `dir`, which exists.
    ///
    /// # Errors
    ///
    /// Where the directory has no canonical path.
    pub fn new(dir: &Path) -> io::Result<Self> {
        let directory = Arc::new(Directory {
            path: dir.canonicalize()?,
            thread: thread::current().id(),
            state: Mutex::default(),
        });
        write(&DIRECTORIES).push(directory.clone());
        WATCHED.fetch_add(1, Ordering::SeqCst);
        Ok(Self { directory })
    }

    /// As [`Watch::new`], and records the operations.
    ///
    /// # Errors
    ///
    /// As [`Watch::new`].
    pub fn recording(dir: &Path) -> io::Result<Self> {
        let watch = Self::new(dir)?;
        watch.directory.lock().log = Some(Vec::new());
        Ok(watch)
    }

    /// The counts of each file, by its name under the directory.
    pub fn counts(&self) -> BTreeMap<PathBuf, Counts> {
        let state = self.directory.lock();
        state.names.iter().cloned().zip(state.counts.iter().map(FileCounts::counts)).collect()
    }

    /// The counts of all files together, with the flushes of directories.
    pub fn total(&self) -> Counts {
        let state = self.directory.lock();
        let mut total = Counts { flushes: state.directory_flushes, ..Counts::default() };
        state.counts.iter().for_each(|file| total += file.counts());
        total
    }

    /// Takes the operations that were recorded since the last time.
    pub fn take_operations(&self) -> Vec<Operation> {
        let mut state = self.directory.lock();
        let operations = state.log.as_mut().map(mem::take).unwrap_or_default();
        state.taken += operations.len();
        operations
    }

    /// Notes `mark` among the operations.
    pub fn mark(&self, mark: u64) {
        self.directory.lock().record(|| Operation::Mark(mark));
    }

    /// Lets calls fail, in place of those that were to fail before.
    pub fn fail(&self, fault: Fault) {
        self.directory.lock().fault = Some(ArmedFault::new(fault));
    }

    /// Lets no more calls fail, and tells how many did since [`Watch::fail`].
    pub fn heal(&self) -> u64 {
        self.directory.lock().fault.take().map_or(0, |fault| fault.struck())
    }

    /// How many calls of the kind that is to fail there were since [`Watch::fail`].
    pub fn met(&self) -> u64 {
        self.directory.lock().fault.as_ref().map_or(0, ArmedFault::met)
    }

    /// How many calls failed since [`Watch::fail`].
    pub fn struck(&self) -> u64 {
        self.directory.lock().fault.as_ref().map_or(0, ArmedFault::struck)
    }

    /// Lets each flush of the file `name` take `flush` longer, in place of the file that was slow before: other threads go on
    /// meanwhile, and what they write the flush does not send.
    pub fn slow_down(&self, name: &Path, flush: Duration) {
        self.directory.lock().slow = Some(SlowFile { name: name.into(), flush });
    }

    /// How many bytes the files have grown by altogether, whatever was cut off again.
    pub fn grown(&self) -> u64 {
        self.directory.lock().grown
    }

    /// Leaves room for files to grow by `bytes` altogether, then the disk is full; `None`: as much as there is.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.directory.lock().room = bytes;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.fetch_sub(1, Ordering::SeqCst);
        write(&DIRECTORIES).retain(|directory| !Arc::ptr_eq(directory, &self.directory));
        write(&DESCRIPTORS).retain(|_, descriptor| !Arc::ptr_eq(&descriptor.directory, &self.directory));
    }
}

impl Directory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How a call on the name is to fail, if it is.
    pub(crate) fn strike(&mut self, call: Call, name: &Path) -> Option<Failure> {
        self.fault.as_mut()?.strike(call, name)
    }

    /// How a call on what a descriptor stands for is to fail, if it is.
    pub(crate) fn strike_node(&mut self, call: Call, node: &Node) -> Option<Failure> {
        let name = match node {
            Node::File { file, .. } => &self.names[file.0 as usize],
            Node::Directory(name) => name,
        };
        self.fault.as_mut()?.strike(call, name)
    }

    /// How long a flush of what a descriptor stands for is to take besides.
    pub(crate) fn delay(&self, node: &Node) -> Duration {
        match (node, &self.slow) {
            (Node::File { file, .. }, Some(slow)) if self.names[file.0 as usize] == slow.name => slow.flush,
            _ => Duration::ZERO,
        }
    }

    /// The file `name` was opened: `len` bytes were there, or none since it was made just now.
    pub(crate) fn opened(&mut self, name: &Path, len: Option<u64>) -> FileId {
        if let Some(&file) = self.files.get(name) {
            return file;
        }
        let file = FileId(self.names.len() as u32);
        self.files.insert(name.into(), file);
        self.names.push(name.into());
        self.extents.push(len.unwrap_or(0));
        self.counts.push(FileCounts::default());
        self.record(|| match len {
            Some(_) => Operation::Find { file, name: name.into() },
            None => Operation::Create { file, name: name.into() },
        });
        file
    }

    /// How many of `len` bytes at `at` there is room for.
    pub(crate) fn room_for(&self, file: FileId, at: u64, len: u64) -> u64 {
        let grown = self.growth(file, at, len);
        len - grown.saturating_sub(self.room.unwrap_or(u64::MAX))
    }

    /// The bytes were written.
    pub(crate) fn written(&mut self, file: FileId, at: u64, bytes: &[u8]) {
        let len = bytes.len() as u64;
        let grown = self.growth(file, at, len);
        self.grown += grown;
        self.room = self.room.map(|room| room.saturating_sub(grown));
        let extent = &mut self.extents[file.0 as usize];
        *extent = (*extent).max(at + len);
        self.counts[file.0 as usize].write(at, len);
        self.record(|| Operation::Write { file, at, bytes: bytes.into() });
    }

    /// The file was cut or extended.
    pub(crate) fn truncated(&mut self, file: FileId, len: u64) {
        let extent = &mut self.extents[file.0 as usize];
        let freed = extent.saturating_sub(len);
        *extent -= freed;
        self.room = self.room.map(|room| room.saturating_add(freed));
        self.record(|| Operation::Truncate { file, len });
    }

    /// How many operations were recorded: what a flush that begins now covers.
    pub(crate) fn recorded(&self) -> usize {
        self.taken + self.log.as_ref().map_or(0, Vec::len)
    }

    /// A flush ended well.
    pub(crate) fn flushed(&mut self, file: FileId, range: Range<u64>, covers: usize) {
        self.counts[file.0 as usize].flush(&range);
        self.record(|| Operation::Flush { file, range, covers });
    }

    /// A flush failed.
    pub(crate) fn flush_failed(&mut self, file: FileId, range: Range<u64>) {
        self.record(|| Operation::FailedFlush { file, range });
    }

    /// A flush of a directory ended well.
    pub(crate) fn directory_flushed(&mut self, name: PathBuf, covers: usize) {
        self.directory_flushes += 1;
        self.record(|| Operation::FlushDirectory { name, covers });
    }

    /// A file got another name, or a directory, and with it all that it holds.
    pub(crate) fn renamed(&mut self, from: &Path, to: &Path) {
        self.files.remove(to);
        for (name, file) in mem::take(&mut self.files) {
            let name = moved(&name, from, to).unwrap_or(name);
            self.names[file.0 as usize].clone_from(&name);
            self.files.insert(name, file);
        }
        self.record(|| Operation::Rename { from: from.into(), to: to.into() });
    }

    /// A name was removed.
    pub(crate) fn removed(&mut self, name: &Path) {
        if let Some(file) = self.files.remove(name) {
            self.room = self.room.map(|room| room.saturating_add(self.extents[file.0 as usize]));
        }
        self.record(|| Operation::Remove { name: name.into() });
    }

    fn growth(&self, file: FileId, at: u64, len: u64) -> u64 {
        (at + len).saturating_sub(self.extents[file.0 as usize].max(at))
    }

    fn record(&mut self, operation: impl FnOnce() -> Operation) {
        if let Some(log) = &mut self.log {
            log.push(operation());
        }
    }
}

/// The name that `name` has once `from` is called `to`; `None` where it is neither that nor within it.
pub(crate) fn moved(name: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let within = name.strip_prefix(from).ok()?;
    Some(if within.as_os_str().is_empty() { to.into() } else { to.join(within) })
}

/// Whether anything is watched.
pub(crate) fn is_watching() -> bool {
    WATCHED.load(Ordering::Relaxed) > 0
}

/// The watched directory that `path` is in, and its name there; `path` need not exist, but its directory.
pub(crate) fn locate(path: &Path) -> Option<(Arc<Directory>, PathBuf)> {
    let canonical = path.canonicalize().ok().or_else(|| {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    })?;
    read(&DIRECTORIES).iter().find_map(|directory| {
        let name = canonical.strip_prefix(&directory.path).ok()?;
        Some((directory.clone(), name.to_path_buf()))
    })
}

/// The watched directory of a name that begins in the directory `at`, and its name there; `None` where that is not watched.
pub(crate) fn locate_in(at: c_int, name: &Path) -> Option<(Arc<Directory>, PathBuf)> {
    let Descriptor { directory, node: Node::Directory(parent) } = descriptor(at)? else { return None };
    Some((directory, parent.join(name)))
}

/// How the start of a thread by this one is to fail, if it is.
pub(crate) fn strike_spawn() -> Option<Failure> {
    if !is_watching() {
        return None;
    }
    let this = thread::current().id();
    let directories = read(&DIRECTORIES);
    let mut own = directories.iter().filter(|directory| directory.thread == this);
    own.find_map(|directory| directory.lock().strike(Call::Spawn, Path::new("")))
}

/// What a descriptor stands for; `None` where it is not watched.
pub(crate) fn descriptor(fd: c_int) -> Option<Descriptor> {
    if is_watching() { read(&DESCRIPTORS).get(&fd).cloned() } else { None }
}

/// A descriptor was opened.
pub(crate) fn attach(fd: c_int, descriptor: Descriptor) {
    write(&DESCRIPTORS).insert(fd, descriptor);
}

/// A descriptor is about to be closed.
pub(crate) fn detach(fd: c_int) {
    if is_watching() {
        write(&DESCRIPTORS).remove(&fd);
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

static WATCHED: AtomicUsize = AtomicUsize::new(0);
static DIRECTORIES: RwLock<Vec<Arc<Directory>>> = RwLock::new(Vec::new());
static DESCRIPTORS: RwLock<BTreeMap<c_int, Descriptor>> = RwLock::new(BTreeMap::new());

//! The keys of a store: one for each stream, all wrapped by one that the master key wraps.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use super::error::KeysError;
use super::key_file::{
    ENTRY_LEN, Entry, EntryKind, FILL, HEADER_LEN, Header, PAGE_LEN, StreamIdentity, damaged_in, entries_of,
    fill_page,
};
use super::master_key::MasterKey;
use super::replacement::{
    Replacement, at, begins_with, discard, exists, read, read_beside_owner, read_from, settle,
};
use super::secret::{Secret, random};
use super::stream_key::StreamKey;
use super::suite::{Cipher, Suite};
use crate::store::error::is_disk_full;
use crate::store::sealing::{KEYS_FILE, NEW_KEYS_FILE};
use crate::{StreamId, StreamSequence};

/// The keys of an open store.
pub(in crate::store) struct Keyring {
    dir: PathBuf,
    /// The suite of new streams.
    suite: Suite,
    is_owner: bool,
    state: Mutex<State>,
}

/// What the file of keys holds, and what is yet to be written to it.
struct State {
    file: File,
    header: Header,
    master: MasterKey,
    kek: Secret,
    wrapping: Cipher,
    /// The entry of each stream: the last that the file has of it.
    entries: HashMap<StreamIdentity, Entry>,
    /// The entries that were torn or damaged, as their bytes are. They open nothing, but tell that something is missing:
    /// whatever file takes this one's place has them too.
    damaged: Vec<u8>,
    /// Where the next entry stands or will, in bytes from the file's start.
    end: u64,
    /// Entries that were drawn, and are to be stored before anything that they seal.
    fresh: Vec<Entry>,
    /// The most entries that it takes.
    entries_max: usize,
    /// Keys that were asked for.
    opened: HashMap<StreamIdentity, Arc<StreamKey>>,
    is_poisoned: bool,
}

/// What became of the key of an event.
pub(in crate::store) enum Found {
    /// It is there.
    Key(Arc<StreamKey>),
    /// The stream was shredded after the event was stored, with all that it held before this one.
    Shredded {
        /// The first event that was not.
        first: StreamSequence,
    },
    /// It should be there, and is not.
    Missing,
}

impl Keyring {
    /// Opens the keys of a store for its owner, and ends what a crash has cut short. A store that never had any, and so
    /// knows of no `ring`, gets a fresh key-encryption key.
    pub(in crate::store) fn open(
        dir: &Path,
        master: &MasterKey,
        suite: Suite,
        ring: Option<u64>,
    ) -> Result<Self, KeysError> {
        settle(dir)?;
        let path = dir.join(KEYS_FILE);
        if !exists(&path)? {
            if ring.is_some() {
                return Err(KeysError::Missing { path });
            }
            create(dir, master, suite)?;
        }
        let mut state = State::load(open_for_writing(&path)?, &path, master)?;
        state.refuse_other_ring(ring, path)?;
        state.secure_appended(dir)?;
        Ok(Self { dir: dir.to_path_buf(), suite, is_owner: true, state: Mutex::new(state) })
    }

    /// Opens the keys of a store beside its owner.
    pub(in crate::store) fn open_read_only(
        dir: &Path,
        master: &MasterKey,
        ring: Option<u64>,
    ) -> Result<Self, KeysError> {
        let state = State::load_beside_owner(dir, master)?;
        state.refuse_other_ring(ring, dir.join(KEYS_FILE))?;
        Ok(Self {
            dir: dir.to_path_buf(),
            suite: Suite::default(),
            is_owner: false,
            state: Mutex::new(state),
        })
    }

    /// The number of this set of keys, by which a store knows its own.
    pub(in crate::store) fn ring(&self) -> u64 {
        self.lock().header.ring
    }

    /// The key that seals what a stream holds from `next` on, its end. Where there is none it is drawn, if the stream
    /// `is_asked_for`; [`Keyring::store_fresh`] comes before anything that it sealed.
    pub(in crate::store) fn key_to_seal(
        &self,
        name: &str,
        id: StreamId,
        next: StreamSequence,
        is_asked_for: bool,
    ) -> Result<Option<Arc<StreamKey>>, KeysError> {
        let stream = StreamIdentity::new(name, id);
        let mut state = self.lock();
        let key = match state.entries.get(&stream) {
            None if !is_asked_for => return Ok(None),
            // Nobody knows of a shredding. Events before this one are plain, or their key was lost to damage.
            None => state.draw(self.suite, stream, StreamSequence(0)),
            // One that begins later, in a log restored from before it, would take the events to come for shredded ones.
            Some(entry) if entry.kind == EntryKind::Key && entry.first <= next => state.key(&stream),
            // What was shredded ends where it did, and what follows is not shredded, whoever lost its key.
            Some(entry) => {
                let first = entry.first.min(next);
                state.draw(self.suite, stream, first)
            }
        };
        key.map(Some)
    }

    /// Writes the keys that were drawn, and flushes them.
    pub(in crate::store) fn store_fresh(&self) -> Result<(), KeysError> {
        let mut state = self.lock();
        if state.fresh.is_empty() {
            return Ok(());
        }
        state.refuse_if_poisoned()?;
        if state.is_mostly_spare() {
            let (master, kek) = (state.master.clone(), state.kek.copy());
            let entries = state.bytes_with(state.entries.values());
            return state.replace(&self.dir, &master, &kek, &entries);
        }
        let stored = at(&self.dir.join(KEYS_FILE), |_| state.append_fresh());
        stored.map_err(|error| state.failure(error))
    }

    /// The key of the event at `seq` of a stream, which is stored sealed.
    pub(in crate::store) fn key_of(
        &self,
        name: &str,
        id: StreamId,
        seq: StreamSequence,
    ) -> Result<Found, KeysError> {
        let stream = StreamIdentity::new(name, id);
        let mut state = self.lock();
        if !self.is_owner {
            state.refresh(&self.dir)?;
        }
        match state.entries.get(&stream) {
            Some(entry) if seq < entry.first => Ok(Found::Shredded { first: entry.first }),
            Some(entry) if entry.kind == EntryKind::Key => state.key(&stream).map(Found::Key),
            _ => Ok(Found::Missing),
        }
    }

    /// Destroys the key of a stream that ends at `end`: whatever was sealed before is gone for good. When it returns,
    /// nothing of the key is left in the file.
    pub(in crate::store) fn shred(
        &self,
        name: &str,
        id: StreamId,
        end: StreamSequence,
    ) -> Result<(), KeysError> {
        let stream = StreamIdentity::new(name, id);
        let mut state = self.lock();
        let entry = state.entries.get(&stream).copied();
        // A damaged entry may be the stream's, and open to whoever mends it, until what wraps it is destroyed.
        if state.damaged.is_empty() {
            match entry.map(|entry| entry.kind) {
                None => return Err(KeysError::NotSealed { stream: name.into(), stream_id: id }),
                Some(EntryKind::Shredded) => return Ok(()),
                Some(EntryKind::Key) => {}
            }
        }
        let Header { suite, ring, .. } = state.header;
        let kek = Secret::random().map_err(KeysError::Random)?;
        let wrapping = Cipher::new(suite, &kek);
        let mut entries = HashMap::with_capacity(state.entries.len());
        for (&other, kept) in state.entries.iter().filter(|&(&other, _)| other != stream) {
            entries.insert(other, kept.rewrap(ring, &state.wrapping, &wrapping)?);
        }
        let suite = entry.map_or(self.suite, |entry| entry.suite);
        let shredded = Entry::shredded(suite, stream, end, ring, &wrapping);
        entries.insert(stream, shredded.map_err(KeysError::Random)?);
        let master = state.master.clone();
        let bytes = state.bytes_with(entries.values());
        state.replace(&self.dir, &master, &kek, &bytes)
    }

    /// Wraps the key-encryption key by another master key. The one before opens nothing any more.
    pub(in crate::store) fn rotate_master(&self, master: &MasterKey) -> Result<(), KeysError> {
        let mut state = self.lock();
        let (kek, entries) = (state.kek.copy(), state.bytes_with(state.entries.values()));
        state.replace(&self.dir, master, &kek, &entries)
    }

    /// Has it take no key that it has not.
    #[cfg(test)]
    pub(in crate::store) fn fill(&self) {
        self.lock().entries_max = 0;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl State {
    /// Reads a whole file of keys, and opens what wraps them.
    fn load(file: File, path: &Path, master: &MasterKey) -> Result<Self, KeysError> {
        let bytes = at(path, |_| read(&file))?;
        Self::of(file, &bytes, master)
    }

    /// The same of its bytes.
    fn of(file: File, bytes: &[u8], master: &MasterKey) -> Result<Self, KeysError> {
        let header = Header::parse(bytes)?;
        header.check_entries(bytes)?;
        let kek = header.open(master)?;
        let mut state = Self {
            file,
            header,
            master: master.clone(),
            wrapping: Cipher::new(header.suite, &kek),
            kek,
            entries: HashMap::new(),
            damaged: damaged_in(&bytes[HEADER_LEN..]),
            end: HEADER_LEN as u64,
            fresh: Vec::new(),
            entries_max: KEYS_MAX,
            opened: HashMap::new(),
            is_poisoned: false,
        };
        state.take(&bytes[HEADER_LEN..]);
        Ok(state)
    }

    /// Reads the file of keys that counts at the moment.
    fn load_beside_owner(dir: &Path, master: &MasterKey) -> Result<Self, KeysError> {
        read_beside_owner(dir, |file, bytes| Self::of(file, bytes, master))
    }

    /// Takes up what the owner has written since.
    fn refresh(&mut self, dir: &Path) -> Result<(), KeysError> {
        let path = dir.join(KEYS_FILE);
        let metadata = at(&path, |_| self.file.metadata())?;
        if !is_in(dir, &metadata) {
            *self = Self::load_beside_owner(dir, &self.master)?;
        } else if metadata.len() > self.end {
            let bytes = at(&path, |_| read_from(&self.file, self.end))?;
            if at(&path, |_| begins_with(&self.file, &self.header.to_bytes()))? {
                self.take(&bytes);
            } else {
                *self = Self::load_beside_owner(dir, &self.master)?;
            }
        }
        Ok(())
    }

    /// Takes up entries that stand at the end of those there are. What is torn may yet be whole, unless more follows.
    fn take(&mut self, bytes: &[u8]) {
        let mut taken = 0;
        for (slot, entry) in entries_of(bytes) {
            let Some(entry) = entry else { continue };
            self.entries.insert(entry.stream, entry);
            self.opened.remove(&entry.stream);
            taken = (slot + 1) * ENTRY_LEN;
        }
        self.end += taken as u64;
    }

    /// Lets the next entry begin a page behind all that was ever written: no page is written twice.
    fn step_over_torn(&mut self, path: &Path) -> Result<(), KeysError> {
        let len = at(path, |_| self.file.metadata())?.len();
        self.end = len.next_multiple_of(PAGE_LEN as u64);
        Ok(())
    }

    /// The key of a stream that has one.
    fn key(&mut self, stream: &StreamIdentity) -> Result<Arc<StreamKey>, KeysError> {
        if let Some(key) = self.opened.get(stream) {
            return Ok(key.clone());
        }
        let entry = self.entries[stream];
        let key = entry.open(self.header.ring, &self.wrapping)?;
        Ok(self.remember(entry.suite, *stream, key))
    }

    fn draw(
        &mut self,
        suite: Suite,
        stream: StreamIdentity,
        first: StreamSequence,
    ) -> Result<Arc<StreamKey>, KeysError> {
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&stream) {
            return Err(KeysError::Full);
        }
        let key = Secret::random().map_err(KeysError::Random)?;
        let entry = Entry::key(suite, stream, first, &key, self.header.ring, &self.wrapping);
        let entry = entry.map_err(KeysError::Random)?;
        self.entries.insert(stream, entry);
        self.fresh.push(entry);
        Ok(self.remember(suite, stream, key))
    }

    fn remember(&mut self, suite: Suite, stream: StreamIdentity, key: Secret) -> Arc<StreamKey> {
        if self.opened.len() >= OPENED_MAX {
            self.opened.clear();
        }
        let key = Arc::new(StreamKey::new(suite, stream, key));
        self.opened.insert(stream, key.clone());
        key
    }

    fn append_fresh(&mut self) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.fresh.len() * ENTRY_LEN);
        self.fresh.iter().for_each(|entry| entry.emit(&mut bytes));
        fill_page(&mut bytes);
        // Where there was no room nothing was flushed, and the same pages are written again once there is.
        let written = self.file.write_all_at(&bytes, self.end);
        written.inspect_err(|error| self.is_poisoned = !is_disk_full(error))?;
        self.file.sync_data().inspect_err(|_| self.is_poisoned = true)?;
        self.end += bytes.len() as u64;
        self.fresh.clear();
        Ok(())
    }

    /// Puts a whole new file in the place of this one, if anything was appended to it: a flush may have failed, and what
    /// it has dropped is read all the same, until the power is cut. Entries go over byte for byte, damaged ones too.
    fn secure_appended(&mut self, dir: &Path) -> Result<(), KeysError> {
        let path = dir.join(KEYS_FILE);
        let bytes = at(&path, |_| read(&self.file))?;
        let made_with = HEADER_LEN + self.header.entries as usize * ENTRY_LEN;
        if bytes.len() <= made_with.next_multiple_of(PAGE_LEN) {
            return self.step_over_torn(&path);
        }
        let slots = bytes[HEADER_LEN..].chunks_exact(ENTRY_LEN);
        let used = slots.filter(|slot| slot.iter().any(|&byte| byte != FILL && byte != 0));
        let (master, kek) = (self.master.clone(), self.kek.copy());
        self.replace(dir, &master, &kek, &used.collect::<Vec<_>>().concat())
    }

    /// Puts a whole new file in the place of this one.
    fn replace(
        &mut self,
        dir: &Path,
        master: &MasterKey,
        kek: &Secret,
        entries: &[u8],
    ) -> Result<(), KeysError> {
        self.refuse_if_poisoned()?;
        let bytes = file_of(self.header.suite, self.header.ring, master, kek, entries)?;
        let mut replacement = Replacement::new(dir, &bytes);
        if let Err(error) = replacement.run() {
            self.is_poisoned = replacement.has_touched_old() || discard(dir).is_err();
            return Err(self.failure(error));
        }
        // Whatever comes now, what is in memory is what the file has, and reads go on.
        self.is_poisoned = true;
        let path = dir.join(KEYS_FILE);
        let reopened = self.adopt(&bytes, master, kek).and_then(|()| {
            self.file = open_for_writing(&path)?;
            self.step_over_torn(&path)
        });
        reopened.map_err(|error| self.failure(error))?;
        self.is_poisoned = false;
        Ok(())
    }

    /// Takes up the content of a whole new file.
    fn adopt(&mut self, bytes: &[u8], master: &MasterKey, kek: &Secret) -> Result<(), KeysError> {
        self.header = Header::parse(bytes)?;
        (self.master, self.kek) = (master.clone(), kek.copy());
        self.wrapping = Cipher::new(self.header.suite, kek);
        (self.entries, self.opened) = (HashMap::new(), HashMap::new());
        self.damaged = damaged_in(&bytes[HEADER_LEN..]);
        self.fresh.clear();
        self.end = HEADER_LEN as u64;
        self.take(&bytes[HEADER_LEN..]);
        Ok(())
    }

    /// Whether the file is to be made anew, since most of it is room that appends have left.
    fn is_mostly_spare(&self) -> bool {
        let pages = self.end as usize / PAGE_LEN;
        let used = self.entries.len() * ENTRY_LEN + self.damaged.len();
        pages > 2 * used.div_ceil(PAGE_LEN) + SPARE_PAGES_MAX
    }

    /// Entries as they are stored, behind the damaged ones.
    fn bytes_with<'e>(&self, entries: impl Iterator<Item = &'e Entry>) -> Vec<u8> {
        let mut bytes = self.damaged.clone();
        entries.for_each(|entry| entry.emit(&mut bytes));
        bytes
    }

    /// Refuses keys that are not those of the store's `ring`, if it knows one.
    fn refuse_other_ring(&self, ring: Option<u64>, path: PathBuf) -> Result<(), KeysError> {
        match ring {
            Some(ring) if ring != self.header.ring => Err(KeysError::OtherStore { path }),
            _ => Ok(()),
        }
    }

    /// Why a write failed. Where the keys take no more until the store is opened again, room would not help: it is then none
    /// of a full disk.
    fn failure(&self, error: KeysError) -> KeysError {
        match error {
            KeysError::Io { path, error } if self.is_poisoned && is_disk_full(&error) => {
                KeysError::Io { path, error: io::Error::other(error) }
            }
            error => error,
        }
    }

    fn refuse_if_poisoned(&self) -> Result<(), KeysError> {
        if self.is_poisoned { Err(KeysError::Poisoned) } else { Ok(()) }
    }
}

/// Makes the first keys of a store: none but the key-encryption key.
fn create(dir: &Path, master: &MasterKey, suite: Suite) -> Result<(), KeysError> {
    let mut ring = [0; 8];
    random(&mut ring).map_err(KeysError::Random)?;
    let kek = Secret::random().map_err(KeysError::Random)?;
    let bytes = file_of(suite, u64::from_le_bytes(ring), master, &kek, &[])?;
    Replacement::new(dir, &bytes).run()
}

/// The bytes of a whole file.
fn file_of(
    suite: Suite,
    ring: u64,
    master: &MasterKey,
    kek: &Secret,
    entries: &[u8],
) -> Result<Vec<u8>, KeysError> {
    let header = Header::new(suite, ring, master, kek, entries).map_err(KeysError::Random)?;
    let mut file = [&header.to_bytes(), entries].concat();
    fill_page(&mut file);
    Ok(file)
}

/// Whether a name of a file of keys still leads to this one. How many links it has does not tell: it may have one elsewhere.
fn is_in(dir: &Path, file: &Metadata) -> bool {
    let is_it = |there: Metadata| (there.dev(), there.ino()) == (file.dev(), file.ino());
    [KEYS_FILE, NEW_KEYS_FILE].iter().any(|name| fs::metadata(dir.join(name)).is_ok_and(is_it))
}

fn open_for_writing(path: &Path) -> Result<File, KeysError> {
    at(path, |path| OpenOptions::new().read(true).write(true).open(path))
}

/// The most streams of a store that may have a key.
pub const KEYS_MAX: usize = 1 << 20;

/// How many pages of room a small file of keys may have before it is made anew.
pub(super) const SPARE_PAGES_MAX: usize = 64;

/// How many keys are kept open; past it they are opened anew.
const OPENED_MAX: usize = 1024;

#[cfg(test)]
mod tests;

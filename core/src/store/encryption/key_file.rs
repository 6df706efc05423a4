//! The bytes of the file `keys`: a header with the wrapped key-encryption key, then an entry for each stream.
//!
//! ```text
//! 0         128       256       384              4,096     4,224            8,192
//! ┌─────────┬─────────┬─────────┬────────────────┬─────────┬────────────────┬─────────┬───
//! │ header  │ entry   │ entry   │ ff …           │ entry   │ ff …           │ entry   │ …
//! └─────────┴─────────┴─────────┴────────────────┴─────────┴────────────────┴─────────┴───
//! └─────────── written as one file ──────────────┘└──── appended, a page each time ─────
//! ```
//!
//! The first entries are written with the header and checked with it; later ones are appended, each with a checksum of
//! its own. A page that was written is never written again, since the sector under a write may end as garbage.
//! FORMAT.md, section 8, specifies every byte.

use std::io;

use sha2::{Digest, Sha256};

use super::error::KeysError;
use super::master_key::{MasterKey, MasterKeyId};
use super::secret::Secret;
use super::suite::{Cipher, Suite};
use super::wrapped_key::{WRAPPED_KEY_LEN, WrappedKey};
use crate::store::error::{Damage, Place};
use crate::store::log::tables::array;
use crate::{StreamId, StreamSequence};

/// What stands before the entries.
#[derive(Clone, Copy)]
pub(in crate::store) struct Header {
    /// Which cipher wraps all keys of the file.
    pub(super) suite: Suite,
    /// The number of this set of keys, which stays whatever is added, shredded or rotated.
    pub(super) ring: u64,
    master: MasterKeyId,
    /// How many entries were written with the header.
    pub(super) entries: u32,
    entries_crc: u32,
    kek: WrappedKey,
}

/// A stream, whatever number it has in the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::store) struct StreamIdentity {
    name: [u8; 32],
    id: StreamId,
}

/// What the store has of a stream's key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Entry {
    pub(super) kind: EntryKind,
    /// Which cipher seals the stream's events.
    pub(super) suite: Suite,
    pub(super) stream: StreamIdentity,
    /// The first event that the key seals: sealed events before it are shredded.
    pub(super) first: StreamSequence,
    key: WrappedKey,
}

/// Whether a stream has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum EntryKind {
    /// It has.
    Key,
    /// It was shredded, and nothing was sealed since: zeros stand for the key.
    Shredded,
}

impl Header {
    /// A header for `entries`, with a key-encryption key that `master` wraps.
    pub(super) fn new(
        suite: Suite,
        ring: u64,
        master: &MasterKey,
        kek: &Secret,
        entries: &[u8],
    ) -> io::Result<Self> {
        let cipher = Cipher::new(suite, &master.wrapping_key());
        let count = (entries.len() / ENTRY_LEN) as u32;
        let kek = WrappedKey::seal(&cipher, &header_associated(suite, ring), kek)?;
        Ok(Self {
            suite,
            ring,
            master: master.id(),
            entries: count,
            entries_crc: crc32c::crc32c(entries),
            kek,
        })
    }

    /// Reads the header that a file begins with.
    pub(in crate::store) fn parse(bytes: &[u8]) -> Result<Self, KeysError> {
        let damage = |reason| KeysError::from(Damage { place: Place::Keys(0), reason });
        let head: [u8; HEADER_LEN] =
            array(bytes, 0).ok_or_else(|| damage("it is shorter than its header"))?;
        if head[..field::VERSION] != MAGIC {
            return Err(damage("its magic number is wrong"));
        }
        let version = u16::from_le_bytes([head[field::VERSION], head[field::VERSION + 1]]);
        if version > VERSION {
            return Err(KeysError::NewerFormat { found: version });
        }
        if array(&head, field::CRC) != Some(crc32c::crc32c(&head[..field::CRC]).to_le_bytes()) {
            return Err(damage("its header's checksum is wrong"));
        }
        let suite = Suite::of_id(head[field::SUITE]).ok_or_else(|| damage("its suite is unknown"))?;
        if head[field::RESERVED] != 0 || head[field::FILLER..field::CRC].iter().any(|&byte| byte != 0) {
            return Err(damage("its header's reserved bytes are used"));
        }
        let u32_at = |at| u32::from_le_bytes(array(&head, at).expect("it is in the header"));
        Ok(Self {
            suite,
            ring: u64::from_le_bytes(array(&head, field::RING).expect("it is in the header")),
            master: array(&head, field::MASTER).expect("it is in the header"),
            entries: u32_at(field::ENTRIES),
            entries_crc: u32_at(field::ENTRIES_CRC),
            kek: WrappedKey::parse(&array(&head, field::KEK).expect("it is in the header")),
        })
    }

    /// The stored form.
    pub(in crate::store) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[self.suite.id(), 0]);
        bytes.extend_from_slice(&self.ring.to_le_bytes());
        bytes.extend_from_slice(&self.master);
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        bytes.extend_from_slice(&self.entries_crc.to_le_bytes());
        self.kek.emit(&mut bytes);
        bytes.resize(field::CRC, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The key-encryption key.
    pub(super) fn open(&self, master: &MasterKey) -> Result<Secret, KeysError> {
        if self.master != master.id() {
            return Err(KeysError::WrongMasterKey);
        }
        let cipher = Cipher::new(self.suite, &master.wrapping_key());
        let kek = self.kek.open(&cipher, &header_associated(self.suite, self.ring));
        kek.map_err(|_| {
            Damage { place: Place::Keys(0), reason: "its key-encryption key is not what was wrapped" }.into()
        })
    }

    /// Refuses a file that does not hold the entries that were written with this header.
    pub(super) fn check_entries(&self, file: &[u8]) -> Result<(), KeysError> {
        let len = (self.entries as usize).checked_mul(ENTRY_LEN);
        let entries = len.and_then(|len| file.get(HEADER_LEN..)?.get(..len));
        if entries.is_some_and(|entries| crc32c::crc32c(entries) == self.entries_crc) {
            return Ok(());
        }
        let reason = "its entries are not those that were written with it";
        Err(Damage { place: Place::Keys(HEADER_LEN as u64), reason }.into())
    }
}

/// What is wrong with a file: which of its entries were torn, or are damaged.
///
/// # Errors
///
/// Where its header, or what was written with it, is damaged: then nothing else of it counts.
pub(in crate::store) fn check(file: &[u8]) -> Result<Vec<Damage>, KeysError> {
    Header::parse(file)?.check_entries(file)?;
    let reason = "an entry was torn, or is damaged";
    let damage = |slot: usize| Damage { place: Place::Keys((HEADER_LEN + slot * ENTRY_LEN) as u64), reason };
    let entries = entries_of(&file[HEADER_LEN..]);
    Ok(entries.filter(|(_, entry)| entry.is_none()).map(|(slot, _)| damage(slot)).collect())
}

/// The entries of the rest of a file, in order, but for room that was left; `None` for one that was torn or damaged.
pub(in crate::store) fn entries_of(bytes: &[u8]) -> impl Iterator<Item = (usize, Option<Entry>)> {
    let slots = bytes.chunks(ENTRY_LEN).enumerate();
    let used = slots.filter(|(_, slot)| slot.iter().any(|&byte| byte != FILL));
    used.map(|(slot, bytes)| (slot, bytes.try_into().ok().and_then(Entry::parse)))
}

/// The entries of the rest of a file that were torn or damaged, byte for byte: [`DAMAGED_MAX`] of them at most.
pub(super) fn damaged_in(bytes: &[u8]) -> Vec<u8> {
    let damaged = entries_of(bytes).filter(|(_, entry)| entry.is_none()).map(|(slot, _)| slot * ENTRY_LEN);
    let kept = damaged
        .filter_map(|at| bytes.get(at..at + ENTRY_LEN))
        .filter(|slot| slot.iter().any(|&byte| byte != 0));
    kept.take(DAMAGED_MAX).flatten().copied().collect()
}

/// Fills up the last page.
pub(super) fn fill_page(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(PAGE_LEN), FILL);
}

impl StreamIdentity {
    pub(super) fn new(name: &str, id: StreamId) -> Self {
        Self { name: Sha256::digest(name.as_bytes()).into(), id }
    }

    /// The bytes that stand for the stream wherever something is bound to it.
    pub(super) fn to_bytes(self) -> [u8; IDENTITY_LEN] {
        let mut bytes = [0; IDENTITY_LEN];
        bytes[..8].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[8..].copy_from_slice(&self.name);
        bytes
    }

    fn parse(bytes: &[u8; IDENTITY_LEN]) -> Option<Self> {
        let id = StreamId(array(bytes, 0).map(u64::from_le_bytes)?);
        Some(Self { id, name: array(bytes, 8)? })
    }
}

impl Entry {
    /// A stream's key, wrapped by the key-encryption key of the file that the entry is for.
    pub(super) fn key(
        suite: Suite,
        stream: StreamIdentity,
        first: StreamSequence,
        key: &Secret,
        ring: u64,
        kek: &Cipher,
    ) -> io::Result<Self> {
        let associated = entry_associated(ring, EntryKind::Key, suite, &stream, first);
        Ok(Self { kind: EntryKind::Key, suite, stream, first, key: WrappedKey::seal(kek, &associated, key)? })
    }

    /// What is left of a stream's key once it is shredded.
    pub(super) fn shredded(
        suite: Suite,
        stream: StreamIdentity,
        first: StreamSequence,
        ring: u64,
        kek: &Cipher,
    ) -> io::Result<Self> {
        let kind = EntryKind::Shredded;
        let associated = entry_associated(ring, kind, suite, &stream, first);
        Ok(Self { kind, suite, stream, first, key: WrappedKey::seal(kek, &associated, &Secret::zeroed())? })
    }

    /// The stream's key, or the zeros that stand for it.
    pub(super) fn open(&self, ring: u64, kek: &Cipher) -> Result<Secret, Damage> {
        let associated = entry_associated(ring, self.kind, self.suite, &self.stream, self.first);
        let key = self.key.open(kek, &associated);
        key.map_err(|_| Damage { place: Place::Keys(0), reason: "an entry is not what was wrapped" })
    }

    /// The same entry under another key-encryption key.
    pub(super) fn rewrap(&self, ring: u64, kek: &Cipher, fresh: &Cipher) -> Result<Self, KeysError> {
        let key = self.open(ring, kek)?;
        let associated = entry_associated(ring, self.kind, self.suite, &self.stream, self.first);
        let key = WrappedKey::seal(fresh, &associated, &key).map_err(KeysError::Random)?;
        Ok(Self { key, ..*self })
    }

    /// Reads an entry; `None` where it was torn or damaged.
    pub(super) fn parse(bytes: &[u8; ENTRY_LEN]) -> Option<Self> {
        let kind = EntryKind::of_id(bytes[field::KIND])?;
        let crc = crc32c::crc32c(&bytes[..field::ENTRY_CRC]).to_le_bytes();
        let reserved =
            [&bytes[field::ENTRY_RESERVED..field::STREAM], &bytes[field::ENTRY_FILLER..field::ENTRY_CRC]];
        if bytes[field::ENTRY_CRC..] != crc || reserved.concat().iter().any(|&byte| byte != 0) {
            return None;
        }
        Some(Self {
            kind,
            suite: Suite::of_id(bytes[field::ENTRY_SUITE])?,
            stream: StreamIdentity::parse(&array(bytes, field::STREAM)?)?,
            first: StreamSequence(array(bytes, field::FIRST).map(u64::from_le_bytes)?),
            key: WrappedKey::parse(&array(bytes, field::KEY)?),
        })
    }

    /// Writes the stored form behind `out`.
    pub(in crate::store) fn emit(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[self.kind.id(), self.suite.id(), 0, 0]);
        out.extend_from_slice(&self.stream.to_bytes());
        out.extend_from_slice(&self.first.0.to_le_bytes());
        self.key.emit(out);
        out.resize(start + field::ENTRY_CRC, 0);
        out.extend_from_slice(&crc32c::crc32c(&out[start..]).to_le_bytes());
    }
}

impl EntryKind {
    const fn id(self) -> u8 {
        match self {
            Self::Key => 1,
            Self::Shredded => 2,
        }
    }

    const fn of_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Key),
            2 => Some(Self::Shredded),
            _ => None,
        }
    }
}

/// What a key-encryption key is bound to.
fn header_associated(suite: Suite, ring: u64) -> Vec<u8> {
    [b"varve keys".as_slice(), &[suite.id()], &ring.to_le_bytes()].concat()
}

/// What a stream's key is bound to.
fn entry_associated(
    ring: u64,
    kind: EntryKind,
    suite: Suite,
    stream: &StreamIdentity,
    first: StreamSequence,
) -> Vec<u8> {
    let head = [kind.id(), suite.id()];
    [b"varve key".as_slice(), &ring.to_le_bytes(), &head, &stream.to_bytes(), &first.0.to_le_bytes()].concat()
}

const MAGIC: [u8; 4] = *b"VRVK";
const VERSION: u16 = 0;
const IDENTITY_LEN: usize = 40;
pub(in crate::store) const HEADER_LEN: usize = 128;
pub(in crate::store) const ENTRY_LEN: usize = 128;

/// How many damaged entries a whole new file takes along.
pub(super) const DAMAGED_MAX: usize = 1024;

/// What one write to the file begins and ends with: no disk makes garbage of more than what is written.
pub(in crate::store) const PAGE_LEN: usize = 4096;

/// What fills up a page. Not zeros: those tell that a file is being wiped, or was never written there.
pub(super) const FILL: u8 = 0xff;

mod field {
    //! Where the fields of a header and of an entry stand.
    use super::WRAPPED_KEY_LEN;

    pub(super) const VERSION: usize = 4;
    pub(super) const SUITE: usize = 6;
    pub(super) const RESERVED: usize = 7;
    pub(super) const RING: usize = 8;
    pub(super) const MASTER: usize = 16;
    pub(super) const ENTRIES: usize = 24;
    pub(super) const ENTRIES_CRC: usize = 28;
    pub(super) const KEK: usize = 32;
    pub(super) const FILLER: usize = KEK + WRAPPED_KEY_LEN;
    pub(super) const CRC: usize = 124;

    pub(super) const KIND: usize = 0;
    pub(super) const ENTRY_SUITE: usize = 1;
    pub(super) const ENTRY_RESERVED: usize = 2;
    pub(super) const STREAM: usize = 4;
    pub(super) const FIRST: usize = 44;
    pub(super) const KEY: usize = 52;
    pub(super) const ENTRY_FILLER: usize = KEY + WRAPPED_KEY_LEN;
    pub(super) const ENTRY_CRC: usize = 124;
}

const _: () = assert!(field::FILLER <= field::CRC && field::CRC + 4 == HEADER_LEN);
const _: () = assert!(field::ENTRY_FILLER <= field::ENTRY_CRC && field::ENTRY_CRC + 4 == ENTRY_LEN);
const _: () = assert!(HEADER_LEN == ENTRY_LEN && PAGE_LEN.is_multiple_of(ENTRY_LEN));
const _: () = assert!(field::STREAM + IDENTITY_LEN == field::FIRST);

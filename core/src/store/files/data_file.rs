//! LMDB's data file, as far as LMDB leaves it unguarded: the two meta pages at its front.
//!
//! ```text
//! page 0                                                   page 1
//! ┌─────────────┬──────────────────────────┬─ … ─┬────────┬─ …
//! │ page header │ meta                     │     │ header │ meta
//! └─────────────┴──────────────────────────┴─ … ─┴────────┴─ …
//!   16 bytes      136 bytes, where a word has 8: 12 and 80 where it has 4
//!
//! meta   magic 4 · version 4 · address 1 w · map size 1 w · free pages 8 + 5 w · tables 8 + 5 w · last page 1 w ·
//!        transaction 1 w                            (w: a word; the length of a page stands first in "free pages")
//! ```
//!
//! Transaction n writes its meta to page n % 2 once its other pages are durable, and of two pages the one of the later
//! transaction counts. LMDB gives a meta no checksum: one that a power cut tore may pass for whole, and name pages that
//! hold anything. The tail tells which meta became durable, and still holds what the last one brought.

mod tree;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::store::error::{Damage, OpenError, Place};
use crate::store::log::tables::array;
pub(in crate::store) use tree::{DataTree, PageError, ValueAt};

/// The checksum of the meta that counts in a data file: never 0, which confirms none.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] where no meta is whole; what the system says.
pub(in crate::store) fn newest_checksum(file: &File) -> io::Result<u32> {
    let metas = MetaPages::read(file)?;
    let newest = metas.newest().and_then(|newest| metas.pages[newest].as_ref());
    newest.map(Meta::checksum).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, NONE_WHOLE))
}

/// Refuses a data file that a machine of another word size wrote, which looks damaged to this one: the magic number of
/// page 0 stands behind a header whose length depends on the size of a page's number.
///
/// # Errors
///
/// [`OpenError::OtherWordSize`]; [`OpenError::Io`].
pub(in crate::store) fn refuse_other_word_size(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(DATA_FILE);
    let mut head = [0; MAGIC_AT_64 + 4];
    match File::open(&path).and_then(|file| file.read_exact_at(&mut head, 0)) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
            return Ok(());
        }
        Err(error) => return Err(OpenError::Io { path, error }),
    }
    let is_magic_at = |at: usize| head[at..at + 4] == MAGIC.to_ne_bytes();
    let found = match (is_magic_at(MAGIC_AT_32), is_magic_at(MAGIC_AT_64)) {
        (true, _) => 32,
        (_, true) => 64,
        _ => return Ok(()),
    };
    if found == usize::BITS { Ok(()) } else { Err(OpenError::OtherWordSize { found, expected: usize::BITS }) }
}

/// Checks that LMDB can begin to read the data file in `dir`, of which the caller knows that it was there: a store has it
/// before it has a tail.
///
/// # Errors
///
/// [`OpenError::Corrupt`] where the file is missing or no meta is whole; [`OpenError::OtherWordSize`]; [`OpenError::Io`].
pub(in crate::store) fn check_meta_pages(dir: &Path) -> Result<(), OpenError> {
    open_metas(dir, OpenOptions::new().read(true)).map(|_| ())
}

/// Makes the data file of `dir` what it was before the transaction whose meta a power cut kept from becoming durable,
/// and returns whether it had to. The process must be the owner, and have no environment open there.
///
/// A meta that counts, and whose checksum is not `confirmed`, gives way to the other one; so does one that is none.
///
/// # Errors
///
/// As [`check_meta_pages`].
pub(in crate::store) fn repair_after_power_cut(
    dir: &Path,
    confirmed: impl Fn(u32) -> bool,
) -> Result<bool, OpenError> {
    change_meta_pages(dir, |file, metas, newest| {
        let Some(kept) = metas.to_keep(newest, confirmed) else { return Ok(false) };
        metas.put(file, kept, 1 - kept).map(|()| true)
    })
}

/// Makes the meta durable that counts in the data file of `dir`, where a power cut would have it give way to the other one, and
/// returns whether it had to. A flush of it may have failed: what that has dropped is read all the same, but the other one
/// still is all that there is after a power cut, and LMDB is about to write over it. The process must be the owner, and
/// have no environment open there.
///
/// # Errors
///
/// As [`check_meta_pages`].
pub(in crate::store) fn renew_unconfirmed(
    dir: &Path,
    confirmed: impl Fn(u32) -> bool,
) -> Result<bool, OpenError> {
    change_meta_pages(dir, |file, metas, newest| {
        if metas.to_keep(newest, confirmed) != Some(1 - newest) {
            return Ok(false);
        }
        metas.put(file, newest, newest)?;
        file.sync_data().map(|()| true)
    })
}

/// Hands the meta pages of the data file in `dir` to `change`, with the number of the one that counts, and returns whether
/// they were changed.
fn change_meta_pages(
    dir: &Path,
    change: impl FnOnce(&File, &MetaPages, usize) -> io::Result<bool>,
) -> Result<bool, OpenError> {
    let (file, metas, newest) = open_metas(dir, OpenOptions::new().read(true).write(true))?;
    change(&file, &metas, newest).map_err(|error| OpenError::Io { path: dir.join(DATA_FILE), error })
}

/// Opens the data file in `dir` with its meta pages and the number of the one that counts.
fn open_metas(dir: &Path, options: &OpenOptions) -> Result<(File, MetaPages, usize), OpenError> {
    refuse_other_word_size(dir)?;
    let path = dir.join(DATA_FILE);
    let damage = |reason| Damage { place: Place::MetaPages, reason };
    let file = match options.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damage(MISSING).into()),
        Err(error) => return Err(OpenError::Io { path, error }),
    };
    let metas = MetaPages::read(&file).map_err(|error| OpenError::Io { path, error })?;
    let newest = metas.newest().ok_or_else(|| damage(NONE_WHOLE))?;
    Ok((file, metas, newest))
}

/// Checks that every page of the data file in `dir` has one use, before LMDB first writes to any that it calls free. The
/// process must be the owner, and have no environment open there.
///
/// # Errors
///
/// [`OpenError::Corrupt`] with the page; [`OpenError::Io`].
pub(in crate::store) fn check_page_use(dir: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: dir.join(DATA_FILE), error };
    let Some(tree) = DataTree::open(dir).map_err(io)? else { return Ok(()) };
    tree.check_page_use().map_err(|error| match error {
        PageError::Io(error) => io(error),
        PageError::Damage(damage) => damage.into(),
    })
}

/// Both meta pages, of which one that is no meta page is `None`.
struct MetaPages {
    page_len: usize,
    pages: [Option<Meta>; 2],
}

/// A meta that could be one: nothing but its magic number, its version and the length of a page was checked.
struct Meta {
    bytes: [u8; META_LEN],
}

impl MetaPages {
    fn read(file: &File) -> io::Result<Self> {
        Self::read_but(file, |error| error.kind() == io::ErrorKind::UnexpectedEof)
    }

    /// The same, where a page is none that meets an error which `is_lost`.
    fn read_but(file: &File, is_lost: fn(&io::Error) -> bool) -> io::Result<Self> {
        let first = Meta::read(file, 0, is_lost)?;
        // Where page 0 does not tell how long it is, page 1 stands where its own length says.
        let page_lens = match &first {
            Some(meta) => vec![meta.page_len()],
            None => PAGE_LENS.to_vec(),
        };
        for page_len in page_lens {
            let second = Meta::read(file, page_len, is_lost)?.filter(|meta| meta.page_len() == page_len);
            if first.is_some() || second.is_some() {
                return Ok(Self { page_len, pages: [first, second] });
            }
        }
        Ok(Self { page_len: PAGE_LENS[0], pages: [None, None] })
    }

    /// The page that counts, as LMDB decides it.
    fn newest(&self) -> Option<usize> {
        match &self.pages {
            [Some(first), Some(second)] => Some((first.transaction() < second.transaction()).into()),
            [Some(_), None] => Some(0),
            [None, Some(_)] => Some(1),
            [None, None] => None,
        }
    }

    /// The page that the other one is to become a copy of; `None` where both may stay.
    fn to_keep(&self, newest: usize, confirmed: impl Fn(u32) -> bool) -> Option<usize> {
        match [&self.pages[newest], &self.pages[1 - newest]] {
            [Some(meta), Some(other)] => {
                // A store's data file has its name once its first transaction is durable: it never was what transaction 0
                // tells, an empty environment.
                let is_alone = other.transaction() == 0 || meta.checksum() == other.checksum();
                (!is_alone && !confirmed(meta.checksum())).then_some(1 - newest)
            }
            // The other one was being written, which begins only once this one is durable.
            _ => Some(newest),
        }
    }

    /// Writes the meta of page `meta` to page `page`.
    ///
    /// Where that replaces another one, LMDB flushes it with the pages of its next commit, before it names any of them. A power
    /// cut before that brings back a meta that nothing confirms, which gives way again.
    fn put(&self, file: &File, meta: usize, page: usize) -> io::Result<()> {
        let Some(meta) = &self.pages[meta] else { return Ok(()) };
        let mut bytes = vec![0; self.page_len];
        bytes[..WORD].copy_from_slice(&page.to_ne_bytes());
        bytes[field::PAGE_FLAGS..][..2].copy_from_slice(&FLAG_META.to_ne_bytes());
        bytes[PAGE_HEADER_LEN..][..META_LEN].copy_from_slice(&meta.bytes);
        file.write_all_at(&bytes, (page * self.page_len) as u64)
    }
}

impl Meta {
    /// The meta of the page at `at`; `None` where there is none, as where it `is_lost`.
    fn read(file: &File, at: usize, is_lost: fn(&io::Error) -> bool) -> io::Result<Option<Self>> {
        let mut page = [0; PAGE_HEADER_LEN + META_LEN];
        match file.read_exact_at(&mut page, at as u64) {
            Ok(()) => Ok(Self::parse(&page)),
            Err(error) if is_lost(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(page: &[u8; PAGE_HEADER_LEN + META_LEN]) -> Option<Self> {
        let flags = array(page, field::PAGE_FLAGS).map(u16::from_ne_bytes)?;
        let meta = Self { bytes: array(page, PAGE_HEADER_LEN)? };
        let is_meta = flags & FLAG_META != 0
            && meta.number(field::MAGIC) == MAGIC
            && meta.number(field::VERSION) == VERSION;
        (is_meta && PAGE_LENS.contains(&meta.page_len())).then_some(meta)
    }

    /// Never 0, which confirms none. The header of the page is left out: a copy has another number in it.
    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.bytes).max(1)
    }

    fn page_len(&self) -> usize {
        self.number(field::PAGE_LEN) as usize
    }

    fn transaction(&self) -> usize {
        array(&self.bytes, field::TRANSACTION).map_or(0, usize::from_ne_bytes)
    }

    fn number(&self, at: usize) -> u32 {
        array(&self.bytes, at).map_or(0, u32::from_ne_bytes)
    }
}

const NONE_WHOLE: &str = "neither of its meta pages is whole";
const MISSING: &str = "the file is missing";

const DATA_FILE: &str = "data.mdb";

/// LMDB's `P_META`, `MDB_MAGIC` and `MDB_DATA_VERSION`.
const FLAG_META: u16 = 0x08;
const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;

/// Where the magic number stands in page 0, by the bits of a word.
const MAGIC_AT_32: usize = 12;
const MAGIC_AT_64: usize = 16;

/// The lengths that LMDB's pages may have: powers of two.
const PAGE_LENS: [usize; 8] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536];

/// LMDB stores numbers of pages, transactions and bytes in words of the machine.
const WORD: usize = size_of::<usize>();

const PAGE_HEADER_LEN: usize = WORD + 8;
const META_LEN: usize = field::TRANSACTION + WORD;

mod field {
    //! Where the fields of a page's header, and those of a meta, stand.
    use super::WORD;

    pub(in crate::store) const PAGE_FLAGS: usize = WORD + 2;

    pub(in crate::store) const MAGIC: usize = 0;
    pub(in crate::store) const VERSION: usize = 4;
    pub(in crate::store) const PAGE_LEN: usize = FREE_PAGES;
    pub(in crate::store) const TRANSACTION: usize = FREE_PAGES + 2 * TABLE_LEN + WORD;

    /// The roots of the list of free pages, and of that of the tables.
    pub(in crate::store) const FREE_ROOT: usize = FREE_PAGES + TABLE_LEN - WORD;
    pub(in crate::store) const MAIN_ROOT: usize = TRANSACTION - 2 * WORD;
    pub(in crate::store) const LAST_PAGE: usize = TRANSACTION - WORD;

    const FREE_PAGES: usize = 8 + 2 * WORD;
    const TABLE_LEN: usize = 8 + 5 * WORD;
}

const _: () = assert!(META_LEN == if WORD == 8 { 136 } else { 80 });
const _: () = assert!(PAGE_HEADER_LEN + META_LEN <= PAGE_LENS[0]);

#[cfg(test)]
mod tests;

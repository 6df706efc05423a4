//! LMDB's trees, read page by page without LMDB and without a map: whatever the pages hold, it is an error at worst.
//!
//! ```text
//! page      number 1 w · 0 2 · flags 2 · lower 2 · upper 2 · places of the nodes, 2 each, up to lower · … · nodes
//! node      low 2 · high 2 · flags 2 · length of the key 2 · key · value
//! branch    low, high and flags are the number of the page below; no value
//! leaf      low and high are the length of the value; flags: 1 it stands in overflow pages, whose first number is here
//!                                                            2 it is a table: … root 1 w at its end
//! overflow  the head of a page, then the value through as many pages as it takes
//! ```

mod page_use;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{DATA_FILE, MetaPages, PAGE_HEADER_LEN, WORD, field};
use crate::GlobalSequence;
use crate::store::error::is_unreadable;
use crate::store::log::block::{BLOCK_LEN_MAX, Block};
use crate::store::log::tables::array;
pub(in crate::store) use page_use::PageError;

/// A data file, to be read without LMDB.
pub(in crate::store) struct DataTree {
    file: File,
    page_len: usize,
    pages: u64,
    /// The roots of the list of tables, that of the latest meta first.
    main_roots: Vec<u64>,
    /// The root of the list of free pages, and the last page, as the latest meta has them.
    free_root: Option<u64>,
    last_page: Option<u64>,
    /// Whether what the disk has lost is passed over, and no error.
    is_damaged: bool,
}

/// A value where it was found.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct ValueAt<'a> {
    /// Its bytes.
    pub(in crate::store) bytes: &'a [u8],
    /// Where they stand in the file.
    pub(in crate::store) at: u64,
}

impl DataTree {
    /// Opens the data file of `dir`; `None` where there is none. A file without a whole meta page has no trees.
    pub(super) fn open(dir: &Path) -> io::Result<Option<Self>> {
        Self::open_with(dir, false)
    }

    /// As [`DataTree::open`], for a salvage: what the disk has lost is not what it should be, and no error.
    pub(in crate::store) fn open_damaged(dir: &Path) -> io::Result<Option<Self>> {
        Self::open_with(dir, true)
    }

    fn open_with(dir: &Path, is_damaged: bool) -> io::Result<Option<Self>> {
        match File::open(dir.join(DATA_FILE)) {
            Ok(file) => Self::of(file, is_damaged).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes up a data file, of which what the disk has lost is an error unless it `is_damaged`.
    pub(in crate::store) fn of(file: File, is_damaged: bool) -> io::Result<Self> {
        let metas =
            if is_damaged { MetaPages::read_but(&file, is_unreadable)? } else { MetaPages::read(&file)? };
        let newest = metas.newest().unwrap_or(0);
        let in_order = [newest, 1 - newest].into_iter().filter_map(|index| metas.pages[index].as_ref());
        let main_roots = in_order.filter_map(|meta| word(&meta.bytes, field::MAIN_ROOT)).collect();
        let of_newest = |at| metas.pages[newest].as_ref().and_then(|meta| word(&meta.bytes, at));
        let (free_root, last_page) = (of_newest(field::FREE_ROOT), of_newest(field::LAST_PAGE));
        let pages = file.metadata()?.len() / metas.page_len as u64;
        let page_len = metas.page_len;
        Ok(Self { file, page_len, pages, main_roots, free_root, last_page, is_damaged })
    }

    /// The root of each table by its name, as the latest meta has them that leads to `wanted`; and how many pages could
    /// not be read on the way.
    pub(in crate::store) fn tables(&self, wanted: &str) -> io::Result<(BTreeMap<Vec<u8>, u64>, u64)> {
        let mut unreadable = 0;
        for &root in &self.main_roots {
            let mut tables = BTreeMap::new();
            unreadable += self.walk(root, &mut |key, node| {
                if let Node::Table(root) = node {
                    tables.insert(key.to_vec(), root);
                }
                io::Result::Ok(())
            })?;
            if tables.contains_key(wanted.as_bytes()) {
                return Ok((tables, unreadable));
            }
        }
        Ok((BTreeMap::new(), unreadable))
    }

    /// Visits every row of the table at `root` that can be read, in the order of the keys, and tells how many pages could
    /// not. A value longer than a block is none.
    pub(in crate::store) fn rows<E: From<io::Error>>(
        &self,
        root: u64,
        mut visit: impl FnMut(&[u8], ValueAt<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut lost = 0;
        let mut overflow = Vec::new();
        let unreadable = self.walk(root, &mut |key, node| match node {
            Node::Value(value) => visit(key, value),
            Node::Overflow { page, len } => match self.read_overflow(page, len, &mut overflow)? {
                Some(at) => visit(key, ValueAt { bytes: &overflow, at }),
                None => {
                    lost += 1;
                    Ok(())
                }
            },
            Node::Table(_) => Ok(()),
        })?;
        Ok(unreadable + lost)
    }

    /// Visits every whole block in the file, in use or not, with its place.
    pub(in crate::store) fn blocks(&self, mut visit: impl FnMut(&Block<'_>, u64)) -> io::Result<()> {
        let mut piece = vec![0; PIECE_LEN + MAGIC.len()];
        let mut block = vec![0; BLOCK_LEN_MAX];
        let len = self.file.metadata()?.len();
        for start in (0..len).step_by(PIECE_LEN) {
            let piece_len = (len - start).min(piece.len() as u64) as usize;
            self.read_what_is_left(start, &mut piece[..piece_len])?;
            let starts = piece[..piece_len].windows(MAGIC.len()).enumerate();
            for (offset, _) in starts.filter(|(_, bytes)| *bytes == MAGIC) {
                let at = start + offset as u64;
                let block_len = (len - at).min(BLOCK_LEN_MAX as u64) as usize;
                self.read_what_is_left(at, &mut block[..block_len])?;
                if let Some(found) = block_at_front(&block[..block_len]) {
                    visit(&found, at);
                }
            }
        }
        Ok(())
    }

    /// Reads bytes, and tells whether they are there.
    pub(in crate::store) fn read(&self, at: u64, bytes: &mut [u8]) -> io::Result<bool> {
        match self.file.read_exact_at(bytes, at) {
            Err(error) if self.is_damaged && is_unreadable(&error) => Ok(false),
            read => read.map(|()| true),
        }
    }

    /// Reads bytes that a checksum guards: zeros stand for those that are not there.
    fn read_what_is_left(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        if self.read(at, bytes)? {
            return Ok(());
        }
        for (part, at) in bytes.chunks_mut(LOST_LEN).zip((at..).step_by(LOST_LEN)) {
            if !self.read(at, part)? {
                part.fill(0);
            }
        }
        Ok(())
    }

    /// Visits every node of the leaves below `root`, and tells how many pages are not what they should be. Each page is
    /// read once, so that no circle of pages goes on for ever. It remembers those that a page names, however long the
    /// file says that it is.
    fn walk<E: From<io::Error>>(
        &self,
        root: u64,
        visit: &mut impl FnMut(&[u8], Node<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        self.walk_unseen(root, &mut HashSet::new(), visit)
    }

    /// The same, but for the pages that were `seen`, which are not what they should be. It adds those that it reads.
    fn walk_unseen<E: From<io::Error>>(
        &self,
        root: u64,
        seen: &mut HashSet<u64>,
        visit: &mut impl FnMut(&[u8], Node<'_>) -> Result<(), E>,
    ) -> Result<u64, E> {
        if root == NO_PAGE {
            return Ok(0);
        }
        if !seen.insert(root) {
            return Ok(1);
        }
        let mut unreadable = 0;
        let mut page = vec![0; self.page_len];
        let mut to_read = vec![root];
        while let Some(number) = to_read.pop() {
            if number >= self.pages || !self.read_page(number, &mut page)? {
                unreadable += 1;
                continue;
            }
            let parsed = Page { bytes: &page, number };
            match parsed.flags() {
                FLAG_BRANCH => {
                    for child in parsed.nodes().rev().filter_map(|node| parsed.child(node)) {
                        match child < self.pages && seen.insert(child) {
                            true => to_read.push(child),
                            false => unreadable += 1,
                        }
                    }
                }
                FLAG_LEAF => {
                    for node in parsed.nodes() {
                        match parsed.leaf_node(node, self.page_len) {
                            Some((key, node)) => visit(key, node)?,
                            None => unreadable += 1,
                        }
                    }
                }
                _ => unreadable += 1,
            }
        }
        Ok(unreadable)
    }

    /// Reads a page, and tells whether it is the one that it should be.
    fn read_page(&self, number: u64, page: &mut [u8]) -> io::Result<bool> {
        Ok(self.read(number * self.page_len as u64, page)? && word(page, 0) == Some(number))
    }

    /// Reads the value of `len` bytes in the overflow pages from `page` on, and tells where it stands.
    fn read_overflow(&self, page: u64, len: usize, value: &mut Vec<u8>) -> io::Result<Option<u64>> {
        if len > BLOCK_LEN_MAX {
            return Ok(None);
        }
        let pages = (PAGE_HEADER_LEN + len).div_ceil(self.page_len) as u64;
        if page.checked_add(pages).is_none_or(|end| end > self.pages) {
            return Ok(None);
        }
        let mut head = [0; PAGE_HEADER_LEN];
        let start = page * self.page_len as u64;
        let is_read = self.read(start, &mut head)?;
        if !is_read || word(&head, 0) != Some(page) || flags(&head) != FLAG_OVERFLOW {
            return Ok(None);
        }
        let at = start + PAGE_HEADER_LEN as u64;
        value.resize(len, 0);
        Ok(self.read(at, value)?.then_some(at))
    }
}

/// What a node of a leaf holds.
enum Node<'a> {
    Value(ValueAt<'a>),
    Overflow { page: u64, len: usize },
    Table(u64),
}

/// A page of a tree. Whatever it holds, its methods stay within it.
struct Page<'a> {
    bytes: &'a [u8],
    number: u64,
}

impl<'a> Page<'a> {
    fn flags(&self) -> u16 {
        flags(self.bytes)
    }

    /// Where the nodes stand, in the order of their keys.
    fn nodes(&self) -> impl DoubleEndedIterator<Item = usize> + use<'a> {
        let bytes = self.bytes;
        let lower = u16_at(bytes, WORD + 4).unwrap_or(0).min(bytes.len());
        let count = lower.saturating_sub(PAGE_HEADER_LEN) / 2;
        (0..count).filter_map(move |index| u16_at(bytes, PAGE_HEADER_LEN + 2 * index))
    }

    /// The page that a node of a branch leads to.
    fn child(&self, node: usize) -> Option<u64> {
        let low = u64::from(array(self.bytes, node).map(u32::from_ne_bytes)?);
        let high = if WORD == 8 { u16_at(self.bytes, node + 4)? as u64 } else { 0 };
        Some(low | high << 32)
    }

    /// The key of a node of a leaf, and what it holds.
    fn leaf_node(&self, node: usize, page_len: usize) -> Option<(&'a [u8], Node<'a>)> {
        let len = array(self.bytes, node).map(u32::from_ne_bytes)? as usize;
        let (flags, key_len) = (u16_at(self.bytes, node + 4)?, u16_at(self.bytes, node + 6)?);
        let (key_at, value_at) = (node + NODE_HEADER_LEN, node + NODE_HEADER_LEN + key_len);
        let key = self.bytes.get(key_at..value_at)?;
        let at = self.number * page_len as u64 + value_at as u64;
        let node = match flags {
            0 => Node::Value(ValueAt { bytes: self.bytes.get(value_at..value_at.checked_add(len)?)?, at }),
            FLAG_BIG => Node::Overflow { page: word(self.bytes, value_at)?, len },
            FLAG_TABLE => Node::Table(word(self.bytes, value_at + TABLE_ROOT_AT)?),
            _ => return None,
        };
        Some((key, node))
    }
}

/// The whole block that `bytes` begin with.
fn block_at_front(bytes: &[u8]) -> Option<Block<'_>> {
    let (len, first) = Block::claims(bytes)?;
    Block::new_checked(GlobalSequence(first), bytes.get(..len)?).ok()
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(|word| usize::from_ne_bytes(word) as u64)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(|number| u16::from_ne_bytes(number).into())
}

fn flags(page: &[u8]) -> u16 {
    u16_at(page, field::PAGE_FLAGS).map_or(0, |flags| flags as u16)
}

/// How much of the file is looked through at once.
const PIECE_LEN: usize = 1 << 20;

/// How much of it is given up where a part cannot be read.
const LOST_LEN: usize = 4096;

const MAGIC: &[u8] = b"VRVB";

/// LMDB's `P_BRANCH`, `P_LEAF`, `P_OVERFLOW`, `F_BIGDATA`, `F_SUBDATA` and `P_INVALID`.
const FLAG_BRANCH: u16 = 0x01;
const FLAG_LEAF: u16 = 0x02;
const FLAG_OVERFLOW: u16 = 0x04;
const FLAG_BIG: usize = 0x01;
const FLAG_TABLE: usize = 0x02;
const NO_PAGE: u64 = usize::MAX as u64;

const NODE_HEADER_LEN: usize = 8;

/// Where the root stands in what a leaf tells of a table.
const TABLE_ROOT_AT: usize = 8 + 4 * WORD;

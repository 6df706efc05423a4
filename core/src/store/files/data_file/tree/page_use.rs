//! What each page of LMDB's data file is used for. LMDB writes to a page that it has listed as free whatever stands there,
//! and believes what a list says of its own length.
//!
//! ```text
//! free pages   a tree: transaction 1 w → count 1 w · that many pages, 1 w each, the last one first · unused words
//! ```

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::{DataTree, Node, PAGE_HEADER_LEN, WORD, word};
use crate::store::error::{Damage, Place};
use crate::store::log::tables::Tables;

/// Why LMDB is not to write to its data file.
#[derive(Debug)]
pub(in crate::store) enum PageError {
    /// The file cannot be read.
    Io(io::Error),
    /// A page has two uses, or one that cannot be.
    Damage(Damage),
}

/// What was found of the uses of pages.
struct PageUse {
    /// Branches and leaves.
    nodes: HashSet<u64>,
    /// All others, as they come: the pages of a value, or neighbours that are free.
    others: Vec<Range<u64>>,
    /// No transaction has used a later page.
    last: u64,
}

impl DataTree {
    /// Checks that every page has one use, and that the lists of free pages are lists. It reads the pages of all trees, but
    /// no value except those lists, and takes memory for some 16 bytes a block. Nobody may write LMDB meanwhile. A file
    /// without a whole meta page is none of LMDB's, which LMDB says itself.
    ///
    /// # Errors
    ///
    /// [`PageError::Damage`] with a page, or the root of the tree that leads to it.
    pub(in crate::store) fn check_page_use(&self) -> Result<(), PageError> {
        let (Some(&main), Some(free), Some(last)) = (self.main_roots.first(), self.free_root, self.last_page)
        else {
            return Ok(());
        };
        let meta_pages = Range { start: 0, end: META_PAGES };
        let mut pages = PageUse { nodes: HashSet::new(), others: vec![meta_pages], last };
        let mut tables = Vec::new();
        self.mark(main, &mut pages.nodes, &mut |_, node| match node {
            Node::Table(root) if tables.len() < TABLES_MAX => {
                tables.push(root);
                Ok(())
            }
            _ => Err(damage(main, "its list of tables is none")),
        })?;
        for root in tables {
            let PageUse { nodes, others, .. } = &mut pages;
            self.mark(root, nodes, &mut |_, node| match node {
                Node::Overflow { page, len } => self.mark_value(page, len, others),
                _ => Ok(()),
            })?;
        }
        self.mark_free(free, &mut pages)?;
        pages.check()
    }

    /// Marks the pages of a tree, all of which must be whole.
    fn mark(
        &self,
        root: u64,
        nodes: &mut HashSet<u64>,
        visit: &mut impl FnMut(&[u8], Node<'_>) -> Result<(), PageError>,
    ) -> Result<(), PageError> {
        match self.walk_unseen(root, nodes, visit)? {
            0 => Ok(()),
            _ => Err(damage(root, "a page below it is not what it should be, or has two uses")),
        }
    }

    /// Marks the pages of a value.
    fn mark_value(&self, page: u64, len: usize, others: &mut Vec<Range<u64>>) -> Result<(), PageError> {
        let count = (PAGE_HEADER_LEN + len).div_ceil(self.page_len) as u64;
        let end = page.checked_add(count).filter(|&end| end <= self.pages);
        others.push(page..end.ok_or_else(|| damage(page, "a value in it exceeds the file"))?);
        Ok(())
    }

    /// Marks the pages that are free, and those that say so.
    fn mark_free(&self, root: u64, pages: &mut PageUse) -> Result<(), PageError> {
        let PageUse { nodes, others, last } = pages;
        let mut before = 0;
        self.mark(root, nodes, &mut |key, node| {
            let transaction = word(key, 0).filter(|&number| key.len() == WORD && number > before);
            before = transaction.ok_or_else(|| damage(root, "a list of free pages is of no transaction"))?;
            match node {
                Node::Value(value) => {
                    let mut list = FreeList::new(root, value.bytes.len(), *last);
                    list.take(value.bytes, others)?;
                    list.finish()
                }
                Node::Overflow { page, len } => {
                    self.mark_value(page, len, others)?;
                    self.mark_long_list(page, FreeList::new(page, len, *last), len, others)
                }
                Node::Table(_) => Err(damage(root, "a list of free pages is a table")),
            }
        })
    }

    /// Marks the pages of a list that has pages of its own, however many.
    fn mark_long_list(
        &self,
        page: u64,
        mut list: FreeList,
        len: usize,
        others: &mut Vec<Range<u64>>,
    ) -> Result<(), PageError> {
        let start = page * self.page_len as u64 + PAGE_HEADER_LEN as u64;
        let mut piece = [0; PIECE_LEN];
        for at in (0..len).step_by(PIECE_LEN) {
            let piece = &mut piece[..PIECE_LEN.min(len - at)];
            self.file.read_exact_at(piece, start + at as u64)?;
            list.take(piece, others)?;
        }
        list.finish()
    }
}

impl PageUse {
    fn check(mut self) -> Result<(), PageError> {
        self.others.extend(self.nodes.iter().map(|&page| page..page + 1));
        self.others.sort_unstable_by_key(|pages| pages.start);
        if let Some(pair) = self.others.windows(2).find(|pair| pair[1].start < pair[0].end) {
            return Err(damage(pair[1].start, "it has two uses"));
        }
        match self.others.last() {
            Some(last) if last.end - 1 > self.last => Err(damage(last.start, "it is past the last page")),
            _ => Ok(()),
        }
    }
}

/// A list of free pages, piece by piece.
struct FreeList {
    /// Where it stands, or the root of the tree that it is in.
    place: u64,
    /// How many pages it may name at most.
    pages_max: u64,
    /// How many it has yet to name; `None` before it has told.
    left: Option<u64>,
    /// Every page that follows is before this one.
    before: u64,
}

impl FreeList {
    /// A list of so many bytes, that names no page after the last.
    fn new(place: u64, len: usize, last: u64) -> Self {
        let pages_max = (len / WORD).saturating_sub(1) as u64;
        Self { place, pages_max, left: None, before: last.saturating_add(1) }
    }

    /// Marks the pages that the next words name.
    fn take(&mut self, bytes: &[u8], others: &mut Vec<Range<u64>>) -> Result<(), PageError> {
        for at in (0..bytes.len()).step_by(WORD) {
            let number = word(bytes, at).ok_or_else(|| damage(self.place, "a list of free pages is cut"))?;
            self.left = match self.left {
                None if number <= self.pages_max => Some(number),
                None => return Err(damage(self.place, "a list of free pages is longer than its room")),
                Some(0) => return Ok(()),
                Some(_) if number >= self.before => {
                    return Err(damage(self.place, "a list of free pages is not in order"));
                }
                Some(left) => {
                    self.before = number;
                    mark_free_page(number, others);
                    Some(left - 1)
                }
            };
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), PageError> {
        match self.left {
            Some(0) => Ok(()),
            _ => Err(damage(self.place, "a list of free pages is cut")),
        }
    }
}

/// Marks a page, together with the one that follows it where that was marked last.
fn mark_free_page(page: u64, others: &mut Vec<Range<u64>>) {
    match others.last_mut() {
        Some(last) if last.start == page + 1 => last.start = page,
        _ => others.push(page..page + 1),
    }
}

impl From<io::Error> for PageError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn damage(page: u64, reason: &'static str) -> PageError {
    PageError::Damage(Damage { place: Place::Page(page), reason })
}

/// More tables than any store has.
const TABLES_MAX: usize = 64;

const _: () = assert!(TABLES_MAX > Tables::COUNT as usize);

const META_PAGES: u64 = 2;

/// How much of a long list is read at once: whole words.
const PIECE_LEN: usize = 4096;

const _: () = assert!(PIECE_LEN.is_multiple_of(WORD));

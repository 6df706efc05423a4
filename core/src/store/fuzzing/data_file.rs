//! LMDB's data file, as it is read without LMDB.

use std::fs::File;
use std::io;

use super::block::sample_blocks;
use crate::store::files::data_file::{DataTree, PageError, ValueAt, newest_checksum};

/// Reads all that a salvage reads, and checks the use of the pages. Tells whether there are tables, and every page has one
/// use.
///
/// # Panics
///
/// Where it reads what is not there.
pub fn check_data_file(file: File) -> bool {
    if let Err(error) = newest_checksum(&file) {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
    let tree = DataTree::of(file, false).expect(WITHIN);
    let (tables, _) = tree.tables(TABLE).expect(WITHIN);
    let mut front = Vec::new();
    for &root in tables.values().take(TABLES_READ_MAX) {
        let again = |_: &[u8], ValueAt { bytes, at }: ValueAt<'_>| {
            let bytes = &bytes[..bytes.len().min(FRONT_LEN)];
            front.resize(bytes.len(), 0);
            assert!(tree.read(at, &mut front)?, "{WITHIN}");
            assert_eq!(front, bytes, "a value stands where it is said to be");
            io::Result::Ok(())
        };
        tree.rows(root, again).expect(WITHIN);
    }
    tree.blocks(|block, at| assert!(block.end().is_ok(), "the block at {at} is whole")).expect(WITHIN);
    match tree.check_page_use() {
        Ok(()) => !tables.is_empty(),
        Err(PageError::Damage(_)) => false,
        Err(PageError::Io(error)) => panic!("{WITHIN}: {error}"),
    }
}

/// A file with a table of one block, a table of two leaves, and a free page, of the shortest pages that there are.
pub fn sample_data_files() -> Vec<Vec<u8>> {
    let block = &sample_blocks()[2];
    let leaf = |nodes: &[Vec<u8>]| page_of(LEAF, nodes);
    let mut pages = vec![
        meta(1),
        meta(2),
        leaf(&[table(TABLE.as_bytes(), 3), table(b"name", 5)]),
        leaf(&[node(BIG, &7u64.to_be_bytes(), block.len(), &word(4))]),
        page(OVERFLOW, &[], block),
        page_of(BRANCH, &[child(b"", 6), child(b"n", 7)]),
        leaf(&[node(0, b"doors", 4, &[1, 0, 0, 0])]),
        leaf(&[node(0, b"noises", 4, &[2, 0, 0, 0])]),
        leaf(&[node(0, &word(1), 2 * WORD, &[word(1), word(9)].concat())]),
        vec![0x5a; PAGE_LEN],
    ];
    for (number, page) in pages.iter_mut().enumerate().take(9) {
        page[..WORD].copy_from_slice(&word(number));
    }
    vec![pages.concat()]
}

/// The meta of a transaction: the list of free pages at page 8, that of the tables at page 2, and 9 as the last page.
fn meta(transaction: usize) -> Vec<u8> {
    let tree = |head: u32, root| [&head.to_ne_bytes()[..], &[0; 4 + 4 * WORD], &word(root)].concat();
    let fields = [
        0xbeef_c0de_u32.to_ne_bytes().to_vec(),
        1u32.to_ne_bytes().to_vec(),
        [word(0), word(1 << 20)].concat(),
        tree(PAGE_LEN as u32, 8),
        tree(0, 2),
        [word(9), word(transaction)].concat(),
    ];
    page(META, &[], &fields.concat())
}

/// A page of a tree, with its nodes from the back.
fn page_of(flags: u16, nodes: &[Vec<u8>]) -> Vec<u8> {
    let mut at = PAGE_LEN;
    let places = nodes.iter().flat_map(|node| {
        at -= node.len();
        (at as u16).to_ne_bytes()
    });
    let places: Vec<_> = places.collect();
    let mut page = page(flags, &places, &[]);
    page.truncate(at);
    nodes.iter().rev().for_each(|node| page.extend(node));
    page
}

/// A page without its number, of these places and bytes.
fn page(flags: u16, places: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut page = vec![0; WORD + 2];
    page.extend(flags.to_ne_bytes());
    page.extend(((WORD + 8 + places.len()) as u16).to_ne_bytes());
    page.extend([0; 2]);
    page.extend(places);
    page.extend(bytes);
    assert!(page.len() <= PAGE_LEN, "a sample is small");
    page.resize(PAGE_LEN, 0);
    page
}

/// A node of a leaf.
fn node(flags: u16, key: &[u8], len: usize, value: &[u8]) -> Vec<u8> {
    let mut node = (len as u32).to_ne_bytes().to_vec();
    node.extend([flags.to_ne_bytes(), (key.len() as u16).to_ne_bytes()].concat());
    node.extend([key, value].concat());
    node.resize(node.len().next_multiple_of(2), 0);
    node
}

/// A node that is a table.
fn table(name: &[u8], root: usize) -> Vec<u8> {
    let value = [&[0; 8 + 4 * WORD][..], &word(root)].concat();
    node(TABLE_NODE, name, value.len(), &value)
}

/// A node of a branch.
fn child(key: &[u8], page: usize) -> Vec<u8> {
    node(0, key, page, &[])
}

fn word(number: usize) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}

const WITHIN: &str = "it reads what is there";

const TABLE: &str = "block";

/// More tables than a store has, and few enough for a file that names the same pages again and again.
const TABLES_READ_MAX: usize = 32;

/// How much of a value is read again.
const FRONT_LEN: usize = 16;

const WORD: usize = size_of::<usize>();
const PAGE_LEN: usize = 512;

// LMDB's flags of pages and nodes.
const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const OVERFLOW: u16 = 4;
const META: u16 = 8;
const BIG: u16 = 1;
const TABLE_NODE: u16 = 2;

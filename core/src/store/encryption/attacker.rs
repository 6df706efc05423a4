//! An attacker who has the master key and every byte of every file, and knows the format.

use std::fs;
use std::path::Path;

use crate::store::encryption::key_file::{ENTRY_LEN, Entry, EntryKind, HEADER_LEN, Header, StreamIdentity};
use crate::store::encryption::master_key::MasterKey;
use crate::store::encryption::secret::Secret;
use crate::store::encryption::stream_key::{Meaning, StreamKey};
use crate::store::encryption::suite::{Cipher, Suite};
use crate::store::log::block::Block;
use crate::{DescriptorHash, Event, GlobalSequence, StreamId};

/// Every byte of every file in a directory.
pub(super) fn all_bytes(dir: &Path) -> Vec<u8> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.is_file()).flat_map(|path| fs::read(path).unwrap()).collect()
}

/// Every stream key that can be had from `bytes`, wherever it stands: whatever could be a header is taken for one, and
/// whatever could be an entry is tried under each of them.
pub(super) fn attack(bytes: &[u8], master: &MasterKey) -> Vec<[u8; 32]> {
    let header = |at: usize| Header::parse(bytes.get(at..at + HEADER_LEN)?).ok();
    let magics = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"VRVK"));
    let mut found = Vec::new();
    for header in magics.filter_map(header) {
        let Ok(kek) = header.open(master) else { continue };
        let wrapping = Cipher::new(header.suite, &kek);
        for window in bytes.windows(ENTRY_LEN) {
            let entry = Entry::parse(window.try_into().unwrap()).filter(|entry| entry.kind == EntryKind::Key);
            let key = entry.and_then(|entry| entry.open(header.ring, &wrapping).ok());
            found.extend(key.map(|key| *key.bytes()));
        }
    }
    found
}

/// What `keys` open of a stream's local events of type `T`, in whatever could be a block: plain events and columns.
pub(super) fn open_units<T: Event>(
    bytes: &[u8],
    keys: &[[u8; 32]],
    suite: Suite,
    stream: (&str, StreamId),
) -> Vec<Vec<u8>> {
    let meaning = Meaning { descriptor: DescriptorHash::of(T::DESCRIPTOR), device: None };
    let magics = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(b"VRVB"));
    let blocks: Vec<Block<'_>> = magics.filter_map(|at| block_at(bytes, at)).collect();
    let mut opened = Vec::new();
    for key in keys {
        let identity = StreamIdentity::new(stream.0, stream.1);
        let key = StreamKey::new(suite, identity, Secret::new(*key));
        for run in blocks.iter().flat_map(|block| (0..block.runs()).filter_map(|index| block.run(index).ok()))
        {
            let text = run.sealed().and_then(|(run, unit)| key.open(&run, &meaning, unit).ok());
            opened.extend(text.map(|text| text.to_vec()));
        }
    }
    opened
}

fn block_at(bytes: &[u8], at: usize) -> Option<Block<'_>> {
    let field = |from: usize| bytes.get(at + from..)?.first_chunk::<8>().copied();
    let len = u32::from_le_bytes(*field(12)?.first_chunk()?) as usize;
    let first = GlobalSequence(u64::from_le_bytes(field(16)?));
    Block::new_checked(first, bytes.get(at..at + len)?).ok()
}

//! The file `watermark`: how far the owner's log is durable, for processes that read beside it.
//!
//! It is written in one piece after each flush, and never flushed itself: it is no more than a message. A reader that
//! meets it while it is written finds its checksum wrong, and looks again. What a power cut leaves of it may be old or
//! nothing, but was true when it was written, and stays so: a recovery goes by it too. FORMAT.md, section 7, specifies its
//! bytes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::GlobalSequence;
use crate::store::error::OpenError;
use crate::store::log::tables::array;

/// How far a store's log is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Published {
    /// The current generation. All records of those before it are durable.
    pub(in crate::store) generation: u64,
    /// How many records of the current generation are durable.
    pub(in crate::store) records: u32,
    /// The last commit that is durable.
    pub(in crate::store) commit: u64,
    /// The place of the event after it.
    pub(in crate::store) next: GlobalSequence,
    /// Whether all of it was flushed. What an owner commits that flushes nothing is durable while the machine runs.
    pub(in crate::store) is_flushed: bool,
}

/// The file, open.
#[derive(Debug)]
pub(in crate::store) struct PublishedFile {
    file: File,
    incarnation: u64,
}

impl PublishedFile {
    /// Opens the file in `dir` for the owner, making it where it is missing. What it tells stands until something else
    /// is published: it was durable, and still is.
    pub(in crate::store) fn create(dir: &Path, incarnation: u64) -> Result<Self, OpenError> {
        let path = dir.join(FILE_NAME);
        match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
            Ok(file) => Ok(Self { file, incarnation }),
            Err(error) => Err(OpenError::Io { path, error }),
        }
    }

    /// Opens the file for a process that reads; `None` where no owner made one yet.
    pub(in crate::store) fn open(dir: &Path, incarnation: u64) -> io::Result<Option<Self>> {
        match File::open(dir.join(FILE_NAME)) {
            Ok(file) => Ok(Some(Self { file, incarnation })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells how far the log is durable. Where the file cannot be written, others hear of it with a later commit: that
    /// is no reason to fail this one, which is durable.
    pub(in crate::store) fn publish(&self, published: &Published) {
        let _ = self.file.write_all_at(&published.encode(self.incarnation), 0);
    }

    /// What was told last; `None` where nothing was of this store, or it is being written just now.
    pub(in crate::store) fn read(&self) -> io::Result<Option<Published>> {
        let mut bytes = [0; LEN];
        match self.file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Published::parse(&bytes, self.incarnation)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Published {
    pub(in crate::store) fn encode(&self, incarnation: u64) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(field::MAGIC, &MAGIC);
        put(field::INCARNATION, &incarnation.to_le_bytes());
        put(field::GENERATION, &self.generation.to_le_bytes());
        put(field::COMMIT, &self.commit.to_le_bytes());
        put(field::NEXT, &self.next.0.to_le_bytes());
        put(field::RECORDS, &self.records.to_le_bytes());
        put(field::FLUSHED, &[self.is_flushed.into()]);
        let crc = crc32c::crc32c(&bytes[..field::CRC]);
        bytes[field::CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(in crate::store) fn parse(bytes: &[u8; LEN], incarnation: u64) -> Option<Self> {
        let u32_at = |at| array(bytes, at).map(u32::from_le_bytes);
        let u64_at = |at| array(bytes, at).map(u64::from_le_bytes);
        let is_whole = u32_at(field::CRC)? == crc32c::crc32c(&bytes[..field::CRC]);
        let is_ours = bytes.starts_with(&MAGIC) && u64_at(field::INCARNATION)? == incarnation;
        if !is_whole || !is_ours {
            return None;
        }
        Some(Self {
            generation: u64_at(field::GENERATION)?,
            records: u32_at(field::RECORDS)?,
            commit: u64_at(field::COMMIT)?,
            next: GlobalSequence(u64_at(field::NEXT)?),
            is_flushed: bytes[field::FLUSHED] == 1,
        })
    }
}

pub(super) const FILE_NAME: &str = "watermark";

const LEN: usize = 64;
const MAGIC: [u8; 4] = *b"VRVW";

mod field {
    //! Where the fields of the file stand; the bytes between them are zeros.
    pub(super) const MAGIC: usize = 0;
    pub(super) const INCARNATION: usize = 8;
    pub(super) const GENERATION: usize = 16;
    pub(super) const COMMIT: usize = 24;
    pub(super) const NEXT: usize = 32;
    pub(super) const RECORDS: usize = 40;
    pub(super) const FLUSHED: usize = 44;
    pub(super) const CRC: usize = 60;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tail::golden;

    const PUBLISHED: Published =
        Published { generation: 7, records: 3, commit: 90, next: GlobalSequence(1000), is_flushed: true };

    #[test]
    fn the_file_is_byte_for_byte_what_the_format_says() {
        let next = GlobalSequence(10);
        let flushed = Published { generation: 5, records: 3, commit: 17, next, is_flushed: true };
        for (name, is_flushed) in [("watermark", true), ("watermark of a store that flushes nothing", false)]
        {
            let published = Published { is_flushed, ..flushed };
            let bytes = published.encode(golden::INCARNATION);
            assert_eq!(bytes.as_slice(), golden::bytes(name));
            assert_eq!(Published::parse(&bytes, golden::INCARNATION), Some(published));
        }
    }

    #[test]
    fn what_is_published_is_read_by_whom_it_concerns() {
        let dir = tempfile::tempdir().unwrap();
        assert!(PublishedFile::open(dir.path(), 1).unwrap().is_none());
        let owner = PublishedFile::create(dir.path(), 1).unwrap();
        let reader = PublishedFile::open(dir.path(), 1).unwrap().unwrap();
        assert_eq!(reader.read().unwrap(), None, "nothing was told yet");
        for commit in [90, 91] {
            owner.publish(&Published { commit, ..PUBLISHED });
            assert_eq!(reader.read().unwrap(), Some(Published { commit, ..PUBLISHED }));
        }
        let stranger = PublishedFile::open(dir.path(), 2).unwrap().unwrap();
        assert_eq!(stranger.read().unwrap(), None, "it is that of another store");
        let heir = PublishedFile::create(dir.path(), 1).unwrap();
        assert_eq!(
            reader.read().unwrap().unwrap().commit,
            91,
            "an heir leaves it until it has something to tell"
        );
        heir.publish(&PUBLISHED);
        assert_eq!(reader.read().unwrap(), Some(PUBLISHED));
    }

    #[test]
    fn half_of_one_and_half_of_another_is_nothing() {
        let before = PUBLISHED.encode(1);
        let next = GlobalSequence(1001);
        let after = Published { generation: 8, records: 4, commit: 91, next, is_flushed: false };
        let after = after.encode(1);
        for cut in 1..LEN {
            let mut torn = after;
            torn[cut..].copy_from_slice(&before[cut..]);
            let told = Published::parse(&torn, 1);
            assert!(told.is_none() || torn == before || torn == after, "{cut}");
        }
        for bit in 0..LEN * 8 {
            let mut flipped = before;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Published::parse(&flipped, 1), None);
        }
    }
}

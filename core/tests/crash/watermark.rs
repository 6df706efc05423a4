//! How far an owner has told that its log is durable: the file `watermark`, as FORMAT.md has it.

use std::fs;
use std::path::Path;

use varve_core::crc32c;

use crate::boot::is_of_this_boot;

/// What an owner told last.
pub(crate) struct Watermark {
    /// The last commit that is durable.
    pub(crate) commit: u64,
    /// The place of the event after it.
    pub(crate) next: u64,
    /// Whether all of this was flushed.
    pub(crate) is_flushed: bool,
}

impl Watermark {
    /// The watermark of a file, where it is whole, and that of the store whose tail this is.
    pub(crate) fn parse(file: &[u8], tail: &[u8]) -> Option<Self> {
        let file = file.get(..LEN)?;
        let is_whole = file[LEN - 4..] == crc32c(&file[..LEN - 4]).to_le_bytes();
        let is_ours = file[INCARNATION..][..8] == *tail.get(INCARNATION..)?.get(..8)?;
        let number =
            |at: usize| u64::from_le_bytes(*file[at..].first_chunk().expect("it is within the file"));
        let told = Self { commit: number(COMMIT), next: number(NEXT), is_flushed: file[FLUSHED] == 1 };
        (is_whole && is_ours).then_some(told)
    }

    /// That of the store in a directory, where an owner told it since the machine was started.
    pub(crate) fn since_boot(dir: &Path) -> Option<Self> {
        let [tail, watermark] = ["tail", "watermark"].map(|name| fs::read(dir.join(name)).ok());
        let tail = tail.filter(|tail| is_of_this_boot(tail))?;
        Self::parse(&watermark?, &tail)
    }
}

/// Where the store's incarnation stands here, and in the tail's header.
const INCARNATION: usize = 8;

const COMMIT: usize = 24;
const NEXT: usize = 32;
const FLUSHED: usize = 44;
const LEN: usize = 64;

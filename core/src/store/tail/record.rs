//! The record: what one commit stores, as it stands in the tail.
//!
//! ```text
//! 0              64
//! ┌──────────────┬─────────┬─────────┬───┬─────────┐
//! │ header, 64 B │ chunk 0 │ chunk 1 │ … │ chunk n │
//! └──────────────┴─────────┴─────────┴───┴─────────┘
//! ```
//!
//! A chunk is a finished block of the log, or a row of a table. The two checksums cover the store's incarnation and the
//! record's generation before their bytes, so that what another store or an earlier lap left there is no record.
//! FORMAT.md, section 7, specifies every byte.

use std::fmt;

use crate::GlobalSequence;
use crate::store::error::Damage;
use crate::store::log::block::Block;
use crate::store::log::tables::{KEY_LEN_MAX, array};

/// Makes records. Its buffer is used again for the next one.
pub(in crate::store) struct RecordWriter {
    /// Room for the header, then the body; zeros after it where the record is padded.
    bytes: Vec<u8>,
    body_len: usize,
    head: RecordHead,
    chunks: Vec<Span>,
}

/// A record whose checksums and structure were checked, or that was made here.
pub(in crate::store) struct Record {
    bytes: Box<[u8]>,
    head: RecordHead,
    chunks: Box<[Span]>,
}

/// What a record says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct RecordHead {
    /// The lap of the tail that it belongs to, from 1.
    pub(in crate::store) generation: u64,
    /// Its number: each record of a store has that of the one before plus 1.
    pub(in crate::store) commit: u64,
    /// The last commit that was flushed when it was written.
    pub(in crate::store) durable: u64,
    /// The global sequence of its first event; of the next one, where it has none.
    pub(in crate::store) first: GlobalSequence,
    /// How many events its blocks hold.
    pub(in crate::store) events: u32,
    /// The CRC of a meta page of LMDB that is known to be durable; 0: it confirms none.
    pub(in crate::store) confirmed: u32,
}

/// What a record holds, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Chunk<'a> {
    /// A block, which goes on where the one before ended.
    Block(&'a [u8]),
    /// A row, which replaces that of the same key.
    Row { table: TableNumber, key: &'a [u8], value: &'a [u8] },
}

/// A table, by its place in the list of FORMAT.md, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct TableNumber(pub(in crate::store) u8);

/// What the checksums of a generation's records start from.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct RecordSeed(u32);

/// The first 64 bytes of a record, whose own checksum is right.
pub(super) struct Header {
    pub(super) head: RecordHead,
    body_len: usize,
    body_crc: u32,
    chunks: usize,
}

/// Where a chunk stands in its record.
#[derive(Clone, Copy)]
enum Span {
    Block { at: u32, len: u32 },
    Row { at: u32, table: TableNumber, key_len: u16, value_len: u32 },
}

impl RecordWriter {
    /// A writer with an empty record begun.
    pub(in crate::store) fn new() -> Self {
        Self { bytes: vec![0; HEADER_LEN], body_len: 0, head: RecordHead::default(), chunks: Vec::new() }
    }

    /// Begins the next record and forgets the one before.
    pub(in crate::store) fn begin(&mut self) {
        self.body_len = 0;
        self.chunks.clear();
    }

    /// Whether nothing was added.
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How long the body is.
    pub(in crate::store) fn body_len(&self) -> usize {
        self.body_len
    }

    /// Adds a block, which `emit` writes behind what it is given.
    pub(in crate::store) fn block(&mut self, emit: impl FnOnce(&mut Vec<u8>)) {
        let (at, len) = self.chunk(KIND_BLOCK, TableNumber(0), &[], emit);
        self.chunks.push(Span::Block { at, len });
    }

    /// Adds a row: a key of 1 to 511 bytes, and its value.
    pub(in crate::store) fn row(&mut self, table: TableNumber, key: &[u8], value: &[u8]) {
        assert!((1..=KEY_LEN_MAX).contains(&key.len()), "a key has a length that LMDB takes");
        let (at, value_len) = self.chunk(KIND_ROW, table, key, |out| out.extend_from_slice(value));
        self.chunks.push(Span::Row { at, table, key_len: key.len() as u16, value_len });
    }

    /// The finished record. The body may have [`RECORD_BODY_LEN_MAX`] bytes.
    pub(in crate::store) fn finish(&mut self, head: RecordHead, seed: RecordSeed) -> &[u8] {
        assert!(self.body_len <= RECORD_BODY_LEN_MAX, "the caller bounds the body");
        let end = HEADER_LEN + self.body_len;
        self.bytes.truncate(end);
        let body_crc = seed.crc(&self.bytes[HEADER_LEN..]);
        let header = head.encode(self.body_len as u32, self.chunks.len() as u32, body_crc, seed);
        self.head = head;
        self.bytes[..HEADER_LEN].copy_from_slice(&header);
        &self.bytes
    }

    /// The finished record as it is written at `at` of a segment: with zeros up to the end of a sector.
    pub(in crate::store) fn padded(&mut self, at: u32) -> &[u8] {
        let end = at as usize + HEADER_LEN + self.body_len;
        self.bytes.resize(end.next_multiple_of(SECTOR_LEN) - at as usize, 0);
        &self.bytes
    }

    /// The finished record as [`Record::parse`] would read it, without the checks: they were all met in making it.
    pub(in crate::store) fn record(&self) -> Record {
        Record {
            bytes: self.bytes[..HEADER_LEN + self.body_len].into(),
            head: self.head,
            chunks: self.chunks.as_slice().into(),
        }
    }

    /// Adds a chunk whose content `emit` writes, and returns where its key begins, and how long its content is.
    fn chunk(
        &mut self,
        kind: u8,
        table: TableNumber,
        key: &[u8],
        emit: impl FnOnce(&mut Vec<u8>),
    ) -> (u32, u32) {
        self.bytes.truncate(HEADER_LEN + self.body_len);
        self.bytes.extend_from_slice(&[kind, table.0]);
        self.bytes.extend_from_slice(&(key.len() as u16).to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        emit(&mut self.bytes);
        let len = (self.bytes.len() - at - key.len()) as u32;
        self.bytes[at - 4..at].copy_from_slice(&len.to_le_bytes());
        self.body_len = self.bytes.len() - HEADER_LEN;
        (at as u32, len)
    }
}

impl Record {
    /// Checks a record of a header and a body, without the zeros after it: both checksums, every chunk, and that the
    /// blocks hold the events that the header names, one after the other.
    pub(in crate::store) fn parse(bytes: Box<[u8]>, seed: RecordSeed) -> Result<Self, &'static str> {
        let header = Header::parse(&array(&bytes, 0).ok_or("it is shorter than its header")?, seed)?;
        let body = &bytes[HEADER_LEN..];
        if body.len() != header.body_len {
            return Err("its length is wrong");
        }
        if seed.crc(body) != header.body_crc {
            return Err("the checksum of its body is wrong");
        }
        let chunks = locate_chunks(&bytes, header.chunks)?;
        let record = Self { head: header.head, bytes, chunks };
        record.check_blocks()?;
        Ok(record)
    }

    /// Checks what stands in every block: nobody else does before it is taken for what a commit wrote.
    pub(in crate::store) fn check(&self) -> Result<(), Damage> {
        let mut next = self.head.first;
        for index in 0..self.chunks() {
            if let Chunk::Block(bytes) = self.chunk(index) {
                let block = Block::new_checked(next, bytes)?;
                (0..block.runs()).try_for_each(|number| block.run(number).map(drop))?;
                next = block.end()?;
            }
        }
        Ok(())
    }

    /// What it says of itself.
    pub(in crate::store) fn head(&self) -> &RecordHead {
        &self.head
    }

    /// The global sequence after its last event.
    pub(in crate::store) fn end(&self) -> GlobalSequence {
        GlobalSequence(self.head.first.0 + u64::from(self.head.events))
    }

    /// How many bytes it has.
    pub(in crate::store) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many chunks there are.
    pub(in crate::store) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// The chunk at `index`.
    pub(in crate::store) fn chunk(&self, index: usize) -> Chunk<'_> {
        match self.chunks[index] {
            Span::Block { at, len } => Chunk::Block(&self.bytes[at as usize..][..len as usize]),
            Span::Row { at, table, key_len, value_len } => {
                let (key, rest) = self.bytes[at as usize..].split_at(key_len.into());
                Chunk::Row { table, key, value: &rest[..value_len as usize] }
            }
        }
    }

    /// The blocks must hold the record's events, without gaps. What stands in them is for [`Record::check`].
    fn check_blocks(&self) -> Result<(), &'static str> {
        let mut next = self.head.first;
        for index in 0..self.chunks() {
            if let Chunk::Block(bytes) = self.chunk(index) {
                let end = Block::new_trusted(next, bytes).and_then(|block| block.end());
                next = end.map_err(|damage| damage.reason)?;
            }
        }
        let events = self.head.first.0.checked_add(self.head.events.into());
        if events == Some(next.0) {
            Ok(())
        } else {
            Err("its blocks hold another number of events than it names")
        }
    }
}

impl RecordHead {
    fn encode(&self, body_len: u32, chunks: u32, body_crc: u32, seed: RecordSeed) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(field::MAGIC, &MAGIC);
        put(field::BODY_LEN, &body_len.to_le_bytes());
        put(field::GENERATION, &self.generation.to_le_bytes());
        put(field::COMMIT, &self.commit.to_le_bytes());
        put(field::DURABLE, &self.durable.to_le_bytes());
        put(field::FIRST, &self.first.0.to_le_bytes());
        put(field::EVENTS, &self.events.to_le_bytes());
        put(field::CHUNKS, &chunks.to_le_bytes());
        put(field::CONFIRMED, &self.confirmed.to_le_bytes());
        put(field::BODY_CRC, &body_crc.to_le_bytes());
        let crc = seed.crc(&bytes[..field::HEADER_CRC]);
        bytes[field::HEADER_CRC..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

impl RecordSeed {
    /// The seed of the records of a generation of a store.
    pub(in crate::store) fn new(incarnation: u64, generation: u64) -> Self {
        let crc = crc32c::crc32c(&incarnation.to_le_bytes());
        Self(crc32c::crc32c_append(crc, &generation.to_le_bytes()))
    }

    /// The checksum of `bytes` after the incarnation and the generation.
    fn crc(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

impl Header {
    /// The generation that a record at the start of `bytes` claims; `None` where no record starts there.
    pub(super) fn claimed_generation(bytes: &[u8]) -> Option<u64> {
        let generation = array(bytes, field::GENERATION).map(u64::from_le_bytes);
        generation.filter(|_| bytes.starts_with(&MAGIC))
    }

    /// Reads a header whose checksum is right.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN], seed: RecordSeed) -> Result<Self, &'static str> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if !bytes.starts_with(&MAGIC) {
            return Err("its magic number is wrong");
        }
        if seed.crc(&bytes[..field::HEADER_CRC]) != u32_at(field::HEADER_CRC) {
            return Err("the checksum of its header is wrong");
        }
        if u32_at(field::RESERVED) != 0 {
            return Err("its reserved bytes are used");
        }
        if u64_at(field::GENERATION).max(u64_at(field::COMMIT)) > NUMBER_MAX {
            return Err("its numbers are larger than any");
        }
        let (body_len, chunks) = (u32_at(field::BODY_LEN) as usize, u32_at(field::CHUNKS) as usize);
        if body_len > RECORD_BODY_LEN_MAX || chunks > body_len / CHUNK_HEAD_LEN {
            return Err("its length is wrong");
        }
        let head = RecordHead {
            generation: u64_at(field::GENERATION),
            commit: u64_at(field::COMMIT),
            durable: u64_at(field::DURABLE),
            first: GlobalSequence(u64_at(field::FIRST)),
            events: u32_at(field::EVENTS),
            confirmed: u32_at(field::CONFIRMED),
        };
        Ok(Self { head, body_len, body_crc: u32_at(field::BODY_CRC), chunks })
    }

    /// The length of header and body in bytes.
    pub(super) fn len(&self) -> usize {
        HEADER_LEN + self.body_len
    }
}

impl Span {
    /// The chunk that `rest`, which stands at `at`, begins with, and the length of both its head and its content.
    fn parse(rest: &[u8], at: usize) -> Result<(Self, usize), &'static str> {
        const BREAKS_OFF: &str = "a chunk breaks off";
        let [kind, table, key_a, key_b, a, b, c, d] = array(rest, 0).ok_or(BREAKS_OFF)?;
        let key_len = u16::from_le_bytes([key_a, key_b]);
        let len = u32::from_le_bytes([a, b, c, d]);
        let at = (at + CHUNK_HEAD_LEN) as u32;
        let content_len = u64::from(key_len) + u64::from(len);
        let span = match kind {
            KIND_BLOCK if table == 0 && key_len == 0 => Self::Block { at, len },
            KIND_BLOCK => return Err("the reserved bytes of a chunk are used"),
            KIND_ROW if key_len == 0 || usize::from(key_len) > KEY_LEN_MAX => {
                return Err("the key of a row has a length that none may have");
            }
            KIND_ROW => Self::Row { at, table: TableNumber(table), key_len, value_len: len },
            _ => return Err("a chunk is of an unknown kind"),
        };
        if content_len > (rest.len() - CHUNK_HEAD_LEN) as u64 {
            return Err(BREAKS_OFF);
        }
        Ok((span, CHUNK_HEAD_LEN + content_len as usize))
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("head", &self.head).field("chunks", &self.chunks()).finish()
    }
}

impl fmt::Debug for RecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").field("body_len", &self.body_len).finish_non_exhaustive()
    }
}

/// Finds the chunks, which must be as many as the header names and fill the body. They are no more than the body
/// has room for, which bounds what is allocated here.
fn locate_chunks(bytes: &[u8], chunks: usize) -> Result<Box<[Span]>, &'static str> {
    let mut spans = Vec::with_capacity(chunks);
    let mut at = HEADER_LEN;
    for _ in 0..chunks {
        let (span, len) = Span::parse(&bytes[at..], at)?;
        spans.push(span);
        at += len;
    }
    if at == bytes.len() { Ok(spans.into()) } else { Err("bytes are left over at its end") }
}

/// The last generation, and the last commit, that a store may come to. There always is a next one.
pub(in crate::store) const NUMBER_MAX: u64 = u64::MAX / 2;

/// The most bytes that the chunks of a record take.
pub(in crate::store) const RECORD_BODY_LEN_MAX: usize = 256 * 1024;

/// The sector, in bytes: what is written at once. None is written again once it was flushed, until its generation is folded.
pub(in crate::store) const SECTOR_LEN: usize = 4096;

/// The length of a header in bytes.
pub(super) const HEADER_LEN: usize = 64;

const MAGIC: [u8; 4] = *b"VRVR";
const KIND_BLOCK: u8 = 1;
const KIND_ROW: u8 = 2;

/// The length of what stands before a chunk's content: kind, table, length of the key, length of the block or value.
pub(in crate::store) const CHUNK_HEAD_LEN: usize = 8;

mod field {
    //! Where the fields of a record's header stand.
    pub(super) const MAGIC: usize = 0;
    pub(super) const BODY_LEN: usize = 4;
    pub(super) const GENERATION: usize = 8;
    pub(super) const COMMIT: usize = 16;
    pub(super) const DURABLE: usize = 24;
    pub(super) const FIRST: usize = 32;
    pub(super) const EVENTS: usize = 40;
    pub(super) const CHUNKS: usize = 44;
    pub(super) const CONFIRMED: usize = 48;
    pub(super) const RESERVED: usize = 52;
    pub(super) const BODY_CRC: usize = 56;
    pub(super) const HEADER_CRC: usize = 60;
}

// The largest block fits a record, with room for the rows that belong to it.
const _: () = assert!(CHUNK_HEAD_LEN + crate::BLOCK_LEN_MAX <= RECORD_BODY_LEN_MAX / 2);
const _: () = assert!(KEY_LEN_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests;

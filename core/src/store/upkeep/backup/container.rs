//! The container of a backup: a header, then chunks as the tail has them, each under a checksum that goes on from the
//! one before, so that nothing of it can be left out, doubled, moved or cut off unseen.
//!
//! ```text
//! header, 40 bytes    0 magic "VRVA" · 4 format 4 · 8 incarnation 8 · 16 first global 8 · 24 next global 8 · 32 zero 4 · 36 CRC 4
//! chunk, 12 + n bytes 0 kind 1 · 1 table 1 · 2 length of the key 2 · 4 length of the content 4 · 8 CRC 4 · key · content
//! ```
//!
//! FORMAT.md, section 6, specifies every byte.

use std::io::{self, Read, Write};

use crate::GlobalSequence;
use crate::store::log::format::FORMAT_VERSION;
use crate::store::log::tables::{KEY_LEN_MAX, VALUE_LEN_MAX, array};
use crate::store::tail::TableNumber;

/// What a backup says of the store that it was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Header {
    /// The store's incarnation.
    pub(in crate::store) incarnation: u64,
    /// The first event that it holds.
    pub(in crate::store) first: GlobalSequence,
    /// The place after the last.
    pub(in crate::store) next: GlobalSequence,
}

/// How much a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupCounts {
    /// How many blocks of the log.
    pub blocks: u64,
    /// How many rows beside them.
    pub rows: u64,
    /// How many events the blocks hold.
    pub events: u64,
}

/// Writes a backup.
pub(in crate::store) struct BackupWriter<W> {
    out: W,
    crc: u32,
    counts: BackupCounts,
}

/// Reads a backup, one chunk at a time.
pub(in crate::store) struct BackupReader<R> {
    input: R,
    crc: u32,
    /// Where the next chunk begins.
    at: u64,
    key: Vec<u8>,
    content: Vec<u8>,
    counts: BackupCounts,
}

/// What a backup holds, one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum BackupChunk<'a> {
    /// A block, which goes on where the one before ended.
    Block(&'a [u8]),
    /// A row.
    Row { table: TableNumber, key: &'a [u8], value: &'a [u8] },
    /// Nothing follows, and everything came.
    End(BackupCounts),
}

/// Why a chunk could not be read.
#[derive(Debug)]
pub(in crate::store) enum ContainerError {
    /// The backup is damaged or cut.
    Broken { at: u64, reason: &'static str },
    /// A later release made it.
    NewerFormat(u32),
    /// It could not be read.
    Io(io::Error),
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup.
    pub(in crate::store) fn new(mut out: W, header: &Header) -> io::Result<Self> {
        let bytes = header.encode();
        out.write_all(&bytes)?;
        Ok(Self { out, crc: header_crc(&bytes), counts: BackupCounts::default() })
    }

    /// Adds a row.
    pub(in crate::store) fn row(&mut self, table: TableNumber, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.counts.rows += 1;
        self.chunk(KIND_ROW, table, key, value)
    }

    /// Adds a block of so many events.
    pub(in crate::store) fn block(&mut self, block: &[u8], events: u32) -> io::Result<()> {
        self.counts.blocks += 1;
        self.counts.events += u64::from(events);
        self.chunk(KIND_BLOCK, TableNumber(0), &[], block)
    }

    /// Says that everything came.
    pub(in crate::store) fn finish(mut self) -> io::Result<BackupCounts> {
        let counts = self.counts;
        self.chunk(KIND_END, TableNumber(0), &[], &counts.encode())?;
        self.out.flush()?;
        Ok(counts)
    }

    fn chunk(&mut self, kind: u8, table: TableNumber, key: &[u8], content: &[u8]) -> io::Result<()> {
        assert!(key.len() <= KEY_LEN_MAX && content.len() <= VALUE_LEN_MAX, "no row or block is longer");
        let mut head = [0; CHUNK_HEAD_LEN];
        (head[0], head[1]) = (kind, table.0);
        head[2..4].copy_from_slice(&(key.len() as u16).to_le_bytes());
        head[4..8].copy_from_slice(&(content.len() as u32).to_le_bytes());
        self.crc = chunk_crc(self.crc, &head, key, content);
        head[8..].copy_from_slice(&self.crc.to_le_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(key)?;
        self.out.write_all(content)
    }
}

impl<R: Read> BackupReader<R> {
    /// Reads the header.
    pub(in crate::store) fn new(mut input: R) -> Result<(Self, Header), ContainerError> {
        let mut bytes = [0; HEADER_LEN];
        read_exact(&mut input, &mut bytes, 0)?;
        let header = Header::parse(&bytes)?;
        let reader = Self {
            input,
            crc: header_crc(&bytes),
            at: HEADER_LEN as u64,
            key: Vec::new(),
            content: Vec::new(),
            counts: BackupCounts::default(),
        };
        Ok((reader, header))
    }

    /// Where the next chunk begins, in bytes from the backup's first.
    pub(in crate::store) fn at(&self) -> u64 {
        self.at
    }

    /// The next chunk. `events` of a block are what the caller finds in it: see [`BackupReader::count_events`].
    pub(in crate::store) fn next(&mut self) -> Result<BackupChunk<'_>, ContainerError> {
        let at = self.at;
        let broken = |reason| ContainerError::Broken { at, reason };
        let mut head = [0; CHUNK_HEAD_LEN];
        read_exact(&mut self.input, &mut head, at)?;
        let key_len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let content_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if key_len > KEY_LEN_MAX || content_len > VALUE_LEN_MAX {
            return Err(broken("a chunk is longer than any"));
        }
        self.key.resize(key_len, 0);
        self.content.resize(content_len, 0);
        read_exact(&mut self.input, &mut self.key, at)?;
        read_exact(&mut self.input, &mut self.content, at)?;
        self.crc = chunk_crc(self.crc, &head, &self.key, &self.content);
        if head[8..] != self.crc.to_le_bytes() {
            return Err(broken("a checksum is wrong"));
        }
        self.at += (CHUNK_HEAD_LEN + key_len + content_len) as u64;
        let table = TableNumber(head[1]);
        match (head[0], table.0, key_len) {
            (KIND_BLOCK, 0, 0) => {
                self.counts.blocks += 1;
                Ok(BackupChunk::Block(&self.content))
            }
            (KIND_ROW, _, 1..) => {
                self.counts.rows += 1;
                Ok(BackupChunk::Row { table, key: &self.key, value: &self.content })
            }
            (KIND_END, 0, 0) if self.content == self.counts.encode() => self.end(),
            (KIND_END, 0, 0) => Err(broken("it holds another number of chunks than it says")),
            _ => Err(broken("a chunk is of no known kind")),
        }
    }

    /// Counts the events of the block that came last.
    pub(in crate::store) fn count_events(&mut self, events: u32) {
        self.counts.events += u64::from(events);
    }

    fn end(&mut self) -> Result<BackupChunk<'_>, ContainerError> {
        match self.input.read_exact(&mut [0]) {
            Ok(()) => Err(ContainerError::Broken { at: self.at, reason: "something follows its end" }),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(BackupChunk::End(self.counts)),
            Err(error) => Err(ContainerError::Io(error)),
        }
    }
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.next.0.to_le_bytes());
        let crc = header_crc(&bytes);
        bytes[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; HEADER_LEN]) -> Result<Self, ContainerError> {
        let broken = |reason| ContainerError::Broken { at: 0, reason };
        let number = |at| array(bytes, at).map(u64::from_le_bytes).unwrap_or_default();
        if bytes[..4] != MAGIC {
            return Err(broken("it is no backup of a store"));
        }
        if bytes[HEADER_CRC_AT..] != header_crc(bytes).to_le_bytes() {
            return Err(broken("the checksum of its header is wrong"));
        }
        let format = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if format > FORMAT_VERSION {
            return Err(ContainerError::NewerFormat(format));
        }
        let (first, next) = (GlobalSequence(number(16)), GlobalSequence(number(24)));
        if first > next || bytes[32..HEADER_CRC_AT] != [0; 4] {
            return Err(broken("its header contradicts itself"));
        }
        Ok(Self { incarnation: number(8), first, next })
    }
}

impl BackupCounts {
    fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.rows.to_le_bytes());
        bytes[16..].copy_from_slice(&self.events.to_le_bytes());
        bytes
    }
}

/// The checksum of a header, from which that of the first chunk goes on.
fn header_crc(header: &[u8; HEADER_LEN]) -> u32 {
    crc32c::crc32c(&header[..HEADER_CRC_AT])
}

fn chunk_crc(before: u32, head: &[u8; CHUNK_HEAD_LEN], key: &[u8], content: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(before, &head[..8]);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), content)
}

fn read_exact(input: &mut impl Read, bytes: &mut [u8], at: u64) -> Result<(), ContainerError> {
    input.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ContainerError::Broken { at, reason: "it is cut off" },
        _ => ContainerError::Io(error),
    })
}

/// What a backup begins with.
pub(super) const MAGIC: [u8; 4] = *b"VRVA";
const HEADER_LEN: usize = 40;
const HEADER_CRC_AT: usize = 36;
const CHUNK_HEAD_LEN: usize = 12;

const KIND_BLOCK: u8 = 1;
const KIND_ROW: u8 = 2;
const KIND_END: u8 = 3;

const _: () = assert!(KEY_LEN_MAX <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { incarnation: 0x0102_0304_0506_0708, first: GlobalSequence(3), next: GlobalSequence(9) };

    fn backup() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = BackupWriter::new(&mut bytes, &HEADER).unwrap();
        writer.row(TableNumber(3), b"readings", &[1, 0, 0, 0]).unwrap();
        writer.row(TableNumber(14), b"upstream", &[7; 8]).unwrap();
        writer.block(b"a block", 6).unwrap();
        writer.finish().unwrap();
        bytes
    }

    /// Reads everything, and says how many chunks came before the end.
    fn read(bytes: &[u8]) -> Result<usize, ContainerError> {
        let (mut reader, header) = BackupReader::new(bytes)?;
        assert_eq!(header, HEADER, "a header that is read is right");
        for chunk in 0.. {
            match reader.next()? {
                BackupChunk::Row { .. } => {}
                BackupChunk::Block(_) => reader.count_events(6),
                BackupChunk::End(_) => return Ok(chunk),
            }
        }
        unreachable!("a backup ends")
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = backup();
        let (mut reader, _) = BackupReader::new(bytes.as_slice()).unwrap();
        let row = BackupChunk::Row { table: TableNumber(3), key: b"readings", value: &[1, 0, 0, 0] };
        assert_eq!(reader.next().unwrap(), row);
        reader.next().unwrap();
        assert_eq!(reader.next().unwrap(), BackupChunk::Block(b"a block"));
        reader.count_events(6);
        let counts = BackupCounts { blocks: 1, rows: 2, events: 6 };
        assert_eq!(reader.next().unwrap(), BackupChunk::End(counts));
    }

    #[test]
    fn the_bytes_are_those_of_the_page() {
        let bytes = backup();
        let hex = |range: std::ops::Range<usize>| {
            bytes[range].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!(hex(0..24), "5652564100000000080706050403020103000000000000 00".replace(' ', ""));
        assert_eq!(hex(24..36), "090000000000000000000000");
        assert_eq!(hex(40..48), "0203080004000000", "a row of table 3: a key of 8 bytes, a value of 4");
        assert_eq!(hex(52..60), "72656164696e6773");
        let (head, row) = (&bytes[..36], [&bytes[40..48], &bytes[52..64]].concat());
        assert_eq!(bytes[36..40], crc32c::crc32c(head).to_le_bytes());
        assert_eq!(bytes[48..52], crc32c::crc32c(&[head, &row].concat()).to_le_bytes());
    }

    #[test]
    fn a_backup_that_is_cut_anywhere_is_broken() {
        let bytes = backup();
        assert_eq!(read(&bytes).unwrap(), 3);
        for len in 0..bytes.len() {
            assert!(matches!(read(&bytes[..len]), Err(ContainerError::Broken { .. })), "{len}");
        }
        assert!(matches!(
            read(&[&bytes[..], &[0]].concat()),
            Err(ContainerError::Broken { reason: "something follows its end", .. })
        ));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_found() {
        let good = backup();
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            match read(&bytes) {
                Err(ContainerError::Broken { at, .. }) => assert!(at <= (bit / 8) as u64),
                other => panic!("{bit}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_chunk_that_is_left_out_or_doubled_is_found() {
        let good = backup();
        let (first, second) = (40..40 + 12 + 8 + 4, 64..64 + 12 + 8 + 8);
        let without = [&good[..first.start], &good[first.end..]].concat();
        assert!(read(&without).is_err());
        let doubled = [&good[..second.end], &good[second.start..]].concat();
        assert!(read(&doubled).is_err());
        let swapped =
            [&good[..40], &good[second.clone()], &good[first.clone()], &good[second.end..]].concat();
        assert!(read(&swapped).is_err());
    }

    #[test]
    fn chunks_of_another_backup_are_found() {
        let mut other = Vec::new();
        BackupWriter::new(&mut other, &Header { incarnation: 1, ..HEADER }).unwrap().finish().unwrap();
        let spliced = [&backup()[..HEADER_LEN], &other[HEADER_LEN..]].concat();
        assert!(matches!(read(&spliced), Err(ContainerError::Broken { at: 40, .. })));
    }

    #[test]
    fn a_backup_of_a_later_release_is_refused_by_its_version() {
        let mut bytes = backup();
        bytes[4] = 9;
        let crc = crc32c::crc32c(&bytes[..HEADER_CRC_AT]);
        bytes[HEADER_CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(read(&bytes), Err(ContainerError::NewerFormat(9))));
    }
}

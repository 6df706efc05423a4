//! Records against the bytes that the format names, and against bytes of every other kind.

use super::*;
use crate::store::tail::golden;

fn seed() -> RecordSeed {
    RecordSeed::new(golden::INCARNATION, 5)
}

/// The block "one run" of `blocks.txt`: the events 7 to 9.
fn block() -> Vec<u8> {
    let file = include_str!("../../../../tests/golden/blocks.txt");
    let line = file.lines().find_map(|line| line.strip_prefix("one run: ")).expect("the file has the block");
    line.split(' ').map(|byte| u8::from_str_radix(byte, 16).expect("it is in hex")).collect()
}

fn head() -> RecordHead {
    RecordHead {
        generation: 5,
        commit: 17,
        durable: 15,
        first: GlobalSequence(7),
        events: 3,
        confirmed: 0xdead_beef,
    }
}

/// Adds a block and two rows.
fn fill(writer: &mut RecordWriter) {
    writer.block(|out| out.extend_from_slice(&block()));
    writer.row(TableNumber(3), b"doors", &[1, 0, 0, 0]);
    writer.row(TableNumber(14), b"k", b"");
}

/// A record of a block and two rows.
fn record() -> Vec<u8> {
    let mut writer = RecordWriter::new();
    fill(&mut writer);
    writer.finish(head(), seed()).to_vec()
}

fn parse(bytes: &[u8]) -> Result<Record, &'static str> {
    Record::parse(bytes.into(), seed())
}

/// Puts right both checksums, so that what is behind them is met.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let body_crc = seed().crc(&bytes[HEADER_LEN..]);
    bytes[field::BODY_CRC..][..4].copy_from_slice(&body_crc.to_le_bytes());
    let crc = seed().crc(&bytes[..field::HEADER_CRC]);
    bytes[field::HEADER_CRC..][..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn with(at: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = record();
    bytes[at..at + field.len()].copy_from_slice(field);
    bytes
}

#[test]
fn a_record_is_byte_for_byte_what_the_format_says() {
    assert_eq!(record(), golden::bytes("record"));
    parse(&golden::bytes("record")).unwrap();
}

#[test]
fn a_record_is_the_same_whether_it_was_just_made_or_reads_back() {
    let mut writer = RecordWriter::new();
    writer.row(TableNumber(1), b"before", &[7; 9000]);
    writer.begin();
    fill(&mut writer);
    writer.finish(head(), seed());
    let len = record().len();
    for record in [writer.record(), parse(&record()).unwrap()] {
        assert_eq!(*record.head(), head());
        assert_eq!((record.end(), record.len(), record.chunks()), (GlobalSequence(10), len, 3));
        assert_eq!(record.chunk(0), Chunk::Block(&block()));
        let doors = Chunk::Row { table: TableNumber(3), key: b"doors", value: &[1, 0, 0, 0] };
        assert_eq!(record.chunk(1), doors);
        assert_eq!(record.chunk(2), Chunk::Row { table: TableNumber(14), key: b"k", value: b"" });
    }
}

#[test]
fn a_record_is_padded_with_zeros_to_the_end_of_a_sector() {
    let row = 4096 - 64 - 8 - 1;
    let cases = [
        (row, 0, 4096),
        (row + 1, 0, 8192),
        (0, 0, 4096),
        (0, 64, 4032),
        (row - 64, 64, 4032),
        (0, 4032, 64 + 4096),
    ];
    for (value_len, at, len) in cases {
        let mut writer = RecordWriter::new();
        writer.row(TableNumber(0), b"k", &vec![9; value_len]);
        let record = writer.finish(RecordHead::default(), seed()).to_vec();
        assert_eq!(parse(&record).unwrap().len(), record.len());
        let padded = writer.padded(at);
        assert_eq!((padded.len(), &padded[..record.len()]), (len, &*record), "{value_len} bytes at {at}");
        assert!(padded[record.len()..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn a_writer_forgets_the_record_before() {
    let mut writer = RecordWriter::new();
    writer.row(TableNumber(1), b"long", &[7; 9000]);
    writer.finish(RecordHead::default(), seed());
    writer.begin();
    fill(&mut writer);
    assert_eq!(writer.finish(head(), seed()), record());
    assert_eq!(writer.finish(head(), seed()), record(), "finished again it is the same");
    writer.padded(0);
    assert_eq!(writer.finish(head(), seed()), record(), "padded it is the same");
}

#[test]
fn a_flipped_bit_makes_it_no_record() {
    let bytes = record();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        parse(&flipped).unwrap_err();
    }
}

#[test]
fn a_record_of_another_length_is_none() {
    let mut bytes = record();
    let len = bytes.len();
    bytes.resize(SECTOR_LEN, 0);
    for cut in (0..bytes.len()).filter(|&cut| cut != len) {
        parse(&bytes[..cut]).unwrap_err();
    }
}

#[test]
fn a_record_of_another_store_or_generation_is_none() {
    let bytes: Box<[u8]> = record().into();
    for seed in [RecordSeed::new(golden::INCARNATION, 2), RecordSeed::new(golden::INCARNATION + 1, 5)] {
        assert_eq!(Record::parse(bytes.clone(), seed).unwrap_err(), "the checksum of its header is wrong");
    }
}

#[test]
fn what_is_wrong_behind_right_checksums_is_told() {
    let body = |at: usize, field: &[u8]| sealed(with(HEADER_LEN + at, field));
    let row = 8 + block().len();
    let cases = [
        (with(field::MAGIC, b"VRVB"), "its magic number is wrong"),
        (with(field::HEADER_CRC, &[0; 4]), "the checksum of its header is wrong"),
        (with(HEADER_LEN + 20, &[0xff]), "the checksum of its body is wrong"),
        (sealed(with(field::RESERVED, &[1])), "its reserved bytes are used"),
        (sealed(with(field::COMMIT, &u64::MAX.to_le_bytes())), "its numbers are larger than any"),
        (
            sealed(with(field::BODY_LEN, &(RECORD_BODY_LEN_MAX as u32 + 1).to_le_bytes())),
            "its length is wrong",
        ),
        (sealed(with(field::BODY_LEN, &u32::MAX.to_le_bytes())), "its length is wrong"),
        (sealed(with(field::BODY_LEN, &17u32.to_le_bytes())), "its length is wrong"),
        (sealed(with(field::CHUNKS, &u32::MAX.to_le_bytes())), "its length is wrong"),
        (sealed(with(field::CHUNKS, &2u32.to_le_bytes())), "bytes are left over at its end"),
        (sealed(with(field::CHUNKS, &4u32.to_le_bytes())), "a chunk breaks off"),
        (
            sealed(with(field::EVENTS, &2u32.to_le_bytes())),
            "its blocks hold another number of events than it names",
        ),
        (sealed(with(field::FIRST, &8u64.to_le_bytes())), "its first event is not that of its key"),
        (body(0, &[3]), "a chunk is of an unknown kind"),
        (body(1, &[1]), "the reserved bytes of a chunk are used"),
        (body(2, &[1]), "the reserved bytes of a chunk are used"),
        (body(4, &u32::MAX.to_le_bytes()), "a chunk breaks off"),
        (body(row + 2, &[0, 0]), "the key of a row has a length that none may have"),
        (body(row + 2, &512u16.to_le_bytes()), "the key of a row has a length that none may have"),
        (body(row + 4, &u32::MAX.to_le_bytes()), "a chunk breaks off"),
        (body(8, b"VRVR"), "its magic number is wrong"),
    ];
    for (bytes, reason) in cases {
        assert_eq!(parse(&bytes).unwrap_err(), reason);
    }
}

#[test]
fn the_number_space_of_events_has_an_end() {
    let mut writer = RecordWriter::new();
    writer.row(TableNumber(0), b"k", b"");
    let full = RecordHead { first: GlobalSequence(u64::MAX), ..RecordHead::default() };
    parse(writer.finish(full, seed())).unwrap();
    let beyond = RecordHead { events: 1, ..full };
    parse(writer.finish(beyond, seed())).unwrap_err();
}

#[test]
fn random_bytes_behind_right_checksums_are_read_or_refused_and_never_panic() {
    let mut random = fastrand::Rng::with_seed(1);
    let mut good = 0;
    for _ in 0..20_000 {
        let mut bytes = record();
        for _ in 0..random.usize(0..4) {
            let at = random.usize(HEADER_LEN..bytes.len());
            bytes[at] = random.u8(..);
        }
        if let Ok(record) = parse(&sealed(bytes)) {
            (0..record.chunks()).for_each(|index| _ = record.chunk(index));
            good += 1;
        }
    }
    assert!(good > 5_000, "only {good} of the records were read");
}

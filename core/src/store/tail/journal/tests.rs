//! The file itself: what it is made of, what is refused, and what a reader of one record meets.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::GlobalSequence;
use crate::store::tail::{Folded, RecordHead, RecordWriter, TableNumber, golden};

const INCARNATION: u64 = 0x1122_3344_5566_7788;
const SECTORS: u32 = (SEGMENT_LEN_MIN / SECTOR_LEN as u64) as u32;

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is room for temporary files")
}

fn create(dir: &tempfile::TempDir) -> Journal {
    Journal::create(dir.path(), INCARNATION, 0, Durability::Durable).unwrap()
}

fn open(dir: &tempfile::TempDir) -> Result<Option<Journal>, OpenError> {
    Journal::open(dir.path(), Durability::Durable)
}

/// A record of one row, whose value takes as many bytes as make it fill `sectors`.
fn record(journal: &Journal, generation: u64, commit: u64, sectors: u32) -> Vec<u8> {
    let mut writer = RecordWriter::new();
    let value_len = sectors as usize * SECTOR_LEN - HEADER_LEN - 8 - 1;
    // The largest body leaves most of its last sector free.
    writer.row(TableNumber(0), b"k", &vec![commit as u8; value_len.min(RECORD_BODY_LEN_MAX - 8 - 1)]);
    let head = RecordHead { generation, commit, ..RecordHead::default() };
    writer.finish(head, journal.seed(generation));
    writer.padded(0).to_vec()
}

/// Where a sector of a segment begins, in bytes.
fn start(sector: u32) -> u32 {
    sector * SECTOR_LEN as u32
}

/// Overwrites bytes of the file.
fn scribble(dir: &tempfile::TempDir, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new().write(true).open(dir.path().join(FILE_NAME)).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn header_and_note_are_byte_for_byte_what_the_format_says() {
    let header = FileHeader { incarnation: golden::INCARNATION, segment_sectors: 512 };
    assert_eq!(header.encode().as_slice(), golden::bytes("header"));
    assert_eq!(FileHeader::parse(&header.encode()).unwrap(), header);
    let note = Note { boot_id: std::array::from_fn(|at| at as u8), confirmed: 0xdead_beef };
    let bytes = note.encode(golden::INCARNATION);
    assert_eq!(bytes.as_slice(), golden::bytes("note"));
    assert_eq!(Note::parse(&bytes, golden::INCARNATION), Some(note));
    assert_eq!(Note::parse(&bytes, golden::INCARNATION + 1), None);
}

#[test]
fn a_new_tail_is_a_header_and_zeros() {
    for durability in [Durability::Durable, Durability::Relaxed] {
        let dir = dir();
        let journal = Journal::create(dir.path(), INCARNATION, 0, durability).unwrap();
        assert_eq!(journal.segment_sectors, SECTORS);
        let path = dir.path().join("tail");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = fs::read(path).unwrap();
        assert_eq!(bytes.len() as u64, (2 + 3 * u64::from(SECTORS)) * 4096);
        assert!(bytes[header::LEN..].iter().all(|&byte| byte == 0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn a_durable_tail_is_written_in_full() {
    use std::os::unix::fs::MetadataExt;
    let dir = dir();
    create(&dir);
    let metadata = fs::metadata(dir.path().join("tail")).unwrap();
    assert!(metadata.blocks() * 512 >= metadata.len(), "it has holes, which a flush would have to fill");
}

#[test]
fn the_length_of_a_segment_stays_within_its_bounds() {
    for (asked, sectors) in [
        (0, SECTORS),
        (SEGMENT_LEN_MIN + 4095, SECTORS),
        (SEGMENT_LEN_MIN + 4096, SECTORS + 1),
        (u64::MAX, (SEGMENT_LEN_MAX / 4096) as u32),
    ] {
        let dir = dir();
        let journal = Journal::create(dir.path(), INCARNATION, asked, Durability::Relaxed).unwrap();
        assert_eq!(journal.segment_sectors, sectors);
        assert_eq!(open(&dir).unwrap().unwrap().segment_sectors, sectors, "the file's own counts");
    }
}

#[test]
fn a_directory_without_a_tail_has_none() {
    let dir = dir();
    assert!(open(&dir).unwrap().is_none());
    fs::write(dir.path().join(UNNAMED_FILE_NAME), [1; 100]).unwrap();
    assert!(open(&dir).unwrap().is_none(), "one that was never finished is none");
    create(&dir);
    assert!(open(&dir).unwrap().is_some());
}

#[test]
fn a_tail_tells_whose_it_is() {
    let dir = dir();
    assert_eq!(create(&dir).incarnation(), INCARNATION);
    assert_eq!(open(&dir).unwrap().unwrap().incarnation(), INCARNATION);
}

#[test]
fn a_header_is_checked_before_it_is_believed() {
    let good = FileHeader { incarnation: INCARNATION, segment_sectors: SECTORS };
    let segment = |segment_sectors| FileHeader { segment_sectors, ..good }.encode();
    let cases = [
        ([0; header::LEN], "its magic number is wrong"),
        (segment(SECTORS - 1), "its segments have a length that none may have"),
        (segment(u32::MAX), "its segments have a length that none may have"),
        (segment(SECTORS + 1), "the file is shorter than it says"),
    ];
    for (header, reason) in cases {
        let dir = dir();
        create(&dir);
        scribble(&dir, 0, &header);
        let Err(OpenError::Corrupt(damage)) = open(&dir) else { panic!("{reason}") };
        assert_eq!(damage, Damage { place: Place::TailHeader, reason });
    }
    let dir = dir();
    create(&dir);
    for bit in 0..header::LEN * 8 {
        let mut flipped = good.encode();
        flipped[bit / 8] ^= 1 << (bit % 8);
        scribble(&dir, 0, &flipped);
        assert!(
            matches!(open(&dir), Err(OpenError::Corrupt(_) | OpenError::NewerFormat { .. })),
            "bit {bit}"
        );
    }
}

#[test]
fn a_file_that_was_cut_off_is_damaged() {
    for len in [0, 23, 24, 4096, (2 + 3 * u64::from(SECTORS)) * 4096 - 1] {
        let dir = dir();
        create(&dir);
        OpenOptions::new().write(true).open(dir.path().join("tail")).unwrap().set_len(len).unwrap();
        assert!(matches!(open(&dir), Err(OpenError::Corrupt(_))), "{len} bytes");
    }
}

#[test]
fn a_record_is_read_where_it_was_written_and_nowhere_else() {
    let dir = dir();
    let journal = create(&dir);
    let spots = [(4, 0, 2), (4, 2, 1), (4, 3, SECTORS - 3), (5, 0, SECTORS), (6, 7, 1)];
    for (commit, (generation, sector, sectors)) in spots.into_iter().enumerate() {
        journal
            .write(generation, start(sector), &record(&journal, generation, commit as u64, sectors))
            .unwrap();
    }
    journal.flush().unwrap();
    for generation in 0..12 {
        for sector in 0..SECTORS + 2 {
            let found = journal.read(generation, start(sector)).unwrap();
            let written = spots.iter().position(|&(g, s, _)| (g, s) == (generation, sector));
            assert_eq!(found.as_ref().map(|record| record.head().commit as usize), written);
            if let Some((record, written)) = found.zip(written) {
                let sectors = record.len().div_ceil(SECTOR_LEN) as u32;
                assert_eq!((record.head().generation, sectors), (generation, spots[written].2));
            }
        }
    }
}

#[test]
fn a_record_that_would_reach_beyond_its_segment_is_none() {
    let dir = dir();
    let journal = create(&dir);
    let bytes = record(&journal, 4, 1, 2);
    // The first of generation 5 is where the last of generation 4 would go on.
    for (sector, is_one) in [(SECTORS - 1, false), (SECTORS - 2, true)] {
        scribble(&dir, journal.offset(4, start(sector)), &bytes);
        assert_eq!(journal.read(4, start(sector)).unwrap().is_some(), is_one);
    }
}

#[test]
fn a_record_in_the_segment_of_another_generation_is_none() {
    let dir = dir();
    let journal = create(&dir);
    scribble(&dir, journal.offset(5, 0), &record(&journal, 4, 1, 1));
    let recovered = journal.recover(Folded::default()).unwrap();
    assert_eq!((recovered.records.len(), recovered.folded), (0, Folded::default()));
    assert!(journal.generations().unwrap().is_empty());
}

#[test]
fn another_boot_is_noticed() {
    let dir = dir();
    let journal = create(&dir);
    assert!(journal.boot_changed().unwrap(), "a new tail was written in no boot");
    journal.note_boot(0xc0ff_ee00).unwrap();
    assert!(!journal.boot_changed().unwrap());
    assert_eq!(journal.confirmations().unwrap(), [0xc0ff_ee00]);
    let note = Note { boot_id: [7; 16], confirmed: 9 };
    scribble(&dir, 4096, &note.encode(INCARNATION));
    assert!(journal.boot_changed().unwrap());
    assert_eq!(journal.confirmations().unwrap(), [9], "what an earlier boot confirmed stays so");
    scribble(&dir, 4096, &note.encode(INCARNATION)[..23]);
    scribble(&dir, 4096 + 23, &[0xff]);
    assert!(journal.boot_changed().unwrap());
    assert!(journal.confirmations().unwrap().is_empty(), "a torn note confirms nothing");
}

/// Writes a row under `head` at a sector of its generation.
fn write_row(journal: &Journal, sector: u32, head: RecordHead, value: &[u8]) {
    write_row_at(journal, start(sector), head, value);
}

/// Writes a row under `head` at `at` of its generation's segment, and returns where it ends.
fn write_row_at(journal: &Journal, at: u32, head: RecordHead, value: &[u8]) -> u32 {
    let mut writer = RecordWriter::new();
    writer.row(TableNumber(0), b"k", value);
    let len = writer.finish(head, journal.seed(head.generation)).len();
    journal.write(head.generation, at, writer.padded(at)).unwrap();
    at + len as u32
}

fn commits(recovered: &Recovered) -> Vec<u64> {
    recovered.records.iter().map(|record| record.head().commit).collect()
}

/// A value whose second half begins with a sector, and is a whole record of commit 2 in the eyes of who looks there.
fn forgery(journal: &Journal, generation: u64, durable: u64) -> Vec<u8> {
    let mut writer = RecordWriter::new();
    writer.row(TableNumber(0), b"forged", b"");
    let head = RecordHead { generation, commit: 2, durable, ..RecordHead::default() };
    let mut value = vec![0; SECTOR_LEN - HEADER_LEN - 8 - 1];
    value.extend_from_slice(writer.finish(head, journal.seed(generation)));
    value
}

#[test]
fn what_lies_within_a_record_is_none_whatever_it_looks_like() {
    let dir = dir();
    let journal = create(&dir);
    let head = |commit, durable| RecordHead { generation: 1, commit, durable, ..RecordHead::default() };
    write_row(&journal, 0, head(1, 0), b"");
    write_row(&journal, 1, head(2, 1), &forgery(&journal, 1, 99));
    assert_eq!(journal.read(1, start(2)).unwrap().unwrap().head().durable, 99, "the forgery is good");
    assert_eq!(commits(&journal.recover(Folded::default()).unwrap()), [1, 2]);
    // A torn record no longer hides it, but it does not stand where the next record would.
    write_row(&journal, 1, head(2, 1), &forgery(&journal, 1, 1));
    scribble(&dir, journal.offset(1, start(1)), &[0; HEADER_LEN]);
    let recovered = journal.recover(Folded::default()).unwrap();
    assert_eq!((commits(&recovered), recovered.folded), (vec![1], Folded { generation: 1, commit: 1 }));
}

#[test]
fn what_lies_within_a_torn_record_of_a_later_generation_does_not_come_next() {
    let dir = dir();
    let journal = create(&dir);
    let head = |generation, commit| RecordHead { generation, commit, ..RecordHead::default() };
    write_row(&journal, 0, head(4, 1), b"");
    write_row(&journal, 0, head(5, 2), &forgery(&journal, 5, 1));
    scribble(&dir, journal.offset(5, 0), &[0; HEADER_LEN]);
    assert_eq!(journal.read(5, start(1)).unwrap().unwrap().head().commit, 2, "the forgery is good");
    let recovered = journal.recover(Folded { generation: 3, commit: 0 }).unwrap();
    assert_eq!((commits(&recovered), recovered.folded), (vec![1], Folded { generation: 5, commit: 1 }));
}

#[test]
fn records_that_share_a_sector_are_found_one_behind_the_other() {
    let dir = dir();
    let journal = create(&dir);
    let head = |commit| RecordHead { generation: 1, commit, ..RecordHead::default() };
    let (mut end, mut places) = (0, Vec::new());
    for (commit, value_len) in (1..).zip([0, 100, 4096 - 4 * 64, 9000, 10, 3000]) {
        let at = place_behind(end, HEADER_LEN + 8 + 1 + value_len);
        end = write_row_at(&journal, at, head(commit), &vec![commit as u8; value_len]);
        places.push(at);
    }
    assert_eq!(
        places,
        [0, 128, 4096, 8192, 17_280, 20_480],
        "the fourth shares its last sector, and no other"
    );
    assert_eq!(commits(&journal.recover(Folded::default()).unwrap()), [1, 2, 3, 4, 5, 6]);
    let mut end = 0;
    for commit in 1..=6 {
        let (record, behind) = journal.read_behind(1, end).unwrap().unwrap();
        assert_eq!(record.head().commit, commit);
        end = behind;
    }
    assert!(journal.read_behind(1, end).unwrap().is_none());
}

/// The second record of the sector is of a life that a power cut ended, and would follow one of the same length.
#[test]
fn a_generation_of_which_only_a_later_record_of_a_sector_is_left_is_not_begun_again() {
    let dir = dir();
    let journal = create(&dir);
    let head = |generation, commit| RecordHead { generation, commit, ..RecordHead::default() };
    let end = write_row_at(&journal, 0, head(1, 1), b"torn");
    write_row_at(&journal, end.next_multiple_of(64), head(1, 2), b"lost");
    scribble(&dir, journal.offset(1, 0), &[0; HEADER_LEN]);
    let recovered = journal.recover(Folded::default()).unwrap();
    assert_eq!((commits(&recovered), recovered.folded), (vec![], Folded { generation: 1, commit: 0 }));
}

#[test]
fn damage_is_where_a_torn_record_stands_or_else_in_the_next_sector() {
    for (flipped, sector) in [(HEADER_LEN as u64, 0), (0, 1)] {
        let dir = dir();
        let journal = create(&dir);
        let head =
            |commit| RecordHead { generation: 1, commit, durable: commit - 1, ..RecordHead::default() };
        let end = write_row_at(&journal, 0, head(1), b"").next_multiple_of(64);
        write_row_at(&journal, end, head(2), b"");
        write_row(&journal, 1, head(3), b"");
        scribble(&dir, journal.offset(1, end) + flipped, b"?");
        let Err(OpenError::Corrupt(damage)) = journal.recover(Folded::default()) else { panic!() };
        assert_eq!(damage.place, Place::Tail { generation: 1, sector });
    }
}

#[test]
fn a_record_that_shares_a_sector_ends_in_it() {
    let dir = dir();
    let journal = create(&dir);
    let head = |commit| RecordHead { generation: 1, commit, ..RecordHead::default() };
    let end = write_row_at(&journal, 0, head(1), b"").next_multiple_of(64);
    let mut writer = RecordWriter::new();
    writer.row(TableNumber(0), b"k", &[1; SECTOR_LEN]);
    scribble(&dir, journal.offset(1, end), writer.finish(head(2), journal.seed(1)));
    assert!(journal.read(1, end).unwrap().is_none());
    assert_eq!(commits(&journal.recover(Folded::default()).unwrap()), [1]);
}

/// What it holds would follow a record of the same number that took the place of the torn one.
#[test]
fn a_generation_of_which_there_is_anything_is_not_begun_again() {
    let dir = dir();
    let journal = create(&dir);
    let head = |generation, commit| RecordHead { generation, commit, ..RecordHead::default() };
    write_row(&journal, 0, head(1, 1), b"");
    write_row(&journal, 0, head(2, 2), b"torn");
    write_row(&journal, 1, head(2, 3), b"lost");
    scribble(&dir, journal.offset(2, 0) + HEADER_LEN as u64, b"?");
    let recovered = journal.recover(Folded::default()).unwrap();
    assert_eq!((commits(&recovered), recovered.folded), (vec![1], Folded { generation: 2, commit: 1 }));
    write_row(&journal, 0, head(recovered.folded.generation + 1, 2), b"");
    assert_eq!(commits(&journal.recover(recovered.folded).unwrap()), [2]);
}

#[test]
fn records_that_contradict_each_other_are_damage() {
    let head = |commit, first, events| RecordHead {
        generation: 4,
        commit,
        durable: 0,
        first: GlobalSequence(first),
        events,
        ..RecordHead::default()
    };
    let cases = [
        (head(6, 0, 0), head(6, 0, 0), "a record has the number of an earlier commit"),
        (head(6, 5, 0), head(7, 6, 0), "the events of a record do not follow those of the one before"),
    ];
    for (first, second, reason) in cases {
        let dir = dir();
        let journal = create(&dir);
        write_row(&journal, 0, first, b"");
        write_row(&journal, 1, second, b"");
        let error = journal.recover(Folded { generation: 3, commit: 5 }).unwrap_err();
        let OpenError::Corrupt(damage) = error else { panic!("{error}") };
        assert_eq!(damage, Damage { place: Place::Tail { generation: 4, sector: 1 }, reason });
    }
    let dir = dir();
    let journal = create(&dir);
    write_row(&journal, 0, head(6, 0, 0), b"");
    let error = journal.recover(Folded { generation: 3, commit: 6 }).unwrap_err();
    assert!(
        matches!(error, OpenError::Corrupt(_)),
        "it is beyond what is folded, and numbered as if it were not"
    );
}

#[test]
fn a_tail_that_does_not_follow_what_is_folded_is_damage_where_it_was_durable() {
    let dir = dir();
    let journal = create(&dir);
    write_row(
        &journal,
        0,
        RecordHead { generation: 7, commit: 20, durable: 19, ..RecordHead::default() },
        b"",
    );
    let Err(OpenError::Corrupt(damage)) = journal.recover(Folded { generation: 4, commit: 10 }) else {
        panic!()
    };
    assert_eq!(damage.place, Place::Tail { generation: 5, sector: 0 });
    let recovered = journal.recover(Folded { generation: 6, commit: 19 }).unwrap();
    assert_eq!((commits(&recovered), recovered.folded), (vec![20], Folded { generation: 7, commit: 20 }));
}

//! What is appended is read back: typed, untyped, by place and in order.

use rkyv::rancor::{Fallible, Source};
use rkyv::with::{ArchiveWith, SerializeWith};
use rkyv::{Archive, Place, Serialize};
use varve_core::{AppendError, ArchiveError, Event, GlobalSequence, ReadError, StreamId, StreamSequence};

use crate::damage::put;
use crate::{Door, Reading, archived, door, new_dir, open, reading};

#[test]
fn events_of_several_streams_have_one_order_without_gaps() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 512>("doors").unwrap();
    let mut readings = varve.stream::<Reading, 32>("readings").unwrap();
    let mut expected = Vec::new();
    for n in 0..300 {
        let (id, global) = (StreamId(n % 3), GlobalSequence(n * 3));
        let text = "x".repeat(n as usize);
        assert_eq!(doors.append(id, &door(&text)).unwrap(), (StreamSequence(n / 3), global));
        expected.push((global.0, "doors", id, n / 3, archived(&door(&text))));
        let appended = readings.append_batch(id, &[reading(n), reading(n + 1)]).unwrap();
        for (offset, (seq, global)) in appended.iter().enumerate() {
            expected.push((global.0, "readings", id, seq.0, archived(&reading(n + offset as u64))));
        }
    }
    let events = varve.global_reader().iter_from(GlobalSequence(0)).unwrap().collect_all().unwrap();
    let found: Vec<_> = events
        .iter()
        .map(|e| (e.global_seq.0, e.stream_name.as_str(), e.stream_id, e.stream_seq.0, e.payload.clone()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(found.iter().map(|event| event.0).collect::<Vec<_>>(), (0..900).collect::<Vec<_>>());
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(900));
}

#[test]
fn one_append_spans_streams_and_lands_whole() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let doors = varve.stream::<Door, 64>("doors").unwrap();
    let readings = varve.stream::<Reading, 32>("readings").unwrap();
    let mut append = varve.begin();
    for n in 0..50 {
        append.event(&doors, StreamId(n), &door("Ada")).unwrap();
        append.event(&readings, StreamId(n), &reading(n)).unwrap();
    }
    let committed = append.commit().unwrap();
    assert_eq!((committed.first, committed.events), (GlobalSequence(0), 100));
    assert!(append.is_empty());
    let snapshot = varve.snapshot().unwrap();
    let names: Vec<_> =
        snapshot.iter_from(GlobalSequence(0)).unwrap().map(|e| e.unwrap().stream_name).collect();
    assert_eq!(names, ["doors", "readings"].repeat(50));
    assert_eq!(snapshot.streams().unwrap().count(), 100);
}

#[test]
fn a_failed_append_stores_nothing_and_burns_no_number() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("doors").unwrap();
    doors.append(StreamId(1), &door("Ada")).unwrap();
    let events = [door("Bob"), door(&"x".repeat(100)), door("Cid")];
    let error = doors.append_batch(StreamId(1), &events).unwrap_err();
    assert!(matches!(error, AppendError::EventTooLarge { len_max: 64 }), "{error}");
    assert_eq!(doors.append(StreamId(1), &door("Dot")).unwrap(), (StreamSequence(1), GlobalSequence(1)));
    let mut append = varve.begin();
    append.event(&doors, StreamId(2), &door("Eve")).unwrap();
    assert!(append.event(&doors, StreamId(2), &door(&"x".repeat(100))).is_err());
    assert_eq!(append.commit().unwrap().events, 1);
}

#[test]
fn the_stream_decides_how_large_an_event_may_be() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let len = archived(&reading(0)).len();
    assert_eq!(len, 19);
    let mut exact = varve.stream::<Reading, 19>("exact").unwrap();
    exact.append(StreamId(0), &reading(1)).unwrap();
    let mut tight = varve.stream::<Reading, 18>("tight").unwrap();
    assert!(matches!(
        tight.append(StreamId(0), &reading(1)),
        Err(AppendError::EventTooLarge { len_max: 18 })
    ));
    let mut huge = varve.stream::<Vec<u8>, { 1 << 20 }>("huge").unwrap();
    let largest = vec![7; varve_core::EVENT_LEN_MAX - 8];
    huge.append(StreamId(0), &largest).unwrap();
    huge.append_batch(StreamId(0), &[vec![1; 10], largest.clone(), vec![2; 10]]).unwrap();
    assert!(matches!(
        huge.append(StreamId(0), &vec![7; varve_core::EVENT_LEN_MAX]),
        Err(AppendError::EventTooLarge { len_max: varve_core::EVENT_LEN_MAX })
    ));
    assert_eq!(
        huge.reader().get_archived(StreamId(0), StreamSequence(2)).unwrap().unwrap().as_slice(),
        largest
    );
}

/// An adapter that takes no odd number, and panics at 13.
struct Even;

impl ArchiveWith<u8> for Even {
    type Archived = u8;
    type Resolver = ();

    fn resolve_with(number: &u8, (): (), out: Place<u8>) {
        number.resolve((), out);
    }
}

impl<S: Fallible<Error: Source> + ?Sized> SerializeWith<u8, S> for Even {
    fn serialize_with(number: &u8, _: &mut S) -> Result<(), S::Error> {
        assert!(*number != 13, "nobody takes 13");
        if number.is_multiple_of(2) { Ok(()) } else { Err(S::Error::new(std::fmt::Error)) }
    }
}

#[derive(Archive, Serialize, Event)]
struct Pair(#[rkyv(with = Even)] u8);

#[test]
fn a_value_that_its_adapter_refuses_is_not_stored() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut pairs = varve.stream::<Pair, 1>("pairs").unwrap();
    let refused = |error| matches!(error, AppendError::Archive(ArchiveError::Refused));
    assert!(refused(pairs.append_batch(StreamId(0), &[Pair(2), Pair(3)]).unwrap_err()));
    let mut append = varve.begin();
    assert!(refused(append.event(&pairs, StreamId(0), &Pair(3)).unwrap_err()));
    append.event(&pairs, StreamId(0), &Pair(4)).unwrap();
    append.commit().unwrap();
    assert_eq!(pairs.reader().iter_stream(StreamId(0), None).unwrap().collect_bytes().unwrap()[0].1, [4]);
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn a_panic_while_an_event_is_archived_stores_nothing_and_leaves_the_store_usable() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let pairs = varve.stream::<Pair, 1>("pairs").unwrap();
    // So few that the tail would take them, and so many that LMDB would.
    for evens in [3, 300_000] {
        let mut pairs = pairs.clone();
        let append = move || {
            let events: Vec<_> = (0..evens).map(|_| Pair(2)).chain([Pair(13)]).collect();
            pairs.append_batch(StreamId(0), &events).map(drop)
        };
        assert!(std::thread::spawn(append).join().is_err());
    }
    let places = pairs.clone().append(StreamId(0), &Pair(4)).unwrap();
    assert_eq!(places, (StreamSequence(0), GlobalSequence(0)));
    drop((pairs, varve));
    assert_eq!(open(&dir).next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn a_number_space_that_is_used_up_is_named_and_what_has_a_number_goes_on() {
    let dir = new_dir();
    open(&dir).stream::<u64, 8>("numbers").unwrap().append(StreamId(0), &1).unwrap();
    put(dir.path(), "stream_id", &[0xff; 12], &1u32.to_le_bytes());
    let mut varve = open(&dir);
    let error = varve.stream::<u64, 8>("more").unwrap().append(StreamId(0), &2).unwrap_err();
    assert!(matches!(error, AppendError::Exhausted { space: "stream name" }), "{error}");
    let mut numbers = varve.stream::<u64, 8>("numbers").unwrap();
    numbers.append_batch(StreamId(0), &[2, 3]).unwrap();
    numbers.append(StreamId(1), &4).unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(4));
}

#[test]
fn a_bulk_append_fills_blocks_and_reads_back_from_any_place() {
    const EVENTS: u64 = 20_000;
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    let events: Vec<_> = (0..EVENTS).map(reading).collect();
    let appended = stream.append_batch(StreamId(5), &events).unwrap();
    assert_eq!(appended.len() as u64, EVENTS);
    let mut reader = stream.reader();
    for from in [0, 1, 3_400, 3_442, 3_443, 10_000, EVENTS - 1, EVENTS, EVENTS + 1] {
        let events = reader.iter_stream(StreamId(5), Some(StreamSequence(from))).unwrap();
        let uptimes: Vec<_> = events.iter().map(|event| event.unwrap().archived.uptime.to_native()).collect();
        assert_eq!(uptimes, (from..EVENTS).collect::<Vec<_>>(), "from {from}");
        let snapshot = varve.snapshot().unwrap();
        let global = snapshot.iter_from(GlobalSequence(from)).unwrap();
        let seqs: Vec<_> = global.map(|event| event.unwrap().global_seq.0).collect();
        assert_eq!(seqs, (from..EVENTS).collect::<Vec<_>>(), "from {from}");
    }
    for seq in [0, 3_442, 3_443, EVENTS - 1] {
        let event = reader.get_archived(StreamId(5), StreamSequence(seq)).unwrap().unwrap();
        assert_eq!(event.uptime, seq);
        assert_eq!(varve.global_reader().get(GlobalSequence(seq)).unwrap().unwrap().stream_seq.0, seq);
    }
    assert!(reader.get_archived(StreamId(5), StreamSequence(EVENTS)).unwrap().is_none());
    assert!(reader.get_bytes(StreamId(4), StreamSequence(0)).unwrap().is_none());
    assert!(varve.global_reader().get(GlobalSequence(EVENTS)).unwrap().is_none());
    assert!(varve.global_reader().get_bytes(GlobalSequence(EVENTS)).unwrap().is_none());
}

#[test]
fn reads_borrow_from_the_map() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Reading, 32>("readings").unwrap();
    stream.append(StreamId(1), &reading(7)).unwrap();
    varve.fold().unwrap();
    let (mut one, mut other) = (stream.reader(), stream.reader());
    let bytes = one.get_bytes(StreamId(1), StreamSequence(0)).unwrap().unwrap();
    let event = other.get_archived(StreamId(1), StreamSequence(0)).unwrap().unwrap();
    assert_eq!(bytes.as_ptr(), (&raw const *event).cast(), "both are the bytes in the map");
    assert_eq!(bytes, archived(&reading(7))[..]);
    let map = std::fs::read_to_string("/proc/self/maps").unwrap();
    let holds = |line: &str| {
        let (start, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let range = usize::from_str_radix(start, 16).unwrap()..usize::from_str_radix(end, 16).unwrap();
        range.contains(&(bytes.as_ptr() as usize))
    };
    assert!(map.lines().find(|line| holds(line)).unwrap().ends_with("data.mdb"));
}

#[test]
fn a_pinned_event_stays_as_it_was_while_the_store_is_written() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<Door, 64>("doors").unwrap();
    stream.append(StreamId(1), &door("Ada")).unwrap();
    let mut reader = stream.reader();
    let pinned = reader.get_archived(StreamId(1), StreamSequence(0)).unwrap().unwrap();
    let events = stream.reader().iter_stream(StreamId(1), None).unwrap();
    for n in 0..200 {
        stream.append(StreamId(1), &door(&n.to_string())).unwrap();
    }
    assert_eq!(pinned.who, "Ada");
    assert_eq!(events.iter().count(), 1, "a snapshot does not grow");
    assert_eq!(stream.reader().iter_stream(StreamId(1), None).unwrap().iter().count(), 201);
}

#[test]
fn the_type_of_a_stream_survives_and_keeps_other_types_out() {
    let dir = new_dir();
    {
        let mut varve = open(&dir);
        varve.stream::<Reading, 32>("things").unwrap().append(StreamId(0), &reading(1)).unwrap();
    }
    let mut varve = open(&dir);
    let error = varve.stream::<Door, 64>("things").unwrap_err();
    let ReadError::LayoutMismatch(mismatch) = &error else { panic!("{error}") };
    assert_eq!(mismatch.stored.0, "Reading");
    assert!(mismatch.asked.0.ends_with("Door"));
    let text = error.to_string();
    assert!(text.contains("`things` holds `Reading`") && text.contains("Door"), "{text}");
    assert!(varve.stream_reader::<Door>("things").is_err());
    varve.stream::<Reading, 32>("things").unwrap().append(StreamId(0), &reading(2)).unwrap();
}

#[test]
fn a_name_that_is_new_takes_the_type_of_its_first_event() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut doors = varve.stream::<Door, 64>("things").unwrap();
    let mut readings = varve.stream::<Reading, 32>("things").unwrap();
    readings.append(StreamId(0), &reading(1)).unwrap();
    let error = doors.append(StreamId(1), &door("Ada")).unwrap_err();
    assert!(matches!(error, AppendError::LayoutMismatch(_)), "{error}");
    let error = doors.reader().get_archived(StreamId(0), StreamSequence(0)).err().unwrap();
    assert!(matches!(error, ReadError::LayoutMismatch(_)), "{error}");
    let events = doors.reader().iter_stream(StreamId(0), None).unwrap();
    let results: Vec<_> = events.iter().map(|event| event.is_err()).collect();
    assert_eq!(results, [true], "an error ends the iteration");
    assert_eq!(events.collect_bytes().unwrap().len(), 1, "bytes have no type");
}

/// A label that was mended is another descriptor of the same layout.
#[test]
fn a_mended_label_is_not_another_type() {
    mod mended {
        use rkyv::{Archive, Serialize};
        use varve_core::Event;

        #[derive(Archive, Serialize, Event)]
        pub(super) struct Reading {
            #[event(unit = "Cel", doc = "at the inlet")]
            pub(super) celsius: f32,
            pub(super) humidity: u8,
            pub(super) pressure: u32,
            pub(super) battery: u16,
            pub(super) uptime: u64,
        }
    }
    let dir = new_dir();
    let mut varve = open(&dir);
    varve.stream::<Reading, 32>("readings").unwrap().append(StreamId(0), &reading(1)).unwrap();
    let mut stream = varve.stream::<mended::Reading, 32>("readings").unwrap();
    let event = mended::Reading { celsius: 0.5, humidity: 1, pressure: 2, battery: 3, uptime: 4 };
    stream.append(StreamId(0), &event).unwrap();
    let snapshot = varve.snapshot().unwrap();
    let hashes: Vec<_> = snapshot
        .iter_from(GlobalSequence(0))
        .unwrap()
        .map(|event| event.unwrap().descriptor_hash().unwrap())
        .collect();
    assert_ne!(hashes[0], hashes[1], "each names the descriptor that it came with");
    assert_eq!(stream.reader().iter_stream(StreamId(0), None).unwrap().iter().flatten().count(), 2);
}

#[test]
fn an_untyped_reader_shows_events_by_their_descriptor() {
    let dir = new_dir();
    let mut varve = open(&dir);
    varve.stream::<Door, 64>("doors").unwrap().append(StreamId(3), &door("Ada")).unwrap();
    let snapshot = varve.snapshot().unwrap();
    let event = snapshot.iter_from(GlobalSequence(0)).unwrap().next().unwrap().unwrap();
    let mut json = Vec::new();
    event.schema().unwrap().unwrap().write_json(event.payload, &mut json).unwrap();
    assert_eq!(String::from_utf8(json).unwrap(), r#"{"open":true,"who":"Ada"}"#);
    assert_eq!(event.archived::<Door>().unwrap().who, "Ada");
    assert!(matches!(event.archived::<Reading>(), Err(ReadError::LayoutMismatch(_))));
    assert_eq!(event.origin().unwrap(), None);
}

#[test]
fn types_without_bytes_are_events_too() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<[u8; 0], 0>("ticks").unwrap();
    stream.append_batch(StreamId(0), &[[]; 70_000]).unwrap();
    assert_eq!(stream.reader().iter_stream(StreamId(0), None).unwrap().iter().flatten().count(), 70_000);
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(70_000));
}

#[test]
fn a_stream_of_the_stores_own_is_read_and_not_appended_to() {
    let dir = new_dir();
    let mut varve = open(&dir);
    for name in ["varve.poison", "varve.gap", "varve."] {
        let mut stream = varve.stream::<u16, 2>(name).unwrap();
        let mut append = varve.begin();
        let errors = [
            stream.append(StreamId(0), &650).unwrap_err(),
            stream.append_batch(StreamId(0), &[]).unwrap_err(),
            append.event(&stream, StreamId(0), &650).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(&error, AppendError::SystemStream { name: told } if told == name), "{error}");
        }
        assert!(append.is_empty());
        assert_eq!(stream.reader().version(StreamId(0)).unwrap(), 0);
    }
    varve.stream::<u16, 2>("varves").unwrap().append(StreamId(0), &650).unwrap();
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(1));
}

#[test]
fn an_append_of_nothing_stores_nothing() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let mut stream = varve.stream::<u8, 1>("bytes").unwrap();
    assert!(stream.append_batch(StreamId(0), &[]).unwrap().is_empty());
    assert_eq!(varve.begin().commit().unwrap().events, 0);
    assert_eq!(varve.next_global_seq().unwrap(), GlobalSequence(0));
    assert_eq!(varve.last_commit(), 0, "no record was written");
    assert!(varve.streams().unwrap().is_empty());
    varve.stream::<u64, 8>("bytes").expect("the name holds no events of another type");
}

#[test]
fn an_append_holds_as_much_as_it_may_and_no_more() {
    let dir = new_dir();
    let mut varve = open(&dir);
    let stream = varve.stream::<Vec<u8>, 60_000>("blobs").unwrap();
    let mut append = varve.begin();
    let blob = vec![1; 50_000];
    let mut held = 0;
    let error = loop {
        match append.event(&stream, StreamId(0), &blob) {
            Ok(()) => held += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Full), "{error}");
    assert!(append.bytes_len() <= varve_core::APPEND_BYTES_MAX);
    assert_eq!(append.commit().unwrap().events, held);
    append.event(&stream, StreamId(0), &blob).unwrap();
    append.clear();
    for _ in 0..varve_core::APPEND_OPERATIONS_MAX {
        append.external(varve_core::DescriptorHash([1; 8])).unwrap();
    }
    assert!(matches!(append.external(varve_core::DescriptorHash([1; 8])), Err(AppendError::Full)));
}

//! Events as a program meets them: derived, archived, checked, bounded.
#![cfg(feature = "alloc")]

use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize, with::Map};
use varve_core::{
    AccessError, ArchiveError, BoundedEvent, Described, Event, access, archive_into, with::Heapless,
};

#[derive(Archive, Serialize, Deserialize, Event, Debug, Clone, PartialEq)]
#[rkyv(derive(Debug))]
struct OrderPlaced {
    order_id: u64,
    product: String,
    quantity: u32,
}

#[derive(Archive, Serialize, Deserialize, Event, Debug, PartialEq)]
#[event(stream = "plain")]
struct Plain {
    #[event(unit = "s", doc = "since the start")]
    at: u32,
    mode: Mode,
    pair: (u8, i64),
    axes: [f32; 3],
    code: Option<char>,
}

#[derive(Archive, Serialize, Deserialize, Described, Debug, PartialEq)]
#[repr(u8)]
enum Mode {
    Idle = 3,
    Running {
        #[event(unit = "1/min")]
        speed: u16,
    },
    Failed(u8, Duration),
}

#[derive(Archive, Serialize, Deserialize, Event, Debug, PartialEq)]
struct Message {
    id: u16,
    #[rkyv(with = Heapless)]
    text: heapless::String<16>,
    #[rkyv(with = Map<Heapless>)]
    reply: Option<heapless::String<4>>,
    #[rkyv(with = Heapless)]
    samples: heapless::Vec<f32, 8>,
    #[rkyv(with = Heapless)]
    words: heapless::Vec<Word, 3>,
}

#[derive(Archive, Serialize, Deserialize, Described, Debug, PartialEq)]
struct Word(#[rkyv(with = Heapless)] heapless::String<12>);

/// What [`Message`] is to a program that has a heap.
#[derive(Archive, Serialize, Event)]
struct OwnedMessage {
    id: u16,
    text: String,
    reply: Option<String>,
    samples: Vec<f32>,
    words: Vec<OwnedWord>,
}

#[derive(Archive, Serialize, Described)]
struct OwnedWord(String);

#[derive(Archive, Serialize, Event)]
struct Ping;

#[derive(Archive, Serialize, Event)]
#[rkyv(archived = StoredReading, derive(Debug), attr(allow(missing_docs)))]
struct Reading(u16);

#[derive(Archive, Serialize, Event)]
enum Answer {
    Words([Word; 2]),
    Word(Word, u8),
    Nothing,
}

mod renamed {
    pub(crate) mod inner {
        pub(crate) use varve_core::*;
    }

    #[derive(rkyv::Archive, rkyv::Serialize, varve_core::Event)]
    #[event(crate = "inner")]
    pub(crate) struct Renamed(u8);
}

fn archived<T: Event>(event: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let len = archive_into(event, &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

fn plain(mode: Mode) -> Plain {
    Plain { at: 7, mode, pair: (1, -2), axes: [0.5, 1.5, 2.5], code: Some('µ') }
}

fn message() -> Message {
    Message {
        id: 9,
        text: "longer than 8 b".try_into().unwrap(),
        reply: Some("ok".try_into().unwrap()),
        samples: heapless::Vec::from_slice(&[1.0, -1.0]).unwrap(),
        words: heapless::Vec::from_iter(["twelve bytes", "short"].map(|word| Word(word.try_into().unwrap()))),
    }
}

#[test]
fn an_event_reads_back_as_it_was_archived() {
    for mode in [Mode::Idle, Mode::Running { speed: 900 }, Mode::Failed(2, Duration::new(3, 4))] {
        let event = plain(mode);
        let bytes = archived(&event);
        let read = access::<Plain>(&bytes).unwrap();
        assert_eq!(rkyv::api::low::deserialize::<Plain, rkyv::rancor::Failure>(read).unwrap(), event);
    }
    let bytes = archived(&message());
    let read = access::<Message>(&bytes).unwrap();
    assert_eq!(rkyv::api::low::deserialize::<Message, rkyv::rancor::Failure>(read).unwrap(), message());
}

#[test]
fn a_heapless_event_has_the_bytes_and_the_layout_of_an_owned_one() {
    let owned = OwnedMessage {
        id: 9,
        text: "longer than 8 b".into(),
        reply: Some("ok".into()),
        samples: vec![1.0, -1.0],
        words: ["twelve bytes", "short"].map(|word| OwnedWord(word.into())).into(),
    };
    assert_eq!(archived(&message()), archived(&owned));
    assert_eq!(Message::LAYOUT_HASH, OwnedMessage::LAYOUT_HASH);
    assert_ne!(Message::DESCRIPTOR_HASH, OwnedMessage::DESCRIPTOR_HASH);
}

#[test]
fn the_archived_type_may_have_a_name_of_its_own() {
    let bytes = archived(&Reading(513));
    let read: &StoredReading = access::<Reading>(&bytes).unwrap();
    assert_eq!(read.0, 513);
    assert_eq!(<StoredReading as Described>::TYPE.archived_len(), 2);
}

#[test]
fn the_largest_event_fills_its_bound() {
    let largest = Message {
        id: 0,
        text: "0123456789abcdef".try_into().unwrap(),
        reply: Some("0123".try_into().unwrap()),
        samples: heapless::Vec::from_slice(&[0.0; 8]).unwrap(),
        words: heapless::Vec::from_iter((0..3).map(|_| Word("0123456789ab".try_into().unwrap()))),
    };
    assert_eq!(archived(&largest).len(), Message::ARCHIVED_LEN_MAX);
    assert_eq!(archived(&plain(Mode::Failed(1, Duration::ZERO))).len(), Plain::ARCHIVED_LEN_MAX);
    assert_eq!(Plain::ARCHIVED_LEN_MAX, 4 + (1 + 1 + 12) + 9 + 12 + 5);
    let word = || Word("0123456789ab".try_into().unwrap());
    assert_eq!(archived(&Answer::Words([word(), word()])).len(), Answer::ARCHIVED_LEN_MAX);
    assert!(archived(&Answer::Word(word(), 1)).len() < Answer::ARCHIVED_LEN_MAX);
    assert!(archived(&Answer::Nothing).len() < Answer::ARCHIVED_LEN_MAX);
    assert_eq!(<[u16; 4]>::ARCHIVED_LEN_MAX, 8);
    assert_eq!(Ping::ARCHIVED_LEN_MAX, 0);
}

#[test]
fn an_event_takes_its_stream_from_its_name_unless_told() {
    assert_eq!(OrderPlaced::STREAM, "order_placed");
    assert_eq!(Plain::STREAM, "plain");
    assert_eq!(u64::STREAM, "u64");
    assert_eq!(renamed::Renamed::STREAM, "renamed");
}

#[test]
fn a_label_changes_the_descriptor_and_not_the_layout() {
    mod relabelled {
        #[derive(rkyv::Archive, rkyv::Serialize, varve_core::Event)]
        pub(super) struct Order {
            order_id: u64,
            #[event(doc = "what was bought")]
            product: String,
            quantity: u32,
        }

        #[derive(rkyv::Archive, rkyv::Serialize, varve_core::Event)]
        pub(super) struct OrderPlaced {
            order_id: u64,
            product: String,
            count: u32,
        }
    }
    assert_eq!(relabelled::Order::LAYOUT_HASH, OrderPlaced::LAYOUT_HASH);
    assert_ne!(relabelled::Order::DESCRIPTOR_HASH, OrderPlaced::DESCRIPTOR_HASH);
    assert_ne!(relabelled::OrderPlaced::LAYOUT_HASH, OrderPlaced::LAYOUT_HASH);
}

#[test]
fn a_buffer_too_short_is_an_error_at_any_length() {
    let whole = archived(&message());
    for len in 0..whole.len() {
        assert_eq!(archive_into(&message(), &mut vec![0; len]), Err(ArchiveError::TooLarge));
    }
    assert_eq!(archive_into(&message(), &mut vec![0; whole.len()]), Ok(whole.len()));
}

#[test]
fn vectors_of_vectors_beyond_the_stack_scratch_take_it_from_the_heap() {
    let words: Vec<Vec<String>> = (0..500).map(|i| vec![format!("the {i}th of the words"); i % 5]).collect();
    let mut bytes = vec![0; 1 << 20];
    let len = archive_into(&words, &mut bytes).unwrap();
    let read = access::<Vec<Vec<String>>>(&bytes[..len]).unwrap();
    assert_eq!(read.len(), 500);
    assert_eq!(read[499][3].as_str(), "the 499th of the words");
}

#[test]
fn bytes_that_no_event_archives_to_are_refused() {
    assert!(matches!(access::<u64>(&[0; 7]), Err(AccessError::TooShort { len: 7, needed: 8 })));
    assert!(matches!(access::<bool>(&[2]), Err(AccessError::Invalid)));
    let mut bytes = archived(&OrderPlaced { order_id: 1, product: "a longer name".into(), quantity: 2 });
    let product_offset_at = bytes.len() - 20 + 8 + 4;
    bytes[product_offset_at] = 1;
    assert!(matches!(access::<OrderPlaced>(&bytes), Err(AccessError::Invalid)));
}

#[test]
fn an_event_lies_anywhere_in_memory() {
    let bytes = archived(&message());
    for shift in 0..8 {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(&bytes);
        assert_eq!(access::<Message>(&shifted[shift..]).unwrap().text.as_str(), "longer than 8 b");
    }
}

//! An event whose type is known: what typed access accepts is shown as JSON, and shown alike.

use std::time::Duration;

use rkyv::{Archive, Deserialize, Serialize};
use varve_core::{Described, Event, Schema, access, archive_into};

use crate::Verdict;

/// One of each kind of layout.
#[derive(Archive, Serialize, Deserialize, Event, serde::Serialize, Debug)]
pub(crate) struct Specimen {
    id: u64,
    wide: i128,
    flag: bool,
    #[event(unit = "Cel", doc = "at the inlet")]
    celsius: f32,
    mark: char,
    took: Duration,
    name: String,
    words: Vec<String>,
    grid: Vec<Vec<u16>>,
    note: Option<Box<Part>>,
    parts: [Part; 2],
    pair: (i8, String),
}

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug)]
pub(crate) enum Part {
    Stop,
    Move(f64, i16),
    Set { key: String, value: Option<u32> },
}

pub(crate) fn run(bytes: &[u8]) -> Verdict {
    let event = access::<Specimen>(bytes);
    let schema = Schema::parse(Specimen::DESCRIPTOR).expect("the derive makes descriptors");
    let mut json = Vec::new();
    let written = schema.write_json(bytes, &mut json);
    if let Ok(event) = &event {
        assert_eq!(written, Ok(()));
        let event: Specimen =
            rkyv::api::low::deserialize::<_, rkyv::rancor::Failure>(*event).expect("its bytes were checked");
        let expected = serde_json::to_string(&event).expect("a specimen is JSON");
        assert_eq!(String::from_utf8(json).expect("JSON is text"), expected);
    }
    Verdict::of(&event)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![archived(&full()), archived(&bare())]
}

pub(crate) fn archived<T: Event>(event: &T) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    let len = archive_into(event, &mut bytes).expect("a specimen is small");
    bytes.truncate(len);
    bytes
}

pub(crate) fn full() -> Specimen {
    let part = |key: &str| Part::Set { key: key.into(), value: Some(7) };
    Specimen {
        id: 1 << 60,
        wide: -1,
        flag: true,
        celsius: 21.5,
        mark: '\u{1f980}',
        took: Duration::from_micros(1_500_001),
        name: "a name out of line, \"quoted\"\n".into(),
        words: vec!["in place".into(), "out of line".into(), String::new()],
        grid: vec![vec![1, 2, 3], vec![], vec![0xffff]],
        note: Some(Box::new(part("a key out of line"))),
        parts: [Part::Move(1e300, -1), part("key")],
        pair: (-128, "pair".into()),
    }
}

fn bare() -> Specimen {
    Specimen {
        id: 0,
        wide: 0,
        flag: false,
        celsius: f32::NAN,
        mark: '\0',
        took: Duration::ZERO,
        name: String::new(),
        words: Vec::new(),
        grid: Vec::new(),
        note: None,
        parts: [Part::Stop, Part::Stop],
        pair: (0, String::new()),
    }
}

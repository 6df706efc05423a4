//! The files in `golden/events`, which pin every layout and its description on every host: each was worked out from
//! FORMAT.md alone.
#![cfg(feature = "alloc")]

use std::{num::*, time::Duration};

use rkyv::{Archive, Serialize};
use varve_core::{Described, Event, Schema, access, archive_into};

#[derive(Archive, Serialize, Event)]
struct Climate {
    #[event(unit = "Cel", doc = "at the inlet")]
    temperature: f32,
    #[event(unit = "%")]
    humidity: u8,
}

#[derive(Archive, Serialize, Event)]
struct Primitives {
    nothing: (),
    flag: bool,
    a: u8,
    b: u16,
    c: u32,
    d: u64,
    e: u128,
    f: i8,
    g: i16,
    h: i32,
    i: i64,
    j: i128,
    k: f32,
    l: f64,
    m: char,
    n: Duration,
    o: NonZeroU8,
    p: NonZeroU16,
    q: NonZeroU32,
    r: NonZeroU64,
    s: NonZeroU128,
    t: NonZeroI8,
    u: NonZeroI16,
    v: NonZeroI32,
    w: NonZeroI64,
    x: NonZeroI128,
}

#[derive(Archive, Serialize, Event)]
struct Strings {
    empty: String,
    seven: String,
    eight: String,
    nine: String,
    long: String,
    last: u8,
}

#[derive(Archive, Serialize, Event)]
struct Vectors {
    samples: Vec<i16>,
    none: Vec<u8>,
    words: Vec<String>,
    grid: Vec<Vec<u8>>,
}

#[derive(Archive, Serialize, Event)]
struct Options {
    none: Option<u32>,
    some: Option<u32>,
    text: Option<String>,
    nested: Option<Option<u8>>,
    outer: Option<Option<u8>>,
    list: Option<Vec<Option<i8>>>,
}

#[derive(Archive, Serialize, Event)]
struct Enums {
    modes: [Mode; 4],
    level: Level,
}

#[derive(Archive, Serialize, Described)]
#[repr(u8)]
enum Mode {
    Idle,
    Running {
        #[event(unit = "1/min")]
        speed: u16,
    } = 3,
    Failed(u8, String),
    Paused(u32),
}

#[derive(Archive, Serialize, Described)]
#[allow(dead_code, reason = "one variant is enough to see the tags")]
enum Level {
    Low = 1,
    High = 9,
}

#[derive(Archive, Serialize, Event)]
struct Compounds(Box<Point>, Box<Text>, (u8, String), [(u8,); 2], Meters, Marker);

#[derive(Archive, Serialize, Described)]
struct Point {
    x: i16,
    y: i16,
}

type Text = String;

#[derive(Archive, Serialize, Described)]
struct Meters(#[event(unit = "m")] f32);

#[derive(Archive, Serialize, Described)]
struct Marker;

/// The parts of a golden file, each a name in brackets and the lines below it, up to an empty one.
struct Golden(&'static str);

impl Golden {
    fn part(&self, name: &str) -> impl Iterator<Item = &'static str> {
        let heading = format!("[{name}]");
        let below = self.0.lines().skip_while(move |line| *line != heading).skip(1);
        below.take_while(|line| !line.is_empty())
    }

    /// The bytes of a part, in hexadecimal; `#` begins a comment.
    fn bytes(&self, name: &str) -> Vec<u8> {
        let digits = self.part(name).flat_map(|line| line.split('#').next().unwrap().split_whitespace());
        digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }
}

fn check<T: Event>(event: &T, golden: &'static str) {
    let golden = Golden(golden);
    assert_eq!(T::DESCRIPTOR, golden.bytes("descriptor"));
    assert_eq!(T::LAYOUT_HASH.0[..], golden.bytes("layout hash"));
    assert_eq!(T::DESCRIPTOR_HASH.0[..], golden.bytes("descriptor hash"));

    let mut bytes = vec![0xaa; 1024];
    let len = archive_into(event, &mut bytes).unwrap();
    assert_eq!(bytes[..len], golden.bytes("event"));
    assert!(access::<T>(&golden.bytes("event")).is_ok());

    let schema = Schema::parse(&golden.bytes("descriptor")).unwrap();
    assert_eq!(schema.layout_hash(), T::LAYOUT_HASH);
    assert_eq!(schema.descriptor_hash(), T::DESCRIPTOR_HASH);
    let mut json = Vec::new();
    schema.write_json(&golden.bytes("event"), &mut json).unwrap();
    assert_eq!(std::str::from_utf8(&json).unwrap(), golden.part("json").collect::<String>());
}

#[test]
fn a_struct_with_a_unit_and_a_doc_text() {
    check(&Climate { temperature: 21.5, humidity: 40 }, include_str!("golden/events/climate.txt"));
}

#[test]
fn a_number_alone() {
    check(&0x0102_0304_0506_0708u64, include_str!("golden/events/u64.txt"));
}

#[test]
fn primitives() {
    let event = Primitives {
        nothing: (),
        flag: true,
        a: 1,
        b: 2,
        c: 3,
        d: 4,
        e: 5,
        f: -1,
        g: -2,
        h: -3,
        i: -4,
        j: -5,
        k: 0.1,
        l: -2.5,
        m: 'µ',
        n: Duration::new(3, 5),
        o: NonZero::new(6).unwrap(),
        p: NonZero::new(7).unwrap(),
        q: NonZero::new(8).unwrap(),
        r: NonZero::new(9).unwrap(),
        s: NonZero::new(10).unwrap(),
        t: NonZero::new(-6).unwrap(),
        u: NonZero::new(-7).unwrap(),
        v: NonZero::new(-8).unwrap(),
        w: NonZero::new(-9).unwrap(),
        x: NonZero::new(-10).unwrap(),
    };
    check(&event, include_str!("golden/events/primitives.txt"));
}

#[test]
fn strings() {
    let event = Strings {
        empty: String::new(),
        seven: "seven b".into(),
        eight: "eight by".into(),
        nine: "nine byte".into(),
        long: "The sediment of one season, laid down once, in order, and unchanged for ever.".into(),
        last: 9,
    };
    check(&event, include_str!("golden/events/strings.txt"));
}

#[test]
fn vectors() {
    let event = Vectors {
        samples: vec![1, -1, 256],
        none: vec![],
        words: vec!["in place".into(), "out of line".into()],
        grid: vec![vec![1, 2], vec![], vec![3]],
    };
    check(&event, include_str!("golden/events/vectors.txt"));
}

#[test]
fn options() {
    let event = Options {
        none: None,
        some: Some(7),
        text: Some("out of line".into()),
        nested: Some(None),
        outer: None,
        list: Some(vec![Some(1), None]),
    };
    check(&event, include_str!("golden/events/options.txt"));
}

#[test]
fn enums() {
    let modes =
        [Mode::Idle, Mode::Running { speed: 900 }, Mode::Failed(2, "out of line".into()), Mode::Paused(60)];
    check(&Enums { modes, level: Level::High }, include_str!("golden/events/enums.txt"));
}

#[test]
fn compounds() {
    let event = Compounds(
        Box::new(Point { x: 3, y: 4 }),
        Box::new("out of line".into()),
        (1, "a tuple of two".into()),
        [(5,), (6,)],
        Meters(1.5),
        Marker,
    );
    check(&event, include_str!("golden/events/compounds.txt"));
}

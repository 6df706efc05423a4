//! A type with every layout in it, and random values of it.

use std::{
    num::{NonZeroI64, NonZeroU16},
    time::Duration,
};

use fastrand::Rng;
use rkyv::{Archive, Deserialize, Serialize};
use varve_core::{Described, Event};

#[derive(Archive, Serialize, Deserialize, Event, serde::Serialize, Debug, PartialEq)]
pub(crate) struct Everything {
    pub(crate) id: u64,
    pub(crate) huge: u128,
    pub(crate) huge_signed: i128,
    pub(crate) flag: bool,
    pub(crate) small: i8,
    #[event(unit = "m")]
    pub(crate) position: Position,
    pub(crate) command: Command,
    pub(crate) commands: Vec<Command>,
    pub(crate) count: Option<u32>,
    pub(crate) note: Option<String>,
    pub(crate) name: String,
    pub(crate) samples: Vec<f32>,
    pub(crate) raw: [i16; 3],
    pub(crate) level: Level,
    pub(crate) pair: Pair,
    pub(crate) tuple: (u8, String, i64),
    pub(crate) character: char,
    pub(crate) non_zero: NonZeroU16,
    pub(crate) signed_non_zero: Option<NonZeroI64>,
    #[event(doc = "how long it took")]
    pub(crate) took: Duration,
    pub(crate) words: Vec<String>,
    pub(crate) grid: Vec<Vec<u16>>,
    pub(crate) sparse: Option<Vec<Option<i16>>>,
    pub(crate) boxed: Box<Position>,
    pub(crate) boxes: [Option<Box<Pair>>; 2],
    pub(crate) nothing: (),
    pub(crate) unit: Unit,
    pub(crate) empty: Empty,
    pub(crate) one: (u32,),
    pub(crate) r#type: f64,
}

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) struct Position {
    x: f32,
    y: f32,
    z: f64,
}

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) enum Command {
    Stop,
    Move(Position),
    Say(String, u8),
    Set { key: String, value: Option<f64>, at: [u16; 2] },
    Nested(Newtype),
    Empty(),
    EmptyNamed {},
}

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) enum Level {
    Info = 1,
    Warning = 5,
    Error,
    Fatal = 255,
}

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) struct Newtype(i32);

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) struct Pair(u16, String);

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) struct Unit;

#[derive(Archive, Serialize, Deserialize, Described, serde::Serialize, Debug, PartialEq)]
pub(crate) struct Empty {}

impl Everything {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            id: rng.u64(..) >> rng.u32(0..64),
            huge: rng.u128(..) >> rng.u32(0..128),
            huge_signed: rng.i128(..) >> rng.u32(0..128),
            flag: rng.bool(),
            small: rng.i8(..),
            position: position(rng),
            command: command(rng),
            commands: list(rng, 3, command),
            count: option(rng, |rng| rng.u32(..)),
            note: option(rng, text),
            name: text(rng),
            samples: list(rng, 12, float32),
            raw: [rng.i16(..), rng.i16(..), rng.i16(..)],
            level: level(rng),
            pair: pair(rng),
            tuple: (rng.u8(..), text(rng), rng.i64(..)),
            character: rng.char(..),
            non_zero: NonZeroU16::new(rng.u16(1..)).unwrap(),
            signed_non_zero: NonZeroI64::new(rng.i64(-2..3)),
            took: Duration::new(rng.u64(..), rng.u32(0..1_000_000_000)),
            words: list(rng, 4, text),
            grid: list(rng, 3, |rng| list(rng, 3, |rng| rng.u16(..))),
            sparse: option(rng, |rng| list(rng, 3, |rng| option(rng, |rng| rng.i16(..)))),
            boxed: Box::new(position(rng)),
            boxes: [option(rng, boxed_pair), option(rng, boxed_pair)],
            nothing: (),
            unit: Unit,
            empty: Empty {},
            one: (rng.u32(..),),
            r#type: float64(rng),
        }
    }
}

fn position(rng: &mut Rng) -> Position {
    Position { x: float32(rng), y: float32(rng), z: float64(rng) }
}

fn command(rng: &mut Rng) -> Command {
    match rng.u8(0..7) {
        0 => Command::Stop,
        1 => Command::Move(position(rng)),
        2 => Command::Say(text(rng), rng.u8(..)),
        3 => Command::Set { key: text(rng), value: option(rng, float64), at: [rng.u16(..), rng.u16(..)] },
        4 => Command::Nested(Newtype(rng.i32(..))),
        5 => Command::Empty(),
        _ => Command::EmptyNamed {},
    }
}

fn pair(rng: &mut Rng) -> Pair {
    Pair(rng.u16(..), text(rng))
}

fn boxed_pair(rng: &mut Rng) -> Box<Pair> {
    Box::new(pair(rng))
}

fn level(rng: &mut Rng) -> Level {
    rng.choice([Level::Info, Level::Warning, Level::Error, Level::Fatal]).unwrap()
}

/// Any bits: also what is not finite, and numbers as people write them.
fn float32(rng: &mut Rng) -> f32 {
    match rng.bool() {
        true => f32::from_bits(rng.u32(..)),
        false => rng.i16(..) as f32 / 10.0,
    }
}

fn float64(rng: &mut Rng) -> f64 {
    match rng.bool() {
        true => f64::from_bits(rng.u64(..)),
        false => rng.i32(..) as f64 / 1000.0,
    }
}

/// Both sides of the 8 bytes that a string holds in place, with all that JSON escapes.
fn text(rng: &mut Rng) -> String {
    let len = rng.usize(0..20);
    let letter = |rng: &mut Rng| match rng.u8(0..10) {
        0 => rng.char(..),
        1 => rng.char('\0'..' '),
        2 => rng.choice(['"', '\\', '/', '\u{7f}']).unwrap(),
        _ => rng.alphabetic(),
    };
    (0..len).map(|_| letter(rng)).collect()
}

fn list<T>(rng: &mut Rng, len_max: usize, item: impl Fn(&mut Rng) -> T) -> Vec<T> {
    (0..rng.usize(0..=len_max)).map(|_| item(rng)).collect()
}

fn option<T>(rng: &mut Rng, value: impl Fn(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| value(rng))
}

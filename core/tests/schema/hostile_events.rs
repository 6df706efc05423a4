//! Events that nobody archived: an error with a place, in bounded time and memory, and never a panic.

use std::cell::Cell;

use fastrand::Rng;
use varve_core::{
    Event, Schema, access,
    descriptor::{DecodeError, DecodeErrorKind, JSON_LEN_MAX},
};

use crate::{cases, json::archived, model::Everything};

fn check(schema: &Schema, event: &[u8], kind: DecodeErrorKind, at: usize) {
    assert_eq!(schema.write_json(event, &mut Vec::new()), Err(DecodeError { kind, at }));
}

fn schema_of<T: Event>() -> Schema {
    Schema::parse(T::DESCRIPTOR).unwrap()
}

/// A schema of code bytes alone.
fn schema(codes: &[u8]) -> Schema {
    Schema::parse(&[&[1], codes].concat()).unwrap()
}

fn corrupt(bytes: &mut Vec<u8>, rng: &mut Rng) {
    match rng.u8(0..6) {
        0 => bytes.truncate(rng.usize(..bytes.len())),
        1 => rng.fill(bytes),
        _ => {}
    }
    for _ in 0..rng.usize(1..8) {
        let any = rng.u8(..);
        let damage = rng.choice([0, 1, 2, 0x7f, 0x80, 0xff, any]).unwrap();
        if let Some(byte) = rng.choice(bytes.iter_mut()) {
            *byte = damage;
        }
    }
}

#[test]
fn a_corrupted_event_is_an_error_or_another_event() {
    let schema = schema_of::<Everything>();
    let (shown, refused) = (Cell::new(0), Cell::new(0));
    let cases = cases::run(50_000, |rng| {
        let mut bytes = archived(&Everything::random(rng));
        corrupt(&mut bytes, rng);
        let mut json = Vec::new();
        let written = schema.write_json(&bytes, &mut json);
        let count = if written.is_ok() { &shown } else { &refused };
        count.set(count.get() + 1);
        // What typed access accepts is shown, and shown alike.
        if let Ok(event) = access::<Everything>(&bytes) {
            let event: Everything = rkyv::api::low::deserialize::<_, rkyv::rancor::Failure>(event).unwrap();
            assert_eq!(written, Ok(()));
            assert_eq!(std::str::from_utf8(&json).unwrap(), serde_json::to_string(&event).unwrap());
        }
    });
    eprintln!("{} shown, {} refused", shown.get(), refused.get());
    assert!(cases == 1 || shown.get() > 0 && refused.get() > 0);
}

#[test]
fn every_kind_of_damage_is_told_with_its_place() {
    use DecodeErrorKind::*;
    check(&schema_of::<u64>(), &[0; 7], Short, 0);
    check(&schema_of::<[bool; 2]>(), &[1, 2], Value, 1);
    check(&schema_of::<Option<u8>>(), &[2, 0], Value, 0);
    check(&schema_of::<char>(), &[0, 0xd8, 0, 0], Value, 0);
    check(&schema(&[0x0f]), &[0, 0, 0, 0, 0, 0, 0, 0, 0x00, 0xca, 0x9a, 0x3b], Value, 0);
    check(&schema(&[0x13]), &[0, 0], Value, 0);
    check(&schema(&[0x27, 0, 1, 4, 1, b'A', 0]), &[5], Value, 0);
    // A string out of line that would stand in place, one that is not UTF-8, and one that is not there.
    check(&schema(&[0x20]), &[0x88, 0, 0, 0, 0, 0, 0, 0], Value, 0);
    check(&schema(&[0x20]), &[0xc0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Text, 0);
    check(&schema(&[0x20]), &[0x89, 0, 0, 0, 0, 0, 0, 0], Bounds, 4);
    check(&schema(&[0x21, 0x02]), &[0, 0, 0, 0, 1, 0, 0, 0], Bounds, 0);
    check(&schema(&[0x21, 0x02]), &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0], Bounds, 0);
    check(&schema(&[0x23, 0x02]), &[0, 0, 0, 0], Bounds, 0);
}

#[test]
fn a_vector_of_nothing_ends_at_the_limit_of_json() {
    let event = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let mut json = Vec::new();
    let error = schema(&[0x21, 0x00]).write_json(&event, &mut json).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TooLong);
    assert!(json.capacity() < 4 * JSON_LEN_MAX);
}

#[test]
fn vectors_that_all_point_to_one_place_are_refused_at_once() {
    let nested = schema(&[0x21, 0x21, 0x21, 0x21, 0x21, 0x21, 0x02]);
    let mut event = Vec::new();
    for _ in 0..400 {
        event.extend_from_slice(&(-(event.len() as i32)).to_le_bytes());
        event.extend_from_slice(&400u32.to_le_bytes());
    }
    let error = nested.write_json(&event, &mut Vec::new()).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::Bounds);
}

//! Descriptors that no derive wrote.

use std::cell::Cell;

use varve_core::{
    Event, Schema,
    descriptor::{
        DESCRIPTOR_LEN_MAX, DESCRIPTOR_NODES_MAX, DescriptorError, DescriptorErrorKind, TYPE_DEPTH_MAX,
    },
};

use crate::{cases, json::archived, model::Everything};

fn check(codes: &[u8], kind: DescriptorErrorKind, at: usize) {
    assert_eq!(Schema::parse(codes).unwrap_err(), DescriptorError { kind, at });
}

#[test]
fn a_mutated_descriptor_is_an_error_or_another_descriptor() {
    let event = archived(&Everything::random(&mut fastrand::Rng::with_seed(7)));
    let (parsed, shown) = (Cell::new(0), Cell::new(0));
    let cases = cases::run(50_000, |rng| {
        let mut descriptor = Everything::DESCRIPTOR.to_vec();
        for _ in 0..rng.usize(1..4) {
            let byte = if rng.bool() { rng.u8(0..64) } else { rng.u8(..) };
            *rng.choice(descriptor.iter_mut()).unwrap() = byte;
        }
        if rng.u8(0..5) == 0 {
            descriptor.truncate(rng.usize(..descriptor.len()));
        }
        let Ok(schema) = Schema::parse(&descriptor) else { return };
        parsed.set(parsed.get() + 1);
        if descriptor != Everything::DESCRIPTOR {
            assert_ne!(schema.descriptor_hash(), Everything::DESCRIPTOR_HASH);
        }
        if schema.write_json(&event, &mut Vec::new()).is_ok() {
            shown.set(shown.get() + 1);
        }
    });
    eprintln!("{} parsed, {} of them showed the event", parsed.get(), shown.get());
    assert!(cases == 1 || shown.get() > 0 && shown.get() < parsed.get());
}

#[test]
fn random_bytes_never_make_the_parser_panic() {
    cases::run(50_000, |rng| {
        let mut descriptor = vec![1];
        descriptor.extend((0..rng.usize(1..40)).map(|_| match rng.u8(0..8) {
            0 => rng.u8(..),
            1 => rng.u8(0x30..0x34),
            2..4 => rng.u8(0..4),
            _ => rng.u8(0x20..0x28),
        }));
        _ = Schema::parse(&descriptor);
    });
}

#[test]
fn every_fault_is_told_with_its_place() {
    use DescriptorErrorKind::*;
    check(&[], Short, 0);
    check(&[1], Short, 1);
    check(&[1, 0x24], Short, 2);
    check(&[1, 0x26, 3, b'A'], Short, 3);
    check(&[2, 0x02], Version, 0);
    check(&[1, 0x10], Code, 1);
    check(&[1, 0x26, 0, 3], Code, 3);
    check(&[1, 0x25, 0], Code, 2);
    check(&[1, 0x27, 0, 0], Code, 3);
    check(&[1, 0x24, 0x81, 0x00, 0x02], Varint, 2);
    check(&[1, 0x26, 1, 0xff, 0], Text, 3);
    check(&[1, 0x26, 0, 2, 1, 0, 0x02], Text, 5);
    check(&[1, 0x26, 0, 1, 1, 0x30, 0, 0x02], Text, 6);
    check(&[1, 0x26, 0, 2, 2, 1, b'a', 2, 1, b'a', 2], Repeated, 8);
    check(&[1, 0x27, 0, 2, 0, 1, b'A', 0, 0, 1, b'B', 0], Repeated, 8);
    check(&[1, 0x27, 0, 2, 0, 1, b'A', 0, 1, 1, b'A', 0], Repeated, 8);
    check(&[1, 0x26, 0, 1, 1, 0x31, 1, b'd', 0x30, 1, b'u', 0x02], Order, 8);
    check(&[1, 0x26, 0, 1, 1, 0x30, 1, b'u', 0x30, 1, b'u', 0x02], Order, 8);
    check(&[1, 0x02, 0], Trailing, 2);
}

#[test]
fn an_annotation_of_a_later_version_is_passed_over() {
    let today = Schema::parse(&[1, 0x26, 0, 1, 1, 0x02]).unwrap();
    let later = Schema::parse(&[1, 0x26, 0, 1, 1, 0x3f, 2, b'4', b'2', 0x02]).unwrap();
    assert_eq!(later.layout_hash(), today.layout_hash());
    assert_ne!(later.descriptor_hash(), today.descriptor_hash());
}

#[test]
fn every_limit_holds_at_its_edge() {
    use DescriptorErrorKind::Limit;
    // Nested options: one byte a level.
    let nested = |depth: usize| [vec![1], vec![0x22; depth - 1], vec![0x02]].concat();
    assert!(Schema::parse(&nested(TYPE_DEPTH_MAX)).is_ok());
    check(&nested(TYPE_DEPTH_MAX + 1), Limit, 1 + TYPE_DEPTH_MAX);
    // An array of 65,536 bytes, and what has one more.
    assert!(Schema::parse(&[1, 0x24, 0x80, 0x80, 0x04, 0x02]).is_ok());
    check(&[1, 0x24, 0x81, 0x80, 0x04, 0x00], Limit, 2);
    check(&[1, 0x22, 0x24, 0x80, 0x80, 0x04, 0x02], Limit, 1);
    check(&[1, 0x24, 0x80, 0x80, 0x04, 0x24, 0x80, 0x80, 0x04, 0x02], Limit, 1);
    // Tuples of 256 units, in a tuple: 1 + n + the units.
    let wide = |tuples: usize, more: usize| {
        let tuple = [vec![0x25, 0x80, 0x02], vec![0; 256]].concat();
        let mut all = vec![1, 0x25, (tuples + more) as u8];
        all.extend(std::iter::repeat_n(tuple, tuples).flatten());
        all.extend(std::iter::repeat_n(0, more));
        all
    };
    assert!(Schema::parse(&wide(3, 252)).is_err(), "the count takes two bytes");
    assert!(Schema::parse(&wide(3, 120)).is_ok());
    check(&wide(4, 0), Limit, wide(4, 0).len() - 5);
    assert_eq!(DESCRIPTOR_NODES_MAX, 1024);
    check(&[1, 0x25, 0x81, 0x02], Limit, 2);
    check(&vec![1; DESCRIPTOR_LEN_MAX + 1], Limit, 0);
    check(&[1, 0x26, 0x80, 0x02], Limit, 2);
}

//! Honest events: the schema's JSON is `serde_json`'s.

use varve_core::{
    Event, Schema, archive_into,
    descriptor::{LargeIntegers, SchemaField},
};

use crate::{cases, model::Everything};

pub(crate) fn archived<T: Event>(event: &T) -> Vec<u8> {
    let mut bytes = vec![0; 16 * 1024];
    let len = archive_into(event, &mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// The JSON of an event of `T`, as text.
fn json_of<T: Event>(event: &T) -> String {
    let mut json = Vec::new();
    Schema::parse(T::DESCRIPTOR).unwrap().write_json(&archived(event), &mut json).unwrap();
    String::from_utf8(json).unwrap()
}

fn check<T: Event + serde::Serialize>(event: T) {
    assert_eq!(json_of(&event), serde_json::to_string(&event).unwrap());
}

#[test]
fn a_random_event_is_shown_as_serde_json_shows_it() {
    let schema = Schema::parse(Everything::DESCRIPTOR).unwrap();
    cases::run(10_000, |rng| {
        let event = Everything::random(rng);
        let mut json = Vec::new();
        schema.write_json(&archived(&event), &mut json).unwrap();
        let json = std::str::from_utf8(&json).unwrap();
        assert_eq!(json, serde_json::to_string(&event).unwrap());
    });
}

#[test]
fn primitives_are_shown_as_serde_json_shows_them() {
    check(u64::MAX);
    check(i128::MIN);
    check(true);
    check('\u{1f980}');
    check([1u16, 2, 3]);
    check(Some([0i8; 2]));
    check(vec![String::from("in place"), String::from("out of line"), String::new()]);
    check(0.1f32);
    check(-0.0f64);
    check(1e300f64);
    check(f32::MIN_POSITIVE);
    check(vec![f64::NAN, f64::INFINITY, 1.0]);
    check(String::from("\u{0}\u{1f}\u{7f}\"\\/\n\r\t\u{8}\u{c}ä"));
}

#[test]
fn integers_that_a_double_would_round_can_be_strings() {
    const EXACT: u64 = 1 << 53;
    let check = |event: [u64; 2], expected: &str| {
        let mut json = Vec::new();
        let schema = Schema::parse(<[u64; 2]>::DESCRIPTOR).unwrap();
        schema.write_json_with(&archived(&event), LargeIntegers::Strings, &mut json).unwrap();
        assert_eq!(std::str::from_utf8(&json).unwrap(), expected);
    };
    check([EXACT, EXACT + 1], r#"[9007199254740992,"9007199254740993"]"#);
    check([0, u64::MAX], r#"[0,"18446744073709551615"]"#);

    let signed = Schema::parse(<[i128; 3]>::DESCRIPTOR).unwrap();
    let mut json = Vec::new();
    let event = [-(i128::from(EXACT)), -(i128::from(EXACT)) - 1, i128::MIN];
    signed.write_json_with(&archived(&event), LargeIntegers::Strings, &mut json).unwrap();
    let expected = r#"[-9007199254740992,"-9007199254740993","-170141183460469231731687303715884105728"]"#;
    assert_eq!(std::str::from_utf8(&json).unwrap(), expected);
}

#[test]
fn json_goes_behind_what_is_there() {
    let schema = Schema::parse(u8::DESCRIPTOR).unwrap();
    let mut out = b"event: ".to_vec();
    schema.write_json(&[7], &mut out).unwrap();
    assert_eq!(out, b"event: 7");
    schema.write_json(&[], &mut out).unwrap_err();
    assert_eq!(out, b"event: 7");
    // The first element is there before the second turns out to be damaged.
    let flags = Schema::parse(<[bool; 2]>::DESCRIPTOR).unwrap();
    flags.write_json(&[1, 2], &mut out).unwrap_err();
    assert_eq!(out, b"event: 7");
}

#[test]
fn a_schema_tells_the_names_and_the_hashes_of_its_type() {
    let schema = Schema::parse(Everything::DESCRIPTOR).unwrap();
    assert_eq!(schema.name(), "Everything");
    assert_eq!(schema.layout_hash(), Everything::LAYOUT_HASH);
    assert_eq!(schema.descriptor_hash(), Everything::DESCRIPTOR_HASH);
    let fields: Vec<SchemaField<'_>> = schema.fields().collect();
    assert_eq!(fields[5], SchemaField { name: "position", unit: "m", doc: "" });
    assert_eq!(fields[19], SchemaField { name: "took", unit: "", doc: "how long it took" });
    assert_eq!(fields[29].name, "type");
    assert_eq!(fields.len(), 30);
}

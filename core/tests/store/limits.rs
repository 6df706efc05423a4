//! The documentation states the limits that the code has.

use varve_core::*;

const GUIDE: &str = include_str!("../../src/store/guide.md");

/// The row of the guide that names the constant has `value`, as it stands there.
#[track_caller]
fn check(constant: &str, value: String) {
    let link = format!("[`{constant}`]");
    let mut rows = GUIDE.lines().filter(|line| line.starts_with('|') && line.contains(&link));
    let row = rows.next().unwrap_or_else(|| panic!("{constant} is in no table"));
    assert!(row.contains(&value), "{constant} is {value}: {row}");
}

/// With a comma before each three digits from the right.
fn grouped(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", grouped(number / 1000), number % 1000),
    }
}

#[test]
fn the_guide_states_the_limits_as_they_are() {
    check("EVENT_LEN_MAX", format!("{} KiB", EVENT_LEN_MAX >> 10));
    check("STREAM_NAME_LEN_MAX", format!("{STREAM_NAME_LEN_MAX} bytes"));
    check("CONSUMER_NAME_LEN_MAX", format!("{CONSUMER_NAME_LEN_MAX} bytes"));
    check("APPEND_BYTES_MAX", format!("{} MiB", APPEND_BYTES_MAX >> 20));
    check("APPEND_OPERATIONS_MAX", format!("{} operations", grouped(APPEND_OPERATIONS_MAX)));
    check("TAIL_LEN_MAX", format!("{} MiB", TAIL_LEN_MAX >> 20));
    check("TAIL_LEN_DEFAULT", format!("{} MiB by default", TAIL_LEN_DEFAULT >> 20));
    check("Config::readers_max", grouped(Config::default().readers_max as usize));
    check("MERGED_STREAMS_MAX", grouped(MERGED_STREAMS_MAX));
    check("PROCESSOR_TURN_EVENTS_MAX", grouped(PROCESSOR_TURN_EVENTS_MAX));
    check("HANDLER_ATTEMPTS_MAX", format!("| {HANDLER_ATTEMPTS_MAX}:"));
    check("FINDINGS_MAX", grouped(FINDINGS_MAX));
    #[cfg(target_pointer_width = "64")]
    check("MAP_SIZE_MAX", format!("{} TiB", MAP_SIZE_MAX >> 40));
}

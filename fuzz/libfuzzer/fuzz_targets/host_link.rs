#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| varve_fuzz::run("host_link", bytes));

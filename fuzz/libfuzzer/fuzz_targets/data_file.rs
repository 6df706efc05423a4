#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| varve_fuzz::run("data_file", bytes));

//! [`monitoring::fuzz::usage_place`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| monitoring::fuzz::usage_place(input));

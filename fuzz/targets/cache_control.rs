//! [`inference::fuzz::cache_control`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inference::fuzz::cache_control(input));

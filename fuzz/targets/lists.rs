//! [`permissions::fuzz::lists`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| permissions::fuzz::lists(input));

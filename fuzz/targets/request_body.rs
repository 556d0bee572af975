//! [`inference::fuzz::request_body`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inference::fuzz::request_body(input));

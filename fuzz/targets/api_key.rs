//! [`shared::fuzz::api_key`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::fuzz::api_key(input));

//! [`shared::fuzz::page_token`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::fuzz::page_token(input));

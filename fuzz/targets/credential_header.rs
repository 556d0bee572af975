//! [`shared::fuzz::credential_header`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::fuzz::credential_header(input));

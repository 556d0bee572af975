//! [`permissions::fuzz::revision_token`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| permissions::fuzz::revision_token(input));

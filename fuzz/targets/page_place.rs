//! [`permissions::fuzz::page_place`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| permissions::fuzz::page_place(input));

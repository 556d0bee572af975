//! [`inference::fuzz::batch_line`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inference::fuzz::batch_line(input));

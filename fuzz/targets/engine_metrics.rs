//! [`inference::fuzz::engine_metrics`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inference::fuzz::engine_metrics(input));

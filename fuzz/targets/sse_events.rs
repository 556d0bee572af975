//! [`inference::fuzz::sse_events`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| inference::fuzz::sse_events(input));

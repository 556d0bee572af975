//! [`shared::fuzz::metrics_page`] under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| shared::fuzz::metrics_page(input));

//! A fuzz target; its name selects the parser.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tare_fuzz::feed(env!("CARGO_BIN_NAME"), data));

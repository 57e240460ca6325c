#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ftpgate_fuzz::checks::session_policy(input));

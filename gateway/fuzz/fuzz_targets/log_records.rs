#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets_of_the_gateway::log_records(data));

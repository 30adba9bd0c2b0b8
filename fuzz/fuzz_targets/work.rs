#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| memtrace_fuzz::work(bytes));

//! The fuzz target: libFuzzer makes inputs, `reprise-crossing` judges the host by them, and this counts the memory that they take.

#![no_main]

use peak_alloc::PeakAlloc;
use reprise_crossing::{HOST_BYTES_MAX, check, prepare};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

libfuzzer_sys::fuzz_target!(init: prepare(), |input: &[u8]| {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    check(input);
    let held = MEMORY.peak_usage().saturating_sub(before);
    assert!(held <= HOST_BYTES_MAX, "the host held {held} bytes for one input; {HOST_BYTES_MAX} are allowed");
});

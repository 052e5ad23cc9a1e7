//! The first byte says how long a line may be, the rest is what a client sends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollbook_gateway::fuzzing::lines_hold;

fuzz_target!(|bytes: &[u8]| {
    if let Some((bytes_max, input)) = bytes.split_first() {
        lines_hold(input, usize::from(*bytes_max)).unwrap();
    }
});

//! A frame that passes the gateway is the same call to whoever reads it behind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollbook_gateway::fuzzing::judged_alike;

fuzz_target!(|frame: &[u8]| {
    judged_alike(frame).unwrap();
});

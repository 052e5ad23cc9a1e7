//! The binary `tollbook`.
fn main() {}

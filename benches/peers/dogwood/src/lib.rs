//! Peers of Tollbook, for `cargo bench` alone.

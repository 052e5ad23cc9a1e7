//! Replays recorded calls under candidate policies and tells what changes.

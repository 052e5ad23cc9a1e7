//! The engine against a second one that is slow and obvious, and sentence by sentence.

mod agreement;
mod bounds;
mod reference;
pub(crate) mod script;
mod sentences;
mod vectors;

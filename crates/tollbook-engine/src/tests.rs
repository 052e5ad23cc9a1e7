//! The engine against a second one that is slow and obvious, and sentence by sentence.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::collapsible_match,
    reason = "small numbers of a script; the definition reads better nested"
)]

mod agreement;
mod bounds;
mod reference;
pub(crate) mod script;
mod sentences;
pub(crate) mod vectors;

//! The policy language: text, syntax tree and JSON model, with diagnostics.

pub mod json;
pub mod policy;

mod decimal;

pub use decimal::Decimal;
pub use policy::Policy;

//! The policy language: text, syntax tree and JSON model, with diagnostics.

pub mod json;
pub mod policy;

mod decimal;
mod rule_id;
mod version;

pub use decimal::Decimal;
pub use policy::Policy;
pub use rule_id::{ALL_TOOLS, RuleIds, clock, pointer_key, tool_owner};
pub use version::{VERSION_1, VERSION_TOLLBOOK_1};

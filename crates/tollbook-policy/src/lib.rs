//! The policy language: text, syntax tree and JSON model, with diagnostics.

pub mod json;
pub mod policy;

pub mod ast;
mod check;
mod code;
mod decimal;
pub mod diagnostic;
mod draft;
mod lexer;
mod lower;
mod parser;
mod rule_id;
mod version;

pub use decimal::Decimal;
pub use diagnostic::{Code, Diagnostic, Label, Severity, Span};
pub use policy::Policy;
pub use rule_id::{ALL_TOOLS, RuleIds, clock, pointer_key, tool_owner};
pub use version::{VERSION_1, VERSION_TOLLBOOK_1};

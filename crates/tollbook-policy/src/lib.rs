//! The policy: what agents may call, as text, as a syntax tree and as the JSON document.
//!
//! ```text
//!  .toll ──lexer──► tokens ──parser──► syntax tree ──lower──┐
//!                                                          ├──► Policy ──► canonical JSON
//!  .json ──json───► nodes ───────document::read────────────┘
//! ```
//!
//! A policy is written in the language (`.toll`) or as JSON; both give a [`Policy`], which is all
//! that the engine knows. [`read()`] takes either. What is wrong with a text comes back as
//! [`Diagnostic`]s, all of them at once and each at its place; what isn't wrong is kept exactly:
//! nothing that was written is dropped, and nothing is guessed.
//!
//! The JSON document has two versions. "1" is the JSON policy format; "tollbook/1" is its superset,
//! and is written only where "1" isn't enough, so that a reader of "1" refuses what it would
//! otherwise skip. [`Target::PolicyLayer`] holds a text to "1".
//!
//! The crate is a function of its input: it reads no file and no clock, knows nothing of an engine,
//! and no input makes it panic or take memory beyond a multiple of its size.

#![cfg_attr(test, expect(clippy::string_slice, reason = "a test may panic"))]

// The policy itself.
pub mod policy;
mod rule_id;
mod version;

// What is wrong, and where.
mod code;
pub mod diagnostic;
mod explain;

// The language.
pub mod ast;
mod decompile;
mod layout;
mod lexer;
mod lower;
mod parser;

// The JSON document.
mod document;
mod import;
pub mod json;

// What is known of the tools.
mod catalog;
mod classify;

// What a policy lets through.
mod case;
mod diff;
mod lint;

// What both share.
mod check;
mod decimal;
mod draft;
pub mod same;

pub use catalog::{Argument, Arguments, Catalog, Tool, glob_matches};
pub use check::CATEGORIES;
pub use classify::{Category, Class, Risk};
pub use decimal::Decimal;
pub use diagnostic::{Code, Diagnostic, Fix, Label, Severity, Span, render, render_json};
pub use diff::{Change, Difference, diff};
pub use draft::Places;
pub use import::{Form, IMPORT_BYTES_MAX, Imported, import};
pub use layout::{FormatError, format, layout, same_tokens};
pub use lint::{Known, fixed, lint};
pub use lower::Target;
pub use parser::parse;
pub use policy::Policy;
pub use rule_id::{ALL_TOOLS, RuleIds, clock, pointer_key, tool_owner};
pub use version::{VERSION_1, VERSION_TOLLBOOK_1};

/// A policy that was read, with what else its text holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The policy.
    pub policy: Policy,
    /// What is doubtful, in the order of the text.
    pub warnings: Vec<Diagnostic>,
    /// The `test` blocks; JSON has none.
    pub tests: Vec<ast::Test>,
    /// Each rule's id and the place of its clause in the text.
    pub rules: Places,
}

/// Whether a text of this name is taken as a JSON document.
#[must_use]
pub fn is_json(name: &str) -> bool {
    name.len() >= 5 && name.to_ascii_lowercase().ends_with(".json")
}

/// Reads a policy and writes its globs and categories out for the tools of a catalog, so that a target
/// that names tools one by one can carry them.
///
/// # Errors
/// As [`read()`], but for globs and categories under [`Target::PolicyLayer`].
pub fn read_written_out(name: &str, text: &str, target: Target, catalog: &Catalog) -> Result<Read, Vec<Diagnostic>> {
    let refused = |told: &Vec<Diagnostic>| told.iter().any(|one| one.severity == Severity::Error);
    if let Err(mut told) = read(name, text, target) {
        told.retain(|one| one.code != Code::TargetSelector);
        if refused(&told) {
            return Err(told);
        }
    }
    let read = read(name, text, Target::Native)?;
    let policy = catalog.write_out(&read.policy);
    let (_, _, told) = document::read(&policy.to_json(), target);
    if refused(&told) {
        // What is wrong only once it is written out has no place of its own in the text.
        let placed = |one: Diagnostic| Diagnostic {
            labels: vec![Label { span: 0..0, text: "written out for the catalog".to_owned() }],
            ..one
        };
        return Err(told.into_iter().map(placed).collect());
    }
    let rules = catalog.places_written_out(&read.policy, &policy, &read.rules);
    Ok(Read { policy, rules, ..read })
}

/// Reads a policy. `name` is what the text is called: one that ends in `.json` is a JSON document,
/// any other is in the language.
///
/// # Errors
/// All errors of the text, in its order, with the warnings among them.
pub fn read(name: &str, text: &str, target: Target) -> Result<Read, Vec<Diagnostic>> {
    let (policy, rules, told, tests) = if is_json(name) {
        let (policy, rules, told) = document::read(text, target);
        (policy, rules, told, Vec::new())
    } else {
        let (file, mut told) = parser::parse(text);
        let (policy, rules, meaning) = if told.iter().any(|one| parser::is_hopeless(one.code)) {
            (lower::lower(&ast::File::default(), target).0, Places::new(), Vec::new())
        } else {
            lower::lower(&file, target)
        };
        // A token that isn't well made was told of already: what it seems to mean is no second error.
        let malformed: std::collections::BTreeSet<usize> = told.iter().map(Diagnostic::at).collect();
        let missing = |one: &Diagnostic| one.code == Code::MissingDefault;
        told.extend(meaning.into_iter().filter(|one| missing(one) || !malformed.contains(&one.at())));
        let tests = file.items.into_iter().filter_map(|item| match item {
            ast::Item::Test(test) => Some(test),
            _ => None,
        });
        (policy, rules, told, tests.collect())
    };
    let told = diagnostic::in_order(told);
    if told.iter().any(|one| one.severity == Severity::Error) {
        return Err(told);
    }
    Ok(Read { policy, warnings: told, tests, rules })
}

#[cfg(test)]
mod tests;

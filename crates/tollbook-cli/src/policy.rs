//! Policies as files.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use tollbook_policy::{Diagnostic, Policy, Target};

/// A policy's text and the name of its file.
pub struct Source {
    /// As the user gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Reads a policy's text.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).with_context(|| format!("cannot read the policy `{name}`"))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            anyhow::anyhow!("the policy `{name}` isn't UTF-8 at byte {}", error.utf8_error().valid_up_to())
        })?;
        Ok(Self { name, text })
    }

    /// The policy; none where it has errors, which are drawn to standard error, as warnings are.
    pub fn compile(&self, target: Target) -> Option<Policy> {
        let (policy, told) = match tollbook_policy::read(&self.name, &self.text, target) {
            Ok(read) => (Some(read.policy), read.warnings),
            Err(errors) => (None, errors),
        };
        eprint!("{}", render(self, &told));
        policy
    }

    /// The policy.
    ///
    /// # Errors
    /// Where it has errors, which were drawn to standard error.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        self.compile(Target::Native).ok_or_else(|| anyhow::anyhow!("the policy `{}` has errors", self.name))
    }
}

/// Errors and warnings drawn into the policy's text.
pub fn render(source: &Source, told: &[Diagnostic]) -> String {
    let colour = std::io::stderr().is_terminal();
    tollbook_policy::diagnostic::render(&source.name, &source.text, told, colour)
}

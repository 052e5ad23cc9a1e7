//! Policies as files.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use tollbook_policy::{Diagnostic, Policy, Read, Target};

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

    /// The policy.
    ///
    /// # Errors
    /// Where it has errors, which were drawn to standard error.
    pub fn policy(&self) -> anyhow::Result<Policy> {
        Ok(self.policy_with_places()?.policy)
    }

    /// The policy, with the place of each rule.
    ///
    /// # Errors
    /// Where it has errors, which were drawn to standard error.
    pub fn policy_with_places(&self) -> anyhow::Result<Read> {
        let read = tollbook_policy::read(&self.name, &self.text, Target::Native);
        eprint!("{}", render(self, read.as_ref().map_or_else(Vec::as_slice, |read| &read.warnings)));
        read.map_err(|_| anyhow::anyhow!("the policy `{}` has errors", self.name))
    }
}

/// Errors and warnings drawn into the policy's text.
pub fn render(source: &Source, told: &[Diagnostic]) -> String {
    let colour = std::io::stderr().is_terminal();
    tollbook_policy::diagnostic::render(&source.name, &source.text, told, colour)
}

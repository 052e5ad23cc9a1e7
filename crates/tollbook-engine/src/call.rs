//! The question: one tool call.

use tollbook_policy::policy::Scope;

use crate::argument::Args;
use crate::codes::{Code, Codes};

/// One tool call, as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Microseconds since 1970-01-01T00:00:00Z. None in an imported record without a time.
    pub at_us: Option<i64>,
    /// The conversation; None where it isn't known.
    pub session: Option<&'a str>,
    /// The grant; None where it isn't known.
    pub grant: Option<&'a str>,
    /// The client program; None where it isn't known.
    pub agent: Option<&'a str>,
    /// The tool's name.
    pub tool: &'a str,
    /// The tool's category, such as `write`; None where it isn't known, which only a policy that chooses
    /// tools by category minds.
    pub category: Option<&'a str>,
    /// Its arguments.
    pub args: Args<'a>,
    /// Whether it is the rest of a call that was let through and charged before, and that the server answered
    /// with a question. It is judged again by what it asks for and when, and charged no second time: limits,
    /// breakers and approvals had their say when it began.
    pub continues: bool,
    /// The numbers of its names, where it is read from a log. What they are changes no decision. One state takes those
    /// of one instance alone.
    pub codes: Option<&'a Codes>,
}

impl<'a> Call<'a> {
    /// Whose calls are counted together with this one; None where that isn't known.
    pub(crate) fn scope_value(&self, scope: Scope, server: &'a str) -> Option<&'a str> {
        match scope {
            Scope::Grant => self.grant,
            Scope::Session => self.session,
            Scope::Agent => self.agent,
            Scope::Server => Some(server),
            Scope::Everyone => Some(""),
        }
    }

    /// The number of that value, where it has one.
    #[inline]
    pub(crate) fn scope_code(&self, scope: Scope) -> Option<Code> {
        let code = |name: fn(&Codes) -> u32| Code::of(self.codes, name);
        match scope {
            Scope::Grant => code(|codes| codes.grant),
            Scope::Session => code(|codes| codes.session),
            Scope::Agent => code(|codes| codes.agent),
            Scope::Server | Scope::Everyone => None,
        }
    }
}

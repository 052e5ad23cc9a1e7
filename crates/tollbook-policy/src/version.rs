//! Which version a policy's document carries: "1" whenever "1" is enough.
//!
//! A reader of "1" that meets a key it doesn't know might skip it, and with it a rule. So whatever
//! "1" can't say makes the whole document "tollbook/1", which such a reader refuses.

use crate::policy::{Condition, Limit, Op, Path, Policy, Rule, Rules, Scope, Selector, Window};

/// The version of the JSON policy format.
pub const VERSION_1: &str = "1";

/// The version of its superset.
pub const VERSION_TOLLBOOK_1: &str = "tollbook/1";

impl Policy {
    /// "1" if it says everything but the name, else "tollbook/1".
    #[must_use]
    pub fn version(&self) -> &'static str {
        let all_tools = &self.all_tools;
        let only_limits = all_tools.require.is_empty() && all_tools.deny_if.is_empty();
        let plain = self.groups.is_empty()
            && self.patterns.is_empty()
            && self.hide.iter().all(Selector::is_plain)
            && only_limits
            && std::iter::once(all_tools).chain(self.tools.values()).all(Rules::is_plain);
        if plain { VERSION_1 } else { VERSION_TOLLBOOK_1 }
    }
}

impl Selector {
    /// Whether "1" can say it: a name, or `*` for all.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        match self {
            Self::Name(_) => true,
            Self::Glob(glob) => glob == "*",
            Self::Category(_) => false,
        }
    }
}

impl Rules {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    fn is_plain(&self) -> bool {
        self.only_during.is_empty()
            && self.breaks.is_empty()
            && self.approve.is_empty()
            && self.require.iter().chain(&self.deny_if).all(Rule::is_plain)
            && self.limits.iter().all(Limit::is_plain)
    }
}

impl Rule {
    fn is_plain(&self) -> bool {
        self.any_of.is_empty() && !self.shadow && self.conditions.iter().all(Condition::is_plain)
    }
}

impl Condition {
    fn is_plain(&self) -> bool {
        self.path.is_plain() && !matches!(self.op, Op::NotRegex | Op::NotContains)
    }
}

impl Path {
    /// Whether it can be written with dots alone, as "1" writes it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !self.keys.is_empty() && self.keys.iter().all(|key| !key.is_empty() && !key.contains(['.', '[', ']', '"']))
    }
}

impl Limit {
    fn is_plain(&self) -> bool {
        self.count.is_none()
            && !matches!(self.window, Window::Span(_))
            && !self.rolling
            && self.of.is_none()
            && self.scope == Scope::Grant
            && self.on_deny.is_none()
            && !self.shadow
    }
}

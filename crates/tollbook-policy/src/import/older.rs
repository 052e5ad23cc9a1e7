//! The older JSON forms: `action` with a `reason`, and `rate_limit` in calls per seconds.

use std::collections::BTreeMap;

use crate::policy::{Default, Policy, Rule, Rules, Scope};

use super::{Notes, Place, calls_per, conditions, hidden, named, window_of};

pub fn policy(root: &Place<'_>, notes: &mut Notes) -> Result<Policy, String> {
    root.only(&["version", "name", "description", "default", "hide", "tools"])?;
    let default = match root.get("default") {
        Some(place) => match place.text()? {
            "allow" => Default::Allow,
            "deny" => Default::Deny,
            _ => return place.wrong("expected allow or deny"),
        },
        None => {
            notes.note("the document has no default; `default deny` is written, which refuses what it doesn't name");
            Default::Deny
        }
    };
    let mut policy = Policy {
        name: root.get("name").map(|name| name.text()).transpose()?.map(str::to_owned),
        default,
        hide: hidden(root)?,
        all_tools: Rules::default(),
        groups: Vec::new(),
        patterns: Vec::new(),
        tools: BTreeMap::new(),
    };
    for (name, place) in root.get("tools").map_or(Ok(Vec::new()), |tools| tools.members())? {
        let mut rules = Rules::default();
        entry(name, &place, &mut rules, notes)?;
        if name == "*" {
            policy.all_tools = rules;
        } else {
            policy.tools.insert(name.to_owned(), rules);
        }
    }
    Ok(policy)
}

/// A tool, or one of its rules: both are written with the same keys.
fn entry(name: &str, place: &Place<'_>, rules: &mut Rules, notes: &mut Notes) -> Result<(), String> {
    place.only(&["action", "reason", "conditions", "rate_limit", "rules"])?;
    let reason = place.get("reason").map(|text| text.text()).transpose()?.map(str::to_owned);
    let conditions = conditions(place.get("conditions"))?;
    match place.get("action").map(|action| action.text()).transpose()? {
        Some("deny") => rules.deny_if.push(Rule { conditions, on_deny: reason, ..Rule::default() }),
        Some("allow") if !conditions.is_empty() => {
            notes.note("an `allow` with conditions is taken as `require`: a call that doesn't meet them is refused");
            rules.require.push(Rule { conditions, on_deny: reason, ..Rule::default() });
        }
        Some("allow") => {}
        None if conditions.is_empty() => {}
        _ => return place.wrong("expected the action allow or deny"),
    }
    if let Some(rate) = place.get("rate_limit") {
        rate.only(&["max", "window"])?;
        let (Some(max), Some(window)) = (rate.get("max"), rate.get("window")) else {
            return rate.wrong("expected max and window");
        };
        let Some((length, rolling)) = window_of(window.whole()?) else {
            return window.wrong("expected a number of seconds");
        };
        let mut limit = calls_per(length, max.whole()?);
        limit.rolling = rolling;
        limit.scope = Scope::Session;
        let owner = if name == "*" { "all_tools" } else { name };
        let limit = named(limit, owner, &rules.limits);
        rules.limits.push(limit);
        notes.note("`rate_limit` counts for each session, which the client chooses; consider `per grant`");
        if rolling {
            notes.note("a window that doesn't divide a day is rolling here");
        } else {
            notes.note(
                "windows are aligned in UTC, so up to twice as many calls pass across an edge; `per rolling` is exact",
            );
        }
    }
    for rule in place.get("rules").map_or(Ok(Vec::new()), |rules| rules.elements())? {
        if rule.get("rules").is_some() {
            return rule.wrong("a rule holds no rules");
        }
        entry(name, &rule, rules, notes)?;
    }
    Ok(())
}

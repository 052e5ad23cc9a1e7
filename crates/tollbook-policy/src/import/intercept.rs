//! Intercept's YAML: rules that are evaluated, and counters that conditions read.
//!
//! An `evaluate` rule refuses when any of its conditions is false, so its conditions on arguments are
//! `require`s. A condition on `state.TOOL.COUNTER` bounds what the counter holds after the call, so
//! `lt 5` is a limit of 4 and `lte 5` one of 5.

use std::collections::BTreeMap;

use crate::policy::{Default, Limit, Literal, Op, Policy, Rule, Rules, Window};

use super::{Notes, Place, calls_per, condition, hidden, named, operator, path};

pub fn policy(root: &Place<'_>, notes: &mut Notes) -> Result<Policy, String> {
    root.only(&["version", "description", "default", "hide", "tools"])?;
    if let Some(version) = root.get("version")
        && version.text().ok() != Some("1")
        && version.whole().ok() != Some(1)
    {
        return version.wrong("expected version \"1\"");
    }
    let default = match root.get("default") {
        Some(place) => match place.text()? {
            "allow" => Default::Allow,
            "deny" => Default::Deny,
            _ => return place.wrong("expected allow or deny"),
        },
        None => {
            notes.note(
                "a document without a default lets every tool through that it doesn't name; consider `default deny`",
            );
            Default::Allow
        }
    };
    let mut policy = Policy {
        name: None,
        default,
        hide: hidden(root)?,
        all_tools: Rules::default(),
        groups: Vec::new(),
        patterns: Vec::new(),
        tools: BTreeMap::new(),
    };
    if let Some(description) = root.get("description") {
        notes.note(format!("the description isn't carried over: {}", description.text()?));
    }
    for (name, place) in root.get("tools").map_or(Ok(Vec::new()), |tools| tools.members())? {
        let owner = if name == "*" { "all_tools" } else { name };
        let rules = tool(owner, &place, notes)?;
        if name == "*" {
            notes.note(
                "rules of `*` are judged before a tool's own here, so another text may be given when both refuse",
            );
            if !rules.limits.is_empty() {
                notes.note("limits of `*` count all tools together here");
            }
            policy.all_tools = rules;
        } else {
            policy.tools.insert(name.to_owned(), rules);
        }
    }
    Ok(policy)
}

fn tool(owner: &str, place: &Place<'_>, notes: &mut Notes) -> Result<Rules, String> {
    let mut rules = Rules::default();
    place.only(&["rules"])?;
    for entry in place.get("rules").map_or(Ok(Vec::new()), |rules| rules.elements())? {
        entry.only(&["name", "action", "conditions", "on_deny", "rate_limit", "state"])?;
        let on_deny = entry.get("on_deny").map(|text| text.text()).transpose()?.map(str::to_owned);
        if entry.get("name").is_some() {
            notes.note("names of rules aren't carried over: a rule is named by what it says");
        }
        if let Some(rate) = entry.get("rate_limit") {
            let mut limit = rate_limit(&rate)?;
            notes.note(format!(
                "`{}` counts in windows of the clock, so up to twice as many pass across an edge; `per rolling` is exact",
                rate.text()?
            ));
            limit.on_deny.clone_from(&on_deny);
            let limit = named(limit, owner, &rules.limits);
            rules.limits.push(limit);
        }
        let action = entry.get("action");
        match action.as_ref().map(Place::text).transpose()? {
            Some("deny") => {
                let conditions = super::conditions(entry.get("conditions"))?;
                if !conditions.is_empty() {
                    notes.note("a `deny` with conditions is taken to refuse when all of them hold");
                }
                rules.deny_if.push(Rule { conditions, on_deny, ..Rule::default() });
            }
            Some("evaluate") | None => evaluate(&entry, owner, on_deny, &mut rules, notes)?,
            Some(_) => return entry.wrong("expected the action evaluate or deny"),
        }
    }
    Ok(rules)
}

fn evaluate(
    entry: &Place<'_>,
    owner: &str,
    on_deny: Option<String>,
    rules: &mut Rules,
    notes: &mut Notes,
) -> Result<(), String> {
    let mut bound = None;
    let mut required = Vec::new();
    for place in entry.get("conditions").map_or(Ok(Vec::new()), |list| list.elements())? {
        let of_state =
            place.get("path").and_then(|path| path.text().ok()).is_some_and(|text| text.starts_with("state."));
        if of_state {
            bound = Some(state_bound(&place)?);
        } else {
            required.push(condition(&place)?);
        }
    }
    if !required.is_empty() {
        rules.require.push(Rule { conditions: required, on_deny: on_deny.clone(), ..Rule::default() });
    }
    match (bound, entry.get("state")) {
        (Some((counter, max)), Some(state)) => {
            let mut limit = counted(&state, &counter, max, notes)?;
            limit.on_deny = on_deny;
            let limit = named(limit, owner, &rules.limits);
            rules.limits.push(limit);
            notes.note("counters are counted for each grant here");
        }
        (Some(_), None) => return entry.wrong("a condition reads a counter that the rule doesn't keep"),
        (None, Some(_)) => notes.note("a counter that no condition of its rule reads isn't carried over"),
        (None, None) => {}
    }
    Ok(())
}

/// The counter that a condition reads, and what it may hold after a call.
fn state_bound(place: &Place<'_>) -> Result<(String, u64), String> {
    let text = place.get("path").map_or(Ok(""), |path| path.text())?;
    let counter = text.rsplit('.').next().unwrap_or_default().to_owned();
    let (Some(op), Some(value)) = (place.get("op"), place.get("value")) else {
        return place.wrong("expected an operator and a value");
    };
    let value = value.whole()?;
    match operator(&op)? {
        Op::Lte => Ok((counter, value)),
        Op::Lt if value > 0 => Ok((counter, value - 1)),
        _ => place.wrong("expected a counter to be bounded by lt or lte"),
    }
}

fn counted(state: &Place<'_>, counter: &str, max: u64, notes: &mut Notes) -> Result<Limit, String> {
    state.only(&["counter", "window", "increment", "increment_from"])?;
    if let Some(kept) = state.get("counter")
        && kept.text()? != counter
    {
        return kept.wrong(&format!("expected the counter `{counter}`, which the condition reads"));
    }
    let window = match state.get("window") {
        Some(window) => window_named(&window)?,
        None => return state.wrong("expected a window: a counter that is never reset cannot be carried over"),
    };
    let mut limit = calls_per(window, max);
    limit.counter = counter.to_owned();
    if let Some(from) = state.get("increment_from") {
        limit.of = Some(path(&from)?);
        notes.note("a negative amount lowered the counter; here a call with one is refused");
    } else if let Some(increment) = state.get("increment") {
        match increment.literal()? {
            Literal::Number(_) if increment.whole()? > 0 => limit.max = max / increment.whole()?,
            _ => return increment.wrong("expected a whole number above 0"),
        }
    }
    Ok(limit)
}

fn rate_limit(place: &Place<'_>) -> Result<Limit, String> {
    let text = place.text()?;
    let parts = text.split_once('/').and_then(|(max, window)| Some((max.trim().parse().ok()?, window.trim())));
    let Some((max, window)) = parts else { return place.wrong("expected a rate such as 5/hour") };
    match window {
        "minute" => Ok(calls_per(Window::Minute, max)),
        "hour" => Ok(calls_per(Window::Hour, max)),
        "day" => Ok(calls_per(Window::Day, max)),
        _ => place.wrong("expected a rate per minute, hour or day"),
    }
}

fn window_named(place: &Place<'_>) -> Result<Window, String> {
    match place.text()? {
        "minute" => Ok(Window::Minute),
        "hour" => Ok(Window::Hour),
        "day" => Ok(Window::Day),
        _ => place.wrong("expected the window minute, hour or day"),
    }
}

//! From the policy back to the language.
//!
//! What is printed compiles to the very same document: `compile(decompile(j)) == canonical(j)`. So a
//! policy that was written as JSON can be read aloud, and goes on as text from then on.

use std::fmt::Write;

use crate::json::quote;
use crate::layout::layout;
use crate::lower::suffix;
use crate::parser::is_free_word;
use crate::policy::{
    Approve, Break, Condition, Count, Day, Default, Limit, Literal, OnlyDuring, Op, Policy, Rule, Rules, Run, Selector,
};
use crate::rule_id::clock;

impl Policy {
    /// The policy in the language, in the one style; ends with a line feed.
    #[must_use]
    pub fn to_toll(&self) -> String {
        let mut out = String::new();
        // A String takes whatever is written to it.
        let _ = self.write_toll(&mut out);
        layout(&out)
    }

    fn write_toll(&self, out: &mut String) -> std::fmt::Result {
        if let Some(name) = &self.name {
            writeln!(out, "policy {}", quote(name))?;
        }
        let default = match self.default {
            Default::Allow => "allow",
            Default::Deny => "deny",
        };
        writeln!(out, "default {default}")?;
        if !self.all_tools.is_empty() {
            writeln!(out, "all tools {{")?;
            rules(out, &self.all_tools, "all_tools")?;
            writeln!(out, "}}")?;
        }
        for group in &self.groups {
            let of: Vec<String> = group.of.iter().map(name).collect();
            writeln!(out, "group {} of {} {{", label(&group.name), of.join(", "))?;
            rules(out, &group.rules, &group.name)?;
            writeln!(out, "}}")?;
        }
        for pattern in &self.patterns {
            let (Selector::Name(owner) | Selector::Glob(owner) | Selector::Category(owner)) = &pattern.of;
            tool(out, &name(&pattern.of), owner, &pattern.rules)?;
        }
        let plain: Vec<String> =
            self.tools.iter().filter(|(_, rules)| rules.is_empty()).map(|(tool, _)| label(tool)).collect();
        if !plain.is_empty() {
            writeln!(out, "allow {}", plain.join(", "))?;
        }
        if !self.hide.is_empty() {
            writeln!(out, "hide {}", self.hide.iter().map(name).collect::<Vec<_>>().join(", "))?;
        }
        for (name, rules) in self.tools.iter().filter(|(_, rules)| !rules.is_empty()) {
            tool(out, &label(name), name, rules)?;
        }
        Ok(())
    }
}

fn tool(out: &mut String, name: &str, owner: &str, entry: &Rules) -> std::fmt::Result {
    if entry.is_empty() {
        return writeln!(out, "allow {name}");
    }
    writeln!(out, "tool {name} {{")?;
    rules(out, entry, owner)?;
    writeln!(out, "}}")
}

/// A word where the language reads one without quotes, otherwise a string.
fn label(text: &str) -> String {
    if is_free_word(text) { text.to_owned() } else { quote(text) }
}

fn name(selector: &Selector) -> String {
    match selector {
        Selector::Name(text) => label(text),
        Selector::Glob(text) if is_free_word(&text.replace('*', "_")) && !text.contains(' ') => text.clone(),
        Selector::Glob(text) => quote(text),
        Selector::Category(name) => format!("category {name}"),
    }
}

/// In the order of judgement, kinds apart.
fn rules(out: &mut String, rules: &Rules, owner: &str) -> std::fmt::Result {
    let mut between = "";
    let mut kind = |out: &mut String, any: bool| {
        if any {
            out.push_str(between);
            between = "\n";
        }
    };
    kind(out, !rules.require.is_empty());
    for rule in &rules.require {
        shadow(out, rule.shadow);
        write!(out, "require {}", rule_text(rule))?;
        because(out, rule.on_deny.as_ref());
    }
    kind(out, !rules.deny_if.is_empty());
    for rule in &rules.deny_if {
        shadow(out, rule.shadow);
        out.push_str("deny");
        if !rule.conditions.is_empty() {
            write!(out, " when {}", all(&rule.conditions))?;
        }
        because(out, rule.on_deny.as_ref());
    }
    kind(out, !rules.only_during.is_empty());
    for entry in &rules.only_during {
        only_during(out, entry)?;
    }
    kind(out, !rules.breaks.is_empty());
    for entry in &rules.breaks {
        breaker(out, entry)?;
    }
    kind(out, !rules.limits.is_empty());
    for entry in &rules.limits {
        limit(out, entry, owner)?;
    }
    kind(out, !rules.approve.is_empty());
    for entry in &rules.approve {
        approve(out, entry)?;
    }
    Ok(())
}

fn shadow(out: &mut String, shadow: bool) {
    if shadow {
        out.push_str("shadow ");
    }
}

fn because(out: &mut String, text: Option<&String>) {
    if let Some(text) = text {
        out.push_str(" because ");
        crate::json::quote_into(out, text);
    }
    out.push('\n');
}

fn rule_text(rule: &Rule) -> String {
    if rule.any_of.is_empty() { all(&rule.conditions) } else { any(&rule.any_of) }
}

fn any(lists: &[Vec<Condition>]) -> String {
    lists.iter().map(|list| all(list)).collect::<Vec<_>>().join(" or ")
}

/// `and` binds closer than `or`, so nothing needs brackets.
fn all(conditions: &[Condition]) -> String {
    conditions.iter().map(condition).collect::<Vec<_>>().join(" and ")
}

fn condition(condition: &Condition) -> String {
    let Condition { path, op, value } = condition;
    let plain = |sign: &str| format!("{path} {sign} {}", literal(value));
    match op {
        Op::Eq => plain("=="),
        Op::Neq => plain("!="),
        Op::Lt => plain("<"),
        Op::Lte => plain("<="),
        Op::Gt => plain(">"),
        Op::Gte => plain(">="),
        Op::In => plain("in"),
        Op::NotIn => plain("not in"),
        Op::Exists if *value == Literal::Bool(false) => format!("{path} missing"),
        Op::Exists => format!("{path} exists"),
        Op::Regex => plain("matches"),
        Op::Contains => plain("contains"),
        Op::NotRegex => format!("not {}", plain("matches")),
        Op::NotContains => format!("not {}", plain("contains")),
    }
}

fn literal(value: &Literal) -> String {
    match value {
        Literal::Bool(value) => value.to_string(),
        Literal::Number(number) => with_underscores(&number.to_string()),
        Literal::String(text) => quote(text),
        Literal::List(list) => format!("[{}]", list.iter().map(literal).collect::<Vec<_>>().join(", ")),
    }
}

/// `_` between the thousands of a whole number of five digits or more.
fn with_underscores(number: &str) -> String {
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.len() < 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return number.to_owned();
    }
    let mut out = number.strip_suffix(digits).unwrap_or_default().to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

fn limit(out: &mut String, limit: &Limit, owner: &str) -> std::fmt::Result {
    shadow(out, limit.shadow);
    out.push_str("limit ");
    out.push_str(match limit.count {
        Some(Count::Total) => "total ",
        Some(Count::Each) => "each ",
        None => "",
    });
    out.push_str(&with_underscores(&limit.max.to_string()));
    if let Some(of) = &limit.of {
        write!(out, " of {of}")?;
    }
    let rolling = if limit.rolling { "rolling " } else { "" };
    write!(out, " per {rolling}{}", limit.window)?;
    // The scope that goes without saying is said all the same: it is what the limit is about.
    write!(out, " per {}", limit.scope)?;
    let usual = format!("{owner}_{}", suffix(limit.of.is_some(), limit.rolling, limit.window, limit.scope));
    if limit.counter != usual {
        write!(out, " as {}", label(&limit.counter))?;
    }
    because(out, limit.on_deny.as_ref());
    Ok(())
}

pub(crate) fn only_during(out: &mut String, entry: &OnlyDuring) -> std::fmt::Result {
    shadow(out, entry.shadow);
    let hours = format!("{}..{}", clock(entry.from_minute), clock(entry.to_minute));
    write!(out, "only during {} {hours} {}", days(&entry.days), quote(&entry.zone))?;
    because(out, entry.on_deny.as_ref());
    Ok(())
}

/// Days that follow each other as a range.
fn days(days: &[Day]) -> String {
    let mut ranges: Vec<(Day, Day)> = Vec::new();
    let next = |day: Day| Day::WEEK.into_iter().find(|other| *other > day);
    for day in days {
        match ranges.last_mut() {
            Some((_, last)) if next(*last) == Some(*day) => *last = *day,
            _ => ranges.push((*day, *day)),
        }
    }
    let text = |(first, last): &(Day, Day)| match first == last {
        true => first.to_string(),
        false => format!("{first}..{last}"),
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

pub(crate) fn breaker(out: &mut String, entry: &Break) -> std::fmt::Result {
    shadow(out, entry.shadow);
    write!(out, "break after {} ", with_underscores(&entry.after.to_string()))?;
    match entry.on {
        Run::IdenticalCalls => out.push_str("identical calls"),
        Run::IdenticalResults => out.push_str("identical results"),
        Run::Failures => out.push_str("failures"),
        Run::Cycle { period_max } => write!(out, "repeats of a cycle up to {period_max} calls")?,
    }
    write!(out, " within {}", length(entry.within_s))?;
    because(out, entry.on_deny.as_ref());
    Ok(())
}

fn approve(out: &mut String, entry: &Approve) -> std::fmt::Result {
    shadow(out, entry.shadow);
    write!(out, "approve by {}", quote(&entry.by))?;
    if !entry.any_of.is_empty() {
        write!(out, " when {}", any(&entry.any_of))?;
    }
    write!(out, " within {}", length(entry.within_s))?;
    because(out, entry.on_deny.as_ref());
    Ok(())
}

/// A clause on one line; None is never given, for a String takes whatever is written to it.
pub(crate) fn clause_text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> Option<String> {
    let mut text = String::new();
    write(&mut text).ok()?;
    text.truncate(text.trim_end().len());
    Some(text)
}

/// Seconds in the largest unit that leaves no rest.
pub(crate) fn length(seconds: u32) -> String {
    match seconds {
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests;

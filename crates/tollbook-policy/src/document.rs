//! The policy as a JSON document, in its one canonical form.
//!
//! Two policies that are equal give the same bytes: keys have one order, tools are sorted, numbers
//! are exact decimals, and parts that are empty are left out. The log names a policy by the hash of
//! these bytes.

use crate::policy::{
    Approve, Break, Condition, Count, Default, Limit, Literal, OnlyDuring, Path, Policy, Rule, Rules, Run, Selector,
};
use crate::rule_id::clock;
use crate::version::VERSION_1;

use print::Json;

mod print;
mod read;

pub use read::read;

impl Policy {
    /// The canonical JSON document; ends with a line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        let version = self.version();
        let mut document = Json::object().with("version", Json::string(version));
        if let Some(name) = self.name.as_ref().filter(|_| version != VERSION_1) {
            document = document.with("name", Json::string(name));
        }
        let default = match self.default {
            Default::Allow => "allow",
            Default::Deny => "deny",
        };
        document = document.with("default", Json::string(default)).with_list("hide", &self.hide, selector);
        if !self.all_tools.is_empty() {
            document = document.with("all_tools", rules(Json::object(), &self.all_tools));
        }
        if !self.groups.is_empty() {
            let groups = self.groups.iter().fold(Json::object(), |groups, group| {
                let of = Json::object().with("of", Json::list(&group.of, selector));
                groups.with(&group.name, rules(of, &group.rules))
            });
            document = document.with("groups", groups);
        }
        document = document.with_list("patterns", &self.patterns, |pattern| {
            rules(Json::object().with("of", selector(&pattern.of)), &pattern.rules)
        });
        if !self.tools.is_empty() {
            let tools = self
                .tools
                .iter()
                .fold(Json::object(), |tools, (name, entry)| tools.with(name, rules(Json::object(), entry)));
            document = document.with("tools", tools);
        }
        document.to_text()
    }
}

fn selector(selector: &Selector) -> Json {
    match selector {
        Selector::Name(text) | Selector::Glob(text) => Json::string(text),
        Selector::Category(name) => Json::object().with("category", Json::string(name)),
    }
}

fn rules(object: Json, rules: &Rules) -> Json {
    object
        .with_list("require", &rules.require, rule)
        .with_list("deny_if", &rules.deny_if, rule)
        .with_list("limits", &rules.limits, limit)
        .with_list("only_during", &rules.only_during, only_during)
        .with_list("approve", &rules.approve, approve)
        .with_list("break", &rules.breaks, breaker)
}

/// Text for the agent and shadow, which every entry may have.
fn said(object: Json, on_deny: Option<&String>, shadow: bool) -> Json {
    let object = match on_deny {
        Some(text) => object.with("on_deny", Json::string(text)),
        None => object,
    };
    if shadow { object.with("shadow", Json::scalar(true)) } else { object }
}

fn rule(rule: &Rule) -> Json {
    let object = if rule.any_of.is_empty() {
        Json::object().with("conditions", Json::list(&rule.conditions, condition))
    } else {
        Json::object().with("any_of", Json::list(&rule.any_of, |list| Json::list(list, condition)))
    };
    said(object, rule.on_deny.as_ref(), rule.shadow)
}

fn condition(condition: &Condition) -> Json {
    Json::object()
        .with("path", Json::string(&path(&condition.path)))
        .with("op", Json::string(&condition.op.to_string()))
        .with("value", literal(&condition.value))
}

/// Dots wherever version "1" would take them, which is in more places than in the language.
fn path(path: &Path) -> String {
    let mut text = "args".to_owned();
    for key in &path.keys {
        if key.is_empty() || key.contains(['.', '[', ']', '"']) {
            text.push('[');
            crate::json::quote_into(&mut text, key);
            text.push(']');
        } else {
            text.push('.');
            text.push_str(key);
        }
    }
    text
}

fn literal(value: &Literal) -> Json {
    match value {
        Literal::Bool(value) => Json::scalar(value),
        Literal::Number(number) => Json::scalar(number),
        Literal::String(text) => Json::string(text),
        Literal::List(list) => Json::list(list, literal),
    }
}

fn limit(limit: &Limit) -> Json {
    let mut object = Json::object().with("counter", Json::string(&limit.counter));
    if let Some(count) = limit.count {
        let count = match count {
            Count::Total => "total",
            Count::Each => "each",
        };
        object = object.with("count", Json::string(count));
    }
    object = object.with("window", Json::string(&limit.window.to_string()));
    if limit.rolling {
        object = object.with("rolling", Json::scalar(true));
    }
    object = object.with("max", Json::scalar(limit.max));
    if let Some(of) = &limit.of {
        object = object.with("of", Json::string(&path(of)));
    }
    object = object.with("scope", Json::string(&limit.scope.to_string()));
    said(object, limit.on_deny.as_ref(), limit.shadow)
}

fn only_during(entry: &OnlyDuring) -> Json {
    let object = Json::object()
        .with("days", Json::list(&entry.days, |day| Json::string(&day.to_string())))
        .with("from", Json::string(&clock(entry.from_minute)))
        .with("to", Json::string(&clock(entry.to_minute)))
        .with("zone", Json::string(&entry.zone));
    said(object, entry.on_deny.as_ref(), entry.shadow)
}

fn approve(entry: &Approve) -> Json {
    let object = Json::object().with("by", Json::string(&entry.by));
    let object = match entry.any_of.as_slice() {
        [] => object,
        [only] => object.with("conditions", Json::list(only, condition)),
        several => object.with("any_of", Json::list(several, |list| Json::list(list, condition))),
    };
    said(object.with("within_s", Json::scalar(entry.within_s)), entry.on_deny.as_ref(), entry.shadow)
}

fn breaker(entry: &Break) -> Json {
    let object = Json::object().with("on", Json::string(&entry.on.to_string()));
    let object = object.with("after", Json::scalar(entry.after));
    let object = match entry.on {
        Run::Cycle { period_max } => object.with("period_max", Json::scalar(period_max)),
        _ => object,
    };
    said(object.with("within_s", Json::scalar(entry.within_s)), entry.on_deny.as_ref(), entry.shadow)
}

#[cfg(test)]
pub(crate) mod tests;

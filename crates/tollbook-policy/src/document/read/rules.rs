//! The rules of one owner, as the document writes them.

use std::collections::BTreeSet;

use crate::Decimal;
use crate::check;
use crate::code::Code;
use crate::diagnostic::Diagnostic;
use crate::draft::DraftRules;
use crate::json::{Node, Value};
use crate::lexer::decode;
use crate::policy::{
    Approve, Break, Condition, Count, Day, Limit, Literal, OnlyDuring, Op, Path, Rule, Run, Scope, Window,
};

use super::Reader;
use super::value::Place;

/// Whose rules they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// All tools together.
    AllTools,
    /// A group.
    Group,
    /// A tool or a pattern.
    Tool,
}

impl Owner {
    /// The keys that only the superset has.
    pub fn superset_keys(self) -> &'static [&'static str] {
        match self {
            Self::AllTools => &["require", "deny_if", "only_during", "approve", "break"],
            Self::Group | Self::Tool => &["only_during", "approve", "break"],
        }
    }
}

/// Operators by name; the last two are the superset's.
const OPS: [(&str, Op); 13] = [
    ("eq", Op::Eq),
    ("neq", Op::Neq),
    ("lt", Op::Lt),
    ("lte", Op::Lte),
    ("gt", Op::Gt),
    ("gte", Op::Gte),
    ("in", Op::In),
    ("not_in", Op::NotIn),
    ("exists", Op::Exists),
    ("regex", Op::Regex),
    ("contains", Op::Contains),
    ("not_regex", Op::NotRegex),
    ("not_contains", Op::NotContains),
];

const SCOPES: [(&str, Scope); 5] = [
    ("grant", Scope::Grant),
    ("session", Scope::Session),
    ("agent", Scope::Agent),
    ("server", Scope::Server),
    ("everyone", Scope::Everyone),
];

impl Reader {
    /// Reads the rules of an owner. What isn't there is empty; what "1" doesn't have was told when
    /// the keys were looked at.
    pub fn rules(&mut self, place: &Place<'_>, owner: Owner, rules: &mut DraftRules) {
        let allowed = |reader: &Self, key: &str| reader.superset || !owner.superset_keys().contains(&key);
        let list = |reader: &mut Self, key: &'static str| {
            let found = place.get(key).filter(|_| allowed(reader, key));
            let found = reader.elements(found);
            let room = found.last().is_none_or(|last| reader.room(found.len(), &last.span()));
            if room { found } else { Vec::new() }
        };
        for entry in list(self, "require") {
            // A requirement without conditions is always met: canonical documents don't have it.
            if let Some(rule) =
                self.rule(&entry, true).filter(|rule| !(rule.conditions.is_empty() && rule.any_of.is_empty()))
            {
                rules.require(rule, &entry.span());
            }
        }
        for entry in list(self, "deny_if") {
            if let Some(rule) = self.rule(&entry, false) {
                rules.deny_if(rule, &entry.span());
            }
        }
        for entry in list(self, "limits") {
            if let Some(limit) = self.limit(&entry, owner) {
                let added = rules.limit(limit, &entry.span());
                self.judge(&entry.pointer, added);
            }
        }
        for entry in list(self, "only_during") {
            if let Some(hours) = self.only_during(&entry) {
                rules.only_during(hours, &entry.span());
            }
        }
        for entry in list(self, "approve") {
            if let Some(approve) = self.approve(&entry) {
                rules.approve(approve, &entry.span());
            }
        }
        for entry in list(self, "break") {
            if let Some(breaker) = self.breaker(&entry) {
                rules.breaks(breaker, &entry.span());
            }
        }
    }

    fn rule(&mut self, place: &Place<'_>, alternatives: bool) -> Option<Rule> {
        let more: &[&str] = if alternatives { &["any_of", "shadow"] } else { &["shadow"] };
        if !self.object(place, &["conditions", "on_deny"], more) {
            return None;
        }
        let (on_deny, shadow) = self.said(place);
        let mut any_of = match place.get("any_of").filter(|_| alternatives && self.superset) {
            Some(any_of) => self.lists(place, any_of),
            None => {
                self.required(place, "conditions", "an array, which may be empty")?;
                Vec::new()
            }
        };
        // One list is no alternative: canonical documents call it conditions.
        let conditions = match any_of.as_mut_slice() {
            [only] => std::mem::take(only),
            _ => self.conditions(place.get("conditions")),
        };
        any_of.retain(|list| !list.is_empty());
        Some(Rule { conditions, any_of, on_deny, shadow })
    }

    /// `any_of`, which stands instead of `conditions` and isn't empty, nor are its lists.
    fn lists(&mut self, place: &Place<'_>, any_of: Place<'_>) -> Vec<Vec<Condition>> {
        if place.get("conditions").is_some() {
            self.bad_value(&any_of, "expected `conditions` or `any_of`, not both");
        }
        let (at, pointer) = (any_of.opening(), any_of.pointer.clone());
        let lists: Vec<Vec<Condition>> =
            self.elements(Some(any_of)).into_iter().map(|list| self.conditions(Some(list))).collect();
        if lists.is_empty() || lists.iter().any(Vec::is_empty) {
            let told = Diagnostic::error(Code::BadValue, at, "expected lists of conditions, none of them empty");
            self.tell(&pointer, told);
        }
        lists
    }

    fn conditions(&mut self, place: Option<Place<'_>>) -> Vec<Condition> {
        self.elements(place).iter().filter_map(|condition| self.condition(condition)).collect()
    }

    fn condition(&mut self, place: &Place<'_>) -> Option<Condition> {
        if !self.object(place, &["path", "op", "value"], &[]) {
            return None;
        }
        let path = self.required(place, "path", "the argument that is looked at").and_then(|path| self.path(&path));
        let op = self.required(place, "op", "an operator such as \"eq\"").and_then(|op| {
            let known = self.one_of(&op, &OPS)?;
            if matches!(known, Op::NotRegex | Op::NotContains) {
                self.needs_superset(&op, "this operator");
            }
            Some(known)
        });
        let value = self.required(place, "value", "what the argument is compared with")?;
        let Some(read) = literal(value.node) else {
            self.wrong_type(&value, "a string, a number, true, false, or a list of them");
            return None;
        };
        let (path, op) = (path?, op?);
        self.judge(&value.pointer, check::value(op, &read, &value.span()));
        Some(Condition { path, op, value: read })
    }

    fn path(&mut self, place: &Place<'_>) -> Option<Path> {
        let text = self.string(place)?;
        let Some(path) = parse_path(&text) else {
            self.bad_value(place, "expected a path such as \"args.amount\" or \"args[\\\"a.b\\\"]\"");
            return None;
        };
        if !path.is_plain() || text.contains('[') {
            self.needs_superset(place, "this path");
        }
        Some(path)
    }

    fn limit(&mut self, place: &Place<'_>, owner: Owner) -> Option<Limit> {
        let plain = ["counter", "window", "max", "scope"];
        if !self.object(place, &plain, &["count", "rolling", "of", "on_deny", "shadow"]) {
            return None;
        }
        let (on_deny, shadow) = self.said(place);
        let counter = self.required(place, "counter", "a name").and_then(|counter| {
            let name = self.string(&counter)?;
            self.judge(&counter.pointer, check::name(&name, &counter.span()));
            Some(name)
        });
        let count = self.count(place, owner);
        let rolling = self.optional(place, "rolling", Self::truth).unwrap_or(false);
        let window = self.required(place, "window", "minute, hour, day or a length such as 15m").and_then(|window| {
            let length = self.window(&window)?;
            self.judge(&window.pointer, check::window(length, rolling, &window.span()))?;
            Some(length)
        });
        let max = self.required(place, "max", "how much a window lets through").and_then(|max| {
            let written = self.whole(&max)?;
            self.judge(&max.pointer, check::limit_max(written, rolling, &max.span()))
        });
        let of = self.optional(place, "of", Self::path);
        let scope = match place.get("scope") {
            Some(scope) => self.one_of(&scope, &SCOPES).inspect(|known| {
                if *known != Scope::Grant {
                    self.needs_superset(&scope, "this scope");
                }
            }),
            None => Some(Scope::Grant),
        };
        let (counter, window, max, scope) = (counter?, window?, max?, scope?);
        Some(Limit { counter, count, window, rolling, max, of, scope, on_deny, shadow })
    }

    fn count(&mut self, place: &Place<'_>, owner: Owner) -> Option<Count> {
        match (place.get("count"), owner) {
            (Some(count), Owner::Group) => self.one_of(&count, &[("total", Count::Total), ("each", Count::Each)]),
            (Some(count), _) if self.superset => {
                let told = Diagnostic::error(Code::CountMisplaced, count.span(), "this limit isn't a group's");
                self.tell(&count.pointer, told);
                None
            }
            (None, Owner::Group) => {
                let label = "no `count` here: \"total\" for the whole group, \"each\" for every member";
                self.tell(&place.pointer, Diagnostic::error(Code::CountMissing, place.opening(), label));
                None
            }
            _ => None,
        }
    }

    fn window(&mut self, place: &Place<'_>) -> Option<Window> {
        let text = self.string(place)?;
        match text.as_str() {
            "minute" => return Some(Window::Minute),
            "hour" => return Some(Window::Hour),
            "day" => return Some(Window::Day),
            _ => {}
        }
        match decode::duration(&text) {
            Ok(duration) if !text.contains('_') => {
                self.needs_superset(place, "this window");
                Some(Window::Span(duration))
            }
            _ => {
                self.bad_value(place, "expected minute, hour, day or a length such as 15m");
                None
            }
        }
    }

    fn only_during(&mut self, place: &Place<'_>) -> Option<OnlyDuring> {
        if !self.object(place, &["days", "from", "to", "zone", "on_deny", "shadow"], &[]) {
            return None;
        }
        let (on_deny, shadow) = self.said(place);
        let names = Day::WEEK.map(|day| (day.to_string(), day));
        let choices: Vec<(&str, Day)> = names.iter().map(|(name, day)| (name.as_str(), *day)).collect();
        let mut days = BTreeSet::new();
        for day in self.required_elements(place, "days") {
            days.extend(self.one_of(&day, &choices));
        }
        if days.is_empty() {
            self.missing(place, "days", "at least one day");
        }
        let from = self.required(place, "from", "when the hours begin").and_then(|from| self.time(&from));
        let to = self.required(place, "to", "when the hours end").and_then(|to| self.time(&to));
        let zone = self.required(place, "zone", "the time zone").and_then(|zone| {
            let name = self.string(&zone)?;
            self.judge(&zone.pointer, check::zone(&name, &zone.span()))?;
            Some(name)
        });
        let (from_minute, to_minute, zone) = (from?, to?, zone?);
        Some(OnlyDuring { days: days.into_iter().collect(), from_minute, to_minute, zone, on_deny, shadow })
    }

    fn time(&mut self, place: &Place<'_>) -> Option<u16> {
        let text = self.string(place)?;
        let minute = decode::time(&text);
        if minute.is_none() {
            let label = "expected a time from 00:00 to 23:59, such as 08:00";
            self.tell(&place.pointer, Diagnostic::error(Code::BadTime, place.span(), label));
        }
        minute
    }

    fn approve(&mut self, place: &Place<'_>) -> Option<Approve> {
        if !self.object(place, &["by", "conditions", "any_of", "within_s", "on_deny", "shadow"], &[]) {
            return None;
        }
        let (on_deny, shadow) = self.said(place);
        let by = self.required(place, "by", "who approves").and_then(|by| {
            let name = self.string(&by)?;
            self.judge(&by.pointer, check::name(&name, &by.span()));
            Some(name)
        });
        let any_of = match place.get("any_of") {
            Some(any_of) => self.lists(place, any_of),
            None => {
                let conditions = self.conditions(place.get("conditions"));
                if conditions.is_empty() { Vec::new() } else { vec![conditions] }
            }
        };
        let within_s = self.within_s(place);
        Some(Approve { by: by?, any_of, within_s: within_s?, on_deny, shadow })
    }

    fn breaker(&mut self, place: &Place<'_>) -> Option<Break> {
        if !self.object(place, &["on", "after", "period_max", "within_s", "on_deny", "shadow"], &[]) {
            return None;
        }
        let (on_deny, shadow) = self.said(place);
        let runs = [
            ("identical_calls", Run::IdenticalCalls),
            ("identical_results", Run::IdenticalResults),
            ("failures", Run::Failures),
            ("cycle", Run::Cycle { period_max: 0 }),
        ];
        let on = self.required(place, "on", "what makes a run").and_then(|on| self.one_of(&on, &runs));
        let on = match (on, place.get("period_max")) {
            (Some(Run::Cycle { .. }), None) => {
                self.missing(place, "period_max", "the longest cycle, 2 to 8 calls");
                None
            }
            (Some(Run::Cycle { .. }), Some(period)) => self
                .whole(&period)
                .and_then(|calls| self.judge(&period.pointer, check::period(calls, &period.span())))
                .map(|period_max| Run::Cycle { period_max }),
            (Some(_), Some(period)) => {
                self.bad_value(&period, "only a cycle has a longest period");
                None
            }
            (other, _) => other,
        };
        let after = self.required(place, "after", "how many alike in a row").and_then(|after| {
            let written = self.whole(&after)?;
            self.judge(&after.pointer, check::run(written, &after.span()))
        });
        if let (Some(after), Some(Run::Cycle { period_max })) = (after, on) {
            self.judge(&place.pointer, check::look_back(after, period_max, &place.opening()));
        }
        let within_s = self.within_s(place);
        Some(Break { on: on?, after: after?, within_s: within_s?, on_deny, shadow })
    }

    fn within_s(&mut self, place: &Place<'_>) -> Option<u32> {
        let within = self.required(place, "within_s", "a number of seconds")?;
        let seconds = self.whole(&within)?;
        let checked = check::within_s(seconds.unwrap_or(0), &within.span());
        self.judge(&within.pointer, checked)
    }

    /// Text for the agent and shadow, which every entry may have.
    fn said(&mut self, place: &Place<'_>) -> (Option<String>, bool) {
        let on_deny = place.get("on_deny").and_then(|text| {
            let words = self.string(&text)?;
            self.judge(&text.pointer, check::text(&words, &text.span()));
            Some(words)
        });
        (on_deny, self.optional(place, "shadow", Self::truth).unwrap_or(false))
    }
}

fn literal(node: &Node<'_>) -> Option<Literal> {
    match &node.value {
        Value::Bool(value) => Some(Literal::Bool(*value)),
        Value::Number(number) => Decimal::parse(number.text).map(Literal::Number),
        Value::String(text) => Some(Literal::String(text.clone().into_owned())),
        Value::Array(elements) => {
            let scalar = |node: &Node<'_>| literal(node).filter(|one| !matches!(one, Literal::List(_)));
            elements.iter().map(scalar).collect::<Option<Vec<_>>>().map(Literal::List)
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// `args.a.b`, `args["a.b"]`, or a mixture.
fn parse_path(text: &str) -> Option<Path> {
    let mut rest = text.strip_prefix("args")?;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (key, next) = after.split_at_checked(after.find(['.', '[']).unwrap_or(after.len()))?;
            if key.is_empty() || key.contains([']', '"']) {
                return None;
            }
            keys.push(key.to_owned());
            rest = next;
        } else {
            let after = rest.strip_prefix('[')?;
            let (quoted, next) = after.split_at_checked(string_length(after)?)?;
            keys.push(decode::string(quoted).ok()?);
            rest = next.strip_prefix(']')?;
        }
    }
    Some(Path { keys })
}

/// Bytes of the string that the text begins with, quotation marks included.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

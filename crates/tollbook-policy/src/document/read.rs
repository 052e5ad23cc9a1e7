//! From a JSON document to the policy, strictly.
//!
//! A key that isn't known, a value of the wrong type, a part of the superset under version "1": each
//! is refused at its place in the text and by its JSON Pointer. What is skipped in silence is a rule
//! that its author believes in and nobody enforces.

use std::collections::BTreeMap;

use crate::check;
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::draft::{Draft, DraftGroup, DraftRules, Places, too_many};
use crate::json::{self, Fault};
use crate::lower::Target;
use crate::parser::FILE_BYTES_MAX;
use crate::policy::{Default, Policy, Selector};
use crate::version::{VERSION_1, VERSION_TOLLBOOK_1};

use rules::Owner;
use value::Place;

mod rules;
mod value;

/// The policy of a document, where its rules stand, and what is wrong or doubtful. With errors, the
/// policy is what could be made of the rest and not to be used.
#[must_use]
pub fn read(text: &str, target: Target) -> (Policy, Places, Vec<Diagnostic>) {
    let mut reader = Reader { draft: Draft::default(), told: Vec::new(), target, superset: true, full: false };
    if text.len() > FILE_BYTES_MAX {
        let label = format!("the file has {} bytes, and at most {FILE_BYTES_MAX} are read", text.len());
        reader.told.push(Diagnostic::error(Code::TooLarge, 0..0, label));
    } else {
        match json::parse(text.as_bytes()) {
            Ok(root) => reader.document(&Place { node: &root, pointer: String::new() }),
            Err(error) => reader.told.push(not_json(&error, text)),
        }
    }
    let (policy, places) = reader.draft.finish();
    (policy, places, reader.told)
}

fn not_json(error: &json::Error, text: &str) -> Diagnostic {
    let rest = text.get(error.at..).unwrap_or_default();
    match error.fault {
        Fault::DuplicateKey => {
            let end = error.at + json::quote(&error.detail).len().min(rest.len());
            Diagnostic::error(
                Code::DuplicateKey,
                error.at..end,
                format!("`{}` stands in this object already", error.detail),
            )
        }
        _ => {
            let end = error.at + rest.chars().next().map_or(0, char::len_utf8);
            Diagnostic::error(Code::NotJson, error.at..end, error.to_string())
        }
    }
}

struct Reader {
    draft: Draft,
    told: Vec<Diagnostic>,
    target: Target,
    /// Whether the document may use what only "tollbook/1" has.
    superset: bool,
    full: bool,
}

impl Reader {
    fn document(&mut self, root: &Place<'_>) {
        self.version(root);
        let plain = ["version", "default", "hide", "all_tools", "tools"];
        if !self.object(root, &plain, &["name", "groups", "patterns"]) {
            return;
        }
        if let Some(name) = self.optional(root, "name", Self::string) {
            let at = root.get("name").map_or(0..0, |place| place.span());
            self.judge(&root.key("name"), check::text(&name, &at));
            self.draft.name = Some(name);
        }
        match root.get("default") {
            Some(place) => {
                self.draft.default = self.one_of(&place, &[("allow", Default::Allow), ("deny", Default::Deny)]);
            }
            None => self.told.push(
                Diagnostic::error(
                    Code::MissingDefault,
                    root.opening(),
                    "this says nothing of a tool that it doesn't name",
                )
                .help("add `\"default\": \"deny\"`, or `\"default\": \"allow\"`"),
            ),
        }
        for place in self.elements(root.get("hide")) {
            if let Some(selector) = self.selector(&place, true)
                && self.room(1, &place.span())
            {
                self.draft.hide(&selector);
            }
        }
        if let Some(place) = root.get("all_tools")
            && self.object(&place, &["limits"], Owner::AllTools.superset_keys())
        {
            let mut rules = DraftRules::default();
            self.rules(&place, Owner::AllTools, &mut rules);
            self.draft.all_tools = rules;
        }
        self.groups(root);
        self.patterns(root);
        self.tools(root);
        if !self.superset {
            self.shared_counters(root);
        }
    }

    fn version(&mut self, root: &Place<'_>) {
        let Some(place) = root.get("version") else {
            if root.node.members().is_some() {
                let label = "no `version` here";
                let told = Diagnostic::error(Code::MissingKey, root.opening(), label);
                self.told.push(told.help(format!("add `\"version\": \"{VERSION_1}\"`")));
            }
            return;
        };
        match place.node.as_str() {
            Some(VERSION_1) => self.superset = false,
            Some(VERSION_TOLLBOOK_1) if self.target == Target::Native => {}
            Some(VERSION_TOLLBOOK_1) => {
                let label = format!("the target reads \"{VERSION_1}\" and nothing else");
                self.told.push(Diagnostic::error(Code::UnknownVersion, place.span(), label));
            }
            _ => {
                let label = format!("expected \"{VERSION_1}\" or \"{VERSION_TOLLBOOK_1}\"");
                self.told.push(Diagnostic::error(Code::UnknownVersion, place.span(), label));
            }
        }
    }

    fn groups(&mut self, root: &Place<'_>) {
        for (name, at, place) in self.entries(root.get("groups").filter(|_| self.superset)) {
            self.judge(&place.pointer, check::name(name, &at));
            if !self.object(&place, &["of", "require", "deny_if", "limits"], Owner::Group.superset_keys()) {
                continue;
            }
            let mut of = Vec::new();
            for member in self.required_elements(&place, "of") {
                of.extend(self.selector(&member, false));
            }
            if of.is_empty() {
                self.missing(&place, "of", "a group has at least one member");
            }
            let mut rules = DraftRules::default();
            self.rules(&place, Owner::Group, &mut rules);
            if self.room(of.len() + 1, &at) {
                let added = self.draft.group(DraftGroup { name: name.to_owned(), at, of, rules });
                self.judge(&place.pointer, added);
            }
        }
    }

    fn patterns(&mut self, root: &Place<'_>) {
        for place in self.elements(root.get("patterns").filter(|_| self.superset)) {
            if !self.object(&place, &["of", "require", "deny_if", "limits"], Owner::Tool.superset_keys()) {
                continue;
            }
            let Some(of) = place.get("of") else {
                self.missing(&place, "of", "a pattern says which tools it means");
                continue;
            };
            let Some(selector) = self.selector(&of, false) else { continue };
            if matches!(selector, Selector::Name(_)) {
                self.bad_value(&of, "expected a glob such as \"create_*\", or a category");
                continue;
            }
            if self.draft.knows_pattern(&selector) {
                self.bad_value(&of, "this pattern has rules already");
                continue;
            }
            let mut rules = DraftRules::default();
            self.rules(&place, Owner::Tool, &mut rules);
            if self.room(1, &place.span()) {
                *self.draft.rules_of(&selector) = rules;
            }
        }
    }

    fn tools(&mut self, root: &Place<'_>) {
        for (name, at, place) in self.entries(root.get("tools")) {
            self.judge(&place.pointer, check::name(name, &at));
            if name.contains('*') {
                let label = "a tool's name holds no `*`";
                let told = Diagnostic::error(Code::BadName, at.clone(), label).help("globs stand in `patterns`");
                self.tell(&place.pointer, told);
            }
            if !self.object(&place, &["require", "deny_if", "limits"], Owner::Tool.superset_keys()) {
                continue;
            }
            let mut rules = DraftRules::default();
            self.rules(&place, Owner::Tool, &mut rules);
            if self.room(1, &at) {
                self.draft.tools.insert(name.to_owned(), rules);
            }
        }
    }

    /// A name, a glob (it has a `*`), or `{"category": …}`. Under "1" only names; `whole` also takes
    /// `*` for all tools.
    fn selector(&mut self, place: &Place<'_>, whole: bool) -> Option<Selector> {
        if let Some(text) = place.node.as_str() {
            self.judge(&place.pointer, check::name(text, &place.span()));
            if !text.contains('*') {
                return Some(Selector::Name(text.to_owned()));
            }
            if !(whole && text == "*") {
                self.needs_superset(place, "a glob");
            }
            return Some(Selector::Glob(text.to_owned()));
        }
        if place.node.members().is_none() {
            self.wrong_type(place, "a tool's name, or an object with a category");
            return None;
        }
        if !self.object(place, &["category"], &[]) {
            return None;
        }
        let Some(name) = place.get("category") else {
            self.missing(place, "category", "a category's name");
            return None;
        };
        self.needs_superset(place, "a category");
        let category = self.string(&name)?;
        self.judge(&name.pointer, check::category(&category, &name.span()));
        Some(Selector::Category(category))
    }

    /// Whether two tools that name one counter share it isn't said by "1"; here each has its own.
    fn shared_counters(&mut self, root: &Place<'_>) {
        let mut first: BTreeMap<String, Span> = BTreeMap::new();
        let tools = root.get("tools");
        let members = tools.as_ref().and_then(|tools| tools.node.members()).unwrap_or_default();
        for limit in members.iter().filter_map(|tool| tool.node.get("limits")?.elements()).flatten() {
            let Some(counter) = limit.get("counter") else { continue };
            let Some(name) = counter.as_str() else { continue };
            match first.get(name) {
                Some(earlier) => self.told.push(
                    Diagnostic::warning(
                        Code::CounterShared,
                        counter.span.clone(),
                        "this tool has a counter of its own",
                    )
                    .label(earlier.clone(), "another tool names it here")
                    .help("tools share a counter in a group of version \"tollbook/1\", with `\"count\": \"total\"`"),
                ),
                None => {
                    first.insert(name.to_owned(), counter.span.clone());
                }
            }
        }
    }

    fn room(&mut self, entries: usize, at: &Span) -> bool {
        let room = self.draft.has_room_for(entries, 0);
        if !room && !self.full {
            self.full = true;
            self.told.push(too_many(at.clone()));
        }
        room
    }
}

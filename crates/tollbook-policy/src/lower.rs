//! From the syntax tree to the policy: what the text means.
//!
//! Lowering keeps every decision. Conditions become disjunctive normal form by rules that hold in
//! three-valued logic too, so that a missing or wrongly typed argument is judged the same from the
//! text and from the JSON. What the target can't carry is an error at its clause and is never left
//! out in silence.

use std::collections::BTreeMap;

use crate::ast::{Clause, File, Item, Name, Step, Test};
use crate::check::{self, Checked};
use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span};
use crate::draft::{Draft, DraftGroup, Places, too_many};
use crate::json::Fault;
use crate::policy::{Policy, Selector};

mod clause;
mod condition;
mod target;

pub use clause::suffix;
use clause::{Entries, Owner};
pub use target::{Target, head};

/// Most calls of one step of a test.
const CALLS_MAX: u64 = 100_000;

/// The policy of a file, where its rules stand, and everything that is wrong with its meaning. With
/// errors, the policy is what could be made of the rest and not to be used.
#[must_use]
pub fn lower(file: &File, target: Target) -> (Policy, Places, Vec<Diagnostic>) {
    let mut lowering = Lowering { draft: Draft::default(), target, told: Vec::new(), full: false };
    lowering.file(file);
    let (policy, places) = lowering.draft.finish();
    (policy, places, lowering.told)
}

struct Lowering {
    draft: Draft,
    target: Target,
    told: Vec<Diagnostic>,
    full: bool,
}

impl Lowering {
    fn file(&mut self, file: &File) {
        if let Some(name) = &file.name {
            self.judge(check::text(&name.node, &name.span));
            self.draft.name = Some(name.node.clone());
        }
        match &file.default {
            Some(default) => self.draft.default = Some(default.node),
            None => self.told.push(
                Diagnostic::error(
                    Code::MissingDefault,
                    0..0,
                    "a policy says what becomes of a tool that it doesn't name",
                )
                .help("begin with `default deny`, or with `default allow`"),
            ),
        }
        for item in &file.items {
            self.item(item);
        }
        if self.target == Target::PolicyLayer {
            self.shared_counters();
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Allow(names) => self.tool(names, &[]),
            Item::Hide(names) => {
                for name in names {
                    let all = matches!(&name.node, Selector::Glob(glob) if glob == "*");
                    self.name(name, all);
                    if self.room(1, 0, &name.span) {
                        self.draft.hide(&name.node);
                    }
                }
            }
            Item::Tool(names, clauses) => self.tool(names, clauses),
            Item::Group(name, names, clauses) => self.group((&name.node, &name.span), names, clauses),
            Item::AllTools(clauses) => {
                let entries = Entries::of(clauses, Owner::AllTools, self.target, &mut self.told);
                if let Some(span) = entries.first_span()
                    && self.room(entries.len(), entries.written_bytes(), &span)
                {
                    entries.add_to(&mut self.draft.all_tools, "all_tools", &mut self.told);
                }
            }
            Item::Test(test) => self.test(test),
        }
    }

    fn tool(&mut self, names: &[Name], clauses: &[Clause]) {
        let entries = Entries::of(clauses, Owner::Tools, self.target, &mut self.told);
        for name in names {
            self.name(name, false);
            let names_bytes = (1 + entries.len()) * name.span.len();
            if !self.room(1 + entries.len(), entries.written_bytes() + names_bytes, &name.span) {
                return;
            }
            let owner = match &name.node {
                Selector::Name(owner) | Selector::Glob(owner) | Selector::Category(owner) => owner,
            };
            entries.add_to(self.draft.rules_of(&name.node), owner, &mut self.told);
        }
    }

    fn group(&mut self, (name, at): (&str, &Span), names: &[Name], clauses: &[Clause]) {
        if self.target == Target::PolicyLayer {
            self.told.push(
                Diagnostic::error(Code::TargetGroup, at.clone(), "a group counts its members together")
                    .help("write a `tool` block for the members, whose limits count each of them alone"),
            );
        }
        self.judge(check::name(name, at));
        // The group as a whole was refused above: its clauses are judged by what they say alone.
        let entries = Entries::of(clauses, Owner::Group, Target::Native, &mut self.told);
        for member in names {
            self.name(member, true);
        }
        if !self.room(names.len() + entries.len() + 1, entries.written_bytes(), at) {
            return;
        }
        let of = names.iter().map(|name| name.node.clone()).collect();
        let mut group = DraftGroup { name: name.to_owned(), at: at.clone(), of, rules: Default::default() };
        entries.add_to(&mut group.rules, name, &mut self.told);
        let added = self.draft.group(group);
        self.judge(added);
    }

    /// Judges a name; `whole` says that the target may carry a glob here.
    fn name(&mut self, name: &Name, whole: bool) {
        let what = match &name.node {
            Selector::Name(text) => return self.judge(check::name(text, &name.span)),
            Selector::Glob(text) => {
                self.judge(check::name(text, &name.span));
                "a glob"
            }
            Selector::Category(category) => {
                self.judge(check::category(category, &name.span));
                "a category"
            }
        };
        if self.target == Target::PolicyLayer && !whole {
            self.told.push(
                Diagnostic::error(
                    Code::TargetSelector,
                    name.span.clone(),
                    format!("{what} stands for tools that only a catalog knows"),
                )
                .help("name the tools, or give a catalog with `--catalog tools.json`"),
            );
        }
    }

    fn test(&mut self, test: &Test) {
        self.judge(check::text(&test.name.node, &test.name.span));
        for step in &test.steps {
            let Step::Call(call) = &step.node else { continue };
            if !matches!(call.tool.node, Selector::Name(_)) {
                let label = "expected the name of a tool, not a glob or a category";
                self.told.push(Diagnostic::error(Code::NotOneTool, call.tool.span.clone(), label));
            }
            if !call.times.node.is_some_and(|times| (1..=CALLS_MAX).contains(&times)) {
                let label = "expected a whole number from 1 to 100,000";
                self.told.push(Diagnostic::error(Code::BadRepeat, call.times.span.clone(), label));
            }
            if let Err(error) = crate::json::parse(call.args.node.as_bytes()) {
                let at = call.args.span.start + error.at;
                let code = if error.fault == Fault::DuplicateKey { Code::DuplicateKey } else { Code::NotJson };
                let end = (at + 1).min(call.args.span.end).max(at);
                self.told.push(Diagnostic::error(code, at..end, "the arguments of a call are one JSON object"));
            }
        }
    }

    /// Under "1", whether two tools that name one counter share it is for each reader to guess.
    fn shared_counters(&mut self) {
        let mut first: BTreeMap<&String, &Span> = BTreeMap::new();
        let mut told: BTreeMap<usize, Diagnostic> = BTreeMap::new();
        let owners = std::iter::once(&self.draft.all_tools).chain(self.draft.tools.values());
        for (counter, at) in owners.flat_map(|owner| owner.counters()) {
            let Some(earlier) = first.get(counter) else {
                first.insert(counter, at);
                continue;
            };
            let label = format!("more than one tool has a counter `{counter}`");
            let one = Diagnostic::error(Code::TargetCounterShared, at.clone(), label)
                .help("leave `as` out, and each tool's counter is named for it");
            let elsewhere = earlier.start != at.start;
            let one = if elsewhere { one.label((*earlier).clone(), "and so has this one") } else { one };
            told.entry(at.start).or_insert(one);
        }
        self.told.extend(told.into_values());
    }

    fn room(&mut self, entries: usize, written_bytes: usize, at: &Span) -> bool {
        let room = self.draft.has_room_for(entries, written_bytes);
        if !room && !self.full {
            self.full = true;
            self.told.push(too_many(at.clone()));
        }
        room
    }

    fn judge(&mut self, checked: Checked) {
        if let Err(told) = checked {
            self.told.push(*told);
        }
    }
}

#[cfg(test)]
mod tests;

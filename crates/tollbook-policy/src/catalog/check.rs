//! A policy held against a catalog: tools and arguments that aren't there, and types that don't meet.

use std::collections::BTreeSet;

use crate::code::Code;
use crate::diagnostic::{Diagnostic, Span, in_order};
use crate::draft::Places;
use crate::lexer::{Kind, decode, lex};
use crate::policy::{Condition, Limit, Literal, Op, Path, Policy, Rules, Selector};
use crate::rule_id::{ALL_TOOLS, tool_owner};

use super::{Argument, Arguments, Catalog, Tool};

impl Catalog {
    /// What the policy of a text gets wrong about the tools of this catalog: names that aren't there,
    /// arguments that none of the tools have that a clause is for, and comparisons that can't be true
    /// because of the argument's type.
    #[must_use]
    pub fn check(&self, text: &str, policy: &Policy, places: &Places) -> Vec<Diagnostic> {
        let mut checker = Checker { catalog: self, text, places, told: Vec::new(), seen: BTreeSet::new() };
        checker.names(policy);
        let everything: Vec<&Tool> = self.tools.values().collect();
        checker.rules(&policy.all_tools, ALL_TOOLS, &everything);
        for group in &policy.groups {
            let members: Vec<&Tool> = group.of.iter().flat_map(|of| self.chosen(of)).collect();
            checker.rules(&group.rules, &group.owner(), &members);
        }
        for pattern in &policy.patterns {
            let members: Vec<&Tool> = self.chosen(&pattern.of).collect();
            checker.rules(&pattern.rules, &pattern.owner(), &members);
        }
        for (name, rules) in &policy.tools {
            let members: Vec<&Tool> = self.tools.get(name).into_iter().collect();
            checker.rules(rules, &tool_owner(name), &members);
        }
        in_order(checker.told)
    }
}

struct Checker<'a> {
    catalog: &'a Catalog,
    text: &'a str,
    places: &'a Places,
    told: Vec<Diagnostic>,
    seen: BTreeSet<(Code, usize, String)>,
}

impl Checker<'_> {
    fn tell(&mut self, told: Diagnostic) {
        let label = told.labels.first().map(|label| label.text.clone()).unwrap_or_default();
        if self.seen.insert((told.code, told.at(), label)) {
            self.told.push(told);
        }
    }

    fn names(&mut self, policy: &Policy) {
        let named = policy.tools.keys().map(|name| Selector::Name(name.clone()));
        let grouped = policy.groups.iter().flat_map(|group| group.of.iter().cloned());
        let patterns = policy.patterns.iter().map(|pattern| pattern.of.clone());
        let all: BTreeSet<Selector> = named.chain(grouped).chain(patterns).chain(policy.hide.iter().cloned()).collect();
        for selector in all {
            if self.catalog.chosen(&selector).next().is_some() {
                continue;
            }
            match &selector {
                Selector::Name(name) => {
                    let at = place_of_name(self.text, name);
                    let told = Diagnostic::error(Code::UnknownTool, at, format!("the catalog has no tool `{name}`"));
                    let near = near(name, self.catalog.tools.keys());
                    self.tell(match near {
                        Some(near) => told.help(format!("did you mean `{near}`?")),
                        None => told,
                    });
                }
                Selector::Glob(glob) => {
                    let at = place_of_name(self.text, glob);
                    self.tell(Diagnostic::error(
                        Code::UnknownTool,
                        at,
                        format!("no tool of the catalog matches `{glob}`"),
                    ));
                }
                // A category without members is a rule for tools to come.
                Selector::Category(_) => {}
            }
        }
    }

    fn rules(&mut self, rules: &Rules, owner: &str, tools: &[&Tool]) {
        if tools.is_empty() {
            return;
        }
        let ids = rules.ids(owner);
        for (rule, id) in rules.require.iter().chain(&rules.deny_if).zip(ids.require.iter().chain(&ids.deny_if)) {
            let lists = rule.any_of.iter().flatten();
            rule.conditions.iter().chain(lists).for_each(|condition| self.condition(condition, id, tools));
        }
        for (approve, id) in rules.approve.iter().zip(&ids.approve) {
            approve.any_of.iter().flatten().for_each(|condition| self.condition(condition, id, tools));
        }
        for (Limit { of, .. }, id) in rules.limits.iter().zip(&ids.limits) {
            if let Some(path) = of {
                self.argument(path, id, tools, &["number", "integer"], "an amount that is added up is a number");
            }
        }
    }

    fn condition(&mut self, condition: &Condition, id: &str, tools: &[&Tool]) {
        let of_literal = |value: &Literal| -> &'static [&'static str] {
            match value {
                Literal::Bool(_) => &["boolean"],
                Literal::Number(_) => &["number", "integer"],
                Literal::String(_) => &["string"],
                Literal::List(_) => &[],
            }
        };
        let listed: Vec<&str>;
        let (types, why): (&[&str], String) = match (condition.op, &condition.value) {
            (Op::Exists, _) => (&[], String::new()),
            (Op::Regex | Op::NotRegex, _) => (&["string"], "a pattern is matched against a string".to_owned()),
            (Op::Contains | Op::NotContains, _) => {
                (&["string", "array"], "only a string or an array contains anything".to_owned())
            }
            (_, Literal::List(list)) => {
                listed = list.iter().flat_map(|value| of_literal(value).iter().copied()).collect();
                (&listed, "none of the list is of its type".to_owned())
            }
            (_, value) => {
                let types = of_literal(value);
                (types, format!("it is compared with a {}", types.first().copied().unwrap_or_default()))
            }
        };
        self.argument(&condition.path, id, tools, types, &why);
    }

    /// Tells an argument that none of the tools has, or that has none of these types in any of them.
    fn argument(&mut self, path: &Path, id: &str, tools: &[&Tool], types: &[&str], why: &str) {
        let found: Vec<Found<'_>> = tools.iter().map(|tool| find(&tool.arguments, &path.keys)).collect();
        let at = || self.place(id, path);
        if found.iter().all(|found| matches!(found, Found::No(_))) {
            let told = Diagnostic::error(Code::UnknownArgument, at(), format!("{} no such argument", have(tools)));
            let near = found.iter().find_map(|found| match found {
                Found::No(names) => path.keys.iter().find_map(|key| near(key, names.iter().copied())),
                _ => None,
            });
            self.tell(match near {
                Some(near) => told.help(format!("did you mean `{near}`?")),
                None => told,
            });
            return;
        }
        let cannot = |argument: &Argument| {
            !argument.types.is_empty() && !types.is_empty() && types.iter().all(|one| !argument.types.contains(*one))
        };
        let all_wrong = found.iter().all(|found| match found {
            Found::Yes(argument) => cannot(argument),
            Found::No(_) => true,
            Found::Unknown => false,
        });
        if let Some(Found::Yes(argument)) =
            found.iter().find(|found| matches!(found, Found::Yes(_))).filter(|_| all_wrong)
        {
            let is = argument.types.iter().cloned().collect::<Vec<_>>().join(" or ");
            let told = Diagnostic::error(Code::WrongArgumentType, at(), format!("`{path}` is of the type {is}; {why}"));
            self.tell(told);
        }
    }

    /// The path inside its clause, or the clause.
    fn place(&self, id: &str, path: &Path) -> Span {
        let clause = self.places.get(id).cloned().unwrap_or(0..0);
        let written = path.to_string();
        match self.text.get(clause.clone()).and_then(|text| text.find(&written)) {
            Some(at) => clause.start + at..clause.start + at + written.len(),
            None => clause,
        }
    }
}

fn have(tools: &[&Tool]) -> String {
    match tools {
        [only] => format!("`{}` has", only.name),
        several => format!("none of these {} tools has", several.len()),
    }
}

enum Found<'c> {
    Yes(&'c Argument),
    /// Not among these.
    No(Vec<&'c String>),
    Unknown,
}

fn find<'c>(arguments: &'c Arguments, keys: &[String]) -> Found<'c> {
    let Some((first, rest)) = keys.split_first() else { return Found::Unknown };
    match arguments.by_name.get(first) {
        Some(argument) if rest.is_empty() => Found::Yes(argument),
        Some(argument) => find(&argument.members, rest),
        None if arguments.open => Found::Unknown,
        None => Found::No(arguments.by_name.keys().collect()),
    }
}

/// The name that is most like this one.
fn near<'n>(name: &str, names: impl Iterator<Item = &'n String>) -> Option<&'n String> {
    let close = names.filter(|_| name.len() <= 80).map(|other| (strsim::damerau_levenshtein(other, name), other));
    close.filter(|(distance, _)| *distance <= 3 && distance * 3 <= name.len()).min().map(|(_, other)| other)
}

/// Where a tool is named first: a word that is no key of a path, or a string, in either form of
/// policy.
pub fn place_of_name(text: &str, name: &str) -> Span {
    let mut after_dot = false;
    for token in lex(text) {
        let written = text.get(token.span.clone()).unwrap_or_default();
        let same = match token.kind {
            Kind::Word | Kind::Glob => !after_dot && written == name,
            Kind::String => decode::string(written).is_ok_and(|string| string == name),
            _ => false,
        };
        if same {
            return token.span;
        }
        after_dot = written == ".";
    }
    0..0
}

//! All the calls that conditions tell apart, as finitely many cases.
//!
//! A comparison splits the values of an argument into few kinds: missing, true, false, each number
//! that is named and the gaps between them, each string that is named and all others, lists, objects.
//! On one kind every comparison is constant, so going through the kinds of all arguments goes through
//! all calls, exactly and without a solver. Patterns and `contains` are opaque on strings that nobody
//! names, and on lists: each is then a question of its own that may be answered either way.

use std::collections::{BTreeMap, BTreeSet};

use crate::Decimal;
use crate::json::quote;
use crate::policy::{Condition, Literal, Op, Path};

/// Most cases that are gone through.
const CASES_MAX: usize = 50_000;

/// Most opaque questions about one argument.
const OPAQUE_MAX: usize = 6;

/// The kinds of values that some conditions tell apart.
#[derive(Debug)]
pub struct Space {
    arguments: Vec<Kinds>,
}

#[derive(Debug)]
struct Kinds {
    path: Path,
    numbers: Vec<Decimal>,
    kinds: Vec<Kind>,
}

/// One kind of value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    /// Nothing, or null.
    Missing,
    Bool(bool),
    /// Among the named numbers in order: at odd places the number itself, at even ones the gap before
    /// it.
    Number(usize),
    Text(String),
    /// A string that nobody names, with the opaque questions that it answers with yes.
    OtherText(Vec<(Op, Literal)>),
    List(Vec<(Op, Literal)>),
    Object,
}

/// One case: a kind for each argument.
#[derive(Debug)]
pub struct Case<'s> {
    space: &'s Space,
    kinds: Vec<&'s Kind>,
}

impl Space {
    /// The kinds that the conditions tell apart. None where there would be too many cases.
    pub fn of<'c>(conditions: impl Iterator<Item = &'c Condition>) -> Option<Self> {
        let mut by_path: BTreeMap<&Path, Vec<&Condition>> = BTreeMap::new();
        for condition in conditions {
            by_path.entry(&condition.path).or_default().push(condition);
        }
        let paths: Vec<&Path> = by_path.keys().copied().collect();
        let arguments = by_path.into_iter().map(|(path, conditions)| {
            let inside = |a: &Path, b: &Path| a != b && a.keys.starts_with(&b.keys);
            let nested = paths.iter().any(|other| inside(other, path) || inside(path, other));
            Some(told_apart(kinds(path, &conditions)?, &conditions, nested))
        });
        let space = Self { arguments: arguments.collect::<Option<_>>()? };
        let product = space.arguments.iter().try_fold(1_usize, |product, one| product.checked_mul(one.kinds.len()));
        product.filter(|product| *product <= CASES_MAX).map(|_| space)
    }

    /// Every case that a call can be.
    pub fn cases(&self) -> impl Iterator<Item = Case<'_>> {
        let total: usize = self.arguments.iter().map(|one| one.kinds.len()).product();
        (0..total).filter_map(|mut number| {
            let mut chosen = Vec::with_capacity(self.arguments.len());
            for argument in &self.arguments {
                chosen.push(argument.kinds.get(number % argument.kinds.len())?);
                number /= argument.kinds.len();
            }
            let case = Case { space: self, kinds: chosen };
            case.is_possible().then_some(case)
        })
    }
}

fn kinds(path: &Path, conditions: &[&Condition]) -> Option<Kinds> {
    let mut numbers: Vec<Decimal> = Vec::new();
    let mut texts: BTreeSet<&String> = BTreeSet::new();
    let mut opaque: Vec<(Op, Literal)> = Vec::new();
    for condition in conditions {
        let literals = match &condition.value {
            Literal::List(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if let Some(question) = opaque_question(condition) {
            if !opaque.contains(&question) {
                opaque.push(question);
            }
            continue;
        }
        for literal in literals {
            match literal {
                Literal::Number(number) => numbers.push(number.clone()),
                Literal::String(text) => {
                    texts.insert(text);
                }
                Literal::Bool(_) | Literal::List(_) => {}
            }
        }
    }
    if opaque.len() > OPAQUE_MAX {
        return None;
    }
    numbers.sort();
    numbers.dedup();
    let mut kinds = vec![Kind::Missing, Kind::Object];
    if !path.keys.is_empty() {
        kinds.extend([Kind::Bool(true), Kind::Bool(false)]);
        kinds.extend((0..=2 * numbers.len()).map(Kind::Number));
        kinds.extend(texts.into_iter().map(|text| Kind::Text(text.clone())));
        let contains: Vec<(Op, Literal)> = opaque.iter().filter(|(op, _)| *op == Op::Contains).cloned().collect();
        kinds.extend(subsets(&opaque).map(Kind::OtherText));
        kinds.extend(subsets(&contains).map(Kind::List));
    }
    Some(Kinds { path: path.clone(), numbers, kinds })
}

/// One kind of each lot on which every condition answers alike, the one that reads best as an example. An
/// argument that lies in another, or has others in it, keeps what decides which of them can be there.
fn told_apart(argument: Kinds, conditions: &[&Condition], nested: bool) -> Kinds {
    let Kinds { path, numbers, mut kinds } = argument;
    kinds.sort_by_key(|kind| match kind {
        Kind::Text(_) => 0,
        Kind::Number(_) => 1,
        Kind::Missing => 2,
        Kind::Bool(_) => 3,
        Kind::OtherText(_) => 4,
        Kind::List(_) => 5,
        Kind::Object => 6,
    });
    let alone = Space { arguments: vec![Kinds { path: path.clone(), numbers: numbers.clone(), kinds: Vec::new() }] };
    let mut lots = BTreeSet::new();
    kinds.retain(|kind| {
        let case = Case { space: &alone, kinds: vec![kind] };
        let answers: Vec<bool> = conditions.iter().map(|condition| case.holds(condition)).collect();
        let place = (nested && *kind == Kind::Missing, nested && *kind == Kind::Object);
        lots.insert((answers, place))
    });
    Kinds { path, numbers, kinds }
}

fn subsets(all: &[(Op, Literal)]) -> impl Iterator<Item = Vec<(Op, Literal)>> {
    (0..1_usize << all.len()).map(|bits| {
        let chosen = all.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
        chosen.map(|(_, one)| one.clone()).collect()
    })
}

/// The question that a pattern or `contains` asks, without its negation.
fn opaque_question(condition: &Condition) -> Option<(Op, Literal)> {
    match condition.op {
        Op::Regex | Op::NotRegex => Some((Op::Regex, condition.value.clone())),
        Op::Contains | Op::NotContains => Some((Op::Contains, condition.value.clone())),
        _ => None,
    }
}

impl Case<'_> {
    /// Whether every condition of at least one list is true. An empty list is.
    pub fn any(&self, lists: &[Vec<Condition>]) -> bool {
        lists.iter().any(|list| self.all(list))
    }

    /// Whether every condition is true.
    pub fn all(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|condition| self.holds(condition))
    }

    fn holds(&self, condition: &Condition) -> bool {
        let found = self.space.arguments.iter().zip(&self.kinds).find(|(one, _)| one.path == condition.path);
        let Some((argument, kind)) = found else { return false };
        if condition.op == Op::Exists {
            return (**kind != Kind::Missing) == (condition.value != Literal::Bool(false));
        }
        if **kind == Kind::Missing {
            return false;
        }
        if let Some((op, value)) = opaque_question(condition) {
            let negated = matches!(condition.op, Op::NotRegex | Op::NotContains);
            return answer(kind, op, &value).is_some_and(|answer| answer != negated);
        }
        let equals = |literal: &Literal| match (*kind, literal) {
            (Kind::Bool(is), Literal::Bool(wanted)) => is == wanted,
            (Kind::Text(is), Literal::String(wanted)) => is == wanted,
            (Kind::Number(place), Literal::Number(wanted)) => {
                place % 2 == 1 && argument.numbers.get(place / 2) == Some(wanted)
            }
            _ => false,
        };
        let among = || matches!(&condition.value, Literal::List(list) if list.iter().any(equals));
        let order = || match (*kind, &condition.value) {
            (Kind::Number(place), Literal::Number(wanted)) => {
                let own = argument.numbers.iter().position(|number| number == wanted)?;
                Some(place.cmp(&(2 * own + 1)))
            }
            _ => None,
        };
        match condition.op {
            Op::Eq => equals(&condition.value),
            Op::Neq => !equals(&condition.value),
            Op::In => among(),
            Op::NotIn => !among(),
            Op::Lt => order().is_some_and(std::cmp::Ordering::is_lt),
            Op::Lte => order().is_some_and(std::cmp::Ordering::is_le),
            Op::Gt => order().is_some_and(std::cmp::Ordering::is_gt),
            Op::Gte => order().is_some_and(std::cmp::Ordering::is_ge),
            Op::Exists | Op::Regex | Op::NotRegex | Op::Contains | Op::NotContains => false,
        }
    }

    /// What has members is an object, and what isn't one has none.
    fn is_possible(&self) -> bool {
        let all = || self.space.arguments.iter().zip(&self.kinds);
        all().all(|(inner, kind)| {
            **kind == Kind::Missing
                || all().all(|(outer, outer_kind)| {
                    let inside =
                        outer.path.keys.len() < inner.path.keys.len() && inner.path.keys.starts_with(&outer.path.keys);
                    !inside || **outer_kind == Kind::Object
                })
        })
    }

    /// Arguments of this case, as JSON. Where a string only answers opaque questions, it says which.
    pub fn example(&self) -> String {
        let mut root = Object::default();
        for (argument, kind) in self.space.arguments.iter().zip(&self.kinds) {
            if let Some(value) = value(argument, kind) {
                root.put(&argument.path.keys, value);
            }
        }
        root.text()
    }
}

/// What a value of this kind answers; None where the question doesn't apply.
fn answer(kind: &Kind, op: Op, value: &Literal) -> Option<bool> {
    match (kind, op, value) {
        (Kind::Text(text), Op::Regex, Literal::String(pattern)) => {
            regex::Regex::new(pattern).ok().map(|regex| regex.is_match(text))
        }
        (Kind::Text(text), Op::Contains, Literal::String(part)) => Some(text.contains(part.as_str())),
        (Kind::OtherText(_), Op::Contains, value) if !matches!(value, Literal::String(_)) => None,
        (Kind::OtherText(yes), ..) => Some(yes.iter().any(|one| (one.0, &one.1) == (op, value))),
        (Kind::List(yes), Op::Contains, _) => Some(yes.iter().any(|one| (one.0, &one.1) == (op, value))),
        _ => None,
    }
}

fn value(argument: &Kinds, kind: &Kind) -> Option<String> {
    let literal = |value: &Literal| match value {
        Literal::String(text) => quote(text),
        Literal::Bool(value) => value.to_string(),
        Literal::Number(number) => number.to_string(),
        Literal::List(_) => String::new(),
    };
    Some(match kind {
        Kind::Missing => return None,
        Kind::Object => "{}".to_owned(),
        Kind::Bool(value) => value.to_string(),
        Kind::Number(place) => number(&argument.numbers, *place),
        Kind::Text(text) => quote(text),
        Kind::OtherText(yes) if yes.is_empty() => "\"…\"".to_owned(),
        Kind::OtherText(yes) => {
            let one = |(op, value): &(Op, Literal)| match op {
                Op::Regex => format!("matches {}", literal(value)),
                _ => format!("contains {}", literal(value)),
            };
            quote(&format!("… {}", yes.iter().map(one).collect::<Vec<_>>().join(" and ")))
        }
        Kind::List(yes) => format!("[{}]", yes.iter().map(|(_, value)| literal(value)).collect::<Vec<_>>().join(", ")),
    })
}

/// A number at this place among the named ones.
fn number(numbers: &[Decimal], place: usize) -> String {
    let below = place.checked_sub(2).and_then(|place| numbers.get(place / 2));
    let at = numbers.get(place / 2);
    if place % 2 == 1 {
        return at.map_or_else(|| "0".to_owned(), ToString::to_string);
    }
    let (Some(low), high) = (below, at) else {
        return at.map_or_else(|| "0".to_owned(), less_than);
    };
    let whole = low.to_micros().and_then(|micros| micros.div_euclid(1_000_000).checked_add(1));
    let tail = |zeros: usize| {
        let text = low.to_string();
        let point = if text.contains('.') { "" } else { "." };
        format!("{text}{point}{}5", "0".repeat(zeros))
    };
    let negative = |zeros: usize| {
        high.map(|high| {
            format!("{high}{}{}5", if high.to_string().contains('.') { "" } else { "." }, "0".repeat(zeros))
        })
    };
    let fits =
        |text: &String| Decimal::parse(text).is_some_and(|found| found > *low && high.is_none_or(|high| found < *high));
    let mut candidates =
        whole.map(|whole| whole.to_string()).into_iter().chain((0..8).map(tail)).chain((0..8).filter_map(negative));
    candidates.find(fits).unwrap_or_else(|| low.to_string())
}

fn less_than(number: &Decimal) -> String {
    match number.to_micros() {
        Some(micros) => (micros.div_euclid(1_000_000) - 1).to_string(),
        None if number.is_negative() => format!("{number}0"),
        None => "0".to_owned(),
    }
}

/// An object that is put together path by path.
#[derive(Default)]
struct Object {
    members: BTreeMap<String, Member>,
}

enum Member {
    Value(String),
    Object(Object),
}

impl Object {
    fn put(&mut self, keys: &[String], value: String) {
        let Some((first, rest)) = keys.split_first() else { return };
        if rest.is_empty() {
            let is_object = matches!(self.members.get(first), Some(Member::Object(_)));
            if !is_object {
                self.members.insert(first.clone(), Member::Value(value));
            }
            return;
        }
        let inner = self.members.entry(first.clone()).or_insert_with(|| Member::Object(Object::default()));
        if let Member::Value(_) = inner {
            *inner = Member::Object(Object::default());
        }
        if let Member::Object(inner) = inner {
            inner.put(rest, value);
        }
    }

    fn text(&self) -> String {
        let member = |(key, member): (&String, &Member)| match member {
            Member::Value(value) => format!("{}: {value}", quote(key)),
            Member::Object(object) => format!("{}: {}", quote(key), object.text()),
        };
        format!("{{{}}}", self.members.iter().map(member).collect::<Vec<_>>().join(", "))
    }
}

/// Whether the lists, taken together, are true in every case, or in none. None where it can't be told.
pub fn constant(lists: &[Vec<Condition>]) -> Option<bool> {
    let space = Space::of(lists.iter().flatten())?;
    let mut cases = space.cases().map(|case| case.any(lists));
    let first = cases.next()?;
    cases.all(|other| other == first).then_some(first)
}

#[cfg(test)]
mod tests;

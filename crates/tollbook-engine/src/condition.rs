//! Conditions, in three values and one more.
//!
//! A comparison is true, false or unknown (the argument is missing, or of the wrong type), and a
//! clause acts only on true. In a replay there is a fourth answer: the log didn't keep the value, so
//! nobody can tell. A lowered policy has no negation above a comparison and no disjunction inside a
//! list, so lists of conditions are all the logic that is needed.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};
use tollbook_policy::Decimal;
use tollbook_policy::json::{self, Value};
use tollbook_policy::policy::{Condition as Source, Literal, Op, Path};

use crate::argument::{Args, Found};

/// Most bytes that a compiled regular expression may take.
const REGEX_SIZE_MAX: usize = 1 << 20;

/// What a condition, or a whole rule, comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It holds.
    True,
    /// It is false, or unknown to the language: either way it doesn't act.
    NotTrue,
    /// The log didn't keep what it reads.
    Unrecorded,
}

/// A condition ready to be judged.
#[derive(Debug)]
pub(crate) struct Condition {
    pub path: Path,
    pub path_text: Box<str>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Exists(bool),
    Equal {
        to: Scalar,
        negated: bool,
    },
    In {
        list: Vec<Scalar>,
        negated: bool,
    },
    Ordered {
        to: Number,
        /// Whether it holds for an argument that is less, equal and greater.
        admits: [bool; 3],
    },
    Regex {
        regex: Regex,
        negated: bool,
    },
    Contains {
        part: Scalar,
        negated: bool,
    },
    /// An ordered comparison with something that isn't a number: unknown, whatever the argument.
    Never,
}

#[derive(Debug)]
enum Scalar {
    Bool(bool),
    Number(Number),
    String(Box<str>),
}

/// A number of the policy, with its millionths where they fit, which is where comparing is cheap.
#[derive(Debug)]
struct Number {
    exact: Decimal,
    micros: Option<i64>,
}

impl Condition {
    /// # Errors
    /// A regular expression that doesn't compile, or that would be too large; told in words.
    pub fn compile(source: &Source) -> Result<Self, String> {
        let (op, value) = (source.op, &source.value);
        let test = match op {
            Op::Exists => Test::Exists(*value != Literal::Bool(false)),
            Op::Eq | Op::Neq => scalar(value).map_or(Test::Never, |to| Test::Equal { to, negated: op == Op::Neq }),
            Op::In | Op::NotIn => {
                let items =
                    if let Literal::List(items) = value { items.as_slice() } else { std::slice::from_ref(value) };
                Test::In { list: items.iter().filter_map(scalar).collect(), negated: op == Op::NotIn }
            }
            Op::Lt => ordered(value, [true, false, false]),
            Op::Lte => ordered(value, [true, true, false]),
            Op::Gt => ordered(value, [false, false, true]),
            Op::Gte => ordered(value, [false, true, true]),
            Op::Regex | Op::NotRegex => match value {
                Literal::String(pattern) => Test::Regex { regex: compile_regex(pattern)?, negated: op == Op::NotRegex },
                _ => Test::Never,
            },
            Op::Contains | Op::NotContains => {
                scalar(value).map_or(Test::Never, |part| Test::Contains { part, negated: op == Op::NotContains })
            }
        };
        Ok(Self { path: source.path.clone(), path_text: source.path.to_string().into(), test })
    }

    pub fn judge(&self, args: &Args<'_>) -> Truth {
        let found = args.find(&self.path, &self.path_text);
        // The commonest test comes first, apart from those that call something, for which registers are saved.
        if let (Test::Ordered { to, admits }, Found::Value(Value::Number(number))) = (&self.test, found)
            && let Some(order) = to.compare_short(number)
        {
            return if admitted(*admits, order) { Truth::True } else { Truth::NotTrue };
        }
        self.judge_found(found)
    }

    #[inline(never)]
    fn judge_found(&self, found: Found<'_>) -> Truth {
        let holds = match (&self.test, found) {
            (_, Found::Unrecorded) => return Truth::Unrecorded,
            (Test::Exists(wanted), found) => Some((found != Found::Missing) == *wanted),
            (_, Found::Missing) | (Test::Never, _) => None,
            (Test::Equal { to, negated }, Found::Value(value)) => Some(to.equals(value) != *negated),
            (Test::In { list, negated }, Found::Value(value)) => {
                Some(list.iter().any(|item| item.equals(value)) != *negated)
            }
            (Test::Ordered { to, admits }, Found::Value(Value::Number(number))) => {
                to.compare(number).map(|order| admitted(*admits, order))
            }
            (Test::Regex { regex, negated }, Found::Value(Value::String(text))) => {
                Some(regex.is_match(text) != *negated)
            }
            (Test::Contains { part, negated }, Found::Value(value)) => {
                part.is_in(value).map(|contained| contained != *negated)
            }
            (Test::Ordered { .. } | Test::Regex { .. }, Found::Value(_)) => None,
        };
        if holds == Some(true) { Truth::True } else { Truth::NotTrue }
    }
}

fn admitted([less, equal, greater]: [bool; 3], order: Ordering) -> bool {
    match order {
        Ordering::Less => less,
        Ordering::Equal => equal,
        Ordering::Greater => greater,
    }
}

/// Whether every condition holds. One that surely doesn't outweighs one that can't be told.
pub(crate) fn all(conditions: &[Condition], args: &Args<'_>) -> Truth {
    let mut truth = Truth::True;
    for condition in conditions {
        match condition.judge(args) {
            Truth::True => {}
            Truth::NotTrue => return Truth::NotTrue,
            Truth::Unrecorded => truth = Truth::Unrecorded,
        }
    }
    truth
}

/// Whether every condition of at least one list holds.
#[inline]
pub(crate) fn any(lists: &[Vec<Condition>], args: &Args<'_>) -> Truth {
    // Most rules are one comparison.
    if let [list] = lists
        && let [condition] = list.as_slice()
    {
        return condition.judge(args);
    }
    any_of_several(lists, args)
}

#[inline(never)]
fn any_of_several(lists: &[Vec<Condition>], args: &Args<'_>) -> Truth {
    let mut truth = Truth::NotTrue;
    for list in lists {
        match all(list, args) {
            Truth::True => return Truth::True,
            Truth::NotTrue => {}
            Truth::Unrecorded => truth = Truth::Unrecorded,
        }
    }
    truth
}

impl Scalar {
    /// Equal, types included: `"1"` isn't `1`.
    fn equals(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Bool(a), Value::Bool(b)) => a == b,
            (Self::String(a), Value::String(b)) => **a == **b,
            (Self::Number(a), Value::Number(number)) => a.compare(number) == Some(Ordering::Equal),
            _ => false,
        }
    }

    /// A substring of a string, or an element of an array; None for any other value.
    fn is_in(&self, value: &Value<'_>) -> Option<bool> {
        match (self, value) {
            (Self::String(part), Value::String(text)) => Some(text.contains(&**part)),
            (_, Value::Array(elements)) => Some(elements.iter().any(|element| self.equals(&element.value))),
            _ => None,
        }
    }
}

impl Number {
    /// The argument's order relative to this number; None for a number beyond every bound.
    fn compare(&self, argument: &json::Number<'_>) -> Option<Ordering> {
        let exact = || Some(Decimal::parse(argument.text)?.cmp(&self.exact));
        self.compare_short(argument).or_else(exact)
    }

    /// The same where both are short; None where they have to be read as decimals.
    #[inline]
    fn compare_short(&self, argument: &json::Number<'_>) -> Option<Ordering> {
        Some(argument.short_micros()?.cmp(&self.micros?))
    }
}

fn scalar(literal: &Literal) -> Option<Scalar> {
    match literal {
        Literal::Bool(value) => Some(Scalar::Bool(*value)),
        Literal::Number(exact) => Some(Scalar::Number(number(exact))),
        Literal::String(text) => Some(Scalar::String(text.as_str().into())),
        Literal::List(_) => None,
    }
}

fn number(exact: &Decimal) -> Number {
    Number { exact: exact.clone(), micros: exact.to_micros() }
}

fn ordered(literal: &Literal, admits: [bool; 3]) -> Test {
    match literal {
        Literal::Number(exact) => Test::Ordered { to: number(exact), admits },
        _ => Test::Never,
    }
}

fn compile_regex(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(REGEX_SIZE_MAX)
        .build()
        .map_err(|error| format!("the regular expression `{pattern}` cannot be used: {error}"))
}

#[cfg(test)]
mod tests;

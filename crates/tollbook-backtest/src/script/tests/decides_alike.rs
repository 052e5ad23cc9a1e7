//! Law 2: the source, its JSON and what is decompiled from it decide alike on every call. The source
//! is judged by a second reading of the language, written here on purpose: Kleene's logic over the
//! condition as it was written, with missing, null and wrongly typed arguments.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Cond {
    Or(Vec<Cond>),
    And(Vec<Cond>),
    Not(Box<Cond>),
    Test(usize, &'static str, Lit),
}

#[derive(Debug, Clone, PartialEq)]
enum Lit {
    Bool(bool),
    Number(i64),
    Text(&'static str),
    List(Vec<Lit>),
    Nothing,
}

#[derive(Debug, Clone)]
enum Arg {
    Missing,
    Null,
    Is(Lit),
    Object,
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn lit(lit: &Lit) -> String {
    match lit {
        Lit::Bool(value) => value.to_string(),
        Lit::Number(value) => value.to_string(),
        Lit::Text(text) => format!("\"{text}\""),
        Lit::List(list) => format!("[{}]", list.iter().map(self::lit).collect::<Vec<_>>().join(", ")),
        Lit::Nothing => String::new(),
    }
}

fn text(cond: &Cond) -> String {
    let join = |parts: &[Cond], word: &str| format!("({})", parts.iter().map(text).collect::<Vec<_>>().join(word));
    match cond {
        Cond::Or(parts) => join(parts, " or "),
        Cond::And(parts) => join(parts, " and "),
        Cond::Not(inner) => {
            format!("not {}", if matches!(**inner, Cond::Not(_)) { format!("({})", text(inner)) } else { text(inner) })
        }
        Cond::Test(key, op, value) => format!("args.{} {op} {}", KEYS[*key], lit(value)),
    }
}

fn truth(cond: &Cond, args: &[Arg]) -> Option<bool> {
    let any = |parts: &[Cond], sought: bool| {
        let all: Vec<_> = parts.iter().map(|part| truth(part, args)).collect();
        if all.contains(&Some(sought)) { Some(sought) } else { (!all.contains(&None)).then_some(!sought) }
    };
    match cond {
        Cond::Or(parts) => any(parts, true),
        Cond::And(parts) => any(parts, false),
        Cond::Not(inner) => truth(inner, args).map(|truth| !truth),
        Cond::Test(key, op, value) => compare(op, value, &args[*key]),
    }
}

fn compare(op: &str, value: &Lit, arg: &Arg) -> Option<bool> {
    let there = !matches!(arg, Arg::Missing | Arg::Null);
    match op {
        "exists" => return Some(there),
        "missing" => return Some(!there),
        _ if !there => return None,
        _ => {}
    }
    let equals = |lit: &Lit| matches!(arg, Arg::Is(arg) if arg == lit && !matches!(arg, Lit::List(_)));
    let among = || matches!(value, Lit::List(list) if list.iter().any(equals));
    match (op, value, arg) {
        ("==", ..) => Some(equals(value)),
        ("!=", ..) => Some(!equals(value)),
        ("in", ..) => Some(among()),
        ("not in", ..) => Some(!among()),
        ("<", Lit::Number(to), Arg::Is(Lit::Number(is))) => Some(is < to),
        ("<=", Lit::Number(to), Arg::Is(Lit::Number(is))) => Some(is <= to),
        (">", Lit::Number(to), Arg::Is(Lit::Number(is))) => Some(is > to),
        (">=", Lit::Number(to), Arg::Is(Lit::Number(is))) => Some(is >= to),
        ("matches", Lit::Text(start), Arg::Is(Lit::Text(is))) => Some(is.starts_with(start.trim_start_matches('^'))),
        ("contains", Lit::Text(part), Arg::Is(Lit::Text(is))) => Some(is.contains(part)),
        ("contains", part, Arg::Is(Lit::List(list))) => Some(list.contains(part)),
        _ => None,
    }
}

fn scalar() -> impl Strategy<Value = Lit> {
    prop_oneof![
        any::<bool>().prop_map(Lit::Bool),
        (0..4_i64).prop_map(Lit::Number),
        prop::sample::select(vec!["x", "xy", "1", ""]).prop_map(Lit::Text),
    ]
}

fn cond() -> impl Strategy<Value = Cond> {
    let relation = (prop::sample::select(vec!["<", "<=", ">", ">="]), (0..4_i64).prop_map(Lit::Number));
    let equality = (prop::sample::select(vec!["==", "!=", "contains"]), scalar());
    let member = (prop::sample::select(vec!["in", "not in"]), vec(scalar(), 1..3).prop_map(Lit::List));
    let there = (prop::sample::select(vec!["exists", "missing"]), Just(Lit::Nothing));
    let matches = (Just("matches"), prop::sample::select(vec!["^x", "^xy"]).prop_map(Lit::Text));
    let test = prop_oneof![relation, equality, member, there, matches];
    let test = (0..KEYS.len(), test).prop_map(|(key, (op, value))| Cond::Test(key, op, value));
    test.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..4).prop_map(Cond::Or),
            vec(inner.clone(), 2..4).prop_map(Cond::And),
            inner.prop_map(|inner| Cond::Not(Box::new(inner))),
        ]
    })
}

fn arg() -> impl Strategy<Value = Arg> {
    prop_oneof![
        Just(Arg::Missing),
        Just(Arg::Null),
        Just(Arg::Object),
        scalar().prop_map(Arg::Is),
        scalar().prop_map(Arg::Is),
        vec(scalar(), 0..3).prop_map(|list| Arg::Is(Lit::List(list))),
    ]
}

fn json_of(args: &[Arg]) -> String {
    let member = |(key, arg): (&&str, &Arg)| match arg {
        Arg::Missing => None,
        Arg::Null => Some(format!("\"{key}\": null")),
        Arg::Object => Some(format!("\"{key}\": {{\"x\": 1}}")),
        Arg::Is(value) => Some(format!("\"{key}\": {}", lit(value))),
    };
    format!("{{{}}}", KEYS.iter().zip(args).filter_map(member).collect::<Vec<_>>().join(", "))
}

fn decides(policy: &Policy, args: &str) -> Verdict {
    let node = json::parse(args.as_bytes()).unwrap();
    let args = Args::whole(Some(&node), hash128(canonical(&node).as_bytes()));
    let call = Call {
        at_us: Some(0),
        session: Some("s"),
        grant: Some("g"),
        agent: Some("a"),
        tool: "t",
        category: None,
        args,
        continues: false,
        codes: None,
    };
    let engine = Engine::compile(policy, "s").unwrap();
    engine.decide(&mut State::new(Bounds::default(), 0), 1, &call).verdict
}

fn cases() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "how long a test may take is said outside of it")]
    let cases = std::env::var("TOLLBOOK_CASES");
    cases.ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn source_document_and_decompiled_source_decide_alike(
        cond in cond(),
        kind in prop::sample::select(vec!["require", "deny when", "approve by \"p\" when"]),
        args in vec(arg(), KEYS.len()),
    ) {
        let source = format!("default deny tool t {{ {kind} {} }}", text(&cond));
        let compiled = match read("p.toll", &source, Target::Native) {
            Ok(read) => read.policy,
            Err(told) => {
                prop_assert!(told.iter().all(|one| one.code == Code::TooManyAlternatives), "{source} {told:?}");
                return Ok(());
            }
        };
        let holds = truth(&cond, &args) == Some(true);
        let expected = match (kind, holds) {
            ("require", true) | ("deny when" | "approve by \"p\" when", false) => Verdict::Allow,
            ("require", false) | ("deny when", true) => Verdict::Deny,
            _ => Verdict::Hold,
        };
        let args = json_of(&args);
        prop_assert_eq!(decides(&compiled, &args), expected, "{} {}", source, &args);
        let from_json = read("p.json", &compiled.to_json(), Target::Native).unwrap().policy;
        prop_assert_eq!(decides(&from_json, &args), expected, "{}", compiled.to_json());
        let decompiled = read("p.toll", &compiled.to_toll(), Target::Native).unwrap().policy;
        prop_assert_eq!(decides(&decompiled, &args), expected, "{}", compiled.to_toll());
    }
}

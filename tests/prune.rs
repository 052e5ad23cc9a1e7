//! `tollbook log prune`: what is left of a log verifies and replays, as though nothing had gone.

use std::path::Path;
use std::sync::Arc;

use tollbook_engine::{Activated, Args, ArgsRef, Body, Bounds, Call, Engine, Kept, Opened, State, Verdict};
use tollbook_log::{Log, Options, Reader, Signer};
use tollbook_policy::Target;
use tollbook_policy::json::parse;

use crate::program::{Client, Dir, TOLLBOOK, query, tollbook};

/// 2026-01-05T09:00:00Z.
const BEGINS_US: i64 = 1_767_603_600_000_000;
const CALLS: u64 = 60;

/// The 26th call of the day is refused, so each call behind it tells whether those before were counted.
const POLICY: &str = "default deny\ntool t { limit 25 per day per grant }\n";

/// A log with a key: its directory and the public key.
fn key(dir: &Dir) -> (String, String) {
    let key = dir.path("key");
    let public = tollbook(&["log", "keygen", "-o", &key]).ok().trim().to_owned();
    (key, public)
}

/// A signed log of many small segments with a call each minute, as an engine judged it; the verdict of one may be
/// changed.
fn record(log: &str, key: &str, changed: Option<u64>) {
    let policy = tollbook_policy::read("p.toll", POLICY, Target::Native).unwrap().policy;
    let engine = Engine::compile(&policy, "srv").unwrap();
    let signer = Some(Arc::new(Signer::load(Path::new(key)).unwrap()));
    let (log, _) = Log::open(Path::new(log), Options { seal_events_max: 5, signer, ..Options::default() }).unwrap();
    log.store_policy(engine.policy(), &policy.to_json()).unwrap();
    let bounds = Bounds::default();
    let mut state = State::new(bounds, 7);
    let opened = Opened { engine: "t".into(), bounds, imported_from: None };
    log.append(BEGINS_US, Body::Opened(opened)).unwrap();
    let activated = Activated { server: "srv".into(), grant: None, policy: engine.policy() };
    log.append(BEGINS_US, Body::Activated(activated)).unwrap();
    let node = parse(b"{}").unwrap();
    for n in 0..CALLS {
        let args = ArgsRef::keep(Kept::Read, Some(&node), &engine.reads("t", None)).to_recorded();
        let call = Call {
            at_us: Some(BEGINS_US + i64::try_from(n).unwrap() * 60_000_000),
            session: Some("s"),
            grant: Some("g"),
            agent: None,
            tool: "t",
            category: None,
            args: Args::whole(Some(&node), args.hash.unwrap()),
            continues: false,
            codes: None,
        };
        let mut record = engine.decide(&mut state, n + 2, &call).to_record(&engine, &call, args);
        if changed == Some(n) {
            record.verdict = Some(Verdict::Deny);
        }
        assert_eq!(log.append(call.at_us.unwrap(), Body::Decision(Box::new(record))).unwrap(), n + 2);
    }
    log.close().unwrap();
}

#[test]
fn a_decision_that_was_changed_is_named_by_a_backtest() {
    let dir = Dir::new();
    let (key, _) = key(&dir);
    let (log, policy) = (dir.path("log"), dir.file("p.toll", POLICY));
    record(&log, &key, Some(7));
    let told = tollbook(&["backtest", "--log", &log, &policy]);
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.out.starts_with("fidelity 98.33 % (59 of 60)\n"), "{}", told.out);
    let named = told.out.lines().find(|line| line.contains(" seq 9: recorded deny")).unwrap_or_default();
    assert!(named.contains("; replayed allow"), "{}", told.out);
    assert!(told.out.contains("so what follows isn't to be trusted"), "{}", told.out);
}

#[test]
fn the_rest_of_an_instance_verifies_and_replays_with_what_was_counted_before() {
    let dir = Dir::new();
    let (key, public) = key(&dir);
    let (log, policy) = (dir.path("log"), dir.file("p.toll", POLICY));
    record(&log, &key, None);
    let whole = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(whole.starts_with("fidelity 100.00 % (60 of 60)\n") && !whole.contains("begins empty"), "{whole}");
    let mut first_left = 0;
    // The second time, what is left of the first is replayed from the state that the first one kept.
    for before in ["2026-01-05T09:30:00Z", "2026-01-05T09:45:00Z"] {
        let pruned = tollbook(&["log", "prune", "--before", before, "--log-key", &key, "--grace-s", "0", &log]).ok();
        assert!(pruned.contains(": removed the events before ") && pruned.contains("deleted "), "{pruned}");
        let was = first_left;
        let reader = Reader::open(&[&log]).unwrap();
        first_left = reader.first_seq(reader.instances().next().unwrap()).unwrap();
        assert!(first_left > was && first_left > 20 && first_left < 49, "{first_left}");
        let left = CALLS + 2 - first_left;
        assert_eq!(query(&log, "SELECT count(*), min(seq) FROM calls"), [format!("{left},{first_left}")]);
        let verified = tollbook(&["log", "verify", &log, "--key", &public]).ok();
        assert!(verified.ends_with("intact\n"), "{verified}");
        let out = tollbook(&["backtest", "--log", &log, &policy]).ok();
        assert!(out.starts_with(&format!("fidelity 100.00 % ({left} of {left})\n")), "{out}");
        assert!(out.contains("begins empty       in 1 pruned instance"), "{out}");
    }
    let again = ["log", "prune", "--before", "2026-01-05", "--log-key", &key, &log];
    assert_eq!(tollbook(&again).ok(), "no segment is all of before 2026-01-05T00:00:00Z\n");
}

#[test]
fn whole_instances_go_and_the_next_one_stays_as_it_is() {
    let dir = Dir::new();
    let (key, public) = key(&dir);
    let (log, policy) = (dir.path("log"), dir.file("p.toll", "default deny\nallow list_customers\n"));
    let args = ["run", "--policy", &policy, "--log", &log, "--log-key", &key, "--", TOLLBOOK, "demo-server"];
    let mut between = String::new();
    for tool in ["list_customers", "void_invoice"] {
        between = jiff::Timestamp::now().to_string();
        let mut client = Client::start(TOLLBOOK, &args);
        (1..=3).for_each(|id| drop(client.call(id, tool, "{}")));
        assert_eq!(client.end().code, Some(0));
    }
    let without_key = tollbook(&["log", "prune", "--before", &between, &log]);
    assert_eq!(without_key.code, Some(2), "{}", without_key.out);
    assert!(without_key.out.contains("left alone: it is signed, and there is no key"), "{}", without_key.out);
    let pruned = tollbook(&["log", "prune", "--before", &between, "--log-key", &key, &log]).ok();
    assert_eq!(pruned.matches(": removed the events before ").count(), 1, "{pruned}");
    assert!(pruned.contains("by the first `log prune` or `compact` after 3600 s"), "{pruned}");
    assert_eq!(query(&log, "SELECT tool, decision FROM calls"), ["void_invoice,deny"; 3]);
    assert!(tollbook(&["log", "verify", &log, "--key", &public]).ok().ends_with("intact\n"));
    let out = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(out.starts_with("fidelity 100.00 % (3 of 3)\n"), "{out}");
}

#[test]
fn a_gateway_removes_what_is_older_than_its_log_is_kept() {
    let dir = Dir::new();
    let (key, public) = key(&dir);
    let (log, policy) = (dir.path("log"), dir.file("p.toll", "default deny\nallow list_customers\n"));
    record(&log, &key, None);
    let kept = ["run", "--policy", &policy, "--log", &log, "--log-key", &key, "--retention-days", "30"];
    let mut client = Client::start(TOLLBOOK, &[&kept[..], &["--", TOLLBOOK, "demo-server"]].concat());
    client.call(1, "list_customers", "{}");
    // It is looked for beside the calls, in a thread of its own.
    let counted = || query(&log, "SELECT count(*), max(tool) FROM calls");
    assert!((0..200).any(|_| counted() == ["1,list_customers"]), "{:?}", counted());
    let ended = client.end();
    assert!(ended.err.contains("which were older than the log is kept"), "{}", ended.err);
    assert!(tollbook(&["log", "verify", &log, "--key", &public]).ok().ends_with("intact\n"));
}

#[test]
fn nothing_goes_whose_replay_differs() {
    let dir = Dir::new();
    let (key, _) = key(&dir);
    let log = dir.path("log");
    record(&log, &key, Some(3));
    record(&log, &key, None);
    let args = ["log", "prune", "--before", "2026-01-05T09:30:00Z", "--log-key", &key, &log];
    let told = tollbook(&args);
    let why = "the replay differs from the record in 1 of its decisions; seq 5: recorded deny";
    assert!(told.code == Some(2) && told.out.contains(why), "{}", told.out);
    assert!(told.out.contains("removed the events before"), "the other instance goes on: {}", told.out);
    assert_eq!(query(&log, "SELECT count(*) > 60 AND count(*) < 110 FROM calls"), ["true"]);
    tollbook(&["log", "prune", "--before", "2026-01-05T09:30", &log]).code.filter(|code| *code == 2).unwrap();
}

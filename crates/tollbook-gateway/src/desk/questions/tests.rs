use tollbook_engine::Engine;
use tollbook_log::{Log, Options, Reader};
use tollbook_policy::Target;

use super::super::{Desk, Manner, Step};
use super::*;
use crate::headers::Headers;

const POLICY: &str = "default deny\ntool t { deny when args.n > 1 limit 1 per day per grant }\ntool u { }\n";

struct Case {
    dir: tempfile::TempDir,
    desk: Desk,
    ids: u64,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let policy = tollbook_policy::read("p.toll", POLICY, Target::Native).unwrap().policy;
        let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
        let manner = Manner::usual();
        let mut desk = Desk::open(log, manner, Box::new(|| 1_000)).unwrap();
        desk.activate(Engine::compile(&policy, "srv").unwrap(), None, &policy).unwrap();
        Self { dir, desk, ids: 0 }
    }

    /// Makes a call with this state, answered with a question that has that one. `+` where it went on.
    fn call(&mut self, who: &mut Connection, tool: &str, args: &str, state: Option<&str>, answer: &str) -> char {
        self.ids += 1;
        let id = self.ids;
        let state =
            state.map(|state| format!(r#","requestState":"{state}","inputResponses":{{}}"#)).unwrap_or_default();
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let params = format!(r#"{{"name":"{tool}","arguments":{args},{meta}{state}}}"#);
        let frame = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#);
        let step = self.desk.from_client(who, frame.as_bytes(), &Headers::default());
        if !matches!(step, Step::Forward { .. }) {
            return '-';
        }
        let result = format!(r#"{{"resultType":"input_required","inputRequests":{{}},"requestState":"{answer}"}}"#);
        self.desk.from_server(who, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).as_bytes());
        '+'
    }

    /// What each record continues.
    fn continues(mut self) -> Vec<Option<u64>> {
        self.desk.close().unwrap();
        let reader = Reader::open(&[self.dir.path()]).unwrap();
        let events = reader.instances().flat_map(|instance| reader.events(instance).unwrap());
        let records = events.filter_map(|event| match event.unwrap().body {
            tollbook_engine::Body::Decision(record) => Some(record.continues),
            _ => None,
        });
        records.collect()
    }
}

fn who(grant: &str, session: &str) -> Connection {
    Connection::new("srv", grant, session)
}

#[test]
fn the_rest_of_a_call_is_not_charged_and_names_what_it_continues() {
    let (mut case, mut ada) = (Case::new(), who("ada", "s"));
    assert_eq!(case.call(&mut ada, "t", "{}", None, "one"), '+');
    assert_eq!(case.call(&mut ada, "t", "{}", Some("one"), "two"), '+');
    assert_eq!(case.call(&mut ada, "t", "{}", Some("two"), "three"), '+');
    assert_eq!(case.call(&mut ada, "t", "{}", None, "four"), '-', "a call of its own is one too many");
    // Opened, activated, then a call and its end each.
    assert_eq!(case.continues(), [None, Some(2), Some(4), None]);
}

#[test]
fn a_state_is_good_once_and_for_nobody_and_nothing_else() {
    let (mut case, mut ada) = (Case::new(), who("ada", "s"));
    assert_eq!(case.call(&mut ada, "t", "{}", None, "one"), '+');
    assert_eq!(case.call(&mut ada, "t", "{}", Some("guessed"), "x"), '-');
    assert_eq!(case.call(&mut ada, "t", r#"{"n":1}"#, Some("one"), "x"), '-', "other arguments");
    assert_eq!(case.call(&mut who("ada", "other"), "t", "{}", Some("one"), "x"), '-', "another session");
    assert_eq!(case.call(&mut ada, "u", "{}", Some("one"), "x"), '+');
    assert_eq!(case.call(&mut who("bob", "s"), "t", "{}", Some("one"), "bobs"), '+', "bob's own unit");
    assert_eq!(case.call(&mut ada, "t", "{}", Some("one"), "two"), '+', "still good for the one it is for");
    assert_eq!(case.call(&mut ada, "t", "{}", Some("one"), "three"), '-', "once");
    assert_eq!(case.continues(), [None, None, None, None, None, None, Some(2), None]);
}

#[test]
fn it_is_judged_again_all_the_same() {
    let (mut case, mut ada) = (Case::new(), who("ada", "s"));
    assert_eq!(case.call(&mut ada, "t", "{}", None, "one"), '+');
    let policy = tollbook_policy::read("p.toll", "default deny\n", Target::Native).unwrap().policy;
    case.desk.activate(Engine::compile(&policy, "srv").unwrap(), None, &policy).unwrap();
    assert_eq!(case.call(&mut ada, "t", "{}", Some("one"), "two"), '-');
}

#[test]
fn so_many_are_remembered_and_no_more() {
    let (connection, asked) = (who("ada", "s"), Asked { tool: "t".to_owned(), args: None });
    let mut questions = Questions::default();
    for seq in 0..u64::try_from(QUESTIONS_MAX).unwrap() + 5 {
        let text = format!(r#"{{"resultType":"input_required","requestState":"{seq}"}}"#);
        questions.hear(&connection, &asked, seq, &tollbook_policy::json::parse(text.as_bytes()).unwrap(), 0);
    }
    assert_eq!((questions.open.len(), questions.by_seq.len()), (QUESTIONS_MAX, QUESTIONS_MAX));
    assert_eq!(questions.begun_by(&connection, &asked, "4", 0), None);
    assert_eq!(questions.begun_by(&connection, &asked, "5", 0), Some(5));
    assert_eq!(questions.begun_by(&connection, &asked, "5", OPEN_US), None, "no longer");
}

use tollbook_engine::{Codes, End, Event, Hash128, Outcome, Record, RecordedArgs};
use tollbook_policy::Target;

use super::*;
use crate::{Columns, Label};

const SERVERS: [&str; 2] = ["files", "mail"];

/// A call of which each name is one of a few, chosen by the digits of `n`.
fn call(seq: u64, n: usize) -> Event {
    let name = |kind: &str, digit: u32, of: usize| format!("{kind}{}", n / 3_usize.pow(digit) % of);
    let some = |kind: &str, digit, of| (n % 7 != usize::try_from(digit).unwrap()).then(|| name(kind, digit, of));
    let record = Record {
        session: some("s", 0, 5),
        grant: some("g", 1, 3),
        agent: some("a", 2, 3),
        tool: Some(name("read_", 3, 4)),
        category: some("Read", 4, 2),
        verdict: Some(Verdict::Allow),
        args: RecordedArgs { hash: Some(Hash128([u8::from(n.is_multiple_of(5)); 16])), ..RecordedArgs::default() },
        ..Record::new(Judge::Engine, SERVERS[n % 2])
    };
    Event { seq, ts_us: Some(i64::try_from(seq).unwrap() * 100_000), body: Body::Decision(Box::new(record)) }
}

/// The name's code, names being numbered in the order in which they come.
fn code(names: &mut Vec<String>, name: Option<&str>) -> u32 {
    let Some(name) = name else { return 0 };
    let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    u32::try_from(place).unwrap()
}

/// Each name is looked at once in a file, and the names of the next file, or of another instance, are others: what is
/// found is what is found by the names.
#[test]
fn codes_change_nothing() {
    let policy = "default allow
        group reads of read_1, read_2 { limit each 1 per minute per session }
        all tools {
            limit 3 per minute per session
            limit 9 per minute per agent
            limit 9 per rolling minute per grant
            break after 3 identical calls within 10m
            break after 2 repeats of a cycle up to 3 calls within 10m
        }";
    let policy = tollbook_policy::read("p.toll", policy, Target::Native).unwrap().policy;
    let mut by_name = (Candidate::new(policy.clone()).unwrap(), Columns::default());
    let mut by_code = (Candidate::new(policy).unwrap(), Columns::default());
    // The second begins at the event that the codes of the first are since.
    for (instance, first, step, file_calls) in [("i", 0, 9, 600), ("j", 5, 11, 150)] {
        for (candidate, columns) in [&mut by_name, &mut by_code] {
            candidate.begin(instance, &Lineage::default());
            columns.begin(instance, &Lineage::default());
        }
        let mut names = <[Vec<String>; 6]>::default();
        let mut since_seq = 0;
        for seq in 0..600 {
            let event = call(seq, first + usize::try_from(seq).unwrap() * step);
            let event = EventRef::from(&event);
            if seq % file_calls == 0 {
                (names, since_seq) = (<[Vec<String>; 6]>::default(), seq);
            }
            let record = event.record().unwrap();
            let [server, session, grant, agent, tool, category] = &mut names;
            let codes = Codes {
                since_seq,
                server: code(server, Some(record.server)),
                session: code(session, record.session),
                grant: code(grant, record.grant),
                agent: code(agent, record.agent),
                tool: code(tool, record.tool),
                category: code(category, record.category),
            };
            // Open records have none.
            let coded = EventRef { codes: (seq % 50 != 49).then_some(codes), ..event.clone() };
            assert_eq!(by_name.0.event(&event), by_code.0.event(&coded), "{instance} {seq}");
            // Some never reached their tool: counters that hold nothing go, and others take their place.
            let (call_seq, end) = (seq, if seq % 3 == 0 { End::Unreachable } else { End::Ok });
            let outcome = Outcome { call_seq, end, upstream_us: None, result_bytes: None, result_hash: None };
            let ended = Event { seq, ts_us: event.ts_us, body: Body::Outcome(outcome) };
            for (candidate, _) in [&mut by_name, &mut by_code] {
                assert_eq!(candidate.event(&EventRef::from(&ended)), None);
            }
            by_name.1.event(&event, Label::Clean);
            by_code.1.event(&coded, Label::Clean);
        }
    }
    let (report, found) = (by_name.0.report(), by_code.0.report());
    assert!(report.all.change.newly_refused > 100 && report.by_rule.len() > 3 && report.sessions == 5, "{report:?}");
    assert_eq!(report, found);
    for scope in [Scope::Session, Scope::Grant, Scope::Agent] {
        let counts = |columns: &Columns| {
            let layout = columns.lay_out(&[], scope).unwrap();
            let counts = layout.plain(&[60_000_000], 1).remove(0);
            (0..20).map(|max| counts.at(max).clean).collect::<Vec<_>>()
        };
        assert_eq!(counts(&by_name.1), counts(&by_code.1), "{scope:?}");
    }
}

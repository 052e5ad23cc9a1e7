use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tollbook_backtest::{Fidelity, Lineage};
use tollbook_engine::{Body, Engine, Reads, State};
use tollbook_log::{Log, Options, ReadError, Reader, SegmentFile};
use tollbook_policy::Target;

use super::super::Manner;
use super::*;

const POLICY: &str = "default deny\ntool t { limit 4 per day per grant }\n";

/// A disk that counts what it is given, and takes nothing once it is full.
#[derive(Clone, Default)]
struct Disk {
    writes: Arc<AtomicUsize>,
    full: Arc<AtomicBool>,
    /// Bytes that still go onto it once it is full.
    room: Arc<AtomicUsize>,
}

struct OnDisk(std::fs::File, Disk);

impl SegmentFile for OnDisk {
    fn append(&self, bytes: &[u8]) -> std::io::Result<()> {
        self.1.writes.fetch_add(1, Ordering::SeqCst);
        if self.1.full.load(Ordering::SeqCst) {
            self.0.append(&bytes[..self.1.room.load(Ordering::SeqCst).min(bytes.len())])?;
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.0.append(bytes)
    }

    fn sync(&self) -> std::io::Result<()> {
        // Only what is handed over by the desk is counted here.
        Ok(())
    }
}

fn desk(dir: &std::path::Path, disk: &Disk, on_log_failure: OnLogFailure) -> Mutex<Desk> {
    let policy = tollbook_policy::read("p.toll", POLICY, Target::Native).unwrap().policy;
    let engine = Engine::compile(&policy, "srv").unwrap();
    let disk = disk.clone();
    let file_seam: tollbook_log::FileSeam = Arc::new(move |file| Arc::new(OnDisk(file, disk.clone())));
    let (log, _) = Log::open(dir, Options { file_seam, ..Options::default() }).unwrap();
    let manner = Manner { on_log_failure, ..Manner::usual() };
    let mut desk = Desk::open(log, manner, Box::new(|| 1_000)).unwrap();
    desk.activate(engine, None, &policy).unwrap();
    Mutex::new(desk)
}

fn call(id: u64, tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

/// What becomes of each: `+` and its number in the log, `?` where it isn't in it, or the code of the refusal.
fn told(desk: &Mutex<Desk>, connection: &Mutex<Connection>, frames: &[String]) -> Vec<String> {
    let frames: Vec<_> = frames.iter().map(|frame| Frame::read(frame.as_bytes())).collect();
    let (_, steps) = Desk::hear(desk, connection, &[], &frames, &Headers::default());
    let told = |step| match step {
        Step::Forward { call: Some(call), .. } => format!("{}{}", if call.recorded { '+' } else { '?' }, call.seq),
        Step::Forward { call: None, .. } => "passes".to_owned(),
        Step::Answer(answer) | Step::Refuse(answer) => {
            let answer = String::from_utf8(answer).unwrap();
            let codes = ["log_unavailable", "default_deny", "id_in_flight", "frame_not_json", "limit"];
            codes.into_iter().find(|code| answer.contains(code)).unwrap_or(&answer).to_owned()
        }
        Step::Drop => "dropped".to_owned(),
    };
    steps.into_iter().map(told).collect()
}

fn recorded(dir: &std::path::Path) -> Vec<String> {
    let reader = Reader::open(&[dir]).unwrap();
    let events = reader.instances().flat_map(|instance| reader.events(instance).unwrap());
    let kind = |body| match body {
        Body::Decision(record) => record.verdict.map(|verdict| verdict.as_str().to_owned()),
        Body::Outcome(outcome) => Some(format!("{} {}", outcome.call_seq, outcome.end.as_str())),
        Body::Gap(gap) => Some(format!("gap of {:?}", gap.calls)),
        _ => None,
    };
    events.filter_map(|event| kind(event.unwrap().body)).collect()
}

/// What a replay gives back of each gateway's log: decisions that came out as recorded.
fn replayed(dir: &std::path::Path) -> Vec<u64> {
    let reader = Reader::open(&[dir]).unwrap();
    let replayed = |instance: &str| {
        let mut fidelity = Fidelity::default();
        fidelity.begin(instance, &Lineage::default());
        let events = reader.replay(instance, Reads::ALL).unwrap();
        let replayed = events.each(|event| {
            if let Some(hash) = fidelity.lacks(event) {
                let json = reader.policy(hash).unwrap();
                fidelity.policy(hash, tollbook_policy::read("p.json", &json, Target::Native).unwrap().policy);
            }
            if let BodyRef::Other(Body::Carried(carried)) = &event.body {
                let state = reader.carried(instance, event.seq, carried).unwrap().unwrap();
                fidelity.carried(State::restore(&state, 0).unwrap());
            }
            fidelity.event(event);
            Ok::<_, ReadError>(std::ops::ControlFlow::Continue(()))
        });
        replayed.unwrap();
        assert_eq!((fidelity.different, fidelity.unknown), (0, 0), "{:?}", fidelity.differences);
        fidelity.same
    };
    reader.instances().map(replayed).collect()
}

#[test]
fn what_comes_together_is_judged_in_its_order_and_written_at_once() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let desk = desk(dir.path(), &disk, OnLogFailure::Refuse);
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    let before = disk.writes.load(Ordering::SeqCst);
    let frames = [call(1, "t"), " \n".to_owned(), call(2, "t"), call(3, "t")];
    assert_eq!(told(&desk, &connection, &frames), ["+2", "passes", "+3", "+4"]);
    let writes = disk.writes.load(Ordering::SeqCst) - before;
    assert!(writes <= 2, "{writes} writes: one, and one where a sync came between");
    let answer = |id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#);
    let answers = [1, 2, 3].map(answer);
    let answers: Vec<&[u8]> = answers.iter().map(String::as_bytes).collect();
    let (returned, _) = Desk::hear(&desk, &connection, &answers, &[], &Headers::default());
    assert_eq!(returned.iter().map(|returned| &*returned.bytes).collect::<Vec<_>>(), answers);
    assert!(disk.writes.load(Ordering::SeqCst) - before <= 2 * writes.max(2));
    let cancels = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#.to_owned();
    let frames = [call(4, "t"), call(4, "t"), "{".to_owned(), call(5, "x"), cancels, call(6, "t")];
    let told = told(&desk, &connection, &frames);
    assert_eq!(told[..5], ["+8", "id_in_flight", "frame_not_json", "default_deny", "passes"]);
    assert!(told[5].contains("limit"), "{told:?}");
    desk.into_inner().unwrap().close().unwrap();
    let ends = ["2 ok", "3 ok", "4 ok"];
    let expected = [&["allow"; 3][..], &ends, &["allow", "deny", "deny", "deny", "8 cancelled", "deny"]].concat();
    assert_eq!(recorded(dir.path()), expected);
}

/// Else a call would be judged on one day, recorded on the next, and replayed with another's counters.
#[test]
fn what_comes_together_has_come_at_one_instant() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let desk = desk(dir.path(), &disk, OnLogFailure::Refuse);
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    let frames = [call(1, "t"), call(2, "t"), call(3, "t"), call(4, "t")];
    assert_eq!(told(&desk, &connection, &frames), ["+2", "+3", "+4", "+5"]);
    let looks = AtomicUsize::new(0);
    // The day ends once the clock was looked at.
    let clock = move || if looks.fetch_add(1, Ordering::SeqCst) == 0 { 2_000 } else { 86_400_000_000 };
    lock(&desk).clock = Box::new(clock);
    let cancels = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#.to_owned();
    assert_eq!(told(&desk, &connection, &[cancels, call(5, "t")]), ["passes", "limit"]);
    assert_eq!(told(&desk, &connection, &[call(6, "t")]), ["+8"]);
    desk.into_inner().unwrap().close().unwrap();
    assert_eq!(replayed(dir.path()), [6]);
}

#[test]
fn calls_whose_common_write_fails_are_refused_and_give_their_units_back() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let desk = desk(dir.path(), &disk, OnLogFailure::Refuse);
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    assert_eq!(told(&desk, &connection, &[call(1, "t")]), ["+2"]);
    disk.full.store(true, Ordering::SeqCst);
    let frames = [call(2, "t"), call(3, "t"), call(4, "t")];
    assert_eq!(told(&desk, &connection, &frames), ["log_unavailable"; 3]);
    assert_eq!(lock(&desk).state.in_flight(), 1, "only the first one is under way");
    assert_eq!(lock(&desk).gap.calls, 3);
    disk.full.store(false, Ordering::SeqCst);
    // The same ids again: nobody waits for the answers any more. Of four units, the first call has one.
    let again = told(&desk, &connection, &[call(2, "t"), call(3, "t"), call(4, "t"), call(5, "t")]);
    assert!(again[..3].iter().all(|step| step.starts_with('+')) && again[3].contains("limit"), "{again:?}");
    desk.into_inner().unwrap().close().unwrap();
    assert_eq!(recorded(dir.path()), ["allow", "gap of Some(3)", "allow", "allow", "allow", "deny"]);
}

#[test]
fn calls_whose_common_write_fails_go_on_unrecorded_where_they_may() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let desk = desk(dir.path(), &disk, OnLogFailure::Allow);
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    disk.full.store(true, Ordering::SeqCst);
    assert_eq!(told(&desk, &connection, &[call(1, "t"), call(2, "t")]), ["?2", "?3"]);
    // Its end isn't recorded either.
    let answer = br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    Desk::hear_server(&desk, &connection, answer);
    disk.full.store(false, Ordering::SeqCst);
    assert!(told(&desk, &connection, &[call(3, "t")])[0].starts_with('+'));
    desk.into_inner().unwrap().close().unwrap();
    assert_eq!(recorded(dir.path()), ["gap of Some(2)", "allow"]);
}

/// Wherever the write broke off, none of the calls went on, none has used anything up, and both logs replay.
#[test]
fn a_common_write_that_breaks_off_refuses_its_calls_and_the_log_replays() {
    for room in [0, 1, 100, 200, 300, 500, 10_000] {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
        let desk = desk(dir.path(), &disk, OnLogFailure::Refuse);
        let connection = Mutex::new(Connection::new("srv", "g", "s"));
        assert_eq!(told(&desk, &connection, &[call(1, "t")]), ["+2"]);
        disk.room.store(room, Ordering::SeqCst);
        disk.full.store(true, Ordering::SeqCst);
        let frames = [call(2, "t"), " ".to_owned(), call(3, "t"), call(4, "t")];
        let refused = ["log_unavailable", "passes", "log_unavailable", "log_unavailable"];
        assert_eq!(told(&desk, &connection, &frames), refused, "{room}");
        disk.full.store(false, Ordering::SeqCst);
        let again = told(&desk, &connection, &[call(2, "t"), call(3, "t"), call(4, "t"), call(5, "t")]);
        assert!(again[..3].iter().all(|step| step.starts_with('+')) && again[3].contains("limit"), "{again:?}");
        desk.into_inner().unwrap().close().unwrap();
        // What has come onto the disk before the write broke off is judged by a replay as well.
        let replayed = replayed(dir.path());
        assert!((1..=4).contains(&replayed[0]) && replayed[1..] == [4], "{room}: {replayed:?}");
        assert!(room > 0 || replayed[0] == 1);
        let decisions = recorded(dir.path()).iter().filter(|kind| !kind.starts_with("gap")).count();
        assert_eq!(u64::try_from(decisions).unwrap(), replayed[0] + 4, "every decision of the log");
    }
}

/// The answer is the client's, whatever becomes of its record.
#[test]
fn an_end_that_cannot_be_recorded_is_told_and_the_log_replays() {
    let answer = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#;
    let other = br#"{"jsonrpc":"2.0","id":2,"result":{"content":[]}}"#;
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let desk = desk(dir.path(), &disk, OnLogFailure::Refuse);
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    assert_eq!(told(&desk, &connection, &[call(1, "t"), call(2, "t")]), ["+2", "+3"]);
    disk.full.store(true, Ordering::SeqCst);
    let (returned, _) = Desk::hear(&desk, &connection, &[answer, other], &[], &Headers::default());
    let returned: Vec<_> = returned.iter().map(|returned| &*returned.bytes).collect();
    assert_eq!(returned, [answer.as_slice(), other]);
    disk.full.store(false, Ordering::SeqCst);
    // The first call gave its unit back, so three of four are left.
    let frames = [call(4, "t"), call(5, "t"), call(6, "t"), call(7, "t")];
    let again = told(&desk, &connection, &frames);
    assert!(again[..3].iter().all(|step| step.starts_with('+')) && again[3].contains("limit"), "{again:?}");
    desk.into_inner().unwrap().close().unwrap();
    assert_eq!(recorded(dir.path()), ["allow", "allow", "gap of Some(0)", "allow", "allow", "allow", "deny"]);
    assert_eq!(replayed(dir.path()), [2, 4]);
}

/// As where the record of a call could not be synced: it doesn't go on, and isn't paid for.
#[test]
fn a_call_that_is_not_forwarded_because_the_log_failed_uses_nothing_up() {
    let (dir, disk) = (tempfile::tempdir().unwrap(), Disk::default());
    let desk = desk(dir.path(), &disk, OnLogFailure::Refuse);
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    let frame = call(1, "t");
    let (_, steps) = Desk::hear(&desk, &connection, &[], &[Frame::read(frame.as_bytes())], &Headers::default());
    let Step::Forward { call: Some(ticket), .. } = steps[0] else { panic!("{steps:?}") };
    disk.full.store(true, Ordering::SeqCst);
    let end = super::super::End::Unreachable;
    assert!(lock(&desk).not_forwarded(&mut lock(&connection), ticket, end).is_some());
    disk.full.store(false, Ordering::SeqCst);
    let again = told(&desk, &connection, &[call(2, "t"), call(3, "t"), call(4, "t"), call(5, "t")]);
    assert!(again.iter().all(|step| step.starts_with('+')), "{again:?}");
    desk.into_inner().unwrap().close().unwrap();
    assert_eq!(replayed(dir.path()), [1, 4]);
}

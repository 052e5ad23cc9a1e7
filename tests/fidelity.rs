//! The claim: a log that the gateway wrote gives back every decision, whatever was in force and whatever happened.
//!
//! Random policies judge random calls of several sessions, grants and servers; answers fail, are lost or never come,
//! calls are held, answered, cancelled, counters reset, policies changed, the process ends and another goes on. Then
//! the log is replayed, merged, pruned, and replayed again. `TOLLBOOK_CASES` says how many logs; a failure names its
//! seed, and `TOLLBOOK_SEED` runs that one.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use fastrand::Rng;
use tollbook_backtest::{Fidelity, Lineage};
use tollbook_engine::{Body, BodyRef, Engine, Kept, Mode, PolicyHash, Reads, State};
use tollbook_gateway::operator::{Request, Response};
use tollbook_gateway::{Connection, Desk, End, Headers, Manner, OnLogFailure, Step};
use tollbook_log::prune::{Own, PruneOptions, prune};
use tollbook_log::redact::Redaction;
use tollbook_log::{Log, Options, ReadError, Reader};
use tollbook_policy::{Policy, Target};

use crate::program::{Dir, tollbook};

/// 2026-01-05T09:00:00Z, a Monday.
const BEGINS_US: i64 = 1_767_603_600_000_000;
/// A play lasts for a day and a half.
const PRUNED_BEFORE: &str = "2026-01-05T20:00:00Z";
const TOOLS: [&str; 5] = ["list_notes", "create_note", "delete_note", "pay_invoice", "run_job"];

/// A policy of a handful of clauses of every kind.
fn policy(random: &mut Rng) -> String {
    let mut text = "default allow\n".to_owned();
    let limit = |random: &mut Rng| {
        let window = ["minute", "hour", "day", "rolling 2m", "rolling hour"][random.usize(..5)];
        let scope = ["grant", "session", "agent", "server", "everyone"][random.usize(..5)];
        let shadow = if random.u8(..6) == 0 { "shadow " } else { "" };
        (window, scope, shadow, random.u32(1..9))
    };
    if random.bool() {
        let (window, scope, shadow, max) = limit(random);
        writeln!(text, "all tools {{ {shadow}limit {} per {window} per {scope} }}", max * 4).unwrap();
    }
    if random.bool() {
        let run = ["identical calls", "identical results", "failures", "repeats of a cycle up to 3 calls"];
        let after = random.u32(2..5);
        writeln!(text, "all tools {{ break after {after} {} within 5m }}", run[random.usize(..4)]).unwrap();
    }
    if random.bool() {
        let (window, scope, shadow, max) = limit(random);
        let count = ["total", "each"][random.usize(..2)];
        let of = ["category write", "create_note, pay_*", "*_note"][random.usize(..3)];
        writeln!(text, "group some of {of} {{ {shadow}limit {count} {max} per {window} per {scope} }}").unwrap();
    }
    if random.bool() {
        let (window, scope, shadow, max) = limit(random);
        let of = format!("{shadow}limit {} of args.amount per {window} per {scope}", max * 40);
        writeln!(text, "tool pay_invoice {{ {of} }}").unwrap();
    }
    if random.bool() {
        writeln!(text, "tool pay_invoice {{ deny when args.amount > {} }}", random.u32(50..120)).unwrap();
    }
    if random.bool() {
        writeln!(text, "tool delete_note {{ approve by \"lead\" within 10m }}").unwrap();
    }
    if random.u8(..4) == 0 {
        writeln!(text, "tool run_job {{ only during mon..tue 09:00..10:30 \"Europe/Oslo\" }}").unwrap();
    }
    text
}

struct Play {
    random: Rng,
    now_us: Arc<AtomicI64>,
    desk: Desk,
    connections: Vec<Connection>,
    id: u64,
}

impl Play {
    fn begin(log: &str, seed: u64, now_us: &Arc<AtomicI64>) -> Self {
        let mut random = Rng::with_seed(seed);
        let (wall, sealed) = (Arc::clone(now_us), Arc::clone(now_us));
        let options = Options {
            seal_events_max: random.u64(5..60),
            clock: Arc::new(move || sealed.load(Ordering::Relaxed)),
            ..Options::default()
        };
        let (log, _) = Log::open(Path::new(log), options).unwrap();
        let manner = Manner {
            mode: if random.u8(..8) == 0 { Mode::Shadow } else { Mode::Enforce },
            kept: [Kept::Read, Kept::Full][random.usize(..2)],
            redaction: Redaction::default(),
            on_log_failure: OnLogFailure::Refuse,
            waits_for_sync: false,
            seed: random.u64(..),
        };
        let dir = log.dir().to_owned();
        let mut desk = Desk::open(log, manner, Box::new(move || wall.load(Ordering::Relaxed))).unwrap();
        carry_on(&dir, &mut desk, random.bool());
        desk.knows_grants((0..3).map(|number| format!("grant{number}")).collect());
        let connect = |number: u64| {
            let server = format!("server{}", number % 2);
            Connection::new(&server, &format!("grant{}", number % 3), &format!("session{number}"))
        };
        let mut play =
            Self { random, now_us: Arc::clone(now_us), desk, connections: (0..4).map(connect).collect(), id: 0 };
        play.change_policy("server0");
        play.change_policy("server1");
        play
    }

    /// Takes the first half of what was recorded by now out of the log, while it goes on.
    /// Whether anything was old enough is said.
    fn prune(&mut self, log: &str) -> bool {
        let now_us = self.now_us.load(Ordering::Relaxed);
        let before_us = BEGINS_US + (now_us - BEGINS_US) / 2;
        let options = PruneOptions { before_us, grace_s: 0, signer: None, now_us };
        let instance = self.desk.instance().unwrap();
        let desk = &mut self.desk;
        let mut tell = |told| desk.prune(told).map(drop).map_err(|error| error.to_string());
        let own = Own { instance: &instance, tell: &mut tell };
        let state = &mut |reader: &Reader, of: &str, seq| Ok(Some(state_at(reader, of, seq)));
        let done = prune(Path::new(log), &options, Some(own), state).unwrap();
        done.pruned.iter().any(|(pruned, _)| *pruned == instance)
    }

    fn change_policy(&mut self, server: &str) {
        let text = policy(&mut self.random);
        let policy: Policy = tollbook_policy::read("p.toll", &text, Target::Native)
            .unwrap_or_else(|errors| panic!("{text}\n{errors:?}"))
            .policy;
        let grant = (self.random.u8(..3) == 0).then_some("grant1");
        self.desk.activate(Engine::compile(&policy, server).unwrap(), grant, &policy).unwrap();
    }

    fn step(&mut self) {
        let pause_us = [0, 1, 900_000, 20_000_000, 61_000_000, 1_800_000_000][self.random.usize(..6)];
        // Now and then the clock goes back.
        let pause_us = if self.random.u8(..40) == 0 { -5_000_000 } else { pause_us };
        self.now_us.fetch_add(pause_us, Ordering::Relaxed);
        match self.random.u8(..40) {
            0 => {
                let server = ["server0", "server1"][self.random.usize(..2)];
                self.change_policy(server);
            }
            1 => {
                let request =
                    Request::Reset { counter: None, key: self.random.bool().then(|| "grant1".into()), by: None };
                assert!(!matches!(self.desk.operate(request), Response::Refused(_)));
            }
            2 => {
                let frozen = self.random.bool();
                let request = Request::Freeze { grant: "grant2".into(), frozen, by: None };
                // Nothing is thawed that isn't frozen.
                let refused = matches!(self.desk.operate(request), Response::Refused(_));
                assert!(!refused || !frozen);
            }
            3..8 => self.answer_a_held_call(),
            _ => self.call(),
        }
    }

    fn answer_a_held_call(&mut self) {
        let Response::Approvals(held) = self.desk.operate(Request::Approvals) else { panic!("no list") };
        if let Some(held) = held.first() {
            let (approval, approved) = (held.approval.clone(), self.random.u8(..4) > 0);
            self.desk.operate(Request::Answer { approval, approved, by: Some("lead".into()) });
        }
    }

    fn call(&mut self) {
        self.id += 1;
        let at = self.random.usize(..self.connections.len());
        let tool = TOOLS[self.random.usize(..TOOLS.len())];
        let amount = ["5", "40", "99.5", "\"much\"", "-3"][self.random.usize(..5)];
        let id = self.id;
        let frame = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{{"amount":{amount}}}}}}}"#
        );
        let connection = &mut self.connections[at];
        let Step::Forward { call: Some(ticket), .. } =
            self.desk.from_client(connection, frame.as_bytes(), &Headers::default())
        else {
            return;
        };
        let result = self.random.u8(..3);
        let answer = match self.random.u8(..12) {
            0 => return drop(self.desk.not_forwarded(connection, ticket, End::Unreachable)),
            1 => return drop(self.desk.not_forwarded(connection, ticket, End::Lost)),
            // It is still being worked on when the process ends.
            2 => return,
            3 => format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#),
            4 => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no"}}}}"#),
            5 | 6 => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{result}],"isError":true}}}}"#),
            _ => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{result}]}}}}"#),
        };
        if answer.contains("cancelled") {
            self.desk.from_client(connection, answer.as_bytes(), &Headers::default());
        } else {
            self.desk.from_server(connection, answer.as_bytes());
        }
    }
}

/// Takes up what the processes before have counted, from what they left or from a replay.
fn carry_on(log: &Path, desk: &mut Desk, from_replay: bool) {
    let reader = Reader::open(&[log]).unwrap();
    let earlier = reader.earlier().unwrap();
    for server in ["server0", "server1"] {
        let left = earlier.left_behind(server).into_iter().map(|instance| {
            let left = State::restore(&reader.left(instance).unwrap().unwrap(), 0).unwrap();
            let replayed = replayed(&reader, instance, u64::MAX).into_state();
            assert_eq!(left.snapshot(), replayed.snapshot(), "{instance}");
            (instance, if from_replay { replayed } else { left })
        });
        let left: Vec<(&str, State)> = left.collect();
        desk.carry_on(server, &left.iter().map(|(instance, state)| (*instance, state)).collect::<Vec<_>>()).unwrap();
    }
}

/// What a replay of the instance has counted before an event.
fn state_at(reader: &Reader, instance: &str, seq: u64) -> Vec<u8> {
    replayed(reader, instance, seq).snapshot()
}

fn replayed(reader: &Reader, instance: &str, seq: u64) -> Fidelity {
    let mut fidelity = Fidelity::default();
    let known = |fidelity: &mut Fidelity, hash: PolicyHash| {
        let json = reader.policy(hash).unwrap();
        fidelity.policy(hash, tollbook_policy::read("p.json", &json, Target::Native).unwrap().policy);
    };
    match reader.snapshot(instance).unwrap() {
        Some(state) => {
            for hash in Fidelity::snapshot_policies(&state).unwrap() {
                known(&mut fidelity, hash);
            }
            fidelity.restore(instance, &Lineage::default(), &state).unwrap();
        }
        None => fidelity.begin(instance, &Lineage::default()),
    }
    let replayed = reader.replay(instance, Reads::ALL).unwrap().each(|event| {
        if event.seq >= seq {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(hash) = fidelity.lacks(event) {
            known(&mut fidelity, hash);
        }
        if let BodyRef::Other(Body::Carried(carried)) = &event.body {
            let state = reader.carried(instance, event.seq, carried).unwrap().unwrap();
            fidelity.carried(State::restore(&state, 0).unwrap());
        }
        fidelity.event(event);
        Ok::<_, ReadError>(ControlFlow::Continue(()))
    });
    replayed.unwrap();
    assert_eq!(fidelity.different, 0);
    fidelity
}

/// Whether the gateways of a play prune their own logs while they record.
fn prunes_itself(seed: u64) -> bool {
    seed % 2 == 1
}

/// Writes a log of some processes, one after the other.
/// Whether one of them pruned its own instance is said.
fn play(log: &str, seed: u64) -> bool {
    let mut pruned = false;
    let now_us = Arc::new(AtomicI64::new(BEGINS_US));
    for process in 0..3 {
        let mut play = Play::begin(log, seed * 3 + process, &now_us);
        for step in 0..150 {
            play.step();
            if step == 100 && prunes_itself(seed) {
                pruned |= play.prune(log);
            }
        }
        play.desk.close().unwrap();
    }
    pruned
}

#[test]
fn every_log_that_the_gateway_writes_gives_back_every_decision() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("TOLLBOOK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TOLLBOOK_CASES").unwrap_or(12),
    };
    let (all, mut pruned_itself) = (seeds.clone(), 0);
    for seed in seeds {
        let dir = Dir::new();
        let log = dir.path("log");
        pruned_itself += u64::from(play(&log, seed));
        let candidate = dir.file("candidate.toll", "default allow\n");
        let replay = |what: &str| {
            let told = tollbook(&["backtest", "--log", &log, &candidate]);
            assert_eq!(told.code, Some(0), "seed {seed}, {what}: {}", told.out);
            assert!(told.out.starts_with("fidelity 100.00 % ("), "seed {seed}, {what}: {}", told.out);
            assert!(!told.out.contains("can't be replayed"), "seed {seed}, {what}: {}", told.out);
        };
        replay("as written");
        let pruned = tollbook(&["log", "prune", &log, "--before", PRUNED_BEFORE, "--grace-s", "0"]).ok();
        assert!(prunes_itself(seed) || pruned.contains("removed the events before"), "seed {seed}: {pruned}");
        replay("pruned");
        tollbook(&["compact", &log, "--grace-s", "0"]).ok();
        replay("merged");
    }
    assert!(pruned_itself > 0 || all.end - all.start < 12, "no gateway pruned its own instance");
}

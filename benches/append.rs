//! What recording costs: records a second, syncs shared by callers, verification, import, and bytes a call.
//!
//! `cargo bench -p tollbook-log --bench append`. The log goes where `TOLLBOOK_BENCH_DIR` says, by default
//! among the temporary files. The calls are made up from a seed in the shape of real traces: sessions of
//! a dozen calls over forty tools, two limits over each call, arguments and results that repeat now and
//! then, and nothing kept of the arguments but their hash.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints figures of numbers that are small, and stops where something is wrong"
)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use parquet::file::reader::{FileReader, SerializedFileReader};
use tollbook_engine::{
    Body, End, Hash128, Judge, Kept, LimitFact, Mode, Outcome, PolicyHash, Record, RecordedArgs, Verdict,
};
use tollbook_log::import::{ImportOptions, import};
use tollbook_log::schema::Kind;
use tollbook_log::verify::{Evidence, Verdict as Answer, verify};
use tollbook_log::{Durability, Log, Options, Reader, Signer};

const CALLS: u64 = 1_000_000;
const START_US: i64 = 1_795_392_000_000_000;

/// Calls and their outcomes, one after the other.
struct Traffic {
    random: fastrand::Rng,
    now_us: i64,
    sessions: Vec<Session>,
    hashes: Vec<Hash128>,
    used: i64,
}

struct Session {
    name: String,
    agent: &'static str,
    calls_left: u32,
    request: u64,
    used: i64,
}

const AGENTS: [&str; 3] = ["claude-code/2.1.4", "support-bot/0.9.0", "codex/1.3.2"];

impl Traffic {
    fn new(seed: u64) -> Self {
        let mut traffic = Self {
            random: fastrand::Rng::with_seed(seed),
            now_us: START_US,
            sessions: Vec::new(),
            hashes: Vec::new(),
            used: 0,
        };
        for _ in 0..8 {
            let session = traffic.session();
            traffic.sessions.push(session);
        }
        traffic
    }

    fn session(&mut self) -> Session {
        Session {
            name: format!("{:016x}", self.random.u64(..)),
            agent: AGENTS[self.random.usize(..AGENTS.len())],
            calls_left: self.random.u32(4..20),
            request: 0,
            used: 0,
        }
    }

    /// A hash that was there before in one case of eight.
    fn hash(&mut self) -> Hash128 {
        if !self.hashes.is_empty() && self.random.u8(..8) == 0 {
            return self.hashes[self.random.usize(..self.hashes.len())];
        }
        let hash = Hash128(self.random.u128(..).to_le_bytes());
        if self.hashes.len() < 64 {
            self.hashes.push(hash);
        } else {
            let at = self.random.usize(..64);
            self.hashes[at] = hash;
        }
        hash
    }

    fn fact(counter: &str, scope: &str, key: &str, window_s: u64, used: i64, max: i64, now_us: i64) -> LimitFact {
        let window_us = i64::try_from(window_s).unwrap() * 1_000_000;
        LimitFact {
            counter: counter.into(),
            owner: "all tools".into(),
            scope: scope.into(),
            key: key.into(),
            window_s,
            rolling: false,
            window_start_us: now_us - now_us % window_us,
            used_before_micros: used * 1_000_000,
            amount_micros: Some(1_000_000),
            max_micros: max * 1_000_000,
            frees_at_us: None,
            shadow: false,
        }
    }

    fn call(&mut self) -> (i64, Body) {
        self.now_us += self.random.i64(1_000..900_000);
        let at = self.random.usize(..self.sessions.len());
        if self.sessions[at].calls_left == 0 {
            self.sessions[at] = self.session();
        }
        let (hash, skew) = (self.hash(), self.random.u32(..));
        self.used = if self.now_us % 60_000_000 < 900_000 { 0 } else { self.used + 1 };
        let session = &mut self.sessions[at];
        session.calls_left -= 1;
        session.request += 1;
        session.used += 1;
        let tool = (skew.trailing_zeros() * 3 + skew % 3) % 40;
        let now_us = self.now_us;
        let record = Record {
            judged_by: Judge::Engine,
            server: "billing".into(),
            session: Some(session.name.clone()),
            grant: Some("support".into()),
            agent: Some(session.agent.into()),
            request_id: Some(session.request.to_string()),
            tool: Some(format!("tool_{tool}")),
            args: RecordedArgs {
                kept: Kept::None,
                json: None,
                keys: Some(vec!["amount".into(), "customer".into()]),
                hash: Some(hash),
                bytes: Some(40 + u64::from(skew % 64)),
            },
            policy: Some(PolicyHash([7; 32])),
            mode: Mode::Enforce,
            verdict: Some(Verdict::Allow),
            reason: Some("allowed".into()),
            rule: None,
            message: None,
            limits: vec![
                Self::fact("all_tools_rate", "grant", "support", 60, self.used, 600, now_us),
                Self::fact("session_hour", "session", &session.name, 3600, session.used, 100, now_us),
            ],
            decide_ns: Some(u64::from(500 + skew % 400)),
            trace_id: None,
            label: None,
            shadow_rules: Vec::new(),
            loop_period: None,
            loop_repeats: None,
            approval: None,
            category: None,
        };
        (now_us, Body::Decision(Box::new(record)))
    }

    fn outcome(&mut self, call_seq: u64) -> (i64, Body) {
        let upstream_us = self.random.u64(2_000..60_000);
        let outcome = Outcome {
            call_seq,
            end: if self.random.u8(..32) == 0 { End::ToolError } else { End::Ok },
            upstream_us: Some(upstream_us),
            result_bytes: Some(self.random.u64(200..2_000)),
            result_hash: Some(self.hash()),
        };
        self.now_us += i64::try_from(upstream_us).unwrap();
        (self.now_us, Body::Outcome(outcome))
    }
}

fn dir() -> tempfile::TempDir {
    let base = std::env::var_os("TOLLBOOK_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::tempdir_in(base).unwrap()
}

fn open(dir: &Path, durability: Durability, signer: Option<Signer>) -> Log {
    Log::open(dir, Options { durability, signer: signer.map(Arc::new), ..Options::default() }).unwrap().0
}

/// `write` through one writer: calls alone, prepared before, so that only recording is timed.
fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).throughput(Throughput::Elements(1));
    for (name, signer) in [("write", None), ("write, signed", Some(Signer::from_secret(&[1; 32])))] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|times| {
                let dir = dir();
                let log = open(dir.path(), Durability::Write, signer.clone());
                let mut traffic = Traffic::new(7);
                let mut took = Duration::ZERO;
                let mut left = times;
                while left > 0 {
                    let calls: Vec<_> = (0..left.min(20_000)).map(|_| traffic.call()).collect();
                    left -= calls.len() as u64;
                    let start = Instant::now();
                    for (ts_us, body) in calls {
                        log.append(ts_us, body).unwrap();
                    }
                    took += start.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

/// `fsync` with one caller and with 64, beside a sync of as many bytes with nothing around it.
fn fsync(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fsync");
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).throughput(Throughput::Elements(1));
    group.bench_function("raw sync", |bencher| {
        let dir = dir();
        let mut file = File::create(dir.path().join("raw")).unwrap();
        bencher.iter(|| {
            file.write_all(&[7; 400]).unwrap();
            file.sync_data().unwrap();
        });
    });
    for callers in [1, 64] {
        group.bench_function(format!("{callers} callers"), |bencher| {
            bencher.iter_custom(|times| {
                let dir = dir();
                let log = open(dir.path(), Durability::Fsync, None);
                let each = times.div_ceil(callers);
                let start = Instant::now();
                std::thread::scope(|scope| {
                    for caller in 0..callers {
                        let log = &log;
                        scope.spawn(move || {
                            let mut traffic = Traffic::new(caller);
                            for _ in 0..each {
                                let (ts_us, body) = traffic.call();
                                log.wait_recorded(log.append(ts_us, body).unwrap()).unwrap();
                            }
                        });
                    }
                });
                start.elapsed().mul_f64(times as f64 / (each * callers) as f64)
            });
        });
    }
    group.finish();
}

/// A sealed, signed log of a million calls and their outcomes.
fn million(dir: &Path, signer: &Signer) -> Duration {
    let start = Instant::now();
    let log = open(dir, Durability::Write, Some(signer.clone()));
    let mut traffic = Traffic::new(7);
    for _ in 0..CALLS {
        let (ts_us, body) = traffic.call();
        let seq = log.append(ts_us, body).unwrap();
        let (ts_us, body) = traffic.outcome(seq);
        log.append(ts_us, body).unwrap();
    }
    log.close().unwrap();
    start.elapsed()
}

fn verified(criterion: &mut Criterion, dir: &Path, signer: &Signer) {
    let mut group = criterion.benchmark_group("read");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).throughput(Throughput::Elements(2 * CALLS));
    let evidence = Evidence { keys: vec![signer.public()], heads: Vec::new() };
    group.bench_function("verify, records", |bencher| {
        bencher.iter(|| assert_eq!(verify(dir, &evidence).unwrap().verdict(), Answer::Intact));
    });
    group.finish();
}

fn imported(criterion: &mut Criterion) {
    const RECORDS: u64 = 200_000;
    let mut group = criterion.benchmark_group("import");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).throughput(Throughput::Elements(RECORDS));
    let source = dir();
    let path = source.path().join("trace.jsonl");
    let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
    let mut random = fastrand::Rng::with_seed(7);
    for n in 0..RECORDS {
        let (session, ts) = (n / 12, START_US / 1_000_000 + i64::try_from(n).unwrap());
        let ts = criterion_time(ts);
        let (tool, customer, amount) = (random.u8(..40), random.u32(..), random.u16(..));
        writeln!(
            file,
            r#"{{"ts":"{ts}","seq":{},"session":"s{session}","agent":"m-1","server":"billing","tool":"tool_{tool}","args":{{"customer":"c_{customer:08x}","amount":{amount}}},"is_error":false,"result_bytes":{amount}}}"#,
            n % 12
        )
        .unwrap();
    }
    file.flush().unwrap();
    group.bench_function("canonical JSONL, records", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let log = dir();
                    let start = Instant::now();
                    import(log.path(), &path, &ImportOptions::default()).unwrap();
                    start.elapsed()
                })
                .sum()
        });
    });
    group.finish();
}

fn criterion_time(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().to_string()
}

/// Compressed bytes a call, by column, largest first.
fn bytes(dir: &Path) {
    let reader = Reader::open(&[dir]).unwrap();
    let mut columns: Vec<(String, i64)> = Vec::new();
    let mut files = 0;
    for kind in Kind::ALL {
        for (path, file) in reader.sealed_files(kind) {
            files += file.bytes;
            let parquet = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
            for column in parquet.metadata().row_groups().iter().flat_map(|group| group.columns()) {
                let name = format!("{}.{}", kind.name(), column.column_path().string());
                match columns.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, bytes)) => *bytes += column.compressed_size(),
                    None => columns.push((name, column.compressed_size())),
                }
            }
        }
    }
    columns.sort_by_key(|(_, bytes)| -bytes);
    let calls = CALLS as f64;
    let all: i64 = columns.iter().map(|(_, bytes)| bytes).sum();
    println!("\nbytes a call: {:.2} in files, {:.2} in columns", files as f64 / calls, all as f64 / calls);
    for (name, bytes) in columns.iter().take(24) {
        println!("  {name:40} {:6.2}", *bytes as f64 / calls);
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    append(&mut criterion);
    fsync(&mut criterion);
    let (log, signer) = (dir(), Signer::from_secret(&[1; 32]));
    let took = million(log.path(), &signer);
    println!("a million calls made, recorded, sealed and signed in {:.2} s", took.as_secs_f64());
    bytes(log.path());
    verified(&mut criterion, log.path(), &signer);
    imported(&mut criterion);
    fs::remove_dir_all(log.path()).unwrap();
    criterion.final_summary();
}

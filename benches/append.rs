//! What recording costs: records a second, syncs shared by callers, verification, import, and bytes a call.
//!
//! `cargo bench -p tollbook-log --bench append`. The log goes where `TOLLBOOK_BENCH_DIR` says, by default
//! among the temporary files. The calls are made up from a seed in the shape of real traces: sessions of
//! a dozen calls over forty tools, two limits over each call, arguments and results that repeat now and
//! then, and nothing kept of the arguments but their hash.

#![expect(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints figures of numbers that are small, and stops where something is wrong"
)]

mod traffic;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use parquet::file::reader::{FileReader, SerializedFileReader};
use tollbook_engine::Body;
use tollbook_log::import::{ImportOptions, import};
use tollbook_log::schema::Kind;
use tollbook_log::verify::{Evidence, Verdict as Answer, verify};
use tollbook_log::{Durability, Log, Options, Reader, Signer};

use traffic::{START_US, Traffic};

// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CALLS: u64 = 1_000_000;

/// The next call, and when it is made.
fn call(traffic: &mut Traffic) -> (i64, Body) {
    let (ts_us, record) = traffic.record();
    (ts_us, Body::Decision(Box::new(record)))
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
                    let calls: Vec<_> = (0..left.min(20_000)).map(|_| call(&mut traffic)).collect();
                    left -= calls.len() as u64;
                    let start = Instant::now();
                    for (ts_us, body) in &calls {
                        log.append(*ts_us, body).unwrap();
                    }
                    took += start.elapsed();
                }
                took
            });
        });
    }
    group.finish();
}

/// `fsync` with one caller and with 64, threads and tasks, beside a sync of as many bytes with nothing around it.
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
        group.bench_function(format!("{callers} threads"), |bencher| {
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
                                let (ts_us, body) = call(&mut traffic);
                                log.recorded(log.append(ts_us, body).unwrap()).wait().unwrap();
                            }
                        });
                    }
                });
                start.elapsed().mul_f64(times as f64 / (each * callers) as f64)
            });
        });
    }
    // As in the gateway over HTTP: callers are tasks, which cost no thread to wake.
    group.bench_function("64 tasks", |bencher| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        bencher.iter_custom(|times| {
            let dir = dir();
            let log = Arc::new(open(dir.path(), Durability::Fsync, None));
            let each = times.div_ceil(64);
            let start = Instant::now();
            runtime.block_on(async {
                let callers = (0..64).map(|caller| {
                    let log = Arc::clone(&log);
                    tokio::spawn(async move {
                        let mut traffic = Traffic::new(caller);
                        for _ in 0..each {
                            let (ts_us, body) = call(&mut traffic);
                            let seq = log.append(ts_us, body).unwrap();
                            log.recorded(seq).await.unwrap();
                        }
                    })
                });
                for caller in callers.collect::<Vec<_>>() {
                    caller.await.unwrap();
                }
            });
            start.elapsed().mul_f64(times as f64 / (each * 64) as f64)
        });
    });
    group.finish();
}

/// A sealed, signed log of a million calls and their outcomes.
fn million(dir: &Path, signer: &Signer) -> Duration {
    let start = Instant::now();
    let log = open(dir, Durability::Write, Some(signer.clone()));
    let mut traffic = Traffic::new(7);
    for _ in 0..CALLS {
        let (ts_us, body) = call(&mut traffic);
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

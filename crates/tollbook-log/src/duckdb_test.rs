//! Sealed files are ordinary Parquet: DuckDB reads them as they lie.
//!
//! DuckDB comes from PyPI into a virtual environment below the target directory. Where there is no
//! Python or no network the test says that it was skipped, but never where `CI` is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::testing::{decided, ended};
use crate::{Log, Options};

const NOW: i64 = 1_763_880_412_000_000; // 2025-11-23T06:46:52Z
const DAY: i64 = 86_400_000_000;

fn python() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = exe.ancestors().nth(3).ok_or("no target directory")?;
    let venv = target.join("duckdb-venv");
    let python = venv.join("bin/python");
    let run = |program: &Path, arguments: &[&str]| -> Result<(), String> {
        let done = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
        if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
    };
    if run(&python, &["-c", "import duckdb"]).is_err() {
        run(Path::new("python3"), &["-m", "venv", venv.to_str().ok_or("a path that isn't UTF-8")?])?;
        run(&python, &["-m", "pip", "install", "--quiet", "duckdb==2.0.0"])?;
    }
    Ok(python)
}

fn ask(python: &Path, dir: &Path, sql: &str) -> String {
    let script = "import duckdb, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall(): print(*row, sep='|')";
    let sql = sql.replace("{calls}", &format!("{}/calls/**/*.parquet", dir.display()));
    let done = Command::new(python).args(["-c", script, &sql]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn duckdb_reads_what_was_sealed() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "no DuckDB: {why}");
            println!("skipped: no DuckDB: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { seal_events_max: 7, ..Options::default() }).unwrap();
    for n in 0..10 {
        let seq = log.append(NOW + n * DAY / 5, decided(if n % 3 == 0 { "read" } else { "write" })).unwrap();
        log.append(NOW + n * DAY / 5 + 1000, ended(seq)).unwrap();
    }
    log.close().unwrap();
    let sql = "select tool, count(*), min(date), max(date), min(epoch_us(ts)), sum(len(limits)) \
               from read_parquet('{calls}', hive_partitioning = true) group by tool order by tool";
    assert_eq!(
        ask(&python, dir.path(), sql),
        format!("read|4|2025-11-23|2025-11-25|{NOW}|0\nwrite|6|2025-11-23|2025-11-24|{}|0\n", NOW + DAY / 5)
    );
    let sql = "select bool_and((bloom_filter_offset is not null) = (path_in_schema in ('session', 'tool', 'args_hash'))), \
               bool_and(compression = 'ZSTD') from parquet_metadata('{calls}')";
    assert_eq!(ask(&python, dir.path(), sql), "True|True\n");
}

//! DuckDB in a Python of its own, asked over a pipe: it is a peer and no part of the build.

#![allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints what it finds and stops where something is wrong; each takes what it needs of an answer"
)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// A running DuckDB that sees a log's calls as the view `calls`.
pub struct DuckDb {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// What DuckDB answered.
pub struct Answer {
    /// How long it took.
    pub seconds: f64,
    /// Rows.
    pub rows: u64,
    /// The whole numbers of the first rows; null for what is none.
    pub whole: Vec<Vec<Option<i64>>>,
}

impl DuckDb {
    /// None where `TOLLBOOK_PYTHON` names no Python that has it.
    pub fn start(log: &Path, threads: usize) -> Option<Self> {
        let python = std::env::var_os("TOLLBOOK_PYTHON")?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers/duckdb/ask.py");
        let mut command = Command::new(python);
        command.arg(script).arg(log).arg(threads.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut duckdb = Self { answers: BufReader::new(child.stdout.take().unwrap()), child };
        println!("DuckDB {}", duckdb.line()["version"]);
        Some(duckdb)
    }

    fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Asks in SQL.
    pub fn ask(&mut self, sql: &str) -> Answer {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{}", serde_json::json!({ "sql": sql })).unwrap();
        input.flush().unwrap();
        let answer = self.line();
        Answer {
            seconds: answer["seconds"].as_f64().unwrap(),
            rows: answer["rows"].as_u64().unwrap(),
            whole: serde_json::from_value(answer["whole"].clone()).unwrap(),
        }
    }
}

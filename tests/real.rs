//! Real MCP servers behind the gateway, and a real client in front of it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::program::{Client, Dir, TOLLBOOK, call, query, ran, root, tollbook};

/// Where the real servers are installed; None, said aloud, where they can't be had. In CI they must be.
pub fn installed() -> Option<PathBuf> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            let into = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("real");
            let script = root().join("tests/real/setup.sh");
            let setup = ran(Command::new("bash").arg(script).arg(&into).output().unwrap());
            match setup.code {
                Some(0) => Some(into),
                _ if std::env::var_os("CI").is_some() => panic!("the real servers must be there in CI: {}", setup.err),
                _ => {
                    eprintln!("skipped: no real servers: {}", setup.err.trim());
                    None
                }
            }
        })
        .clone()
}

/// npm's server-filesystem, the same frames with and without Tollbook.
#[test]
fn a_real_server_answers_byte_for_byte_as_without_tollbook() {
    let Some(real) = installed() else { return };
    let dir = Dir::new();
    std::fs::create_dir(dir.path("files")).unwrap();
    let files = std::fs::canonicalize(dir.path("files")).unwrap().to_str().unwrap().to_owned();
    std::fs::write(format!("{files}/a.txt"), "héllo\n").unwrap();
    let server = real.join("node_modules/.bin/mcp-server-filesystem").to_str().unwrap().to_owned();
    let policy = dir.file(
        "p.toll",
        "policy \"files\"\ndefault deny\nallow list_directory\ntool read_text_file { limit 3 per day per grant }\n",
    );
    let log = dir.path("log");
    let mut direct = Client::start(&server, &[&files]);
    let mut through = Client::start(TOLLBOOK, &["run", "--policy", &policy, "--log", &log, "--", &server, &files]);
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    assert_eq!(through.ask(hello), direct.ask(hello));
    for client in [&mut direct, &mut through] {
        client.send(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    }
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(through.ask(list), direct.ask(list));
    let path = format!(r#"{{"path":"{files}/a.txt"}}"#);
    for (id, tool, args) in [
        (2, "read_text_file", path.as_str()),
        (3, "list_directory", &format!(r#"{{"path":"{files}"}}"#)),
        (4, "read_text_file", r#"{"path":"/etc/passwd"}"#),
        (5, "read_text_file", &path),
    ] {
        assert_eq!(through.call(id, tool, args), direct.call(id, tool, args), "{tool}");
    }
    let refused = through.ask(&call(6, "read_text_file", &path));
    assert!(
        refused.contains("[POLICY DENIED] The limit for this call is reached. (limit; retry_after_ms="),
        "{refused}"
    );
    let refused = through.ask(&call(7, "write_file", &format!(r#"{{"path":"{files}/b","content":"x"}}"#)));
    assert!(refused.contains("(default_deny)"), "{refused}");
    assert!(!std::path::Path::new(&files).join("b").exists());
    direct.end();
    through.end();
    let rows = query(&log, "SELECT tool, decision, outcome FROM calls ORDER BY seq");
    assert_eq!(
        rows,
        [
            "read_text_file,allow,ok",
            "list_directory,allow,ok",
            "read_text_file,allow,tool_error",
            "read_text_file,allow,ok",
            "read_text_file,deny,",
            "write_file,deny,"
        ]
    );
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (6 of 6)"));
}

/// PyPI's mcp-server-git, driven by the real Python client.
#[test]
fn a_real_client_sees_a_limit_refuse_the_call_after_the_last_allowed_one() {
    let Some(real) = installed() else { return };
    let dir = Dir::new();
    let repository = dir.path("repository");
    let made = Command::new("git").args(["init", "--quiet", &repository]).status();
    if !made.is_ok_and(|made| made.success()) {
        assert!(std::env::var_os("CI").is_none(), "git must be there in CI");
        return eprintln!("skipped: no git");
    }
    let policy = dir.file(
        "git.toll",
        "policy \"git\"\ndefault deny\nhide git_reset\ntool git_status { limit 3 per day per grant }\n",
    );
    let log = dir.path("log");
    let status = format!(r#"["git_status",{{"repo_path":"{repository}"}}]"#);
    let plan = format!("[{}]", [status.as_str(); 5].join(","));
    let python = real.join("python/bin/python").to_str().unwrap().to_owned();
    let client = root().join("tests/real/client.py").to_str().unwrap().to_owned();
    let server = [&python, "-m", "mcp_server_git", "--repository", &repository];
    let drive = |command: &[&str]| {
        let ended = ran(Command::new(&python).arg(&client).arg(&plan).args(command).output().unwrap());
        ended.ok().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let direct = drive(&server);
    let through =
        drive(&[&[TOLLBOOK, "run", "--policy", &policy, "--log", &log, "--grant", "ci", "--"], &server[..]].concat());
    assert!(direct[0].contains("git_reset") && !through[0].contains("git_reset"), "{}", through[0]);
    assert_eq!(direct[1..=3], through[1..=3], "allowed calls answer as without Tollbook");
    for refused in &through[4..] {
        assert!(refused.contains("[POLICY DENIED]") && refused.contains(r#""isError":true"#), "{refused}");
    }
    let rows = query(&log, "SELECT grant, tool, decision, outcome FROM calls ORDER BY seq");
    assert_eq!(
        rows,
        [
            "ci,git_status,allow,ok",
            "ci,git_status,allow,ok",
            "ci,git_status,allow,ok",
            "ci,git_status,deny,",
            "ci,git_status,deny,"
        ]
    );
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (5 of 5)"));
}

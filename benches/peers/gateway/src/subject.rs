//! What is measured: each subject with its processes, started once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::client::{Client, Ended, Lines, Posts};

/// Live counters of one subject, and sessions of another.
const COUNTERS: u64 = 1_000_000;
const SESSIONS: usize = 10_000;
const TOOLS: usize = 1_000;

/// One way from the client to the server.
pub struct Subject {
    pub name: &'static str,
    pub over: &'static str,
    pub client: Box<dyn Client>,
    /// What it needs for as long as it is asked.
    _processes: Vec<Ended>,
}

/// An argument condition and a limit, as every policy of use has.
const RULES: &str = "require args.n >= 0\n    deny when args.n > 100_000_000 because \"Too many.\"\n    \
                     limit 1_000_000_000 per day per";

fn policy(scope: &str, tools: usize) -> String {
    let mut text = "default deny\n".to_owned();
    for number in 1..tools {
        text.push_str(&format!("tool tool_{number} {{\n    {RULES} {scope}\n}}\n"));
    }
    text + &format!("tool echo {{\n    {RULES} {scope}\n}}\n")
}

/// All of them, and the directory that they write to.
pub fn all(tollbook: &Path, dir: &Path) -> anyhow::Result<Vec<Subject>> {
    let bench = std::env::current_exe()?;
    let mut subjects = Vec::new();
    // `ONLY` has parts of what is to be measured, as in `stdio: tollbook|HTTP: direct`.
    let only = std::env::var("ONLY").ok();
    let wanted = |over: &str, name: &str| {
        only.as_ref().is_none_or(|only| only.split('|').any(|only| format!("{over}: {name}").contains(only)))
    };
    let me = |words: &[&str]| {
        let mut command = Command::new(&bench);
        command.args(words);
        command
    };
    let mut lines = |name, mut command: Command| {
        if !wanted("stdio", name) {
            return anyhow::Ok(());
        }
        let client = Box::new(Lines::start(&mut command).with_context(|| format!("{name} on stdio"))?);
        subjects.push(Subject { name, over: "stdio", client, _processes: Vec::new() });
        anyhow::Ok(())
    };
    let run = |log: &str, scope: &str, tools: usize, durability: &str| {
        let file = dir.join(format!("{log}.toll"));
        std::fs::write(&file, policy(scope, tools))?;
        let mut command = Command::new(tollbook);
        command.args(["run", "--durability", durability, "--policy"]).arg(file);
        command.arg("--log").arg(dir.join(log)).arg("--").arg(&bench).args(["server-stdio", &tools.to_string()]);
        anyhow::Ok(command)
    };
    lines("direct", me(&["server-stdio", "1"]))?;
    lines("bare relay", me(&["relay-stdio"]))?;
    lines("tollbook, write", run("write", "grant", 1, "write")?)?;
    lines("tollbook, fsync", run("fsync", "grant", 1, "fsync")?)?;
    lines("typed Rust SDK", me(&["sdk-stdio"]))?;
    lines("tollbook, 1,000 tools", run("tools", "grant", TOOLS, "write")?)?;
    let name = "tollbook, a million counters";
    if wanted("stdio", name) {
        let mut many = Lines::start(&mut run("counters", "agent", 1, "write")?)?;
        many.new_agents(COUNTERS)?;
        subjects.push(Subject { name, over: "stdio", client: Box::new(many), _processes: Vec::new() });
    }

    // Whatever is measured over HTTP, the server is.
    if only.as_ref().is_some_and(|only| !only.contains("HTTP")) {
        return Ok(subjects);
    }
    let (server, url) = told(me(&["server-http"]), |line| line.strip_prefix("http://").map(str::to_owned))?;
    let url = format!("http://{url}");
    let direct: Box<dyn Client> = Box::new(Posts::connect(&url, "echo", None)?);
    subjects.push(Subject { name: "direct", over: "HTTP", client: direct, _processes: vec![server] });
    for (name, words, tool) in [
        ("bare relay", ["relay-http", &url], "echo"),
        ("typed Rust SDK", ["sdk-http", &url], "echo"),
        ("the mcp-proxy crate", ["mcp-proxy", &url], "srv/echo"),
    ] {
        if !wanted("HTTP", name) {
            continue;
        }
        let (process, at) = told(me(&words), |line| line.strip_prefix("http://").map(str::to_owned))?;
        let posts = retried(|| Posts::connect(&format!("http://{at}"), tool, None)).context(name)?;
        subjects.push(Subject { name, over: "HTTP", client: Box::new(posts), _processes: vec![process] });
    }
    for (name, durability, sessions) in [
        ("tollbook, write", "write", 0),
        ("tollbook, fsync", "fsync", 0),
        ("tollbook, 10,000 sessions", "write", SESSIONS),
    ] {
        if !wanted("HTTP", name) {
            continue;
        }
        let (process, at, token) = serving(tollbook, &dir.join(name.replace(", ", "-")), &url, durability)?;
        let mut posts = Posts::connect(&at, "echo", Some(&token)).context(name)?;
        posts.open_sessions(sessions)?;
        subjects.push(Subject { name, over: "HTTP", client: Box::new(posts), _processes: vec![process] });
    }
    Ok(subjects)
}

/// A gateway over HTTP, where it is, and a token that is good there.
fn serving(tollbook: &Path, dir: &Path, url: &str, durability: &str) -> anyhow::Result<(Ended, String, String)> {
    std::fs::create_dir(dir)?;
    std::fs::write(dir.join("p.toll"), policy("grant", 1))?;
    let config = dir.join("tollbook.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nlog = \"log\"\ndurability = \"{durability}\"\n\
         [bounds]\nsessions_max = 20000\n[servers.srv]\nurl = \"{url}\"\npolicy = \"p.toll\"\n"
    );
    std::fs::write(&config, text)?;
    let made =
        Command::new(tollbook).args(["grant", "new", "bench", "--server", "srv", "--config"]).arg(&config).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(tollbook);
    command.arg("serve").arg("--config").arg(&config);
    let (process, at) = told(command, |line| line.split_once("http://").map(|(_, at)| at.to_owned()))?;
    Ok((process, format!("http://{at}"), String::from_utf8(made.stdout)?.trim().to_owned()))
}

/// Starts a process, and reads what it says until that is what is looked for.
fn told(mut command: Command, wanted: impl Fn(&str) -> Option<String>) -> anyhow::Result<(Ended, String)> {
    let tollbook = command.get_args().next().is_some_and(|word| word == "serve");
    let process = match tollbook {
        true => command.stderr(Stdio::piped()).spawn()?,
        false => command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?,
    };
    let mut process = Ended(process);
    let said: Box<dyn std::io::Read + Send> = match tollbook {
        true => Box::new(process.0.stderr.take().context("no pipe")?),
        false => Box::new(process.0.stdout.take().context("no pipe")?),
    };
    let mut said = BufReader::new(said);
    let mut line = String::new();
    while said.read_line(&mut line)? > 0 {
        if let Some(found) = wanted(line.trim_end()) {
            // What it says later must not stop it.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return Ok((process, found));
        }
        line.clear();
    }
    anyhow::bail!("it ended before it told where it is")
}

/// A program that tells its port before it listens is asked again.
fn retried<T>(what: impl Fn() -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 0..100 {
        if let Ok(done) = what() {
            return Ok(done);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    what()
}

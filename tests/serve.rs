//! `tollbook serve`: many servers over HTTP, grants, reloads, and an end that seals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::program::{Client, Dir, TOLLBOOK, call, query, ran, tollbook};

/// A gateway that serves.
pub struct Serving {
    child: Child,
    at: String,
    admin: Option<String>,
    config: String,
    log: String,
    said: Arc<Mutex<String>>,
    listening: Option<std::thread::JoinHandle<()>>,
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Serving {
    /// With these servers, each a name and its keys, and more keys of the whole.
    pub fn start(dir: &Dir, servers: &[(&str, &str)], more: &str) -> Self {
        let mut text = format!("listen = \"127.0.0.1:0\"\nlog = \"log\"\n{more}\n");
        for (name, keys) in servers {
            text.push_str(&format!("[servers.{name}]\n{keys}\n"));
        }
        let config = dir.file("tollbook.toml", &text);
        Self::of(dir, &config, &[], servers.len(), more.contains("admin"))
    }

    /// With this configuration, of so many servers.
    pub fn of(dir: &Dir, config: &str, env: &[(&str, &str)], servers: usize, has_admin: bool) -> Self {
        Self::with(dir, config, &[], env, servers + usize::from(has_admin))
    }

    /// The same, with more arguments. It says where it is in so many lines.
    fn with(dir: &Dir, config: &str, args: &[&str], env: &[(&str, &str)], lines: usize) -> Self {
        let mut command = Command::new(TOLLBOOK);
        command.args(["serve", "--config", config]).args(args).envs(env.iter().copied());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let (mut at, mut admin) = (String::new(), None);
        for _ in 0..lines {
            let mut line = String::new();
            assert!(reader.read_line(&mut line).unwrap() > 0, "it ended");
            let place = line.trim_end().rsplit_once("http://").unwrap_or_else(|| panic!("{line}")).1.to_owned();
            match place.split_once('/') {
                Some((host, _)) => at = host.to_owned(),
                None => admin = Some(place),
            }
        }
        // What it says later must not stop it.
        let (kept, config) = (Arc::clone(&said), config.to_owned());
        let listening = std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, at, admin, config, log: dir.path("log"), said, listening: Some(listening) }
    }

    pub fn at(&self) -> &str {
        &self.at
    }

    /// Where a supervisor finds it.
    pub fn admin_at(&self) -> &str {
        self.admin.as_ref().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it answers to a supervisor.
    pub fn admin(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        asked(self.admin_at(), request.as_bytes())
    }

    /// Where a server is.
    pub fn url(&self, server: &str) -> String {
        format!("http://{}/{server}/mcp", self.at)
    }

    /// A new grant's token, once it is good.
    pub fn grant(&self, name: &str, servers: &[&str], more: &[&str]) -> String {
        let servers = servers.join(",");
        let args = [&["grant", "new", name, "--config", &self.config, "--server", &servers], more].concat();
        let token = tollbook(&args).ok().trim_end().to_owned();
        self.until(|| self.knows(servers.split(',').next().unwrap(), &token));
        token
    }

    /// Whether a token is good on a server.
    fn knows(&self, server: &str, token: &str) -> bool {
        let head = format!("GET /{server}/mcp HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.at);
        let request = format!("{head}Authorization: Bearer {token}\r\n\r\n");
        asked(&self.at, request.as_bytes()).status != 401
    }

    /// Waits for what the gateway does by itself.
    pub fn until(&self, done: impl Fn() -> bool) {
        let began = Instant::now();
        while !done() {
            assert!(began.elapsed() < Duration::from_secs(30), "it didn't come about");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Posts a frame. A header that is given here stands instead of the usual one.
    pub fn post(&self, server: &str, token: &str, headers: &[&str], frame: &[u8]) -> Answer {
        let usual = [
            format!("Host: {}", self.at),
            format!("Authorization: Bearer {token}"),
            "Content-Type: application/json".to_owned(),
            "Accept: application/json, text/event-stream".to_owned(),
        ];
        let name = |header: &str| header.split(':').next().unwrap().to_ascii_lowercase();
        let kept = usual.iter().filter(|usual| !headers.iter().any(|header| name(header) == name(usual)));
        let mut head =
            format!("POST /{server}/mcp HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n", frame.len());
        for header in kept.map(String::as_str).chain(headers.iter().copied()) {
            head.push_str(&format!("{header}\r\n"));
        }
        asked(&self.at, &[head.as_bytes(), b"\r\n", frame].concat())
    }

    pub fn call(&self, server: &str, token: &str, tool: &str, args: &str) -> String {
        self.post(server, token, &[], call(1, tool, args).as_bytes()).body
    }

    /// Asks it to end, and returns its log.
    pub fn end(mut self) -> String {
        assert!(Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log.clone()
    }

    /// The same, with what it said on the way.
    pub fn end_and_said(mut self) -> (String, String) {
        let (said, listening) = (Arc::clone(&self.said), self.listening.take());
        let log = self.end();
        if let Some(listening) = listening {
            listening.join().unwrap();
        }
        let said = said.lock().unwrap().clone();
        (log, said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn asked(at: &str, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

fn demo(policy: &str) -> String {
    format!("command = \"{TOLLBOOK}\"\nargs = [\"demo-server\"]\n{policy}")
}

#[test]
fn three_servers_stand_behind_it_each_with_its_policy() {
    let dir = Dir::new();
    dir.file("open.toll", "default allow\nhide delete_customer\n");
    dir.file("ask.toll", "default deny\ntool update_invoice { approve by \"ops\" limit 1 per day per grant }\n");
    let (open, ask, bare) = (demo("policy = \"open.toll\""), demo("policy = \"ask.toll\""), demo(""));
    let serving = Serving::start(&dir, &[("open", &open), ("ask", &ask), ("bare", &bare)], "");
    let token = serving.grant("ada", &["open", "ask", "bare"], &[]);
    assert!(serving.call("open", &token, "list_customers", "{}").contains("cus_ada"));
    let list = serving.post("open", &token, &[], br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert!(list.body.contains("void_invoice") && !list.body.contains("delete_customer"), "{}", list.body);
    assert!(list.head.to_ascii_lowercase().contains("cache-control: private, no-store"), "{}", list.head);
    assert!(serving.call("bare", &token, "list_customers", "{}").contains("no_policy"));
    assert_eq!(serving.post("none", &token, &[], b"{}").status, 404);

    let invoice = r#"{"id":"in_1","amount":5}"#;
    assert!(serving.call("ask", &token, "update_invoice", invoice).contains("approval_needed"));
    let waiting = tollbook(&["approvals", "list", "--log", &serving.log]).ok();
    let approval = waiting.lines().nth(2).unwrap().split('|').nth(1).unwrap().trim().to_owned();
    tollbook(&["approvals", "approve", &approval, "--log", &serving.log]).ok();
    assert!(serving.call("ask", &token, "update_invoice", invoice).contains("There is no invoice"));

    dir.file("open.toll", "default deny\n");
    serving.until(|| serving.call("open", &token, "list_customers", "{}").contains("default_deny"));
    let log = serving.end();
    let rows =
        query(&log, "SELECT server, tool, reason FROM calls WHERE tool IS NOT NULL AND server <> 'open' ORDER BY seq");
    assert_eq!(
        rows,
        ["bare,list_customers,no_policy", "ask,update_invoice,approval_needed", "ask,update_invoice,allowed"]
    );
    let open = std::fs::read_dir(std::path::Path::new(&log).join("open")).unwrap().count();
    assert_eq!(open, 0, "everything is sealed");
    let out = tollbook(&["backtest", "--log", &log, &dir.path("ask.toll")]).ok();
    assert!(out.starts_with("fidelity 100.00 %"), "{out}");
}

#[test]
fn grants_are_made_renewed_and_taken_back_without_a_restart() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let own = dir.file("own.toll", "default deny\n");
    let serving = Serving::start(&dir, &[("srv", &demo("policy = \"p.toll\""))], "");
    let (ada, bob) = (serving.grant("ada", &["srv"], &[]), serving.grant("bob", &["srv"], &["--policy", &own]));
    assert!(serving.call("srv", &ada, "list_customers", "{}").contains("cus_ada"));
    assert!(serving.call("srv", &bob, "list_customers", "{}").contains("default_deny"), "by its own policy");
    let rotated = tollbook(&["grant", "rotate", "ada", "--config", &serving.config]).ok().trim_end().to_owned();
    serving.until(|| !serving.knows("srv", &ada));
    assert!(serving.call("srv", &rotated, "list_customers", "{}").contains("cus_ada"));
    tollbook(&["grant", "revoke", "bob", "--config", &serving.config]).ok();
    serving.until(|| !serving.knows("srv", &bob));
    let list = tollbook(&["grant", "list", "--config", &serving.config]).ok();
    assert!(list.contains("ada") && !list.contains("bob") && !list.contains("toll_"), "{list}");
    tollbook(&["grant", "revoke", "bob", "--config", &serving.config]).cannot("there is no grant `bob`");
    let config = serving.config.clone();
    let log = serving.end();
    assert!(tollbook(&["backtest", "--log", &log, &own]).ok().starts_with("fidelity 100.00 %"));
    for file in [std::fs::read(dir.path("tollbook.grants.json")).unwrap(), std::fs::read(config).unwrap()] {
        assert!(!String::from_utf8(file).unwrap().contains("toll_"), "no token is kept");
    }
}

#[test]
fn what_is_wrong_with_a_configuration_is_named() {
    let dir = Dir::new();
    let check = |text: &str, code: i32, says: &str| {
        let ran = tollbook(&["check-config", &dir.file("c.toml", text)]);
        assert!(ran.code == Some(code) && (ran.err.contains(says) || ran.out.contains(says)), "{}{}", ran.out, ran.err);
    };
    check("log = \"l\"\nlisten = 5\n[servers]\n", 1, "listen = 5");
    check("log = \"l\"\n[servers.a]\ncommand = \"x\"\npolcy = \"p\"\n", 1, "unknown field `polcy`");
    check("log = \"l\"\n[servers.a]\ncommand = \"x\"\npolicy = \"none.toll\"\n", 1, "cannot read the policy");
    check("log = \"l\"\n[servers.a]\nurl = \"ftp://x\"\n", 1, "`servers.a.url`");
    let a = "[servers.a]\ncommand = \"x\"\n";
    check(&format!("log = \"l\"\nlisten = \"here\"\n{a}"), 1, "`here` is no address and port");
    check(&format!("log = \"l\"\n[bounds]\nstreams_max = 0\n{a}"), 1, "`bounds.streams_max` is 0");
    check(&format!("log = \"l\"\nlog_key = \"none\"\n{a}"), 1, "none");
    check(&format!("log = \"l\"\n{a}"), 0, "ok, 1 servers, 0 grants");
    check(&format!("log = \"l\"\n{a}"), 0, "warning: `servers.a.command` is `x`, which isn't a program");
    let grant = |name: &str, digits: &str| format!(r#""{name}":{{"sha256":"{digits}","servers":{{}}}}"#);
    let same = "ab".repeat(32);
    let grants = [grant("x", &same), grant("y", &same), grant("z", "5")].join(",");
    dir.file("c.grants.json", &format!(r#"{{"grants":{{{grants}}}}}"#));
    check(&format!("log = \"l\"\n{a}"), 1, "the grants `x` and `y` have the same token");
    check(&format!("log = \"l\"\n{a}"), 1, "the grant `z` has a `sha256` that isn't 64 hexadecimal digits");
    std::fs::remove_file(dir.path("c.grants.json")).unwrap();
    tollbook(&["check-config", &dir.path("none.toml")]).cannot("none.toml");
    tollbook(&["serve", "--config", &dir.file("c.toml", "log = \"l\"\n[servers.a]\n")])
        .cannot("`servers.a` has neither");
}

#[test]
fn a_supervisor_can_ask() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let serving = Serving::start(&dir, &[("srv", &demo("policy = \"p.toll\""))], "admin = \"127.0.0.1:0\"");
    let token = serving.grant("ada", &["srv"], &[]);
    serving.call("srv", &token, "list_customers", "{}");
    assert_eq!(serving.admin("/healthz").status, 200);
    assert_eq!(serving.admin("/readyz").status, 200);
    let metrics = serving.admin("/metrics").body;
    let counted = r#"tollbook_decisions_total{server="srv",tool="list_customers",outcome="allow",rule="allowed"} 1"#;
    assert!(metrics.contains(counted) && metrics.contains("tollbook_children 1"), "{metrics}");
    assert!(!metrics.contains(&token));
}

/// A client whose session is gone, as after a restart, begins another one and calls again: that is one call.
#[test]
fn a_call_in_a_session_that_is_gone_uses_nothing_up() {
    let dir = Dir::new();
    dir.file("p.toll", "default deny\ntool list_customers { limit 1 per day per grant }\n");
    let serving = Serving::start(&dir, &[("srv", &demo("policy = \"p.toll\""))], "");
    let token = serving.grant("ada", &["srv"], &[]);
    let gone = serving.post("srv", &token, &["Mcp-Session-Id: gone"], call(1, "list_customers", "{}").as_bytes());
    assert_eq!(gone.status, 404);
    assert!(serving.call("srv", &token, "list_customers", "{}").contains("cus_ada"));
    let log = serving.end();
    assert_eq!(query(&log, "SELECT decision, outcome FROM calls ORDER BY seq"), ["allow,unreachable", "allow,ok"]);
}

#[test]
fn in_shadow_mode_it_refuses_nothing() {
    let dir = Dir::new();
    dir.file("p.toll", "default deny\nhide void_invoice\n");
    let text = format!("listen = \"127.0.0.1:0\"\nlog = \"log\"\n[servers.srv]\n{}\n", demo("policy = \"p.toll\""));
    let serving = Serving::with(&dir, &dir.file("tollbook.toml", &text), &["--shadow"], &[], 1);
    let token = serving.grant("ada", &["srv"], &[]);
    assert!(serving.call("srv", &token, "list_customers", "{}").contains("cus_ada"));
    let list = serving.post("srv", &token, &[], br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert!(list.body.contains("void_invoice"), "{}", list.body);
    let log = serving.end();
    assert_eq!(query(&log, "SELECT mode, decision, reason, outcome FROM calls"), ["shadow,deny,default_deny,ok"]);
}

/// A server's program may be anybody's, and may tell its environment to whoever asks.
#[test]
fn a_program_does_not_see_the_credentials_of_other_servers() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let script = r#"read -r line; env > SEEN; echo '{"jsonrpc":"2.0","id":1,"result":{}}'; cat"#;
    let script = script.replace("SEEN", &dir.path("seen"));
    let config = dir.file(
        "tollbook.toml",
        &format!(
            "listen = \"127.0.0.1:0\"\nlog = \"log\"\n[servers.mail]\nurl = \"http://127.0.0.1:9/mcp\"\n\
             headers = {{ Authorization = {{ env = \"MAIL_TOKEN\" }} }}\n[servers.srv]\ncommand = \"sh\"\n\
             args = [\"-c\", '''{script}''']\nenv = {{ KEY = {{ env = \"SRV_KEY\" }} }}\npolicy = \"p.toll\"\n"
        ),
    );
    let env = [("MAIL_TOKEN", "hunter2"), ("SRV_KEY", "its own"), ("OTHER", "stays")];
    let serving = Serving::of(&dir, &config, &env, 2, false);
    let token = serving.grant("ada", &["srv"], &[]);
    assert!(serving.call("srv", &token, "t", "{}").contains("result"));
    let seen = std::fs::read_to_string(dir.path("seen")).unwrap();
    assert!(seen.contains("KEY=its own") && seen.contains("OTHER=stays") && !seen.contains("hunter2"), "{seen}");
    serving.end();
}

/// A client on standard input and output, a gateway, a gateway over HTTP, and a server on standard input and
/// output.
#[test]
fn standard_input_and_output_stand_in_front_of_http() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\nhide void_invoice\n");
    let serving = Serving::start(&dir, &[("srv", &demo("policy = \"p.toll\""))], "");
    let token = format!("TOKEN=Bearer {}", serving.grant("ada", &["srv"], &[]));
    let (url, log) = (format!("http://{}/srv/mcp", serving.at), dir.path("near"));
    let args = [
        &token,
        TOLLBOOK,
        "run",
        "--policy",
        &policy,
        "--log",
        &log,
        "--url",
        &url,
        "--header-env",
        "Authorization=TOKEN",
    ];
    let mut client = Client::start("env", &args);
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":"t","version":"1"}}}"#;
    assert!(client.ask(hello).contains("2025-11-25"));
    client.send(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert!(client.call(1, "create_invoice", r#"{"customer":"a","amount":5}"#).contains("in_1: 5 cents"));
    assert!(client.call(2, "get_invoice_status", r#"{"id":"in_1"}"#).contains("1 invoices known"), "one process");
    assert!(client.call(3, "void_invoice", "{}").contains("Unknown tool"));
    assert_eq!(client.end().code, Some(0));
    let far = serving.end();
    let sql = "SELECT tool, outcome, agent FROM calls ORDER BY seq";
    assert_eq!(query(&far, sql), ["create_invoice,ok,t/1", "get_invoice_status,ok,t/1"]);
    assert_eq!(query(&log, sql), ["create_invoice,ok,t/1", "get_invoice_status,ok,t/1", "void_invoice,,t/1"]);
}

/// A policy to begin with is one that `check` and `lint` have nothing against.
#[test]
fn a_scan_tells_what_can_be_called_and_writes_a_policy() {
    let dir = Dir::new();
    let (policy, catalog) = (dir.path("p.toll"), dir.path("tools.json"));
    let scan = ["scan", "--write", &policy, "--save", &catalog, "--", TOLLBOOK, "demo-server"];
    let table = tollbook(&scan).ok();
    let row = |tool: &str| table.lines().find(|line| line.contains(tool)).unwrap_or_else(|| panic!("{table}"));
    assert!(row("delete_customer").contains("destructive") && row("delete_customer").contains("critical"), "{table}");
    assert!(row("list_customers").contains("the name says `list`"), "{table}");
    tollbook(&["check", &policy, "--catalog", &catalog]).ok();
    tollbook(&["lint", &policy, "--catalog", &catalog]).ok();
    tollbook(&["fmt", "--check", &policy]).ok();
    // What was written before is left alone.
    tollbook(&scan).cannot("tools.json`: File exists");

    dir.file("own.toll", "default allow\n");
    let serving = Serving::start(&dir, &[("a", &demo("policy = \"own.toll\"")), ("b", &demo(""))], "");
    let token = format!("TOKEN=Bearer {}", serving.grant("ada", &["a"], &[]));
    let url = format!("http://{}/a/mcp", serving.at);
    let over_http = Command::new("env")
        .args([&token, TOLLBOOK, "scan", "--url", &url, "--header-env", "Authorization=TOKEN"])
        .output()
        .unwrap();
    assert!(String::from_utf8(over_http.stdout).unwrap().contains("list_customers"));
    let all = tollbook(&["scan", "--config", &serving.config, "--write", &dir.path("all")]).ok();
    assert_eq!(all.lines().count(), 14, "{all}");
    assert!(std::path::Path::new(&dir.path("all")).join("b.toll").exists());
}

/// TLS in front of what listens there: where it is, and the file with its certificate, which nobody else vouches for.
fn encrypted(dir: &Dir, to: &str) -> (String, String) {
    use tokio_rustls::rustls;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("localhost:{}", listener.local_addr().unwrap().port());
    listener.set_nonblocking(true).unwrap();
    let to = to.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), to.clone());
                tokio::spawn(async move {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut server = tokio::net::TcpStream::connect(to).await?;
                    tokio::io::copy_bidirectional(&mut stream, &mut server).await
                });
            }
        });
    });
    (at, dir.file("certificate.pem", &made.cert.pem()))
}

/// The system's certificates are those that are gone by; here, those of a file.
#[test]
fn a_server_over_https_is_one_that_somebody_vouches_for() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let serving = Serving::start(&dir, &[("srv", &demo("policy = \"p.toll\""))], "");
    let token = format!("Bearer {}", serving.grant("ada", &["srv"], &[]));
    let (at, certificate) = encrypted(&dir, &serving.at);
    let scan = |url: &str, env: &[(&str, &str)]| {
        let mut command = Command::new(TOLLBOOK);
        command.args(["scan", "--url", url, "--header-env", "Authorization=TOKEN"]).env("TOKEN", &token);
        ran(command.envs(env.iter().copied()).output().unwrap())
    };
    let url = format!("https://{at}/srv/mcp");
    assert!(scan(&url, &[("SSL_CERT_FILE", &certificate)]).ok().contains("list_customers"));
    scan(&url, &[]).cannot("UnknownIssuer");
    scan(&url, &[]).cannot("the server could not be reached");
    // It is for another name.
    let url = url.replace("localhost", "127.0.0.1");
    scan(&url, &[("SSL_CERT_FILE", &certificate)]).cannot("not valid for name");
}

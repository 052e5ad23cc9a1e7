//! What goes wrong around the gateway: servers that die, hang, break off or talk too much, a full disk, clients that
//! leave. Nothing is forwarded unrecorded, nothing that was answered is lost, and memory stays bounded.

use std::process::Command;

use crate::program::{Client, Dir, TOLLBOOK, call, query, tollbook};
use crate::serve::Serving;

/// A shell script as the server, in front of which the gateway stands on standard input and output.
fn in_front_of(dir: &Dir, script: &str) -> Client {
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    Client::start(TOLLBOOK, &["run", "--policy", &policy, "--log", &log, "--", "sh", "-c", script])
}

const LOST: &str = r#""error":{"code":-32000,"message":"The server ended before it answered."}"#;

#[test]
fn half_a_frame_is_not_passed_on_and_the_call_is_told() {
    let dir = Dir::new();
    let mut client = in_front_of(&dir, r#"read line; printf '{"jsonrpc":"2.0","id":1,"resu'; exit 0"#);
    assert_eq!(client.call(1, "t", "{}"), format!(r#"{{"jsonrpc":"2.0","id":1,{LOST}}}"#));
    assert_eq!(client.end().out, "");
    assert_eq!(query(&dir.path("log"), "SELECT tool, outcome FROM calls"), ["t,lost"]);
}

#[test]
fn an_answer_with_a_wrong_id_ends_nothing() {
    let dir = Dir::new();
    let mut client = in_front_of(&dir, r#"read line; echo '{"jsonrpc":"2.0","id":2,"result":{}}'; read line; exit 0"#);
    assert_eq!(client.call(1, "t", "{}"), r#"{"jsonrpc":"2.0","id":2,"result":{}}"#, "the client knows what it asked");
    client.send(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}");
    assert!(client.receive().contains(LOST));
    client.end();
    assert_eq!(query(&dir.path("log"), "SELECT tool, outcome FROM calls"), ["t,lost"]);
}

#[test]
fn a_server_that_hangs_holds_up_neither_another_frame_nor_the_end() {
    let dir = Dir::new();
    let script =
        r#"while read -r line; do case "$line" in *ping*) echo '{"jsonrpc":"2.0","id":9,"result":{}}';; esac; done"#;
    let mut client = in_front_of(&dir, script);
    for id in 1..=3 {
        client.send(call(id, "t", "{}").as_bytes());
    }
    assert!(client.ask(r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#).contains(r#""id":9"#));
    assert_eq!(client.end().code, Some(0));
    assert_eq!(query(&dir.path("log"), "SELECT outcome FROM calls"), ["lost"; 3]);
}

#[test]
fn a_flood_of_notifications_is_relayed_and_the_answer_behind_it_too() {
    let dir = Dir::new();
    let note =
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}}"#;
    let script =
        format!(r#"read line; yes '{note}' | head -n 50000; echo '{{"jsonrpc":"2.0","id":1,"result":{{}}}}'; cat"#);
    let mut client = in_front_of(&dir, &script);
    client.send(call(1, "t", "{}").as_bytes());
    for _ in 0..50_000 {
        assert_eq!(client.receive(), note);
    }
    assert_eq!(client.receive(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert!(peak_kib(client.child.id()) < 256 << 10, "{} KiB", peak_kib(client.child.id()));
    client.end();
    assert_eq!(query(&dir.path("log"), "SELECT outcome FROM calls"), ["ok"]);
}

/// Where each side says more than a pipe holds, both wait unless what stands between them hears both.
#[test]
fn both_sides_may_say_more_than_is_taken_at_once() {
    let dir = Dir::new();
    let script = r#"pad=$(head -c 20000 /dev/zero | tr '\0' x)
        while read -r line; do
            id=${line#*'"id":'}
            echo "{\"jsonrpc\":\"2.0\",\"id\":${id%%,*},\"result\":{\"content\":[],\"pad\":\"$pad\"}}"
        done"#;
    let mut client = in_front_of(&dir, script);
    let args = format!(r#"{{"note":"{}"}}"#, "y".repeat(1000));
    let saying = client.send_meanwhile((1..=500).map(|id| call(id, "t", &args)).collect());
    // It is slow to listen, too.
    std::thread::sleep(std::time::Duration::from_millis(300));
    for id in 1..=500 {
        let answer = client.receive();
        assert!(answer.contains(&format!("\"id\":{id},")) && answer.len() > 20_000, "{id}: {answer}");
    }
    saying.join().unwrap();
    assert!(peak_kib(client.child.id()) < 256 << 10, "{} KiB", peak_kib(client.child.id()));
    assert_eq!(client.end().code, Some(0));
    assert_eq!(query(&dir.path("log"), "SELECT outcome, count(*) FROM calls GROUP BY outcome"), ["ok,500"]);
}

#[test]
fn a_line_without_an_end_is_not_kept() {
    let dir = Dir::new();
    let mut client = in_front_of(&dir, r#"read line; exec tr '\\0' x < /dev/zero"#);
    assert_eq!(client.call(1, "t", "{}"), format!(r#"{{"jsonrpc":"2.0","id":1,{LOST}}}"#));
    client.end();
    assert_eq!(query(&dir.path("log"), "SELECT tool, outcome FROM calls"), ["t,lost"]);
}

/// The most memory that a process has had, in KiB.
fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

pub fn status_kib(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A file that may not grow is a disk that is full to whoever writes it.
#[test]
fn on_a_full_disk_nothing_goes_on_unrecorded_and_nothing_answered_is_missing() {
    let dir = Dir::new();
    let (policy, log, seen) = (dir.file("p.toll", "default allow\n"), dir.path("log"), dir.path("seen"));
    let server = r#"while read -r line; do echo x >> "$0"; id=${line#*\"id\":}; echo "{\"jsonrpc\":\"2.0\",\"id\":${id%%,*},\"result\":{}}"; done"#;
    // 64 blocks of 512 bytes; the signal is ignored, so that writing fails instead.
    let full =
        format!("trap '' XFSZ; ulimit -f 64; exec {TOLLBOOK} run --policy {policy} --log {log} -- sh -c \"$1\" {seen}");
    let mut client = Client::start("sh", &["-c", &full, "sh", server]);
    let (mut answered, mut refused) = (Vec::new(), 0);
    for id in 1..=400 {
        let answer = client.call(id, "t", r#"{"note":"some of the arguments"}"#);
        match answer.contains("log_unavailable") {
            true => refused += 1,
            false if answer.contains(r#""result":{}"#) => answered.push(id.to_string()),
            false => panic!("{answer}"),
        }
    }
    client.end();
    assert!(refused > 0, "the disk was never full");
    let forwarded = std::fs::read_to_string(&seen).unwrap().lines().count();
    assert_eq!(forwarded, answered.len(), "what was refused never reached the server");
    let rows = query(&log, "SELECT request_id FROM calls WHERE decision = 'allow'");
    let missing: Vec<_> = answered.iter().filter(|id| !rows.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?} of {} are missing", answered.len());
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 %"));
}

#[test]
fn a_program_that_is_killed_is_told_and_another_is_started() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let script = r#"while read -r line; do case "$line" in *die*) kill -9 $$;; *) echo '{"jsonrpc":"2.0","id":1,"result":{}}';; esac; done"#;
    let server = format!("command = \"sh\"\nargs = [\"-c\", '''{script}''']\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "");
    let token = serving.grant("ada", &["srv"], &[]);
    for _ in 0..3 {
        assert!(serving.call("srv", &token, "die", "{}").contains(LOST));
        assert!(serving.call("srv", &token, "t", "{}").contains("result"));
    }
    let log = serving.end();
    assert_eq!(query(&log, "SELECT tool, outcome FROM calls ORDER BY seq"), ["die,lost", "t,ok"].repeat(3));
}

/// Each with its own process, which is why there are fewer processes than sessions.
#[test]
fn sessions_that_are_opened_and_left_are_bounded() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = "command = \"sh\"\nargs = [\"-c\", 'while read -r line; do echo \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":0,\\\"result\\\":{}}\"; done']\npolicy = \"p.toll\"\n";
    let more = "admin = \"127.0.0.1:0\"\n[bounds]\nsessions_max = 500\nchildren_max = 20\n";
    let serving = Serving::start(
        &dir,
        &[("srv", server), ("far", "url = \"http://127.0.0.1:9/mcp\"\npolicy = \"p.toll\"")],
        more,
    );
    let token = serving.grant("ada", &["srv", "far"], &[]);
    let hello = br#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#;
    let opened =
        |token| (0..60).filter(|_| serving.post("srv", token, &[], hello).head.contains("mcp-session-id")).count();
    let other = serving.grant("bob", &["srv", "far"], &[]);
    assert_eq!((opened(&token), opened(&other)), (15, 5), "the last quarter isn't for one who has that much");
    let before = status_kib(serving.pid(), "VmRSS:");
    let mut refused = 0;
    for n in 0..3_000 {
        let session = format!("Mcp-Session-Id: made-up-{n}");
        refused += usize::from(serving.post("far", &token, &[&session], call(1, "t", "{}").as_bytes()).status == 503);
    }
    assert!(refused >= 2_500, "{refused} were refused");
    let bobs = ["Mcp-Session-Id: bob's"];
    assert_ne!(serving.post("far", &other, &bobs, call(1, "t", "{}").as_bytes()).status, 503, "another grant gets in");
    let grown = status_kib(serving.pid(), "VmRSS:").saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB for 3,000 sessions");
    serving.end();
}

/// Who reads nothing holds up nobody else.
#[test]
fn slow_clients_do_not_hold_up_others() {
    use std::io::Write;
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = format!("command = \"{TOLLBOOK}\"\nargs = [\"demo-server\"]\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "");
    let token = serving.grant("ada", &["srv"], &[]);
    let slow: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(serving.at()).unwrap();
            let head = format!("POST /srv/mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n", serving.at());
            write!(stream, "{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{").unwrap();
            stream
        })
        .collect();
    let began = std::time::Instant::now();
    assert!(serving.call("srv", &token, "list_customers", "{}").contains("cus_ada"));
    assert!(began.elapsed().as_secs() < 10);
    drop(slow);
    serving.end();
}

/// Nor does whoever takes all the connections that there are, without a token and without a word.
#[test]
fn connections_that_say_nothing_do_not_hold_up_others_for_long() {
    use std::io::Write;
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = format!("command = \"{TOLLBOOK}\"\nargs = [\"demo-server\"]\npolicy = \"p.toll\"\n");
    let more = "[bounds]\nconnections_max = 20\nhead_within_s = 1\n";
    let slow = "command = \"sh\"\nargs = [\"-c\", 'read line; sleep 2.5; echo \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":1,\\\"result\\\":{}}\"; cat']\npolicy = \"p.toll\"\n";
    let serving = Serving::start(&dir, &[("srv", &server), ("slow", slow)], more);
    let token = serving.grant("ada", &["srv", "slow"], &[]);
    assert!(
        serving.call("slow", &token, "t", "{}").contains(r#""result":{}"#),
        "whoever waits for an answer isn't idle"
    );
    let silent: Vec<_> = (0..40)
        .map(|n| {
            let mut stream = std::net::TcpStream::connect(serving.at()).unwrap();
            stream.write_all([b"".as_slice(), b"POST /srv/mcp HTTP/1.1\r\nHost: "][n % 2]).unwrap();
            stream
        })
        .collect();
    let began = std::time::Instant::now();
    assert!(serving.call("srv", &token, "list_customers", "{}").contains("cus_ada"));
    assert!(began.elapsed().as_secs() < 20);
    drop(silent);
    serving.end();
}

/// More of them than may be open don't keep a supervisor out either.
#[test]
fn supervisors_that_say_nothing_are_let_go() {
    use std::io::Read;
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = format!("command = \"{TOLLBOOK}\"\nargs = [\"demo-server\"]\npolicy = \"p.toll\"\n");
    let more = "admin = \"127.0.0.1:0\"\n[bounds]\nhead_within_s = 1\n";
    let serving = Serving::start(&dir, &[("srv", &server)], more);
    let silent = |_| std::net::TcpStream::connect(serving.admin_at()).unwrap();
    let mut silent: Vec<_> = (0..80).map(silent).collect();
    assert_eq!(serving.admin("/healthz").status, 200);
    silent[0].set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut told = Vec::new();
    silent[0].read_to_end(&mut told).expect("it ends by itself");
    drop(silent);
    serving.end();
}

/// Nobody knows how large the rest would have been, so that isn't held against it.
#[test]
fn a_frame_that_breaks_off_is_not_called_too_large() {
    use std::io::{Read, Write};
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = format!("command = \"{TOLLBOOK}\"\nargs = [\"demo-server\"]\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "[bounds]\nframe_bytes_max = 500\n");
    let token = serving.grant("ada", &["srv"], &[]);
    let mut stream = std::net::TcpStream::connect(serving.at()).unwrap();
    let head = format!("POST /srv/mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n", serving.at());
    write!(stream, "{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    assert_eq!(serving.post("srv", &token, &[], &[b' '; 501]).status, 413);
    let log = serving.end();
    assert_eq!(query(&log, "SELECT reason FROM calls"), ["frame_too_large"]);
}

/// What is secret is in no log, metric or error: neither the client's token nor the server's credentials.
#[test]
fn secrets_are_nowhere() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\n");
    let config = dir.file(
        "tollbook.toml",
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nlog = \"log\"\n[servers.srv]\nurl = \"http://127.0.0.1:9/mcp?key=hunter2\"\n\
         headers = { Authorization = { env = \"UP\", prefix = \"Bearer \" } }\npolicy = \"p.toll\"\n",
    );
    let serving = Serving::of(&dir, &config, &[("UP", "upstream-hunter2")], 1, true);
    let token = serving.grant("ada", &["srv"], &[]);
    let told = serving.call("srv", &token, "t", "{}");
    assert!(told.contains("could not be reached"), "{told}");
    let metrics = serving.admin("/metrics").body;
    let (log, said) = serving.end_and_said();
    for text in [told, metrics, said, std::fs::read_to_string(&policy).unwrap()] {
        assert!(!text.contains("hunter2") && !text.contains(&token), "{text}");
    }
    let grep = Command::new("grep").args(["-r", "-a", "-l", "-e", "hunter2", "-e", &token, &log]).output().unwrap();
    assert_eq!(String::from_utf8(grep.stdout).unwrap(), "");
}

/// What a server does when its client hangs up, such as saving something, it does when the gateway ends too; one that
/// stays is asked to end.
#[test]
fn programs_may_finish_what_they_do_when_the_gateway_ends() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let (saved, asked) = (dir.path("saved"), dir.path("asked"));
    let answers = r#"while read -r line; do echo '{"jsonrpc":"2.0","id":1,"result":{}}'; done"#;
    let saves = format!("{answers}; sleep 0.5; echo > {saved}");
    let stays = format!("trap 'echo > {asked}; exit 0' TERM; {answers}; while true; do sleep 0.1; done");
    let server =
        |script: &str| format!("command = \"sh\"\nargs = [\"-c\", \'\'\'{script}\'\'\']\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("saves", &server(&saves)), ("stays", &server(&stays))], "");
    let token = serving.grant("ada", &["saves", "stays"], &[]);
    for server in ["saves", "stays"] {
        assert!(serving.call(server, &token, "t", "{}").contains("result"));
    }
    serving.end();
    assert!(std::path::Path::new(&saved).exists() && std::path::Path::new(&asked).exists());
}

/// Nor does it stay for ever once its client has gone, though it hears nothing of that.
#[test]
fn a_program_that_reads_nothing_is_ended_too() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let pid = dir.path("pid");
    let server =
        format!("command = \"sh\"\nargs = [\"-c\", \"echo $$ > {pid}; exec sleep 1000\"]\npolicy = \"p.toll\"\n");
    let more = "admin = \"127.0.0.1:0\"\n[bounds]\nanswer_within_s = 1\nsession_idle_s = 1\n";
    let serving = Serving::start(&dir, &[("srv", &server)], more);
    let token = serving.grant("ada", &["srv"], &[]);
    // More than a pipe holds.
    let args = format!(r#"{{"text":"{}"}}"#, "x".repeat(200_000));
    assert!(serving.call("srv", &token, "t", &args).contains("did not answer in time"));
    let pid = std::fs::read_to_string(&pid).unwrap();
    let process = format!("/proc/{}/status", pid.trim());
    assert!(std::path::Path::new(&process).exists());
    serving.until(|| {
        // Whoever asks has the idle ones ended.
        serving.admin("/metrics");
        !std::path::Path::new(&process).exists()
    });
    let log = serving.end();
    assert_eq!(query(&log, "SELECT outcome FROM calls"), ["timeout"]);
}

/// Whoever answers too late is told that nobody waits any more, as a client would tell it.
#[test]
fn a_program_that_takes_too_long_is_told() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let heard = dir.path("heard");
    let server = format!("command = \"sh\"\nargs = [\"-c\", \"cat > {heard}\"]\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "[bounds]\nanswer_within_s = 1\n");
    let token = serving.grant("ada", &["srv"], &[]);
    assert!(serving.call("srv", &token, "t", "{}").contains("did not answer in time"));
    let told = r#""method":"notifications/cancelled","params":{"requestId":1,"reason":"the answer took too long"}"#;
    serving.until(|| std::fs::read_to_string(&heard).is_ok_and(|heard| heard.contains(told)));
    serving.end();
}

/// A client of such a program doesn't wait for ever either.
#[test]
fn a_call_that_cannot_be_queued_for_a_program_is_told() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let server = "command = \"sleep\"\nargs = [\"1000\"]\npolicy = \"p.toll\"\n";
    let serving = Serving::start(&dir, &[("srv", server)], "[bounds]\nanswer_within_s = 1\ndrain_within_s = 1\n");
    let token = serving.grant("ada", &["srv"], &[]);
    // One is being written, one is as much as waits for that.
    let args = format!(r#"{{"text":"{}"}}"#, "x".repeat(12 << 20));
    for says in ["did not answer in time", "did not answer in time", "could not be reached"] {
        let told = serving.call("srv", &token, "t", &args);
        assert!(told.contains(says), "expected `{says}` in {told}");
    }
    let log = serving.end();
    assert_eq!(query(&log, "SELECT outcome FROM calls ORDER BY seq"), ["timeout", "timeout", "unreachable"]);
}

/// They find no process yet, and speak to the same one all the same.
#[test]
fn requests_that_begin_a_conversation_at_once_share_its_process() {
    let dir = Dir::new();
    dir.file("p.toll", "default allow\n");
    let begun = dir.path("begun");
    let script = format!("echo >> {begun}; sleep 0.3; exec {TOLLBOOK} demo-server");
    let server = format!("command = \"sh\"\nargs = [\"-c\", \"{script}\"]\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "");
    let token = serving.grant("ada", &["srv"], &[]);
    std::thread::scope(|threads| {
        for id in 0..8 {
            let (serving, token) = (&serving, &token);
            threads.spawn(move || {
                let told = serving.post("srv", token, &[], call(id, "list_customers", "{}").as_bytes());
                assert!(told.status == 200 && told.body.contains("cus_"), "{}", told.body);
            });
        }
    });
    let log = serving.end();
    assert_eq!(std::fs::read_to_string(begun).unwrap(), "\n");
    assert_eq!(
        query(&log, "SELECT outcome, count(*), count(DISTINCT session) FROM calls GROUP BY outcome"),
        ["ok,8,1"]
    );
}

//! Frames that two readers could take differently, end to end: the server never sees them, the log has each.

use crate::program::{Client, Dir, TOLLBOOK, query, root};
use crate::serve::Serving;

struct Attack {
    name: String,
    code: String,
    /// Only over HTTP, where there are any.
    headers: Vec<String>,
    frame: Vec<u8>,
}

fn attacks() -> Vec<Attack> {
    let mut paths: Vec<_> =
        std::fs::read_dir(root().join("fixtures/attacks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: std::path::PathBuf| {
        let bytes = std::fs::read(&path).unwrap();
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let values = |key: &'static str| head.lines().filter_map(move |line| line.strip_prefix(key)).map(str::to_owned);
        Attack {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            code: values("code: ").next().unwrap(),
            headers: values("header: ").collect(),
            frame: bytes[end + 2..].trim_ascii_end().to_vec(),
        }
    };
    paths.into_iter().map(read).collect()
}

/// What the arguments' attacks are about.
const POLICY: &str =
    "default allow\ntool t {\n deny when args.amount > 100 or args.card.pin == 0 or args.key == 1\n}\n";

/// Writes down what it is told, and says nothing.
const WITNESS: &str = "cat >> \"$0\"";

fn rows(log: &str) -> Vec<String> {
    query(log, "SELECT judged_by, decision, reason FROM calls ORDER BY seq")
}

#[test]
fn over_standard_input_and_output() {
    let dir = Dir::new();
    let (policy, log, seen) = (dir.file("p.toll", POLICY), dir.path("log"), dir.path("seen"));
    let args = ["run", "--policy", &policy, "--log", &log, "--", "sh", "-c", WITNESS, &seen];
    let mut client = Client::start(TOLLBOOK, &args);
    let mut expect = Vec::new();
    for attack in attacks().iter().filter(|attack| attack.headers.is_empty()) {
        client.send(&attack.frame);
        let answer = client.receive();
        assert!(answer.contains(&attack.code), "{}: {answer}", attack.name);
        expect.push(format!("gateway,deny,{}", attack.code));
    }
    client.end();
    assert_eq!(std::fs::read_to_string(&seen).unwrap(), "");
    assert_eq!(rows(&log), expect);
    assert!(expect.len() >= 35, "{expect:?}");
}

#[test]
fn over_http() {
    let dir = Dir::new();
    let seen = dir.path("seen");
    let server = format!("command = \"sh\"\nargs = [\"-c\", '{WITNESS}', \"{seen}\"]\npolicy = \"p.toll\"\n");
    dir.file("p.toll", POLICY);
    let serving = Serving::start(&dir, &[("srv", &server)], "");
    let token = serving.grant("ada", &["srv"], &[]);
    let mut expect = Vec::new();
    for attack in attacks() {
        let headers: Vec<&str> = attack.headers.iter().map(String::as_str).collect();
        let answer = serving.post("srv", &token, &headers, &attack.frame);
        assert!(answer.body.contains(&attack.code), "{}: {}", attack.name, answer.body);
        expect.push(format!("gateway,deny,{}", attack.code));
    }
    let log = serving.end();
    assert!(!std::path::Path::new(&seen).exists(), "no process was even started");
    assert_eq!(rows(&log), expect);
}

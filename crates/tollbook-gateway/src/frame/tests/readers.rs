//! Random frames, and what three other readers take them for: JavaScript's, Python's, and one that minds neither
//! letter case nor repeated keys, as Go's does. Whatever passes here must be the same call to all of them, and what
//! isn't judged must be a call to none. `TOLLBOOK_CASES` says how many frames.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value as Json, json};

use super::super::*;
use crate::fuzzing::{Judged, judged_alike, number, ours};

/// Prints for each line what it reads there; a frame's bytes are in hexadecimal.
const PYTHON: &str = r#"
import json, sys
def told(v):
    if isinstance(v, bool) or v is None: return v
    if isinstance(v, (int, float)):
        try: return {"n": repr(float(v))}
        except OverflowError: return {"n": "inf" if v > 0 else "-inf"}
    if isinstance(v, str): return {"s": v}
    if isinstance(v, list): return [told(x) for x in v]
    return {"o": sorted([k, told(x)] for k, x in v.items())}
for line in sys.stdin:
    try: print(json.dumps(told(json.loads(bytes.fromhex(line.strip()).decode("utf-8", "replace")))))
    except Exception: print("0")
"#;

const NODE: &str = r#"
const told = (v) => typeof v === 'number' ? { n: String(v) } : typeof v === 'string' ? { s: v }
  : v === null || typeof v === 'boolean' ? v : Array.isArray(v) ? v.map(told)
  : { o: Object.keys(v).map((k) => [k, told(v[k])]) };
let all = '';
process.stdin.on('data', (chunk) => { all += chunk; }).on('end', () => {
  for (const line of all.trim().split('\n')) {
    let out = '0';
    try { out = JSON.stringify(told(JSON.parse(Buffer.from(line, 'hex').toString('utf8')))); } catch {}
    console.log(out);
  }
});
"#;

/// A deterministic stream of choices.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % below
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.next(many) == 0
    }

    fn of<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.next(all.len())]
    }
}

/// A key or a word, as it is or as some reader might take it for the same.
fn spelled(random: &mut Random, word: &str) -> String {
    let at = random.next(word.len());
    let (before, rest) = word.split_at(at);
    let (letter, after) = rest.split_at(1);
    let instead = match random.next(60) {
        0 => letter.to_uppercase(),
        1 => format!("\\u{:04x}", word.as_bytes()[at]),
        2 => format!("{letter}\u{200b}"),
        3 if letter == "s" => "\u{17f}".to_owned(),
        4 if letter == "k" => "\u{212a}".to_owned(),
        5 if letter == "/" => "\\/".to_owned(),
        _ => letter.to_owned(),
    };
    format!("\"{before}{instead}{after}\"")
}

fn value(random: &mut Random, depth: usize) -> String {
    let plain = [
        "1",
        "1.0",
        "1e0",
        "-0",
        "0.1",
        "1E2",
        "12345678901234567890",
        "1e400",
        "-1e400",
        "1e-400",
        "true",
        "null",
        "\"a\"",
        "\"\\u0041\"",
        "\"\\ud83d\\ude00\"",
        "\"\\n\"",
        "\"é\"",
        "\"\"",
        "[]",
        "{}",
    ];
    let odd = [
        "01",
        "+1",
        ".5",
        "1.",
        "NaN",
        "Infinity",
        "-Infinity",
        "0x10",
        "\"\\ud800\"",
        "\"\\x41\"",
        "'a'",
        "\"\t\"",
        "undefined",
        "[1,]",
        "{\"a\":1,}",
        "/**/1",
        "1_0",
    ];
    match random.next(12) {
        0 if random.one_in(4) => random.of(&odd).to_owned(),
        1 if depth < 3 => object(random, depth + 1, &["a", "key", "amount"]),
        2 if depth < 3 => format!("[{},{}]", value(random, depth + 1), value(random, depth + 1)),
        _ => random.of(&plain).to_owned(),
    }
}

fn object(random: &mut Random, depth: usize, keys: &[&str]) -> String {
    let mut members: Vec<String> = Vec::new();
    for key in keys {
        members.push(format!("{}:{}", spelled(random, key), value(random, depth)));
        if random.one_in(25) {
            members.push(format!("{}:{}", spelled(random, key), value(random, depth)));
        }
    }
    format!("{{{}}}", members.join(&*format!(",{}", space(random))))
}

fn space(random: &mut Random) -> &'static str {
    if random.one_in(40) {
        random.of(&["\u{feff}", "\u{a0}", "\u{b}", "\u{2028}"])
    } else {
        random.of(&["", "", " ", "\t", "\r"])
    }
}

fn frame(random: &mut Random) -> Vec<u8> {
    let tool = random.of(&["ls", "rm", "make_key"]).to_owned();
    let mut params = vec![
        format!("{}:{}", spelled(random, "name"), spelled(random, &tool)),
        format!("{}:{}", spelled(random, "arguments"), object(random, 0, &["amount", "to"])),
    ];
    if random.one_in(6) {
        params.push(format!("{}:{}", spelled(random, "_meta"), value(random, 0)));
    }
    if random.one_in(12) {
        params.push(format!("{}:\"rm\"", spelled(random, "name")));
    }
    let method = random.of(&["tools/call", "tools/call", "tools/call", "tools/list", "ping"]);
    let mut members = vec![
        format!("{}:\"2.0\"", spelled(random, "jsonrpc")),
        format!("{}:{}", spelled(random, "id"), random.of(&["1", "\"a\"", "1.5", "9007199254740993"])),
        format!("{}:{}", spelled(random, "method"), spelled(random, method)),
        format!("{}:{{{}}}", spelled(random, "params"), params.join(",")),
    ];
    if random.one_in(12) {
        members.push(format!("{}:{}", spelled(random, "method"), spelled(random, "tools/call")));
    }
    let at = random.next(members.len());
    members.swap(0, at);
    let mut bytes = Vec::new();
    let trailing = if random.one_in(30) { random.of(&["{}", "\0", "//", ",", "]"]) } else { "" };
    let (before, between, after) = (space(random), space(random), space(random));
    bytes.extend(format!("{before}{{{between}{}}}{after}{trailing}", members.join(",")).into_bytes());
    if random.one_in(20) {
        let at = random.next(bytes.len());
        bytes[at] = u8::try_from(random.next(256)).unwrap();
    }
    // On standard input and output it would be two.
    bytes.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    bytes
}

/// The same from another reader's words.
fn theirs(told: &Json) -> Json {
    match told {
        Json::Object(tagged) if tagged.contains_key("n") => number(tagged["n"].as_str().unwrap()),
        Json::Object(tagged) if tagged.contains_key("o") => {
            let pair = |pair: &Json| (pair[0].as_str().unwrap().to_owned(), theirs(&pair[1]));
            let mut all: Vec<(String, Json)> = tagged["o"].as_array().unwrap().iter().map(pair).collect();
            all.sort_by(|one, other| one.0.cmp(&other.0));
            json!({ "o": all })
        }
        Json::Array(items) => items.iter().map(theirs).collect(),
        other => other.clone(),
    }
}

/// What a reader makes of each frame; none where there is no such reader here.
fn read_by(program: &str, script: &str, frames: &[Vec<u8>]) -> Option<Vec<Json>> {
    let flag = if program == "node" { "-e" } else { "-c" };
    let started = Command::new(program).args([flag, script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut reader) = started else {
        assert!(std::env::var_os("CI").is_none(), "{program} must be there in CI");
        eprintln!("skipped: no {program}");
        return None;
    };
    let mut lines = String::new();
    for frame in frames {
        lines.extend(frame.iter().map(|byte| format!("{byte:02x}")));
        lines.push('\n');
    }
    let mut input = reader.stdin.take().unwrap();
    std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = reader.wait_with_output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    // Half a character, which is refused here, is none that could be told.
    let told: Vec<Json> = told.lines().map(|line| serde_json::from_str(line).unwrap_or(json!(0))).collect();
    assert_eq!(told.len(), frames.len());
    Some(told)
}

#[test]
fn what_is_judged_is_what_every_other_reader_sees() {
    let cases = std::env::var("TOLLBOOK_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(4_000);
    let mut random = Random(8);
    let frames: Vec<Vec<u8>> = (0..cases).map(|_| frame(&mut random)).collect();
    let readers: Vec<(&str, Vec<Json>)> = [("python3", PYTHON), ("node", NODE)]
        .into_iter()
        .filter_map(|(program, script)| Some((program, read_by(program, script, &frames)?)))
        .collect();
    let (mut calls, mut others) = (0, 0);
    for (number, bytes) in frames.iter().enumerate() {
        let shown = String::from_utf8_lossy(bytes);
        let judged = judged_alike(bytes).unwrap_or_else(|why| panic!("{why}: {shown}"));
        let Ok(node) = read(bytes) else { continue };
        if said(&node).is_err() {
            continue;
        }
        calls += usize::from(judged == Judged::Call);
        others += usize::from(judged == Judged::Other);
        let whole = ours(&node);
        for (reader, told) in readers.iter().filter(|(_, told)| told[number] != json!(0)) {
            assert_eq!(theirs(&told[number]), whole, "{reader} reads otherwise: {shown}");
        }
    }
    assert!(calls * 5 > cases && others * 20 > cases, "{calls} calls and {others} others of {cases}");
}

//! A constant load for a while: memory doesn't grow, no record is lost, and the log gives back every decision.
//!
//! A minute, or an hour where `TOLLBOOK_NIGHTLY` is set. `TOLLBOOK_SOAK_S` says how many seconds otherwise.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::faults::status_kib;
use crate::program::{Dir, TOLLBOOK, call, query, tollbook};
use crate::serve::Serving;

const POLICY: &str = "default deny\n\
    allow list_customers\n\
    tool create_invoice { deny when args.amount > 900 limit 100 per rolling minute per session }\n\
    tool get_invoice_status { limit 3_000_000 per day per grant break after 40 identical calls within 5s }\n";

/// Clients that call at the same time, and the pause of each between its calls.
const CLIENTS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(25);

/// What the process holds may differ by so much from what it held after the first third.
const GROWTH_KIB_MAX: u64 = 12 << 10;

fn frame(number: u64) -> String {
    match number % 5 {
        0 | 1 => call(number, "list_customers", "{}"),
        2 => call(number, "create_invoice", &format!(r#"{{"customer":"a","amount":{}}}"#, number % 1_000)),
        3 => call(number, "get_invoice_status", r#"{"id":"in_1"}"#),
        _ => call(number, "no_such_tool", "{}"),
    }
}

#[test]
fn a_constant_load_leaves_no_trace_but_its_records() {
    let named = std::env::var("TOLLBOOK_SOAK_S").ok().and_then(|text| text.parse().ok());
    let nightly = std::env::var_os("TOLLBOOK_NIGHTLY").is_some();
    let lasts = Duration::from_secs(named.unwrap_or(if nightly { 3_600 } else { 60 }));
    let dir = Dir::new();
    let policy = dir.file("p.toll", POLICY);
    let server = format!("command = \"{TOLLBOOK}\"\nargs = [\"demo-server\"]\npolicy = \"p.toll\"\n");
    let serving = Serving::start(&dir, &[("srv", &server)], "");
    let token = serving.grant("ada", &["srv"], &[]);
    let answered = Mutex::new(0_u64);
    let (began, mut held_kib) = (Instant::now(), Vec::new());
    std::thread::scope(|threads| {
        for client in 0..CLIENTS {
            let (serving, token, answered) = (&serving, &token, &answered);
            threads.spawn(move || {
                let mut number = client;
                while began.elapsed() < lasts {
                    let told = serving.post("srv", token, &[], frame(number).as_bytes());
                    assert!(told.status == 200 && told.body.contains(&format!(r#""id":{number},"#)), "{}", told.body);
                    *answered.lock().unwrap() += 1;
                    number += CLIENTS;
                    std::thread::sleep(PAUSE);
                }
            });
        }
        while began.elapsed() < lasts {
            held_kib.push(status_kib(serving.pid(), "VmRSS:"));
            std::thread::sleep(lasts / 60);
        }
    });
    let settled = *held_kib.iter().skip(held_kib.len() / 3).min().unwrap();
    let last = *held_kib.last().unwrap();
    assert!(last < settled + GROWTH_KIB_MAX, "memory grew from {settled} to {last} KiB: {held_kib:?}");
    let log = serving.end();
    let answered = answered.into_inner().unwrap();
    assert_eq!(
        query(&log, "SELECT count(*), count(DISTINCT request_id) FROM calls"),
        [format!("{answered},{answered}")]
    );
    assert_eq!(query(&log, "SELECT count(*) FROM calls WHERE decision = 'allow' AND outcome IS NULL"), ["0"]);
    assert!(query(&log, "SELECT count(DISTINCT reason) FROM calls")[0].parse::<u32>().unwrap() >= 3);
    let replayed = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(replayed.starts_with(&format!("fidelity 100.00 % ({answered} of {answered})\n")), "{replayed}");
    eprintln!("{answered} calls in {lasts:?}; {settled} KiB held after a third of it, {last} KiB at the end");
}

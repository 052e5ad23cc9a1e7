//! `tollbook run` in front of the demo's own server: what is judged, relayed and recorded.

use std::time::Duration;

use crate::program::{Client, Dir, TOLLBOOK, call, query, tollbook};

const POLICY: &str = r#"policy "billing"
default deny
allow list_customers
hide delete_customer
tool create_invoice {
    require args.amount > 0
    deny when args.amount > 100_000 because "Invoices over $1,000.00 need a person."
}
tool update_invoice { limit 2 per day per grant }
"#;

#[test]
fn allowed_calls_answer_byte_for_byte_and_refused_ones_never_reach_the_server() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut direct = Client::start(TOLLBOOK, &["demo-server"]);
    let mut client = Client::through_gateway(&policy, &log);
    for line in [
        r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","clientInfo":{"name":"t","version":"1"}}}"#,
        r#"{ "jsonrpc" : "2.0", "id":"é\u00e9" , "method":"ping" }"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"no/such"}"#,
        &call(1, "list_customers", "{}"),
        &call(2, "create_invoice", r#"{"customer":"a","amount":5,"x":12345678901234567890123}"#),
        &call(3, "update_invoice", r#"{"id":"in_1","amount":6}"#),
        &call(4, "update_invoice", r#"{"id":"in_9","amount":6}"#),
    ] {
        assert_eq!(client.ask(line), direct.ask(line), "{line}");
    }
    let refused = client.call(5, "create_invoice", r#"{"customer":"a","amount":100001}"#);
    assert!(refused.contains(r#""text":"[POLICY DENIED] Invoices over $1,000.00 need a person. (deny)""#), "{refused}");
    assert!(refused.contains(r#""isError":true"#) && refused.starts_with(r#"{"jsonrpc":"2.0","id":5,"#), "{refused}");
    let refused = client.call(6, "update_invoice", r#"{"id":"in_1","amount":7}"#);
    assert!(
        refused.contains("(limit; retry_after_ms=") && refused.contains(r#""tollbook/retry_after_ms":"#),
        "{refused}"
    );
    let hidden = client.call(8, "delete_customer", r#"{"customer":"a"}"#);
    assert_eq!(hidden, r#"{"jsonrpc":"2.0","id":8,"error":{"code":-32602,"message":"Unknown tool: delete_customer"}}"#);
    let refused = client.call(9, "void_invoice", r#"{"id":"in_1"}"#);
    assert!(refused.contains("(default_deny)"), "{refused}");

    let list = r#"{"jsonrpc":"2.0","id":10,"method":"tools/list"}"#;
    let (through, plain) = (client.ask(list), direct.ask(list));
    assert!(plain.contains("delete_customer") && !through.contains("delete_customer"));
    // The hidden tool's bytes are gone, and no others.
    let tools: Vec<&str> = plain.split_inclusive("\"name\":\"").collect();
    assert_eq!(tools.len(), 7);
    let (start, end) = (plain.find(r#",{"description":"Deletes"#).unwrap(), plain.rfind("]}}").unwrap());
    assert_eq!(through, format!("{}{}", &plain[..start], &plain[end..]));
    assert_eq!(client.end().code, Some(0));

    let rows = query(&log, "SELECT tool, decision, reason, rule, outcome, agent FROM calls ORDER BY seq");
    assert_eq!(
        rows,
        [
            "list_customers,allow,allowed,,ok,t/1",
            "create_invoice,allow,allowed,,ok,t/1",
            "update_invoice,allow,allowed,,ok,t/1",
            "update_invoice,allow,allowed,,tool_error,t/1",
            "create_invoice,deny,deny,/tools/create_invoice/deny_if/args.amount-gt,,t/1",
            "update_invoice,deny,limit,/tools/update_invoice/limits/calls-per-day,,t/1",
            "delete_customer,deny,hidden,(hidden),,t/1",
            "void_invoice,deny,default_deny,(default deny),,t/1",
        ]
    );
    let out = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(out.starts_with("fidelity 100.00 % (8 of 8)\n"), "{out}");
}

#[test]
fn an_ambiguous_frame_is_refused_recorded_and_never_forwarded() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    let frames: [(&[u8], &str); 9] = [
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_customer","Name":"list_customers"}}"#, "frame_key_case"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{"a":[{"b":1,"b":2}]}}}"#, "frame_duplicate_key"),
        (br#"{"jsonrpc":"2.0","id":1,"Method":"tools/call","method":"ping"}"#, "frame_key_case"),
        (br#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_customer"}}]"#, "frame_batch"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#, "frame_trailing_data"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":NaN}}"#, "frame_not_finite"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"x\":\"\xff\"}}", "frame_invalid_utf8"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,", "frame_not_json"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}"#, "call_invalid"),
    ];
    for (frame, code) in frames {
        client.send(frame);
        let answer = client.receive();
        assert!(answer.contains(&format!(r#""data":{{"tollbook/reason":"{code}"}}"#)), "{code}: {answer}");
    }
    assert!(client.ask(r#"{"jsonrpc":"2.0","id":99,"method":"ping"}"#).contains(r#""id":99"#));
    assert_eq!(client.end().code, Some(0));
    let rows = query(&log, "SELECT judged_by, decision, reason FROM calls ORDER BY seq");
    let expect: Vec<String> = frames.iter().map(|(_, code)| format!("gateway,deny,{code}")).collect();
    assert_eq!(rows, expect);
    // Nobody's policy was asked, so there is nothing to replay.
    let out = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(out.contains("9 calls refused by the gateway itself"), "{out}");
}

#[test]
fn an_argument_that_differs_by_case_from_one_the_policy_reads_is_refused() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    let answer = client.call(1, "create_invoice", r#"{"customer":"a","amount":5,"Amount":999999999}"#);
    assert!(answer.contains("frame_key_case"), "{answer}");
    client.end();
    assert_eq!(query(&log, "SELECT tool, judged_by, reason FROM calls"), ["create_invoice,gateway,frame_key_case"]);
}

#[test]
fn shadow_records_everything_and_refuses_nothing() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let args = ["run", "--shadow", "--policy", &policy, "--log", &log, "--", TOLLBOOK, "demo-server"];
    let mut client = Client::start(TOLLBOOK, &args);
    assert!(client.call(1, "void_invoice", r#"{"id":"in_1"}"#).contains("There is no such invoice."));
    client.end();
    let rows = query(&log, "SELECT tool, mode, decision, outcome FROM calls");
    assert_eq!(rows, ["void_invoice,shadow,deny,tool_error"]);
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (1 of 1)"));
}

#[test]
fn a_call_that_the_server_answers_with_an_rpc_error_gives_its_unit_back() {
    let dir = Dir::new();
    let (policy, log) =
        (dir.file("p.toll", "default deny\ntool gone { limit 1 per day per grant }\n"), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    for id in 1..=3 {
        let answer = client.call(id, "gone", "{}");
        assert!(answer.contains("Unknown tool: gone"), "{answer}");
    }
    client.end();
    let rows = query(&log, "SELECT decision, outcome, limits[1]['used_before'] FROM calls ORDER BY seq");
    assert_eq!(rows, ["allow,rpc_error,0.000000"; 3]);
    assert!(tollbook(&["backtest", "--log", &log, &policy]).ok().starts_with("fidelity 100.00 % (3 of 3)"));
}

#[test]
fn the_gateway_ends_as_the_server_ends() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\n");
    for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let log = dir.path(&format!("log{code}"));
        let ended =
            Client::start(TOLLBOOK, &["run", "--policy", &policy, "--log", &log, "--", "sh", "-c", script]).end();
        assert_eq!(ended.code, Some(code), "{}", ended.err);
    }
}

#[test]
fn signals_are_passed_on() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    let script = "trap 'echo got-term; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let mut client = Client::start(TOLLBOOK, &["run", "--policy", &policy, "--log", &log, "--", "sh", "-c", script]);
    assert_eq!(client.receive(), "ready");
    let pid = client.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(client.receive(), "got-term");
    assert_eq!(client.end().code, Some(3));
}

#[test]
fn a_server_that_dies_in_mid_call_is_told_and_recorded() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    let args = ["run", "--policy", &policy, "--log", &log, "--", "sh", "-c", "read line; exit 5"];
    let mut client = Client::start(TOLLBOOK, &args);
    let answer = client.call(1, "slow", "{}");
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"The server ended before it answered."}}"#
    );
    assert_eq!(client.end().code, Some(5));
    assert_eq!(query(&log, "SELECT tool, decision, outcome FROM calls"), ["slow,allow,lost"]);
}

/// Whatever was answered before the kill is in the log after it.
#[test]
fn after_kill_nothing_that_was_answered_is_missing() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\n"), dir.path("log"));
    let rounds = if std::env::var_os("TOLLBOOK_NIGHTLY").is_some() { 100 } else { 4 };
    let mut answered = 0;
    for round in 0..rounds {
        let mut client = Client::through_gateway(&policy, &log);
        for id in 0..(5 + round * 7 % 40) {
            assert!(client.call(id, "list_customers", "{}").contains("cus_ada"));
            answered += 1;
        }
        // One more is under way when the process dies.
        client.send(call(1000, "list_customers", "{}").as_bytes());
        std::thread::sleep(Duration::from_micros(round * 37 % 500));
        client.child.kill().unwrap();
        client.child.wait().unwrap();
        // The open segment is in the table before anybody recovers it.
        let rows = query(&log, "SELECT count(*) FILTER (WHERE request_id <> '1000') FROM calls");
        assert_eq!(rows, [answered.to_string()]);
    }
    // The next gateway recovers what the killed ones left, and says so.
    let ended = Client::through_gateway(&policy, &log).end();
    assert!(ended.err.contains("recovered"), "{}", ended.err);
    let rows = query(&log, "SELECT count(*) FILTER (WHERE request_id <> '1000') FROM calls");
    assert_eq!(rows, [answered.to_string()]);
    let out = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(out.starts_with("fidelity 100.00 %"), "{out}");
}

#[test]
fn secrets_in_arguments_that_the_policy_does_not_read_stay_out_of_the_log() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let mut client = Client::through_gateway(&policy, &log);
    client.call(1, "create_invoice", r#"{"amount":5,"customer":"hunter2hunter2"}"#);
    client.end();
    assert_eq!(query(&log, "SELECT args FROM calls"), [r#""{""args.amount"":5}""#]);
    fn visit(dir: &std::path::Path) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", path.display());
            }
        }
    }
    visit(std::path::Path::new(&log));
}

#[test]
fn redacted_arguments_are_in_no_file_and_what_reads_them_is_unknown() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default deny\ntool update_invoice { deny when args.secret == \"hunter2\" }\n");
    let log = dir.path("log");
    let args =
        ["run", "--policy", &policy, "--log", &log, "--record-args", "full", "--redact", "args.secret, args.*.pin"];
    let mut client = Client::start(TOLLBOOK, &[&args[..], &["--", TOLLBOOK, "demo-server"]].concat());
    let secret = r#"{"id":"in_1","amount":5,"secret":"hunter2","card":{"pin":"Xq7731"}}"#;
    assert!(client.call(1, "update_invoice", secret).contains("[POLICY DENIED]"), "it is judged by the whole");
    client.end();
    let rows = query(&log, "SELECT args FROM calls");
    assert!(rows[0].contains("in_1") && !rows[0].contains("hunter2") && !rows[0].contains("Xq7731"), "{rows:?}");
    let out = tollbook(&["backtest", "--log", &log, &policy]).ok();
    assert!(out.contains("1 call decided on what the log doesn't hold"), "{out}");
    tollbook(&["run", "--policy", &policy, "--log", &log, "--redact", "secret", "--", "true"]).cannot("isn't a path");
}

/// Lines that came together go on together, and one sync serves them all.
#[test]
fn calls_that_come_at_once_are_answered_one_by_one() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", POLICY), dir.path("log"));
    let args = ["run", "--durability", "fsync", "--policy", &policy, "--log", &log, "--", TOLLBOOK, "demo-server"];
    let mut client = Client::start(TOLLBOOK, &args);
    let frames: Vec<String> =
        (0..300).map(|id| call(id, ["list_customers", "void_invoice"][usize::from(id % 3 == 2)], "{}")).collect();
    client.send(frames.join("\n").as_bytes());
    let mut answered: Vec<bool> = vec![false; 300];
    for _ in 0..300 {
        let answer = client.receive();
        let id: usize = answer.split(r#""id":"#).nth(1).unwrap().split([',', '}']).next().unwrap().parse().unwrap();
        assert_eq!(answer.contains("default_deny"), id % 3 == 2, "{answer}");
        assert!(!std::mem::replace(&mut answered[id], true), "{id} twice");
    }
    client.end();
    assert_eq!(query(&log, "SELECT count(*) FROM calls WHERE outcome = 'ok'"), ["200"]);
}

/// Lists that only some clients would take for the answer: in a batch, under an id of another kind, beside an empty one.
#[test]
fn a_list_that_cannot_be_read_for_sure_is_withheld() {
    let dir = Dir::new();
    let policy = dir.file("p.toll", "default allow\nhide rm\n");
    for list in [
        r#"[{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"rm"}]}}]"#,
        r#"{"jsonrpc":"2.0","id":"1","result":{"tools":[{"name":"rm"},{"title":"t"}]}}"#,
        r#"{"jsonrpc":"2.0","Id":1,"result":{"tools":[{"name":"rm"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"Tools":[{"name":"rm"}]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"rm"}]},"id":1}"#,
    ] {
        let log = dir.path("log");
        let script = format!("read line; echo '{list}'; cat > /dev/null");
        let mut client =
            Client::start(TOLLBOOK, &["run", "--policy", &policy, "--log", &log, "--", "sh", "-c", &script]);
        let told = client.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
        assert!(told.contains("so it is withheld") && !told.contains("rm"), "{list}: {told}");
        assert_eq!(client.end().out, "", "{list}");
    }
}

/// Nor does the refusal of a call that isn't clean tell that there is such a tool.
#[test]
fn a_hidden_tool_is_unknown_however_it_is_called() {
    let dir = Dir::new();
    let (policy, log) = (
        dir.file("p.toll", "default allow\nhide void_invoice\ntool void_invoice { deny when args.amount > 5 }\n"),
        dir.path("log"),
    );
    let mut client = Client::through_gateway(&policy, &log);
    let unknown = |id| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32602,"message":"Unknown tool: void_invoice"}}}}"#)
    };
    assert_eq!(client.call(1, "void_invoice", r#"{"amount":9}"#), unknown(1));
    assert_eq!(client.call(2, "void_invoice", r#"{"Amount":9}"#), unknown(2));
    client.end();
    let rows = query(&log, "SELECT judged_by, reason FROM calls ORDER BY seq");
    assert_eq!(rows, ["engine,hidden", "gateway,frame_key_case"]);
}

/// In shadow mode an agent goes on as it would without a policy, which includes what it is shown.
#[test]
fn in_shadow_mode_nothing_is_hidden() {
    let dir = Dir::new();
    let (policy, log) = (dir.file("p.toll", "default allow\nhide void_invoice\n"), dir.path("log"));
    let args = ["run", "--shadow", "--policy", &policy, "--log", &log, "--", TOLLBOOK, "demo-server"];
    let (mut client, mut direct) = (Client::start(TOLLBOOK, &args), Client::start(TOLLBOOK, &["demo-server"]));
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    assert_eq!(client.ask(list), direct.ask(list));
    let call = call(2, "void_invoice", "{}");
    assert_eq!(client.ask(&call), direct.ask(&call));
    client.end();
    assert_eq!(query(&log, "SELECT mode, decision, reason FROM calls"), ["shadow,deny,hidden"]);
}

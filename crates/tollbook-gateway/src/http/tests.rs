//! Through a real listener, in front of a server that says what it was sent.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method};
use axum::response::Response;
use reqwest::{Client, RequestBuilder};
use tollbook_engine::{Engine, Record};
use tollbook_log::{Log, Options, Reader};
use tollbook_policy::Target;

use super::*;
use crate::desk::{Desk, Manner};
use crate::grants::{Grant, Grants, hash};
use crate::stdio::ClientOut;

const POLICY: &str = "default allow\nhide rm\ntool once { limit 1 per day per grant }\n";
const TOKEN: &str = "toll_ada";

/// What the server was sent: method, headers and body.
type Sent = Arc<Mutex<Vec<(Method, HeaderMap, String)>>>;

/// A gateway in front of a server whose tools are its ways to answer.
struct Case {
    dir: tempfile::TempDir,
    desk: SharedDesk,
    gateway: Arc<Gateway>,
    at: SocketAddr,
    sent: Sent,
    client: Client,
}

impl Case {
    async fn new() -> Self {
        Self::with(Bounds::default(), None).await
    }

    async fn with(bounds: Bounds, place: Option<Place>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let policy = tollbook_policy::read("p.toll", POLICY, Target::Native).unwrap().policy;
        let (log, _) = Log::open(dir.path(), Options::default()).unwrap();
        let manner = Manner { waits_for_sync: true, ..Manner::usual() };
        let mut desk = Desk::open(log, manner, Box::new(|| 1_000)).unwrap();
        desk.activate(Engine::compile(&policy, "srv").unwrap(), None, &policy).unwrap();
        let desk = Arc::new(Mutex::new(desk));
        let sent = Sent::default();
        let upstream = listening(Router::new().fallback(answer).with_state(Arc::clone(&sent))).await;
        let credentials = [("Authorization".to_owned(), "Bearer upstream".to_owned())];
        let url = format!("http://{upstream}/mcp");
        let up = Place::Url(Upstream::new(&url, &credentials, Duration::from_secs(1)).unwrap());
        let places = BTreeMap::from([("srv".to_owned(), place.unwrap_or(up.clone())), ("bare".to_owned(), up)]);
        let grant = |token| Grant {
            sha256: hash(token),
            servers: [("srv".to_owned(), None), ("bare".to_owned(), None)].into(),
        };
        let grants = [("ada".to_owned(), grant(TOKEN)), ("bob".to_owned(), grant("toll_bob"))];
        let tokens = Grants { grants: grants.into() }.tokens();
        let gateway = Arc::new(Gateway::new(Arc::clone(&desk), places, tokens, Hosts::default(), bounds, [7; 32]));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(serve(Arc::clone(&gateway), listener, std::future::pending()));
        Self { dir, desk, gateway, at, sent, client: Client::builder().no_proxy().build().unwrap() }
    }

    fn request(&self, method: Method, server: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("http://{}/{server}/mcp", self.at));
        request.bearer_auth(TOKEN).header("accept", "application/json, text/event-stream")
    }

    fn post(&self, frame: &str) -> RequestBuilder {
        self.request(Method::POST, "srv").header("content-type", "application/json").body(frame.to_owned())
    }

    async fn ask(&self, frame: &str) -> (u16, String) {
        told(self.post(frame)).await
    }

    fn bodies(&self) -> Vec<String> {
        lock(&self.sent).iter().map(|(_, _, body)| body.clone()).collect()
    }

    /// Waits until a call's row is this one.
    async fn until(&self, row: &str) {
        let seen = async {
            while !rows(self.dir.path()).iter().any(|found| found == row) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), seen).await.expect(row);
    }

    /// Tool or `-`, decision and reason of each call, and how it ended.
    fn rows(self) -> Vec<String> {
        lock(&self.desk).close().unwrap();
        rows(self.dir.path())
    }
}

fn rows(dir: &Path) -> Vec<String> {
    use tollbook_engine::Body;
    let reader = Reader::open(&[dir]).unwrap();
    let events = reader.instances().flat_map(|instance| reader.events(instance).unwrap());
    let mut rows: Vec<(u64, Box<Record>)> = Vec::new();
    let mut ended: BTreeMap<u64, &str> = BTreeMap::new();
    for event in events.map(Result::unwrap) {
        match event.body {
            Body::Decision(record) => rows.push((event.seq, record)),
            Body::Outcome(outcome) => drop(ended.insert(outcome.call_seq, outcome.end.as_str())),
            _ => {}
        }
    }
    let row = |(seq, record): (u64, Box<Record>)| {
        let tool = record.tool.as_deref().unwrap_or("-").to_owned();
        let end = ended.get(&seq).copied().unwrap_or("-");
        format!("{tool} {} {end}", record.reason.as_deref().unwrap_or("-"))
    };
    rows.into_iter().map(row).collect()
}

async fn told(request: RequestBuilder) -> (u16, String) {
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn listening(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    at
}

const TOOLS: &str = r#"{"jsonrpc":"2.0","id":1, "result":{"tools":[{"name":"ls"},{"name":"rm"}]}}"#;

/// The server: what it answers is chosen by the tool.
async fn answer(State(sent): State<Sent>, method: Method, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    lock(&sent).push((method.clone(), headers, body.clone()));
    let response = |status: u16, kind: &str, body: Body| {
        Response::builder().status(status).header("content-type", kind).body(body).unwrap()
    };
    let stream = |text: String| response(200, "text/event-stream", Body::from(text));
    match () {
        () if method == Method::GET => stream(format!("id: 9\ndata: {TOOLS}\n\n")),
        () if method == Method::DELETE => response(200, "text/plain", Body::empty()),
        () if body.contains("subscriptions/listen") => {
            let (kind, first) = match body.contains("\"lines\"") {
                true => ("application/json", "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n"),
                false => ("text/event-stream", "data: {\"method\":\"n\"}\n\n"),
            };
            let first = futures::stream::once(async move { Ok::<_, std::convert::Infallible>(first) });
            response(200, kind, Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending())))
        }
        () if body.contains("tools/list") => stream(format!(": hi\n\nevent: message\nid: 8\ndata: {TOOLS}\n\n")),
        () if body.contains("\"hang\"") => std::future::pending().await,
        () if body.contains("\"html\"") => response(500, "text/html", Body::from("<p>oops")),
        () if body.contains("\"moved\"") => response(307, "text/plain", Body::empty()),
        () if body.contains("\"cut\"") => stream("data: {\"jsonrpc\"\n\ndata: half".to_owned()),
        () if body.contains("initialize\"") => {
            let mut hello = response(200, "application/json", Body::from(r#"{"jsonrpc":"2.0","id":0,"result":{}}"#));
            hello.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
            hello
        }
        () if !body.contains("\"id\"") => response(202, "text/plain", Body::empty()),
        () => response(
            200,
            "application/json",
            Body::from(" {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"big\":12345678901234567890123}}\n"),
        ),
    }
}

fn call(tool: &str) -> String {
    format!(r#"{{ "jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

#[tokio::test]
async fn bodies_pass_byte_for_byte_and_credentials_do_not() {
    let case = Case::new().await;
    let request = case
        .post(&call("t"))
        .header("cookie", "a=b")
        .header("x-api-key", "k")
        .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let (status, body) = told(request).await;
    assert_eq!(
        (status, body.as_str()),
        (200, " {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"big\":12345678901234567890123}}\n")
    );
    assert_eq!(case.bodies(), [call("t")]);
    {
        let sent = lock(&case.sent);
        let headers = &sent[0].1;
        assert_eq!(headers["authorization"], "Bearer upstream");
        assert!(headers.contains_key("traceparent"));
        assert!(!headers.contains_key("cookie") && !headers.contains_key("x-api-key"), "{headers:?}");
    }
    assert_eq!(case.rows(), ["t allowed ok"]);
}

#[tokio::test]
async fn refusals_are_answers_and_never_reach_the_server() {
    let case = Case::new().await;
    assert_eq!(case.ask(&call("once")).await.0, 200);
    let (status, body) = case.ask(&call("once")).await;
    assert!(status == 200 && body.contains("(limit; retry_after_ms="), "{status} {body}");
    let (status, body) = case.ask(r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#).await;
    assert!(status == 400 && body.contains("frame_duplicate_key"), "{status} {body}");
    let (status, body) = told(case.post(&call("t")).header("mcp-name", "other")).await;
    assert!(status == 400 && body.contains("header_mismatch"), "{status} {body}");
    let (status, body) = told(case.post(&call("t")).header("content-encoding", "gzip")).await;
    assert!(status == 400 && body.contains("header_mismatch"), "{status} {body}");
    assert_eq!(case.bodies().len(), 1);
    let expect =
        ["once allowed ok", "once limit -", "- frame_duplicate_key -", "- header_mismatch -", "- header_mismatch -"];
    assert_eq!(case.rows(), expect);
}

/// Since 2026-07-28 a result says what kind it is.
#[tokio::test]
async fn a_refusal_is_a_result_of_the_requests_own_era() {
    let case = Case::new().await;
    case.ask(&call("once")).await;
    assert!(!case.ask(&call("once")).await.1.contains("resultType"));
    let meta = r#"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let alone = call("once").replace("}}}", meta);
    let (_, body) = told(case.post(&alone).header("mcp-protocol-version", "2026-07-28")).await;
    assert!(body.contains("(limit;") && body.contains(r#""resultType":"complete""#), "{body}");
}

#[tokio::test]
async fn hidden_tools_are_cut_out_of_events_and_of_streams_that_are_taken_up_again() {
    let case = Case::new().await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let shown = r#"{"jsonrpc":"2.0","id":1, "result":{"tools":[{"name":"ls"}]}}"#;
    assert_eq!(case.ask(list).await, (200, format!(": hi\n\nevent: message\nid: 8\ndata: {shown}\n\n")));
    let again = case.request(Method::GET, "srv").header("mcp-session-id", "s").header("last-event-id", "7");
    assert_eq!(told(again).await, (200, format!("id: 9\ndata: {shown}\n\n")));
    assert_eq!(lock(&case.sent)[1].1["last-event-id"], "7");
}

#[tokio::test]
async fn only_a_good_token_from_a_good_place_is_heard() {
    let case = Case::new().await;
    assert_eq!(told(case.post(&call("t")).header("host", "evil.example")).await.0, 403);
    assert_eq!(told(case.post(&call("t")).header("origin", "http://evil.example")).await.0, 403);
    let bare = case.client.post(format!("http://{}/srv/mcp", case.at));
    assert_eq!(told(bare.try_clone().unwrap()).await.0, 401);
    assert_eq!(told(bare.bearer_auth("toll_eve")).await.0, 401);
    assert_eq!(told(case.request(Method::POST, "none")).await.0, 404);
    let unruled = case.request(Method::POST, "bare").header("content-type", "application/json").body(call("t"));
    let (status, body) = told(unruled).await;
    assert!(status == 200 && body.contains("no_policy"), "{status} {body}");
    assert!(case.bodies().is_empty());
    assert_eq!(case.rows(), ["- host_not_allowed -", "- origin_not_allowed -", "t no_policy -"]);
}

#[tokio::test]
async fn a_session_belongs_to_the_grant_that_opened_it_and_ends() {
    let case = Case::new().await;
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"clientInfo":{"name":"c","version":"1"}}}"#;
    let response = case.post(hello).send().await.unwrap();
    assert_eq!(response.headers()["mcp-session-id"], "s-1");
    let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let in_session = |frame: &str| case.post(frame).header("mcp-session-id", "s-1");
    assert_eq!(told(in_session(initialized)).await.0, 202);
    assert_eq!(told(in_session(&call("t"))).await.0, 200);
    let foreign = in_session(&call("t"))
        .headers([("authorization".parse().unwrap(), "Bearer toll_bob".parse().unwrap())].into_iter().collect());
    assert_eq!(told(foreign).await.0, 404);
    let end = case.request(Method::DELETE, "srv").header("mcp-session-id", "s-1");
    assert_eq!(told(end).await.0, 200);
    assert_eq!(case.bodies().len(), 4);
    assert_eq!(case.rows(), ["t allowed ok"]);
}

#[tokio::test]
async fn a_client_that_goes_away_has_cancelled() {
    let case = Case::new().await;
    let waiting = tokio::spawn(case.post(&call("hang")).send());
    while case.bodies().is_empty() {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    let _ = waiting.await;
    case.until("hang allowed cancelled").await;
    assert_eq!(case.bodies().len(), 1, "the end of the connection says it");
    // In a session it doesn't.
    let waiting = tokio::spawn(case.post(&call("hang")).header("mcp-session-id", "s-1").send());
    while case.bodies().len() < 2 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    let told = async {
        while case.bodies().len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.unwrap();
    let (_, headers, body) = lock(&case.sent)[2].clone();
    assert!(body.contains("notifications/cancelled") && body.contains(r#""requestId":1,"#), "{body}");
    assert_eq!(headers["mcp-session-id"], "s-1");
    assert_eq!(case.rows(), ["hang allowed cancelled"; 2]);
}

/// In a session the end of a connection says nothing, so a server that takes too long is told.
#[tokio::test]
async fn a_server_that_takes_too_long_is_told_in_its_session() {
    let case = Case::with(Bounds { answer_within_s: 1, ..Bounds::default() }, None).await;
    let (_, body) = told(case.post(&call("hang")).header("mcp-session-id", "s-1")).await;
    assert!(body.contains("did not answer in time"), "{body}");
    let cancelled = async {
        while case.bodies().len() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), cancelled).await.unwrap();
    let (_, headers, body) = lock(&case.sent)[1].clone();
    assert!(body.contains(r#""requestId":1,"reason":"the answer took too long""#), "{body}");
    assert_eq!(headers["mcp-session-id"], "s-1");
    assert_eq!(case.rows(), ["hang allowed timeout"]);
}

/// The same where the client is on standard input and output, and the session the gateway's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_too_long_is_told_by_the_bridge_too() {
    let case = Case::new().await;
    let Way::Url(upstream) = &case.gateway.servers["srv"].way else { panic!("it is a program") };
    let bounds = Bounds { answer_within_s: 1, ..Bounds::default() };
    let ((client_in, mut client), (told, client_out)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let (connection, client_out) = (Connection::new("srv", "ada", "p"), ClientOut::new(client_out));
    let run = bridge::run(Arc::clone(&case.desk), connection, upstream.clone(), bounds, client_in, client_out);
    let relaying = tokio::spawn(run);
    let answer = tokio::task::spawn_blocking(move || {
        let mut told = BufReader::new(told).lines();
        let mut ask = |frame: &str| {
            writeln!(client, "{frame}").unwrap();
            told.next().unwrap().unwrap()
        };
        ask(r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}"#);
        ask(&call("hang"))
    });
    assert!(answer.await.unwrap().contains("did not answer in time"));
    relaying.await.unwrap();
    let cancelled = async {
        loop {
            let sent = lock(&case.sent).clone();
            match sent.into_iter().find(|(.., body)| body.contains("notifications/cancelled")) {
                Some((_, headers, body)) => return (headers, body),
                None => tokio::task::yield_now().await,
            }
        }
    };
    let (headers, body) = tokio::time::timeout(Duration::from_secs(20), cancelled).await.unwrap();
    assert!(body.contains(r#""requestId":1,"reason":"the answer took too long""#), "{body}");
    assert_eq!(headers["mcp-session-id"], "s-1");
    assert!(lock(&case.sent).iter().any(|(method, ..)| method == Method::DELETE), "the session goes on");
    assert_eq!(case.rows(), ["hang allowed timeout"]);
}

/// An answer to something else is none.
#[tokio::test]
async fn an_answer_with_another_id_is_passed_on_and_ends_the_call_as_lost() {
    let case = Case::new().await;
    let (status, body) = case.ask(&call("t").replace("\"id\":1", "\"id\":77")).await;
    assert!(status == 200 && body.contains(r#""id":1,"#), "{status} {body}");
    assert_eq!(case.rows(), ["t allowed lost"]);
}

/// A subscription is told at once, in whichever way the server cuts it, and of tools that the gateway hides.
#[tokio::test]
async fn a_subscription_is_relayed_line_by_line_or_event_by_event() {
    for (kind, frame) in
        [("lines", "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n"), ("events", "data: {\"method\":\"n\"}\n\n")]
    {
        let case = Case::new().await;
        let params = format!(r#"{{"kind":"{kind}","notifications":{{"toolsListChanged":true}}}}"#);
        let listen = format!(r#"{{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{params}}}"#);
        let mut stream = case.post(&listen).send().await.unwrap();
        let mut next = async || tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await.unwrap().unwrap();
        assert_eq!(next().await.unwrap(), frame);
        case.gateway.tools_changed("srv");
        let told = String::from_utf8(next().await.unwrap().to_vec()).unwrap();
        assert!(
            told.contains("list_changed") && told.contains(r#""io.modelcontextprotocol/subscriptionId":"sub""#),
            "{told}"
        );
        assert_eq!(told.starts_with("data: "), kind == "events");
        case.gateway.end_streams();
        assert_eq!(next().await, None);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_told_and_recorded() {
    let bounds = Bounds { answer_within_s: 1, frame_bytes_max: 1_000, ..Bounds::default() };
    let case = Case::with(bounds, None).await;
    let (status, body) = case.ask(&call("hang")).await;
    assert!(status == 200 && body.contains("did not answer in time"), "{status} {body}");
    assert_eq!(case.ask(&call("html")).await, (500, "<p>oops".to_owned()));
    let (status, body) = case.ask(&call("moved")).await;
    assert!(status == 200 && body.contains("could not be reached"), "{status} {body}");
    let (_, body) = case.ask(&call("cut")).await;
    assert!(body.starts_with("data: {\"jsonrpc\"\n\n") && body.contains("ended before it answered"), "{body}");
    assert_eq!(case.ask(&"x".repeat(1_001)).await.0, 413);
    let expect = [
        "hang allowed timeout",
        "html allowed lost",
        "moved allowed unreachable",
        "cut allowed lost",
        "- frame_too_large -",
    ];
    assert_eq!(case.rows(), expect);
}

#[tokio::test]
async fn a_server_that_is_not_there_costs_nothing() {
    let nowhere = listening(Router::new()).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_ne!(nowhere, free);
    let up = Upstream::new(&format!("http://{free}/mcp"), &[], Duration::from_secs(1)).unwrap();
    let case = Case::with(Bounds::default(), Some(Place::Url(up))).await;
    for _ in 0..2 {
        assert!(case.ask(&call("once")).await.1.contains("could not be reached"));
    }
    assert_eq!(case.rows(), ["once allowed unreachable", "once allowed unreachable"]);
}

/// Answers each line by itself, after a notification; ends on `die`.
const PROGRAM: &str = r#"while read -r line; do case "$line" in
*die*) exit 0;; *note*) echo '{"jsonrpc":"2.0","method":"notifications/x"}'; echo '{"jsonrpc":"2.0","id":1,"result":{}}';;
*hang*|*cancelled*) echo "$line" >> "$0";; *initialize*) echo '{"jsonrpc":"2.0","id":0,"result":{}}';;
*) echo '{"jsonrpc":"2.0","id":1,"result":{"pid":'$$'}}';; esac; done"#;

async fn in_front_of_a_program(children_max: usize, heard: &Path) -> Case {
    let args = vec!["-c".to_owned(), PROGRAM.to_owned(), heard.display().to_string()];
    let program = Program { command: "sh".to_owned(), args, env: BTreeMap::new(), lacks: Vec::new() };
    Case::with(Bounds { children_max, ..Bounds::default() }, Some(Place::Program(program))).await
}

#[tokio::test]
async fn each_conversation_has_a_program_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let case = in_front_of_a_program(2, &dir.path().join("heard")).await;
    let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#;
    let mut pids = Vec::new();
    for _ in 0..2 {
        let response = case.post(hello).send().await.unwrap();
        let session = response.headers()["mcp-session-id"].clone();
        let pid = told(case.post(&call("t")).header("mcp-session-id", &session)).await.1;
        assert_eq!(told(case.post(&call("t")).header("mcp-session-id", &session)).await.1, pid);
        pids.push((session, pid));
    }
    assert_ne!(pids[0], pids[1]);
    assert!(case.ask(hello).await.1.contains("could not be reached"), "one too many");
    let end = case.request(Method::DELETE, "srv").header("mcp-session-id", &pids[0].0);
    assert_eq!(told(end).await.0, 200);
    assert_eq!(told(case.post(&call("t")).header("mcp-session-id", &pids[0].0)).await.0, 404);
    assert_eq!(case.ask(hello).await.0, 200);
}

#[tokio::test]
async fn what_a_program_says_before_its_answer_comes_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let heard = dir.path().join("heard");
    let case = in_front_of_a_program(8, &heard).await;
    let (_, body) = case.ask(&call("note").replace(',', ",\n")).await;
    assert_eq!(
        body,
        "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n"
    );
    let waiting = tokio::spawn(case.post(&call("hang")).send());
    while !std::fs::read_to_string(&heard).is_ok_and(|heard| heard.contains("hang")) {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    case.until("hang allowed cancelled").await;
    assert!(case.ask(&call("die")).await.1.contains("ended before it answered"));
    assert!(case.ask(&call("t")).await.1.contains("pid"), "another one is started");
    let heard = std::fs::read_to_string(&heard).unwrap();
    assert!(heard.contains(r#""requestId":1"#), "the program was told before it died: {heard}");
    let expect = ["note allowed ok", "hang allowed cancelled", "die allowed lost", "t allowed ok"];
    assert_eq!(case.rows(), expect);
}

#[tokio::test]
async fn who_listens_is_told_that_the_tools_are_others_now() {
    let dir = tempfile::tempdir().unwrap();
    let case = in_front_of_a_program(8, &dir.path().join("heard")).await;
    let hello = case.post(r#"{"jsonrpc":"2.0","id":0,"method":"initialize"}"#).send().await.unwrap();
    let session = hello.headers()["mcp-session-id"].clone();
    let mut stream = case.request(Method::GET, "srv").header("mcp-session-id", &session).send().await.unwrap();
    case.gateway.tools_changed("srv");
    let told = tokio::time::timeout(Duration::from_secs(20), stream.chunk()).await.unwrap().unwrap().unwrap();
    assert_eq!(told, format!("data: {}\n\n", std::str::from_utf8(crate::stdio::LIST_CHANGED).unwrap()));

    // And whoever has subscribed, once the program has said that it heard so.
    let params = r#"{"note":1,"notifications":{"toolsListChanged":true}}"#;
    let listen = format!(r#"{{"jsonrpc":"2.0","id":"sub","method":"subscriptions/listen","params":{params}}}"#);
    let mut subscribed = case.post(&listen).header("mcp-session-id", &session).send().await.unwrap();
    let mut next = async || tokio::time::timeout(Duration::from_secs(20), subscribed.chunk()).await.unwrap().unwrap();
    assert!(next().await.unwrap().starts_with(b"data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}"));
    case.gateway.tools_changed("srv");
    let told = String::from_utf8(next().await.unwrap().to_vec()).unwrap();
    assert!(
        told.contains("list_changed") && told.contains(r#""io.modelcontextprotocol/subscriptionId":"sub""#),
        "{told}"
    );
}

/// A subscription has no end of its own. Whoever stops the gateway needn't wait for one.
#[tokio::test]
async fn subscriptions_to_a_program_end_as_the_gateway_does() {
    let dir = tempfile::tempdir().unwrap();
    let case = in_front_of_a_program(8, &dir.path().join("heard")).await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(Arc::clone(&case.gateway), listener, async { drop(ended.await) }));
    let subscribed = async |id: &str, what: &str| {
        let params = format!(r#"{{"{what}":1,"notifications":{{"toolsListChanged":true}}}}"#);
        let listen = format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"subscriptions/listen","params":{params}}}"#);
        let request = case.client.post(format!("http://{at}/srv/mcp")).bearer_auth(TOKEN);
        request.header("accept", "*/*").header("content-type", "application/json").body(listen).send().await.unwrap()
    };
    // The program says something to the first, and to the second, whose answer has not begun, nothing.
    let mut first = subscribed("first", "note").await;
    assert!(first.chunk().await.unwrap().unwrap().starts_with(b"data: "));
    let second = async { subscribed("second", "hang").await.text().await.unwrap() };
    let stop = async {
        while !std::fs::read_to_string(dir.path().join("heard")).is_ok_and(|heard| heard.contains("hang")) {
            tokio::task::yield_now().await;
        }
        end.send(()).unwrap();
    };
    let all = async {
        let (second, ()) = tokio::join!(second, stop);
        let rest = first.chunk().await.unwrap();
        assert_eq!((rest, second), (None, String::new()), "closed, and not broken off");
        serving.await.unwrap().unwrap();
    };
    let sooner = Duration::from_secs(Bounds::default().drain_within_s / 2);
    tokio::time::timeout(sooner, all).await.expect("it ends at once");
}

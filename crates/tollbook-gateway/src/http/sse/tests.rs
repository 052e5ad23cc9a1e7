use super::*;

/// Each event as `raw|data`, the text given in chunks of every size.
#[track_caller]
fn check(text: &str, expect: &[(&str, Option<&str>)]) {
    for size in 1..=text.len() {
        let mut events = Events::default();
        let mut found = Vec::new();
        for chunk in text.as_bytes().chunks(size) {
            events.push(chunk);
            while let Some(event) = events.next() {
                let data = event.data.map(|data| String::from_utf8(data).unwrap());
                found.push((String::from_utf8(event.raw).unwrap(), data));
            }
        }
        let expect: Vec<_> = expect.iter().map(|(raw, data)| ((*raw).to_owned(), data.map(str::to_owned))).collect();
        assert_eq!(found, expect, "in chunks of {size}");
    }
}

#[test]
fn events_come_out_as_they_came() {
    check(
        "event: message\nid: 7\ndata: {\"a\":1}\n\n: ping\n\ndata:x\n\nrest",
        &[
            ("event: message\nid: 7\ndata: {\"a\":1}\n\n", Some("{\"a\":1}")),
            (": ping\n\n", None),
            ("data:x\n\n", Some("x")),
        ],
    );
    check("data: a\r\ndata: b\r\n\r\nx", &[("data: a\r\ndata: b\r\n\r\n", Some("a\nb"))]);
    check("data: a\rdata\r\rx", &[("data: a\rdata\r\r", Some("a\n"))]);
    check("\u{feff}data: a\n\n", &[("\u{feff}data: a\n\n", Some("a"))]);
    check("data: half", &[]);
}

#[test]
fn a_payload_is_changed_and_nothing_else() {
    let mut events = Events::default();
    events.push(b"event: message\r\nid: 7\r\ndata: {\r\ndata: }\r\n\r\n");
    let event = events.next().unwrap();
    assert_eq!(event.id.as_deref(), Some(&b"7"[..]));
    assert_eq!(event.with_data(b"[]\n"), b"event: message\nid: 7\ndata: []\n\n");
}

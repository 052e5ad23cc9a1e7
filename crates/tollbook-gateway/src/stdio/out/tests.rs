use std::io::{PipeReader, Read, Seek, pipe};

use super::*;

fn ticket(seq: u64) -> Ticket {
    Ticket { seq, opening: 0, recorded: true }
}

fn read_all(mut from: PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

/// Lines with numbers, of more bytes than a pipe takes.
fn many() -> Vec<u8> {
    (0..20_000).flat_map(|number| format!("{{\"line\":{number}}}\n").into_bytes()).collect()
}

#[test]
fn a_client_that_does_not_read_is_not_waited_for_and_gets_all_in_order() {
    let (from, to) = pipe().unwrap();
    let client = ClientOut::new(to);
    let lines = many();
    client.offer(&lines);
    client.offer(b"last\n");
    let unsaid = client.unsaid_bytes();
    assert!((1..lines.len()).contains(&unsaid), "{unsaid}");
    let reading = std::thread::spawn(|| read_all(from));
    // Another line isn't said into the middle of one.
    client.tools_changed();
    assert_eq!(client.unsaid_bytes(), 0);
    drop(client);
    assert_eq!(reading.join().unwrap(), [&lines, &b"last\n"[..], LIST_CHANGED, b"\n"].concat());
}

#[test]
fn of_a_client_that_reads_slowly_no_more_is_held_than_it_has_to_read() {
    let (mut from, to) = pipe().unwrap();
    let client = ClientOut::new(to);
    client.offer(&[b'x'; 200_000]);
    let unsaid = client.unsaid_bytes();
    let mut part = [0; 4096];
    for _ in 0..1_000 {
        from.read_exact(&mut part).unwrap();
        client.offer(&part);
        let held = lock(&client.unsaid).bytes.len();
        assert!(client.unsaid_bytes() <= unsaid + part.len() && held <= 2 * (unsaid + part.len()), "{held}");
    }
}

/// It can't be asked not to wait, and never has to be waited for.
#[test]
fn a_file_is_a_client_too() {
    let mut file = tempfile::tempfile().unwrap();
    let client = ClientOut::new(file.try_clone().unwrap());
    let lines = many();
    client.offer(&lines);
    client.say(b"last\n");
    let mut all = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut all).unwrap();
    assert_eq!(all, [&lines, &b"last\n"[..]].concat());
}

#[test]
fn a_socket_is_a_client_too() {
    let (from, to) = std::os::unix::net::UnixStream::pair().unwrap();
    let client = ClientOut::new(to);
    let lines = many();
    client.offer(&lines);
    assert!((1..lines.len()).contains(&client.unsaid_bytes()));
    let reading = std::thread::spawn(move || read_all(PipeReader::from(OwnedFd::from(from))));
    client.say(b"last\n");
    drop(client);
    assert_eq!(reading.join().unwrap(), [&lines, &b"last\n"[..]].concat());
}

#[test]
fn a_client_that_has_gone_is_owed_nothing() {
    let (from, to) = pipe().unwrap();
    let client = ClientOut::new(to);
    client.offer(&many());
    drop(from);
    client.say(b"last\n");
    assert_eq!(client.unsaid_bytes(), 0);
}

#[test]
fn a_server_that_does_not_read_gets_the_rest_later() {
    let (from, to) = pipe().unwrap();
    let mut server = ServerIn::new(to.into()).unwrap();
    let lines = many();
    server.push(&lines, Some(ticket(1)));
    server.send().unwrap();
    assert!(!server.is_empty());
    let reading = std::thread::spawn(|| read_all(from));
    while !server.is_empty() {
        rustix::event::poll(&mut [server.poll()], None).unwrap();
        server.send().unwrap();
    }
    drop(server);
    assert_eq!(reading.join().unwrap(), lines);
}

#[test]
fn calls_that_did_not_reach_the_server_are_told_with_whether_a_part_of_them_did() {
    let (from, to) = pipe().unwrap();
    let mut server = ServerIn::new(to.into()).unwrap();
    server.push(b"one\n", Some(ticket(1)));
    server.push(&many(), Some(ticket(2)));
    server.push(b"three\n", Some(ticket(3)));
    server.send().unwrap();
    drop(from);
    let (_, lost) = server.send().unwrap_err();
    assert_eq!(lost, [(ticket(2), true), (ticket(3), false)]);
    assert!(server.is_empty());
}

#[test]
fn calls_that_are_taken_back_are_not_sent() {
    let (from, to) = pipe().unwrap();
    let mut server = ServerIn::new(to.into()).unwrap();
    for (frame, call) in
        [("a\n", None), ("1\n", Some(1)), ("2\n", Some(2)), ("b\n", None), ("3\n", Some(3)), ("c\n", None)]
    {
        server.push(frame.as_bytes(), call.map(ticket));
    }
    server.take_back(&[ticket(1), ticket(3)]);
    assert_eq!(server.calls().collect::<Vec<_>>(), [ticket(2)]);
    server.send().unwrap();
    drop(server);
    assert_eq!(read_all(from), b"a\n2\nb\nc\n");
}

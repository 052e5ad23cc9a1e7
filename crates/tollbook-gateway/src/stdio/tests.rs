use std::fs::File;
use std::io::{PipeReader, Read, pipe};
use std::sync::atomic::{AtomicBool, Ordering};

use tollbook_engine::Engine;
use tollbook_log::{Durability, FileSeam, Log, Options, SegmentFile};
use tollbook_policy::Target;

use super::*;
use crate::desk::Manner;

/// A disk that takes nothing once it is broken.
struct Disk(File, Arc<AtomicBool>);

impl Disk {
    fn works(&self) -> io::Result<()> {
        if self.1.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl SegmentFile for Disk {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.works().and_then(|()| self.0.append(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.works()
    }
}

fn relay(dir: &std::path::Path, broken: &Arc<AtomicBool>, client_out: ClientOut) -> Relay {
    let policy = tollbook_policy::read("p.toll", "default allow\n", Target::Native).unwrap().policy;
    let broken = Arc::clone(broken);
    let file_seam: FileSeam = Arc::new(move |file| Arc::new(Disk(file, Arc::clone(&broken))));
    let options = Options { file_seam, durability: Durability::Fsync, ..Options::default() };
    let manner = Manner { waits_for_sync: true, ..Manner::usual() };
    let mut desk = Desk::open(Log::open(dir, options).unwrap().0, manner, Box::new(|| 1_000)).unwrap();
    desk.activate(Engine::compile(&policy, "srv").unwrap(), None, &policy).unwrap();
    let connection = Mutex::new(Connection::new("srv", "g", "s"));
    Relay { waits_for_sync: true, desk: Arc::new(Mutex::new(desk)), connection, client_out }
}

fn call(id: usize) -> Vec<u8> {
    let frame = r#""method":"tools/call","params":{"name":"t","arguments":{}}}"#;
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{frame}\n").into_bytes()
}

fn read_all(mut from: PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    all
}

/// Calls whose records are safe go on, whatever becomes of the log while the server is slow to take them.
#[test]
fn what_the_server_has_in_part_is_not_taken_back() {
    let (dir, broken) = (tempfile::tempdir().unwrap(), Arc::new(AtomicBool::new(false)));
    let ((server_reads, to_server), (client_reads, to_client)) = (pipe().unwrap(), pipe().unwrap());
    let relay = relay(dir.path(), &broken, ClientOut::new(to_client));
    let mut client = Lines::new(FRAME_BYTES_MAX);
    let mut server = Speaker::new("server", OwnedFd::from(pipe().unwrap().0), ANSWER_BYTES_MAX);
    let mut server_in = ServerIn::new(to_server.into()).unwrap();
    let calls: Vec<u8> = (0..2_000).flat_map(call).collect();
    client.push(&calls);
    relay.turn(&mut client, &mut server, Some(&mut server_in));
    assert!(!server_in.is_empty());
    broken.store(true, Ordering::SeqCst);
    let answer = b"{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{\"content\":[]}}\n";
    server.said.push(answer);
    relay.turn(&mut client, &mut server, Some(&mut server_in));
    assert!(!lock(&relay.desk).takes_records(), "the log has failed");
    // Whoever comes next has another one begun.
    broken.store(false, Ordering::SeqCst);
    let mut other = Connection::new("srv", "g", "other");
    let step = lock(&relay.desk).from_client(&mut other, &call(1), &Headers::default());
    assert!(matches!(step, Step::Forward { .. }) && lock(&relay.desk).takes_records());
    let serving = std::thread::spawn(|| read_all(server_reads));
    while !server_in.is_empty() {
        out::wait([Some(server_in.poll())]).unwrap();
        relay.turn(&mut client, &mut server, Some(&mut server_in));
    }
    drop((server_in, relay));
    assert_eq!(serving.join().unwrap(), calls);
    assert_eq!(read_all(client_reads), answer);
}

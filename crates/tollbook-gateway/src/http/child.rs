//! HTTP in front of a server on standard input and output: one process for each conversation.
//!
//! A frame becomes a line and an answer finds its request by the id. What the server says by itself goes along
//! with an answer that is awaited, or else to the client's stream if one is open, or else waits for one.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child as Process, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::exchange::{Reason, cancellation};
use super::queue::{self, LINES_MAX, queue};
use super::session::SharedConnection;
use super::shares::Shares;
use crate::desk::{Desk, End, lock};
use crate::frame::{Glance, RequestId};
use crate::stdio::{LIST_CHANGED, SharedDesk, is_half};

/// Bytes of what a process said to nobody. Beyond it, and beyond [`LINES_MAX`], the oldest is dropped.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// How long a process may take to end by itself once nobody speaks to it any more, and then once it is asked to.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// A server's command.
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What is added to its environment.
    pub env: BTreeMap<String, String>,
    /// Variables of the gateway's environment that aren't for it, such as other servers' credentials.
    pub lacks: Vec<String>,
}

impl Program {
    /// How it is started, with pipes at both ends. It ends where nobody has it any more.
    pub(crate) fn to_start(&self) -> Command {
        let mut command = Command::new(&self.command);
        command.args(&self.args);
        for name in &self.lacks {
            command.env_remove(name);
        }
        command.envs(&self.env).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// The processes of one server.
pub(crate) struct Children {
    desk: SharedDesk,
    program: Program,
    most: usize,
    idle: Duration,
    answer_bytes_max: usize,
    table: Mutex<BTreeMap<String, Arc<Child>>>,
    /// Each process that hasn't ended listens to it.
    alive: watch::Sender<()>,
}

/// One process.
pub(crate) struct Child {
    desk: SharedDesk,
    grant: String,
    connection: SharedConnection,
    input: queue::Sender<Vec<u8>>,
    /// Its client has gone. A process that reads nothing wouldn't hear of it by its input.
    over: Arc<Notify>,
    ears: Mutex<Ears>,
}

/// Who listens to a process.
#[derive(Default)]
struct Ears {
    posts: Vec<Post>,
    stream: Option<queue::Sender<Said>>,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    used: Option<Instant>,
    gone: bool,
}

/// A request that waits for its answer.
struct Post {
    request: RequestId,
    ear: queue::Sender<Said>,
    /// Whether it has no answer to come to, and ends when the gateway does.
    listens: bool,
    /// Whether its client takes more than the answer.
    takes_more: bool,
    /// How it is told that its tools are others now, where it subscribed to that.
    tools_changed: Option<Vec<u8>>,
}

/// What a process says.
#[derive(Debug)]
pub(crate) enum Said {
    /// The answer to the request.
    Answer(Vec<u8>),
    /// Anything else.
    Other(Vec<u8>),
}

impl queue::Line for Said {
    fn line(&self) -> &[u8] {
        let (Self::Answer(line) | Self::Other(line)) = self;
        line
    }
}

impl Children {
    pub fn new(desk: SharedDesk, program: Program, most: usize, idle: Duration, answer_bytes_max: usize) -> Self {
        Self { desk, program, most, idle, answer_bytes_max, table: Mutex::default(), alive: watch::Sender::default() }
    }

    /// The process of a conversation, which isn't idle from now on; none where it has none, or it is another grant's.
    pub fn of(&self, session: &str, grant: &str) -> Option<Arc<Child>> {
        self.end_idle();
        let child = lock(&self.table).get(session).filter(|child| child.grant == grant && child.is_here()).cloned()?;
        lock(&child.ears).used = Some(Instant::now());
        Some(child)
    }

    /// The process of a conversation that has none yet: it is started, unless another request has done so meanwhile.
    /// None where there are as many as may be.
    pub fn start(&self, session: &str, grant: &str, connection: SharedConnection) -> io::Result<Option<Arc<Child>>> {
        self.end_idle();
        let mut table = lock(&self.table);
        if let Some(child) = table.get(session).filter(|child| child.grant == grant && child.is_here()) {
            return Ok(Some(Arc::clone(child)));
        }
        // They are few, and starting one takes much longer than counting them.
        let mut shares = Shares::new(self.most);
        table.values().for_each(|child| shares.add(&child.grant));
        if !shares.has_room(grant) {
            return Ok(None);
        }
        // In a group of its own: it ends when the gateway is done with it, not when somebody at a terminal asks the
        // gateway to end.
        let mut process = self.program.to_start().process_group(0).spawn()?;
        let missing = || io::Error::other("the pipe is missing");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let (input, lines) = queue();
        let (desk, grant) = (Arc::clone(&self.desk), grant.to_owned());
        let over = Arc::new(Notify::new());
        let child = Arc::new(Child { desk, grant, connection, input, over: Arc::clone(&over), ears: Mutex::default() });
        let (listening, bytes_max) = (Arc::downgrade(&child), self.answer_bytes_max);
        let alive = self.alive.subscribe();
        tokio::spawn(async move {
            let speaking = tokio::spawn(speak(stdin, lines));
            let hung_up = async {
                tokio::select! {
                    _ = speaking => {}
                    () = over.notified() => {}
                }
                tokio::time::sleep(FAREWELL).await;
            };
            let ends_by_itself = tokio::select! {
                () = listen(stdout, &listening, bytes_max) => true,
                () = hung_up => false,
            };
            if let Some(child) = listening.upgrade() {
                child.gone().await;
            }
            // Its output has ended, so it is about to.
            let ended = ends_by_itself && timeout(FAREWELL, process.wait()).await.is_ok();
            // One that stays though its input has ended is asked to end, and then ended.
            if !ended {
                terminate(&process);
                let _ = timeout(FAREWELL, process.wait()).await;
            }
            drop(alive);
        });
        table.insert(session.to_owned(), Arc::clone(&child));
        Ok(Some(child))
    }

    /// Ends a conversation's process, as its client asks for.
    pub fn end(&self, session: &str) {
        if let Some(child) = lock(&self.table).remove(session) {
            child.hung_up();
        }
    }

    /// Ends the streams for what they say by themselves, and subscriptions to it.
    pub fn end_streams(&self) {
        for child in lock(&self.table).values() {
            let mut ears = lock(&child.ears);
            ears.stream = None;
            ears.posts.retain(|post| !post.listens);
        }
    }

    /// Ends all of them.
    pub fn end_all(&self) {
        for child in std::mem::take(&mut *lock(&self.table)).into_values() {
            child.hung_up();
        }
    }

    /// Ready once none runs any more, of those that were told to end.
    pub async fn ended(&self) {
        self.alive.closed().await;
    }

    /// Processes that run.
    pub fn running(&self) -> usize {
        self.end_idle();
        lock(&self.table).len()
    }

    /// Tells every client that listens that its tools are others now.
    pub fn tools_changed(&self) {
        lock(&self.table).values().for_each(|child| child.tools_changed());
    }

    fn end_idle(&self) {
        let mut ended = Vec::new();
        lock(&self.table).retain(|_, child| {
            let stays = child.is_here() && !child.is_idle(self.idle);
            if !stays {
                ended.push(Arc::clone(child));
            }
            stays
        });
        ended.iter().for_each(|child| child.hung_up());
    }
}

impl Child {
    /// Sends a frame as a line. False where the process takes no more.
    pub async fn send(&self, frame: &[u8]) -> bool {
        lock(&self.ears).used = Some(Instant::now());
        self.input.send(as_line(frame)).await
    }

    /// What is said to a request from now on.
    pub fn await_answer(self: &Arc<Self>, request: RequestId, takes_more: bool, glance: &Glance) -> Awaited {
        let (ear, said) = queue();
        let (listens, tools_changed) = (glance.listen, glance.tools_changed.clone());
        lock(&self.ears).posts.push(Post { request: request.clone(), ear, listens, takes_more, tools_changed });
        Awaited { child: Arc::clone(self), request, said, listens, may_be_cancelled: !glance.initialize }
    }

    /// What the process says by itself from now on, and what it has said before to nobody.
    pub fn open_stream(&self) -> queue::Receiver<Said> {
        let (sender, said) = queue();
        let mut ears = lock(&self.ears);
        ears.waiting_bytes = 0;
        for line in std::mem::take(&mut ears.waiting) {
            let _ = sender.try_send(Said::Other(line));
        }
        ears.used = Some(Instant::now());
        ears.stream = Some(sender);
        said
    }

    fn is_here(&self) -> bool {
        !lock(&self.ears).gone
    }

    fn is_idle(&self, after: Duration) -> bool {
        let ears = lock(&self.ears);
        let listens = ears.stream.as_ref().is_some_and(|stream| !stream.is_closed());
        ears.posts.is_empty() && !listens && ears.used.is_some_and(|used| used.elapsed() >= after)
    }

    async fn heard(&self, line: &[u8]) {
        let returned = Desk::hear_server(&self.desk, &self.connection, line);
        let Some(id) = returned.answers else { return self.say(returned.bytes.into_owned()) };
        if let Some(post) = self.take_post(&id) {
            // Nobody may listen any more.
            let _ = post.send(Said::Answer(returned.bytes.into_owned())).await;
        }
    }

    fn take_post(&self, id: &RequestId) -> Option<queue::Sender<Said>> {
        let mut ears = lock(&self.ears);
        let at = ears.posts.iter().position(|post| post.request.key == id.key)?;
        Some(ears.posts.remove(at).ear)
    }

    /// Passes on what answers nothing.
    fn say(&self, line: Vec<u8>) {
        let mut ears = lock(&self.ears);
        // It goes with the latest request, because it may be about that one and has to come before its answer.
        let posts = ears.posts.iter().rev().filter(|post| post.takes_more).map(|post| &post.ear);
        let mut line = Said::Other(line);
        for ear in posts.chain(&ears.stream) {
            match ear.try_send(line) {
                Ok(()) => return,
                Err(back) => line = back,
            }
        }
        let Said::Other(line) = line else { return };
        ears.waiting_bytes += line.len();
        ears.waiting.push_back(line);
        while ears.waiting.len() > LINES_MAX || ears.waiting_bytes > WAITING_BYTES_MAX {
            tracing::warn!("a message of the server was dropped, because nobody listens");
            let Some(dropped) = ears.waiting.pop_front() else { break };
            ears.waiting_bytes -= dropped.len();
        }
    }

    fn tools_changed(&self) {
        let ears = lock(&self.ears);
        // Whoever takes no more has enough to read.
        if let Some(stream) = &ears.stream {
            let _ = stream.try_send(Said::Other(LIST_CHANGED.to_vec()));
        }
        for post in &ears.posts {
            if let Some(told) = &post.tools_changed {
                let _ = post.ear.try_send(Said::Other(told.clone()));
            }
        }
    }

    /// The process has ended: whoever waits is told.
    async fn gone(&self) {
        lock(&self.ears).gone = true;
        drop(lock(&self.desk).server_gone(&mut lock(&self.connection)));
        let posts = std::mem::take(&mut lock(&self.ears).posts);
        for Post { request, ear, .. } in posts {
            let _ = ear.send(Said::Answer(crate::refusal::unanswered(&request, End::Lost))).await;
        }
        lock(&self.ears).stream = None;
    }

    /// The client has gone for good: the process' input ends, and so does it.
    fn hung_up(&self) {
        // Of one that has ended by itself nothing is open, and another may have its connection by now.
        if std::mem::replace(&mut lock(&self.ears).gone, true) {
            return;
        }
        lock(&self.desk).client_gone(&mut lock(&self.connection));
        let _ = self.input.try_send(Vec::new());
        self.over.notify_one();
    }

    /// A client went away before its answer: the server is told, as the client would have.
    fn cancelled(&self, request: &RequestId) {
        lock(&self.desk).cancelled(&mut lock(&self.connection), request);
        self.tell_cancelled(request, Reason::ClientGone);
    }

    fn tell_cancelled(&self, request: &RequestId, reason: Reason) {
        // A process that reads nothing hears of nothing.
        let _ = self.input.try_send(as_line(&cancellation(request, reason)));
    }
}

/// A request to a process, and what is said to it. Dropped before the answer, the call is cancelled.
pub(crate) struct Awaited {
    child: Arc<Child>,
    request: RequestId,
    said: queue::Receiver<Said>,
    listens: bool,
    /// The protocol lets a client cancel whatever it asked for but `initialize`.
    may_be_cancelled: bool,
}

impl Awaited {
    /// Whether it is a subscription that is over because the gateway ends, once nothing more is said.
    pub fn listens(&self) -> bool {
        self.listens
    }

    /// What is said next; none behind the answer.
    pub async fn next(&mut self) -> Option<Said> {
        self.said.recv().await
    }

    /// The answer won't be waited for any longer. Returns what the client is to be told.
    pub fn give_up(&mut self, end: End) -> Vec<u8> {
        self.child.take_post(&self.request);
        if end == End::Timeout && self.may_be_cancelled {
            self.child.tell_cancelled(&self.request, Reason::TooLong);
        }
        lock(&self.child.desk).unanswered(&mut lock(&self.child.connection), &self.request, end)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if self.child.take_post(&self.request).is_some() {
            self.child.cancelled(&self.request);
        }
    }
}

/// A frame as one line. A JSON text has a line's end only where a space would do as well.
pub(crate) fn as_line(frame: &[u8]) -> Vec<u8> {
    let mut line: Vec<u8> = frame.trim_ascii().to_vec();
    line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
    line.push(b'\n');
    line
}

/// Asks a process to end, with those that it has started.
fn terminate(process: &Process) {
    let pid = process.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(Err(error)) = pid.map(|pid| rustix::process::kill_process_group(pid, rustix::process::Signal::TERM)) {
        tracing::warn!(%error, "a server that stays could not be asked to end");
    }
}

/// Writes lines, until an empty one tells it to hang up.
async fn speak(mut stdin: ChildStdin, mut lines: queue::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await.filter(|line| !line.is_empty()) {
        if let Err(error) = stdin.write_all(&line).await {
            tracing::warn!(%error, "the server no longer listens");
            return;
        }
    }
}

/// Reads lines, until the process ends or says more at once than may be.
async fn listen(stdout: ChildStdout, child: &std::sync::Weak<Child>, bytes_max: usize) {
    let mut stdout = BufReader::new(stdout);
    let most = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stdout).take(most).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) if line.len() > bytes_max => {
                tracing::warn!(bytes_max, "a line of the server was longer than may be");
                return;
            }
            Ok(_) if line.trim_ascii().is_empty() || is_half(&line) => {}
            Ok(_) => match child.upgrade() {
                Some(child) => child.heard(&line).await,
                None => return,
            },
            Err(error) => {
                tracing::error!(%error, "reading from the server failed");
                return;
            }
        }
    }
}

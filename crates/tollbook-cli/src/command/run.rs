//! `tollbook run`: the gateway on standard input and output.

use std::io::{stdin, stdout};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tollbook_engine::{Engine, Kept, Mode};
use tollbook_gateway::{Connection, Desk, Manner, OnLogFailure, operator, stdio};
use tollbook_log::redact::Redaction;
use tollbook_log::segment::SegmentEnd;
use tollbook_log::{Log, Options, Recovery};
use tollbook_policy::Policy;

use crate::arguments::{Durability, LogFailure, RecordArgs, Run};
use crate::policy::Source;

pub fn run(arguments: &Run) -> anyhow::Result<ExitCode> {
    let policy = Source::read(&arguments.policy)?.policy()?;
    let (program, rest) = arguments.command.split_first().context("no server command")?;
    let server = arguments.server.clone().or_else(|| policy.name.clone()).unwrap_or_else(|| command_name(program));
    let engine = Engine::compile(&policy, &server)
        .with_context(|| format!("the policy `{}` cannot be put in force", arguments.policy.display()))?;
    let signer = super::log::signer(arguments.log_key.as_deref())?;
    let options = Options { durability: durability(arguments.durability), signer, ..Options::default() };
    let log = open_log(&arguments.log, options, &policy)?;
    let session = log.instance().to_owned();
    let manner = Manner {
        mode: if arguments.shadow { Mode::Shadow } else { Mode::Enforce },
        kept: kept(arguments.record_args),
        redaction: Redaction::parse(&arguments.redact)?,
        on_log_failure: match arguments.on_log_failure {
            LogFailure::Refuse => OnLogFailure::Refuse,
            LogFailure::Allow => OnLogFailure::Allow,
        },
        seed: getrandom::u64().context("cannot get a random number from the system")?,
    };
    let clock = Box::new(|| jiff::Timestamp::now().as_microsecond());
    let desk = Desk::open(log, engine, manner, clock).context("cannot write the log")?;
    let desk = Arc::new(Mutex::new(desk));
    let listening = operator::listen(&arguments.log, &session, Arc::clone(&desk));
    // Without it the gateway does all but take an operator's word.
    let _socket = listening.map_err(|error| eprintln!("warning: no operator can reach this gateway: {error}")).ok();

    watch(arguments.policy.clone(), server, Arc::clone(&desk));

    let mut command = tokio::process::Command::new(program);
    command.args(rest);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let connection = Connection::new(&session, &arguments.grant);
    let ended = runtime.block_on(stdio::run(Arc::clone(&desk), connection, command, stdin(), stdout()));
    // The thread that reads our input may be waiting for it still.
    runtime.shutdown_background();
    desk.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .close()
        .context("the log was not sealed; it will be recovered")?;
    Ok(exit_code(ended?))
}

/// How often the policy's file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Puts the policy in force anew whenever its file changes. One with errors is told, and the one in force
/// stays.
fn watch(file: PathBuf, server: String, desk: Arc<Mutex<Desk>>) {
    let stamp = |file: &Path| std::fs::metadata(file).and_then(|file| Ok((file.modified()?, file.len()))).ok();
    std::thread::spawn(move || {
        let mut last = stamp(&file);
        loop {
            std::thread::sleep(LOOK_EVERY);
            // A file that is gone for a moment, as editors do, changes nothing.
            let Some(now) = stamp(&file).filter(|now| last != Some(*now)) else { continue };
            last = Some(now);
            match reload(&file, &server, &desk) {
                Ok(Some(seq)) => eprintln!("the policy `{}` is in force from event {seq} on", file.display()),
                Ok(None) => {}
                Err(error) => eprintln!("error: {error:#}; the policy in force stays"),
            }
        }
    });
}

/// Puts the policy of a file in force. None where it is in force already.
fn reload(file: &Path, server: &str, desk: &Mutex<Desk>) -> anyhow::Result<Option<u64>> {
    let policy = Source::read(file)?.policy()?;
    let engine = Engine::compile(&policy, server)
        .with_context(|| format!("the policy `{}` cannot be put in force", file.display()))?;
    let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
    if desk.policy() == engine.policy() {
        return Ok(None);
    }
    Ok(Some(desk.activate(engine, &policy)?))
}

/// Opens a log for writing, tells what was recovered, and keeps the policy in it.
pub fn open_log(dir: &Path, options: Options, policy: &Policy) -> anyhow::Result<Log> {
    let (log, recovery) =
        Log::open(dir, options).with_context(|| format!("cannot open the log `{}`", dir.display()))?;
    tell(&recovery);
    let json = policy.to_json();
    log.store_policy(tollbook_engine::policy_hash(&json), &json).context("cannot keep the policy in the log")?;
    Ok(log)
}

/// What an earlier process left behind.
pub fn tell(recovery: &Recovery) {
    for segment in &recovery.segments {
        let (instance, events) = (&segment.instance, segment.events);
        let end = match segment.end {
            SegmentEnd::Clean => "is whole".to_owned(),
            SegmentEnd::Torn { at, .. } => format!("is torn at byte {at}, as by a crash"),
            SegmentEnd::Damaged { at, good_at, .. } => format!("is damaged from byte {at} to {good_at}"),
        };
        eprintln!("recovered {events} events of {instance}, which was not closed; its segment {end}");
    }
    for aside in &recovery.set_aside {
        eprintln!("set aside `{}` as `{}`: {}", aside.from.display(), aside.to.display(), aside.why);
    }
    for (instance, why) in &recovery.not_vouched {
        eprintln!("no head was signed for what {instance} left, which does not follow from its last head: {why}");
    }
    for (instance, why) in &recovery.unreadable {
        eprintln!("cannot read what {instance} sealed, which was left alone: {why}");
    }
}

fn command_name(program: &std::ffi::OsStr) -> String {
    Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned()
}

fn durability(durability: Durability) -> tollbook_log::Durability {
    match durability {
        Durability::Fsync => tollbook_log::Durability::Fsync,
        Durability::Write => tollbook_log::Durability::Write,
        Durability::Relaxed => tollbook_log::Durability::Relaxed,
    }
}

fn kept(record_args: RecordArgs) -> Kept {
    match record_args {
        RecordArgs::Read => Kept::Read,
        RecordArgs::Full => Kept::Full,
        RecordArgs::None => Kept::None,
    }
}

/// As a shell tells it: the server's own code, or 128 and the signal that ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(2);
    ExitCode::from(u8::try_from(code).unwrap_or(2))
}

//! `tollbook run`: the gateway on standard input and output, in front of a command or a URL.

use std::io::{stdin, stdout};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tollbook_engine::{Engine, Kept, Mode};
use tollbook_gateway::http::{Bounds, Upstream, bridge};
use tollbook_gateway::stdio::ClientOut;
use tollbook_gateway::{Connection, Desk, Manner, OnLogFailure, operator, stdio};
use tollbook_log::redact::Redaction;
use tollbook_log::segment::SegmentEnd;
use tollbook_log::{Log, Options, Recovery};

use super::carry::carry_on;
use super::retention;
use super::watch::{SharedDesk, Standing, expire, reload_on_hangup, watch};
use crate::arguments::{Durability, LogFailure, RecordArgs, Run};
use crate::policy::Source;

pub fn run(arguments: &Run) -> anyhow::Result<ExitCode> {
    let policy = Source::read(&arguments.policy)?.policy()?;
    let named = || match (&arguments.url, arguments.command.first()) {
        (Some(url), _) => Some(host(url)),
        (None, program) => program.map(|program| command_name(program)),
    };
    let server = arguments.server.clone().or_else(|| policy.name.clone()).or_else(named).context("no server")?;
    let upstream = arguments.url.as_deref().map(|url| upstream(url, &arguments.header_env)).transpose()?;
    let standing = Standing { server, grant: None, file: arguments.policy.clone() };
    let engine = Engine::compile(&policy, &standing.server)
        .with_context(|| format!("the policy `{}` cannot be put in force", arguments.policy.display()))?;
    let signer = super::log::signer(arguments.log_key.as_deref())?;
    let options =
        Options { durability: durability(arguments.durability), signer: signer.clone(), ..Options::default() };
    let log = open_log(&arguments.log, options)?;
    let session = log.instance().to_owned();
    let clock = Box::new(|| jiff::Timestamp::now().as_microsecond());
    let mut desk = Desk::open(log, manner(arguments)?, clock).context("cannot write the log")?;
    carry_on(&arguments.log, &mut desk, &[&standing.server])?;
    desk.activate(engine, None, &policy).context("cannot write the log")?;
    desk.knows_grants([arguments.grant.clone()].into());
    let desk = Arc::new(Mutex::new(desk));
    let listening = operator::listen(&arguments.log, &session, Arc::clone(&desk));
    let _retention = retention::start(arguments.retention_days, &arguments.log, signer, &desk);
    // Without it the gateway does all but take an operator's word.
    let _socket = listening.map_err(|error| eprintln!("warning: no operator can reach this gateway: {error}")).ok();

    let connection = Connection::new(&standing.server, &arguments.grant, &session);
    let client_out = ClientOut::new(stdout());
    let (watching, told) = (Arc::clone(&desk), client_out.clone());
    let reload = watch(vec![standing.file.clone()], move || {
        if standing.put_in_force_anew(&watching).is_some_and(|in_force| in_force.hides_otherwise) {
            told.tools_changed();
        }
        vec![standing.file.clone()]
    });
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    runtime.spawn(reload_on_hangup(reload));
    runtime.spawn(expire(Arc::clone(&desk)));
    let ended = runtime.block_on(relay(arguments, upstream, Arc::clone(&desk), connection, client_out));
    // The thread that reads our input may be waiting for it still.
    runtime.shutdown_background();
    desk.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .close()
        .context("the log was not sealed; it will be recovered")?;
    ended
}

async fn relay(
    arguments: &Run,
    upstream: Option<Upstream>,
    desk: SharedDesk,
    connection: Connection,
    client_out: ClientOut,
) -> anyhow::Result<ExitCode> {
    if let Some(upstream) = upstream {
        let relaying = bridge::run(desk, connection, upstream, Bounds::default(), stdin(), client_out);
        let told = super::serve::told_to_end()?;
        tokio::select! {
            () = relaying => {}
            () = told => {}
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (program, rest) = arguments.command.split_first().context("no server command")?;
    let mut command = tokio::process::Command::new(program);
    command.args(rest);
    Ok(exit_code(stdio::run(desk, connection, command, stdin(), client_out).await?))
}

/// A server over HTTP, with its credentials from the environment.
pub fn upstream(url: &str, header_env: &[String]) -> anyhow::Result<Upstream> {
    let header = |given: &String| -> anyhow::Result<(String, String)> {
        let (name, variable) = given.split_once('=').with_context(|| format!("`{given}` isn't NAME=VARIABLE"))?;
        let value = std::env::var(variable).with_context(|| format!("`{variable}` isn't set in the environment"))?;
        Ok((name.to_owned(), value))
    };
    let headers: Vec<_> = header_env.iter().map(header).collect::<anyhow::Result<_>>()?;
    Ok(Upstream::new(url, &headers, Duration::from_secs(Bounds::default().connect_within_s))?)
}

fn manner(arguments: &Run) -> anyhow::Result<Manner> {
    Ok(Manner {
        mode: if arguments.shadow { Mode::Shadow } else { Mode::Enforce },
        kept: kept(arguments.record_args),
        redaction: Redaction::parse(&arguments.redact)?,
        on_log_failure: match arguments.on_log_failure {
            LogFailure::Refuse => OnLogFailure::Refuse,
            LogFailure::Allow => OnLogFailure::Allow,
        },
        waits_for_sync: arguments.durability == Durability::Fsync,
        seed: getrandom::u64().context("cannot get a random number from the system")?,
    })
}

/// Opens a log for writing, and tells what was recovered.
pub fn open_log(dir: &Path, options: Options) -> anyhow::Result<Log> {
    let (log, recovery) =
        Log::open(dir, options).with_context(|| format!("cannot open the log `{}`", dir.display()))?;
    tell(&recovery);
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

/// What a server with a URL is called.
pub fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or(rest).to_owned()
}

/// What a server's program is called.
pub fn command_name(program: &std::ffi::OsStr) -> String {
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

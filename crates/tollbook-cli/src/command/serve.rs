//! `tollbook serve`: many servers over HTTP, each with its policy and its grants.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tollbook_engine::{Kept, Mode};
use tollbook_gateway::config::{self, Config};
use tollbook_gateway::grants::Grants;
use tollbook_gateway::http::{self, Gateway, Hosts};
use tollbook_gateway::{Desk, Manner, OnLogFailure, operator};
use tollbook_log::Options;
use tollbook_log::redact::Redaction;

use super::carry::carry_on;
use super::retention;
use super::run::open_log;
use super::watch::{SharedDesk, Standing, expire, reload_on_hangup, watch};
use crate::arguments::serve::Serve;

pub fn run(arguments: &Serve) -> anyhow::Result<ExitCode> {
    let file = &arguments.config;
    let mut config = Config::read(file)?;
    config.shadow |= arguments.shadow;
    let places = config.places().map_err(|(key, why)| anyhow::anyhow!("{}: `{key}` {why}", file.display()))?;
    let signer = super::log::signer(config.log_key.as_deref())?;
    let options = Options { durability: durability(config.durability), signer: signer.clone(), ..Options::default() };
    let log = open_log(&config.log, options)?;
    let instance = log.instance().to_owned();
    let clock = Box::new(|| jiff::Timestamp::now().as_microsecond());
    let mut desk = Desk::open(log, manner(&config)?, clock).context("cannot write the log")?;
    let servers: Vec<&str> = config.servers.keys().map(String::as_str).collect();
    carry_on(&config.log, &mut desk, &servers)?;
    let desk = Arc::new(Mutex::new(desk));
    let grants = read_grants(file)?;
    let standing = standing(file, &config, &grants);
    for one in &standing {
        one.put_in_force(&desk)?;
    }
    for (grant, server) in unknown_servers(&config, &grants) {
        eprintln!("warning: the grant `{grant}` is for the server `{server}`, which isn't in the configuration");
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).context("cannot get a random number from the system")?;
    let hosts = Hosts(config.hosts.clone());
    lock(&desk).knows_grants(grants.grants.keys().cloned().collect());
    let gateway = Gateway::new(Arc::clone(&desk), places, grants.tokens(), hosts, config.bounds, key);
    let gateway = Arc::new(gateway);
    let listening = operator::listen(&config.log, &instance, Arc::clone(&desk));
    let _retention = retention::start(config.retention_days, &config.log, signer, &desk);
    // Without it the gateway does all but take an operator's word.
    let _socket = listening.map_err(|error| eprintln!("warning: no operator can reach this gateway: {error}")).ok();

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start a runtime")?;
    let reload = Reload { file: file.clone(), desk: Arc::clone(&desk), gateway: Arc::clone(&gateway), standing };
    runtime.spawn(expire(Arc::clone(&desk)));
    let served = runtime.block_on(serve(&config, gateway, reload));
    // A stream that nobody reads may never end.
    runtime.shutdown_background();
    desk.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .close()
        .context("the log was not sealed; it will be recovered")?;
    served?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: &Config, gateway: Arc<Gateway>, mut reload: Reload) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(config.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", config.listen))?;
    let at = listener.local_addr()?;
    let files = reload.files();
    tokio::spawn(reload_on_hangup(watch(files, move || reload.reload())));
    if let Some(admin) = config.admin {
        let listener = tokio::net::TcpListener::bind(admin).await;
        let listener = listener.with_context(|| format!("cannot listen on {admin}"))?;
        eprintln!("/healthz, /readyz and /metrics are at http://{}", listener.local_addr()?);
        tokio::spawn(http::admin::serve(Arc::clone(&gateway), listener, told_to_end()?));
    }
    for name in config.servers.keys() {
        eprintln!("{name} is at http://{at}/{name}/mcp");
    }
    http::serve(gateway, listener, told_to_end()?).await.context("cannot go on serving")
}

/// Ready once somebody asks this process to end.
pub fn told_to_end() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// What is read anew while calls go on: the grants, and every policy that stands for a server or a grant.
struct Reload {
    file: PathBuf,
    desk: SharedDesk,
    gateway: Arc<Gateway>,
    standing: Vec<Standing>,
}

impl Reload {
    fn files(&self) -> Vec<PathBuf> {
        let policies = self.standing.iter().map(|standing| standing.file.clone());
        policies.chain([Grants::beside(&self.file)]).collect()
    }

    fn reload(&mut self) -> Vec<PathBuf> {
        if let Err(error) = self.try_reload() {
            eprintln!("error: {error:#}; the grants in force stay");
        }
        self.files()
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let config = Config::read(&self.file)?;
        let mut grants = read_grants(&self.file)?;
        let standing = standing(&self.file, &config, &grants);
        let mut changed = BTreeSet::new();
        for one in &standing {
            if one.put_in_force_anew(&self.desk).is_some_and(|in_force| in_force.hides_otherwise) {
                changed.insert(one.server.clone());
            }
            // A grant whose own policy isn't in force mustn't fall back to the server's.
            if let Some(name) = &one.grant
                && lock(&self.desk).policy(&one.server, Some(name)).is_none()
                && let Some(grant) = grants.grants.get_mut(name)
            {
                grant.servers.remove(&one.server);
            }
        }
        let whose = |standing: &Standing| (standing.server.clone(), standing.grant.clone());
        let kept: BTreeSet<_> = standing.iter().map(whose).collect();
        for (server, grant) in self.standing.iter().map(whose).filter(|whose| !kept.contains(whose)) {
            let Some(grant) = grant else { continue };
            lock(&self.desk).deactivate(&server, &grant).context("cannot write the log")?;
            changed.insert(server);
        }
        lock(&self.desk).knows_grants(grants.grants.keys().cloned().collect());
        self.gateway.set_tokens(grants.tokens());
        self.standing = standing;
        changed.iter().for_each(|server| self.gateway.tools_changed(server));
        Ok(())
    }
}

fn lock(desk: &Mutex<Desk>) -> std::sync::MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The grants beside a configuration.
pub fn read_grants(config: &Path) -> anyhow::Result<Grants> {
    Ok(Grants::read(&Grants::beside(config))?)
}

/// Every policy that is to be in force.
pub fn standing(file: &Path, config: &Config, grants: &Grants) -> Vec<Standing> {
    let mut standing = Vec::new();
    for (name, server) in &config.servers {
        let of_server = server.policy.iter().map(|policy| (None, policy.clone()));
        let of_grants = grants.grants.iter().filter_map(|(grant, held)| {
            let policy = held.servers.get(name)?.as_ref()?;
            Some((Some(grant.clone()), file.parent().unwrap_or(Path::new("")).join(policy)))
        });
        let all = of_server.chain(of_grants);
        standing.extend(all.map(|(grant, file)| Standing { server: name.clone(), grant, file }));
    }
    standing
}

/// Grants for servers that the configuration doesn't have.
pub fn unknown_servers(config: &Config, grants: &Grants) -> Vec<(String, String)> {
    let all = grants.grants.iter();
    let named = all.flat_map(|(name, grant)| grant.servers.keys().map(move |server| (name.clone(), server.clone())));
    named.filter(|(_, server)| !config.servers.contains_key(server)).collect()
}

/// The arguments that are never recorded.
pub fn redaction(config: &Config) -> anyhow::Result<Redaction> {
    Ok(Redaction::parse(&config.redact)?)
}

fn manner(config: &Config) -> anyhow::Result<Manner> {
    Ok(Manner {
        mode: if config.shadow { Mode::Shadow } else { Mode::Enforce },
        kept: match config.record_args {
            config::RecordArgs::Read => Kept::Read,
            config::RecordArgs::Full => Kept::Full,
            config::RecordArgs::None => Kept::None,
        },
        redaction: redaction(config)?,
        on_log_failure: match config.on_log_failure {
            config::OnLogFailure::Refuse => OnLogFailure::Refuse,
            config::OnLogFailure::Allow => OnLogFailure::Allow,
        },
        waits_for_sync: config.durability == config::Durability::Fsync,
        seed: getrandom::u64().context("cannot get a random number from the system")?,
    })
}

fn durability(durability: config::Durability) -> tollbook_log::Durability {
    match durability {
        config::Durability::Fsync => tollbook_log::Durability::Fsync,
        config::Durability::Write => tollbook_log::Durability::Write,
        config::Durability::Relaxed => tollbook_log::Durability::Relaxed,
    }
}

//! Files that are read anew while a gateway runs: when they change, and when somebody asks for it by SIGHUP.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tollbook_engine::Engine;
use tollbook_gateway::{Desk, InForce};
use tollbook_policy::Policy;

use crate::policy::Source;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often calls are looked for that nobody has answered in time.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// A policy's file, and whose calls it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    pub server: String,
    /// None means every grant that has no policy of its own.
    pub grant: Option<String>,
    pub file: PathBuf,
}

impl Standing {
    /// The policy, made ready.
    pub fn engine(&self) -> anyhow::Result<(Engine, Policy)> {
        let policy = Source::read(&self.file)?.policy()?;
        let engine = Engine::compile(&policy, &self.server)
            .with_context(|| format!("the policy `{}` cannot be put in force", self.file.display()))?;
        Ok((engine, policy))
    }

    /// Puts the policy in force. None where it is in force already.
    pub fn put_in_force(&self, desk: &Mutex<Desk>) -> anyhow::Result<Option<InForce>> {
        let (engine, policy) = self.engine()?;
        let mut desk = desk.lock().unwrap_or_else(PoisonError::into_inner);
        if desk.policy(&self.server, self.grant.as_deref()) == Some(engine.policy()) {
            return Ok(None);
        }
        Ok(Some(desk.activate(engine, self.grant.as_deref(), &policy).context("cannot write the log")?))
    }

    /// The same, while calls go on: a policy with errors is told, and the one in force stays.
    pub fn put_in_force_anew(&self, desk: &Mutex<Desk>) -> Option<InForce> {
        match self.put_in_force(desk) {
            Ok(Some(in_force)) => {
                eprintln!("the policy `{}` is in force from event {} on", self.file.display(), in_force.seq);
                Some(in_force)
            }
            Ok(None) => None,
            Err(error) => {
                eprintln!("error: {error:#}; the policy in force stays");
                None
            }
        }
    }
}

/// Calls `reload` whenever one of the files has changed, and whenever something is sent. It returns the files
/// to look at from then on. The first time it is called in any case: a file can have changed since its caller read it.
pub fn watch(files: Vec<PathBuf>, mut reload: impl FnMut() -> Vec<PathBuf> + Send + 'static) -> Sender<()> {
    let (sender, asked) = channel();
    std::thread::spawn(move || {
        let mut last: BTreeMap<PathBuf, Stamp> = files.into_iter().map(|file| (file, None)).collect();
        loop {
            let asked = match asked.recv_timeout(LOOK_EVERY) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let now = stamps(last.keys().cloned().collect());
            // A file that is gone for a moment, as editors do, changes nothing.
            let changed = now.iter().any(|(file, stamp)| stamp.is_some() && last.get(file) != Some(stamp));
            if !asked && !changed {
                continue;
            }
            let mut next = stamps(reload());
            // What changed while it was read is read once more.
            next.iter_mut().for_each(|(file, stamp)| {
                if let Some(seen) = now.get(file).filter(|seen| seen.is_some()) {
                    *stamp = *seen;
                }
            });
            last = next;
        }
    });
    sender
}

/// Reads the files anew whenever SIGHUP comes.
pub async fn reload_on_hangup(ask: Sender<()>) {
    let listening = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
    let Ok(mut hangup) = listening else { return eprintln!("warning: no signal can ask for a reload") };
    while hangup.recv().await.is_some() && ask.send(()).is_ok() {}
}

/// Has it recorded, soon after, that nobody answered a call in time.
pub async fn expire(desk: SharedDesk) {
    loop {
        tokio::time::sleep(EXPIRE_EVERY).await;
        desk.lock().unwrap_or_else(PoisonError::into_inner).expire();
    }
}

type Stamp = Option<(SystemTime, u64)>;

fn stamps(files: Vec<PathBuf>) -> BTreeMap<PathBuf, Stamp> {
    let stamp = |file: PathBuf| {
        let stamp = std::fs::metadata(&file).and_then(|file| Ok((file.modified()?, file.len()))).ok();
        (file, stamp)
    };
    files.into_iter().map(stamp).collect()
}

/// A desk that its caller shares with a gateway.
pub type SharedDesk = Arc<Mutex<Desk>>;

#[cfg(test)]
mod tests;

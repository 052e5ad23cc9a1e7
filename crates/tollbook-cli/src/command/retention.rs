//! Retention: what a gateway has recorded goes again after so many days, while it runs.
//!
//! It is `tollbook log prune` by the clock, in a thread of its own, with one thing more: the gateway's own instance
//! is pruned too, since it numbers the event that tells of it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tollbook_log::Signer;
use tollbook_log::prune::{IS_RECORDING, Own, PruneOptions, Pruned, prune};

use super::log::prune::state_at;
use super::watch::SharedDesk;

/// How often old events are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);
/// How long a file stays after it was taken out: readers at work may hold a snapshot of the log.
const GRACE_S: u64 = 3_600;
const DAY_US: i64 = 86_400_000_000;

/// What is kept of which log, and for how long.
struct Retention {
    log: PathBuf,
    days: NonZeroU32,
    signer: Option<Arc<Signer>>,
    desk: SharedDesk,
}

/// Looks for events that are older than so many days, now and every hour, until what is returned is dropped.
/// Without a number they stay.
pub fn start(
    days: Option<NonZeroU32>,
    log: &Path,
    signer: Option<Arc<Signer>>,
    desk: &SharedDesk,
) -> Option<Sender<()>> {
    days.map(|days| Retention { log: log.to_owned(), days, signer, desk: Arc::clone(desk) }.start())
}

impl Retention {
    fn start(self) -> Sender<()> {
        let (sender, ended) = channel();
        std::thread::spawn(move || {
            loop {
                match self.look() {
                    Ok(pruned) => tell(&pruned),
                    Err(error) => eprintln!("error: old events could not be removed: {error:#}; they stay"),
                }
                match ended.recv_timeout(LOOK_EVERY) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        sender
    }

    fn look(&self) -> anyhow::Result<Pruned> {
        let now_us = Timestamp::now().as_microsecond();
        let options = PruneOptions {
            before_us: now_us.saturating_sub(i64::from(self.days.get()).saturating_mul(DAY_US)),
            grace_s: GRACE_S,
            signer: self.signer.as_deref().cloned(),
            now_us,
        };
        let desk = || self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(instance) = desk().instance() else { return Ok(Pruned::default()) };
        let mut tell = |told| {
            let mut desk = desk();
            // A log that was begun anew meanwhile would tell of an instance that isn't it.
            if desk.instance().as_deref() != Some(&instance) {
                return Err("the log was begun anew".to_owned());
            }
            desk.prune(told).map(drop).map_err(|error| error.to_string())
        };
        let own = Own { instance: &instance, tell: &mut tell };
        let mut state =
            |reader: &_, instance: &_, seq| state_at(reader, instance, seq).map_err(|error| format!("{error:#}"));
        Ok(prune(&self.log, &options, Some(own), &mut state)?)
    }
}

fn tell(pruned: &Pruned) {
    for (instance, first_left) in &pruned.pruned {
        eprintln!("removed the events of {instance} before {first_left}, which were older than the log is kept");
    }
    for (instance, why) in pruned.left.iter().filter(|(_, why)| why != IS_RECORDING) {
        eprintln!("warning: the old events of {instance} stay: {why}");
    }
}

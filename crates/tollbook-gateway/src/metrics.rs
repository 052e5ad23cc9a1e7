//! What a gateway counts of itself, for Prometheus.
//!
//! Names of tools come from clients, so only so many are told apart. Arguments, keys and tokens are in no label.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::desk::lock;

/// Most tools that are told apart. Further ones are counted together, as `(other)`.
pub const TOOLS_MAX: usize = 1_000;

/// Upper ends of the histogram's buckets, in seconds.
const ADDED_SECONDS: [f64; 10] = [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.1, 1.0];

type Labels = Vec<(&'static str, String)>;

/// The counters of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: Family<Labels, Counter>,
    ends: Family<Labels, Counter>,
    added_seconds: Histogram,
    unsynced: Gauge,
    sessions: Gauge,
    children: Gauge,
    tools: Mutex<BTreeSet<(String, String)>>,
}

/// What is read off at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Levels {
    pub unsynced: u64,
    pub sessions: usize,
    pub children: usize,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tollbook"),
            decisions: Family::default(),
            ends: Family::default(),
            added_seconds: Histogram::new(ADDED_SECONDS),
            unsynced: Gauge::default(),
            sessions: Gauge::default(),
            children: Gauge::default(),
            tools: Mutex::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("decisions", "Calls that were judged", metrics.decisions.clone());
        registry.register("ends", "Calls that ended, by how", metrics.ends.clone());
        let added = "Time from a whole frame until it goes on or is refused";
        registry.register("added_seconds", added, metrics.added_seconds.clone());
        let unsynced = "Events that are not on stable storage yet";
        registry.register("log_unsynced_events", unsynced, metrics.unsynced.clone());
        registry.register("sessions", "Conversations that are going on", metrics.sessions.clone());
        registry.register("children", "Server processes that run", metrics.children.clone());
        metrics
    }
}

impl Metrics {
    /// A call was judged. `rule` is that of the policy, or the reason where no rule decided.
    pub(crate) fn decided(&self, server: &str, tool: &str, outcome: &str, rule: &str) {
        let tool = if self.tells_apart(server, tool) { tool } else { "(other)" };
        let labels = [("server", server), ("tool", tool), ("outcome", outcome), ("rule", rule)];
        self.decisions.get_or_create(&labels.map(|(key, value)| (key, value.to_owned())).to_vec()).inc();
    }

    /// A call ended.
    pub(crate) fn ended(&self, end: &str) {
        self.ends.get_or_create(&vec![("end", end.to_owned())]).inc();
    }

    /// A frame was judged and recorded.
    pub(crate) fn added(&self, took: Duration) {
        self.added_seconds.observe(took.as_secs_f64());
    }

    /// All of it, in the format of OpenMetrics.
    pub(crate) fn text(&self, levels: Levels) -> Result<String, std::fmt::Error> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.unsynced.set(i64::try_from(levels.unsynced).unwrap_or(i64::MAX));
        self.sessions.set(number(levels.sessions));
        self.children.set(number(levels.children));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn tells_apart(&self, server: &str, tool: &str) -> bool {
        let mut tools = lock(&self.tools);
        let named = (server.to_owned(), tool.to_owned());
        tools.contains(&named) || (tools.len() < TOOLS_MAX && tools.insert(named))
    }
}

#[cfg(test)]
mod tests;

//! The calls of a log, and what each was good for: what sweeps, recommendations and the page rest on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tollbook_backtest::{Label, Lineage, Loop, Loops};
use tollbook_engine::{EventRef, Reads};
use tollbook_log::Reader;

use super::query;
use crate::progress::Progress;

/// Who says which calls are bad.
#[derive(Debug, Clone)]
pub enum LabelSource {
    /// `loops()`: the calls of each loop but its first block.
    Loops,
    /// Calls that ended in an error.
    Outcomes,
    /// Calls that a person refused.
    Approvals,
    /// A CSV file with a column `seq`, and `instance` where the log has several.
    File(PathBuf),
    /// An SQL condition over `calls`.
    Condition(String),
}

impl std::str::FromStr for LabelSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "loops" => Self::Loops,
            "outcomes" => Self::Outcomes,
            "approvals" => Self::Approvals,
            file if file.ends_with(".csv") => Self::File(PathBuf::from(file)),
            // A single name is none: no column of calls is a yes or no, and a slip in a word would be asked of the log.
            word if word.chars().all(|c| c.is_alphanumeric() || c == '_') => {
                return Err(format!(
                    "expected loops, outcomes, approvals, a file such as bad.csv or an SQL condition on columns, such \
                     as label='stuck'; found `{word}`"
                ));
            }
            condition => Self::Condition(condition.to_owned()),
        })
    }
}

impl std::fmt::Display for LabelSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Loops => f.write_str("bad is every call of a loop after its first block, as `loops()` finds them"),
            Self::Outcomes => f.write_str("bad is every call that ended in an error"),
            Self::Approvals => f.write_str("bad is every call that a person refused"),
            Self::File(file) => write!(f, "bad is every call that `{}` names", file.display()),
            Self::Condition(condition) => write!(f, "bad is every call of which `{condition}` is true"),
        }
    }
}

/// Which calls are bad.
pub struct Labels {
    marks: Marks,
    /// How many calls each session has had so far, in the instance that is read.
    places: BTreeMap<String, u64>,
    /// Calls by label, so far.
    pub clean: u64,
    /// Calls that are bad, so far.
    pub bad: u64,
}

/// Places in a session, first and after the last.
type Ranges = Vec<(u64, u64)>;

enum Marks {
    /// By instance and session.
    Places(HashMap<(String, String), Ranges>),
    /// Sequence numbers by instance.
    Seqs(HashMap<String, HashSet<u64>>),
}

impl Labels {
    /// Reads what a source says of a log.
    pub fn of(log: &Path, source: &LabelSource) -> anyhow::Result<Self> {
        let marks = match source {
            LabelSource::Loops => loops(log)?,
            LabelSource::Outcomes => calls(log, "outcome IN ('tool_error', 'rpc_error', 'unreachable', 'timeout')")?,
            LabelSource::Approvals => calls(
                log,
                "approval IN (SELECT detail->>'approval' FROM events \
                 WHERE kind = 'answered' AND NOT json_get_bool(detail, 'approved'))",
            )?,
            LabelSource::Condition(condition) => calls(log, condition)?,
            LabelSource::File(file) => file_of_calls(log, file)?,
        };
        Ok(Self { marks, places: BTreeMap::new(), clean: 0, bad: 0 })
    }

    /// Whether any call of the log is bad.
    pub fn any_bad(&self) -> bool {
        match &self.marks {
            Marks::Places(ranges) => !ranges.is_empty(),
            Marks::Seqs(seqs) => !seqs.is_empty(),
        }
    }

    /// The events of another instance follow.
    pub fn begin(&mut self) {
        self.places.clear();
    }

    /// What the next event of the instance is.
    pub fn label(&mut self, instance: &str, event: &EventRef<'_>) -> Label {
        let Some(record) = event.record() else { return Label::Clean };
        let bad = match (&self.marks, record.session) {
            (Marks::Seqs(seqs), _) => seqs.get(instance).is_some_and(|seqs| seqs.contains(&event.seq)),
            (Marks::Places(_), None) => false,
            (Marks::Places(ranges), Some(session)) => {
                let place = self.places.entry(session.to_owned()).or_default();
                let found = ranges.get(&(instance.to_owned(), session.to_owned()));
                let bad =
                    found.is_some_and(|ranges| ranges.iter().any(|(first, after)| (*first..*after).contains(place)));
                *place += 1;
                bad
            }
        };
        *(if bad { &mut self.bad } else { &mut self.clean }) += 1;
        if bad { Label::Bad } else { Label::Clean }
    }
}

/// Takes every event of a log, instance by instance, with what it was good for, and of calls what is read.
pub fn each_event(
    reader: &Reader,
    lineage: &Lineage,
    reads: Reads,
    labels: &mut Labels,
    take: &mut dyn FnMut(Read<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut progress = Progress::over(reader, 1);
    for instance in reader.instances() {
        labels.begin();
        take(Read::Instance(instance, lineage))?;
        reader.replay(instance, reads)?.each(|event| {
            progress.event();
            let label = labels.label(instance, event);
            take(Read::Event(event, label))?;
            anyhow::Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(())
}

/// What [`each_event`] gives.
pub enum Read<'e> {
    /// The events of another instance follow.
    Instance(&'e str, &'e Lineage),
    /// The next event of the instance.
    Event(&'e EventRef<'e>, Label),
}

fn loops(log: &Path) -> anyhow::Result<Marks> {
    let sql = "SELECT instance, session, start_in_session + period, start_in_session + calls FROM loops()";
    let mut loops: HashMap<_, Ranges> = HashMap::new();
    for row in tollbook_query::output::texts(&query::ask(log, sql)?)? {
        let [instance, session, first, after] = row.try_into().map_err(|_| anyhow::anyhow!("loops() has changed"))?;
        loops.entry((instance, session)).or_default().push((number(&first)?, number(&after)?));
    }
    Ok(Marks::Places(loops))
}

/// The loops of a log, for a replay that says which of them a candidate stops.
pub fn known_loops(log: &Path) -> anyhow::Result<Loops> {
    let sql = "SELECT instance, session, start_in_session, start_in_session + calls, looks_like FROM loops()";
    let rows = tollbook_query::output::texts(&query::ask(log, sql)?)?.into_iter().map(|row| {
        let [instance, session, first, after, looks_like] =
            row.try_into().map_err(|_| anyhow::anyhow!("loops() has changed"))?;
        let calls = number(&first)?..number(&after)?;
        Ok(Loop { instance, session, calls, polls: looks_like == "polling" })
    });
    Ok(Loops::of(rows.collect::<anyhow::Result<Vec<_>>>()?))
}

fn calls(log: &Path, condition: &str) -> anyhow::Result<Marks> {
    let answer = query::ask(log, &format!("SELECT instance, seq FROM calls WHERE {condition}"))
        .with_context(|| format!("cannot tell the bad calls by `{condition}`"))?;
    let mut seqs: HashMap<String, HashSet<u64>> = HashMap::new();
    for row in tollbook_query::output::texts(&answer)? {
        let [instance, seq] = row.try_into().map_err(|_| anyhow::anyhow!("calls has changed"))?;
        seqs.entry(instance).or_default().insert(number(&seq)?);
    }
    Ok(Marks::Seqs(seqs))
}

/// The calls that a file names: by instance and sequence number, or by sequence number alone where the log
/// has one instance.
fn file_of_calls(log: &Path, file: &Path) -> anyhow::Result<Marks> {
    let shown = file.display();
    let mut rows = csv::Reader::from_path(file).with_context(|| format!("cannot read `{shown}`"))?;
    let headers = rows.headers().with_context(|| format!("cannot read `{shown}`"))?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim() == name);
    let (instance, seq) = (column("instance"), column("seq"));
    let Some(seq) = seq else { bail!("`{shown}` has no column `seq`; expected `seq`, and `instance` beside it") };
    let reader = Reader::open(&[log])?;
    let only = match (instance, &reader.instances().collect::<Vec<_>>()[..]) {
        (None, [only]) => Some((*only).to_owned()),
        (None, many) => bail!("`{shown}` has no column `instance`, and the log has {} instances", many.len()),
        (Some(_), _) => None,
    };
    let mut seqs: HashMap<String, HashSet<u64>> = HashMap::new();
    for row in rows.records() {
        let row = row.with_context(|| format!("cannot read `{shown}`"))?;
        let named = instance.and_then(|column| row.get(column)).map(str::to_owned);
        let name = named.or_else(|| only.clone()).unwrap_or_default();
        let found = row.get(seq).unwrap_or_default();
        let seq = found.trim().parse().with_context(|| format!("`{shown}`: `{found}` is no sequence number"))?;
        seqs.entry(name).or_default().insert(seq);
    }
    Ok(Marks::Seqs(seqs))
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("`{text}` is no whole number"))
}

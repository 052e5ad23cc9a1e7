//! `tollbook recommend`: clauses that the log supports, with what speaks for them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use tollbook_backtest::{
    Advice, Candidate, Columns, Declined, Forward, Grid, Inexact, Interval, Point, Report, Sweep, Terms, recommend,
};
use tollbook_log::Reader;
use tollbook_policy::policy::{Default, Selector};
use tollbook_policy::{Category, Known, Policy};

use super::backtest::{lineage, percent};
use super::evidence::{Labels, Read, each_event};
use super::sweep::selector;
use crate::arguments::query::{By, Recommend as Arguments};
use crate::policy::Source;

pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let today = arguments.policy.as_deref().map(Today::read).transpose()?;
    let found = Found::in_log(arguments, today)?;
    let text = if arguments.json { found.json()? } else { found.page()? };
    crate::print(&text)?;
    if let Some(file) = &arguments.write {
        let policy = found.policy(arguments)?;
        std::fs::write(file, policy).with_context(|| format!("cannot write `{}`", file.display()))?;
        crate::print(&format!(
            "\nwritten to {0}; now try: tollbook backtest --log {1} {0}\n",
            file.display(),
            arguments.log.display()
        ))?;
    }
    Ok(if found.breaker.is_none() && found.advice().next().is_none() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// The policy that stands, replayed over the log.
struct Today {
    text: String,
    policy: Policy,
    /// The text of each rule.
    clauses: BTreeMap<String, String>,
    candidate: Candidate,
    report: Report,
}

impl Today {
    fn read(file: &std::path::Path) -> anyhow::Result<Self> {
        let source = Source::read(file)?;
        let read = source.policy_with_places()?;
        let clause = |span: &std::ops::Range<usize>| source.text.get(span.clone()).unwrap_or_default();
        let clauses = read.rules.iter().map(|(rule, span)| (rule.clone(), clause(span).trim().to_owned())).collect();
        let candidate = Candidate::new(read.policy.clone())
            .with_context(|| format!("the policy `{}` cannot be put in force", source.name))?;
        Ok(Self { text: source.text, policy: read.policy, clauses, candidate, report: Report::default() })
    }

    /// The limits and breakers over a tool, or those over all of them, with what they would have done.
    fn over(&self, subject: &Subject) -> Vec<String> {
        let ids = match &subject.of[..] {
            [] => vec![self.policy.all_tools.ids(tollbook_policy::ALL_TOOLS)],
            [Selector::Name(tool)] => {
                let blocks = self.policy.blocks_over(tool, Category::by_name(tool).name());
                blocks.into_iter().map(|(_, ids)| ids).collect()
            }
            _ => {
                let same = self.policy.groups.iter().filter(|group| group.of == subject.of);
                same.map(|group| group.rules.ids(&group.owner())).collect()
            }
        };
        let report = &self.report;
        let told = ids.iter().flat_map(|ids| ids.limits.iter().chain(&ids.breaks)).map(|rule| {
            let refused = report.by_rule.get(rule).map_or(0, |change| change.newly_refused);
            let text = self.clauses.get(rule).map_or(rule.as_str(), String::as_str);
            let room = report.headroom.get(rule).and_then(|headroom| headroom.within(1_000));
            let room = room.map(|share| format!("; used up to {} % of it", share / 100)).unwrap_or_default();
            format!("{text} (newly refuses {refused}{room})")
        });
        told.collect()
    }
}

/// What a clause is for.
struct Subject {
    /// As the page calls it.
    name: String,
    /// None means all tools.
    of: Vec<Selector>,
}

/// What the log supports.
struct Found {
    today: Option<Today>,
    source: String,
    calls: (u64, u64),
    sessions: u64,
    breaker: Option<Point>,
    subjects: Vec<(Subject, Result<Advice, Declined>)>,
}

impl Found {
    fn in_log(arguments: &Arguments, mut today: Option<Today>) -> anyhow::Result<Self> {
        let terms = Terms {
            touched_per_mille: arguments.touch.0,
            sessions_min: arguments.min_sessions,
            days_min: arguments.min_days,
        };
        let mut labels = Labels::of(&arguments.log, &arguments.label)?;
        let any_bad = labels.any_bad();
        let reader = Reader::open(&[&arguments.log])?;
        let mut columns = Columns::default();
        let mut breakers = Sweep::new(&breakers())?;
        let reads = today.iter().fold(breakers.reads(), |reads, today| reads.and(today.candidate.reads()));
        each_event(&reader, &lineage(&reader)?, reads.and(Columns::READS), &mut labels, &mut |read| {
            match read {
                Read::Instance(instance, lineage) => {
                    columns.begin(instance, lineage);
                    breakers.begin(instance, lineage);
                    today.iter_mut().for_each(|today| today.candidate.begin(instance, lineage));
                }
                Read::Event(event, label) => {
                    columns.event(event, label);
                    if any_bad {
                        breakers.event(event, label);
                    }
                    today.iter_mut().for_each(|today| drop(today.candidate.event(event)));
                }
            }
            Ok(())
        })?;
        today.iter_mut().for_each(|today| today.report = today.candidate.report());
        let subjects: Vec<_> = subjects(&columns, arguments.by)
            .into_iter()
            .map(|subject| {
                let advice = recommend(&columns, &subject.of, &terms);
                (subject, advice)
            })
            .collect();
        // A log too thin for a limit over all tools is too thin for a breaker.
        let thin = matches!(
            subjects.first(),
            Some((_, Err(Declined::Sessions { .. } | Declined::Days { .. } | Declined::NothingBad { .. }))) | None
        );
        let sessions = columns.sessions();
        let allowed = |point: &Point| {
            point.refused_bad > point.refused_clean
                && point.sessions_touched * 1_000 <= sessions * u64::from(terms.touched_per_mille)
        };
        let best = breakers.points().into_iter().filter(allowed).max_by_key(|point| {
            (
                point.refused_bad,
                std::cmp::Reverse(point.sessions_touched),
                point.max,
                std::cmp::Reverse(point.line.len()),
            )
        });
        let calls = (labels.clean, labels.bad);
        Ok(Self {
            today,
            source: arguments.label.to_string(),
            calls,
            sessions,
            breaker: best.filter(|_| !thin),
            subjects,
        })
    }

    fn advice(&self) -> impl Iterator<Item = (&Subject, &Advice)> {
        self.subjects.iter().filter_map(|(subject, advice)| Some((subject, advice.as_ref().ok()?)))
    }

    fn page(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        let (clean, bad) = self.calls;
        writeln!(text, "{} calls: {clean} clean, {bad} bad\n({})", clean + bad, self.source)?;
        if let Some(breaker) = &self.breaker {
            writeln!(text, "\nall tools\n  {}", breaker.clause)?;
            self.for_breaker(breaker).iter().try_for_each(|line| writeln!(text, "    {line}"))?;
        }
        for (subject, advice) in self.advice() {
            // All tools come first, and their breaker stands above.
            if !(subject.of.is_empty() && self.breaker.is_some()) {
                writeln!(text, "\n{}", crate::visible(&subject.name))?;
            }
            writeln!(text, "  {}", clause(advice))?;
            speaks_for(advice).iter().try_for_each(|line| writeln!(text, "    {line}"))?;
            for standing in self.today.iter().flat_map(|today| today.over(subject)) {
                writeln!(text, "    today           {standing}")?;
            }
        }
        let mut declined: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (subject, advice) in &self.subjects {
            if let Err(why) = advice {
                declined.entry(missing(*why)).or_default().push(&subject.name);
            }
        }
        if !declined.is_empty() {
            writeln!(text, "\nno limit for")?;
        }
        for (why, names) in declined {
            let shown = names.iter().take(NAMED_MAX).map(|name| crate::visible(name)).collect::<Vec<_>>().join(", ");
            let more = names.len().saturating_sub(NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(text, "  {shown}{more}\n    {why}")?;
        }
        Ok(text)
    }

    fn for_breaker(&self, point: &Point) -> Vec<String> {
        let (clean, bad) = self.calls;
        let (touched, stopped) = (point.sessions_touched, point.refused_bad);
        vec![
            format!(
                "stops           {stopped} of {bad} bad calls, {} %, in {}",
                percent(stopped, bad),
                sessions(point.sessions_stopped)
            ),
            format!(
                "refuses         {} of {clean} clean ones, in {touched} of {} ({})",
                point.refused_clean,
                sessions(self.sessions),
                bound(touched, self.sessions)
            ),
        ]
    }

    fn json(&self) -> anyhow::Result<String> {
        let subjects = self.subjects.iter().map(|(subject, advice)| match advice {
            Ok(advice) => serde_json::json!({
                "for": subject.name,
                "clause": clause(advice),
                "max": advice.max,
                "refused_clean": advice.refused.clean,
                "refused_bad": advice.refused.bad,
                "refused_bad_percent_95": advice.stops.map(|stops| [percent_number(stops.low), percent_number(stops.high)]),
                "sessions_touched": advice.refused.sessions,
                "clean": advice.evidence.clean,
                "bad": advice.evidence.bad,
                "sessions": advice.evidence.sessions,
                "days": advice.evidence.days,
                "knee": { "at": advice.knee.at, "low": advice.knee.low, "high": advice.knee.high, "highest": advice.knee.highest },
                "plateau": [advice.plateau.0, advice.plateau.1],
                "walk_forward": advice.forward.map(|forward| serde_json::json!({
                    "chosen_on": forward.chosen_on,
                    "max": forward.max,
                    "judged_on": forward.judged_on,
                    "refused_clean": forward.refused.clean,
                    "refused_bad": forward.refused.bad,
                    "sessions_touched": forward.refused.sessions,
                })),
                "today": self.today.iter().flat_map(|today| today.over(subject)).collect::<Vec<_>>(),
            }),
            Err(why) => serde_json::json!({ "for": subject.name, "declined": missing(*why), "found": found(*why) }),
        });
        let breaker = self.breaker.as_ref().map(|point| {
            serde_json::json!({
                "clause": point.clause,
                "refused_clean": point.refused_clean,
                "refused_bad": point.refused_bad,
                "sessions_touched": point.sessions_touched,
                "sessions_stopped": point.sessions_stopped,
            })
        });
        let page = serde_json::json!({
            "label": self.source,
            "clean": self.calls.0,
            "bad": self.calls.1,
            "breaker": breaker,
            "limits": subjects.collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&page).context("cannot write JSON")? + "\n")
    }

    /// A policy with these clauses: the one that stands and they, or they alone. Laid out, and without
    /// comments that silence nothing.
    fn policy(&self, arguments: &Arguments) -> anyhow::Result<String> {
        let text = self.policy_text(arguments)?;
        let source = Source { name: "the recommended policy".to_owned(), text };
        let read = source.policy_with_places()?;
        let mut told = tollbook_policy::lint(&source.name, &source.text, &read, Known::default());
        let begins = self.today.as_ref().map_or(0, |today| today.text.trim_end().len());
        told.retain(|one| one.at() >= begins);
        let (text, _) = tollbook_policy::fixed(&source.text, &told);
        tollbook_policy::format(&text).map_err(|error| anyhow::anyhow!("cannot lay out {}: {error:?}", source.name))
    }

    fn policy_text(&self, arguments: &Arguments) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        match &self.today {
            Some(today) => writeln!(text, "{}\n\n# What follows was recommended.", today.text.trim_end())?,
            None => writeln!(
                text,
                "# tollbook: allow L0210 because \"these are limits alone; say default deny and name what may be called\"\ndefault allow\n"
            )?,
        }
        writeln!(text, "# From the log {}: {}.\n", arguments.log.display(), self.source)?;
        let mut for_all = Vec::new();
        if let Some(breaker) = &self.breaker {
            for_all.extend(self.for_breaker(breaker).iter().map(|line| format!("# {line}")));
            for_all.push(breaker.clause.clone());
        }
        let said = |advice: &Advice, count: &str| {
            let comments = speaks_for(advice).into_iter().map(|line| format!("# {line}"));
            let clause = clause(advice).replacen("limit ", &format!("limit {count}"), 1);
            comments.chain([clause]).collect::<Vec<_>>()
        };
        let (all, each): (Vec<_>, Vec<_>) = self.advice().partition(|(subject, _)| subject.of.is_empty());
        for_all.extend(all.iter().flat_map(|(_, advice)| said(advice, "")));
        if !for_all.is_empty() {
            writeln!(text, "all tools {{\n{}\n}}\n", for_all.join("\n"))?;
        }
        for (number, (subject, advice)) in each.into_iter().enumerate() {
            let (head, count) = match &subject.of[..] {
                [Selector::Name(tool)] if self.stays_refused(tool) => {
                    writeln!(text, "# {} isn't named above, so it stays refused.\n", crate::visible(tool))?;
                    continue;
                }
                [Selector::Name(tool)] => (format!("tool {}", selector(tool)), ""),
                _ => (format!("group recommended_{} of {}", number + 1, subject.name), "total "),
            };
            let session = "# tollbook: allow L0205 because \"the log's sessions are what this limit was chosen on\"";
            writeln!(text, "{session}\n{head} {{\n{}\n}}\n", said(advice, count).join("\n"))?;
        }
        Ok(text)
    }

    /// Whether the policy that stands doesn't name a tool, and refuses what it doesn't name: a block for it
    /// would let it through.
    fn stays_refused(&self, tool: &str) -> bool {
        self.today
            .as_ref()
            .is_some_and(|today| today.policy.default == Default::Deny && !today.policy.tools.contains_key(tool))
    }
}

/// Most names on a line of what was declined.
const NAMED_MAX: usize = 6;

/// Breakers that are tried: those that look at the calls alone.
fn breakers() -> Grid {
    Grid {
        of: "all tools".to_owned(),
        windows: Vec::new(),
        scopes: Vec::new(),
        breakers: vec![
            "identical calls within 10m".to_owned(),
            "repeats of a cycle up to 8 calls within 10m".to_owned(),
        ],
        maxima: (3..=10).collect(),
    }
}

fn subjects(columns: &Columns, by: By) -> Vec<Subject> {
    let all = Subject { name: "all tools".to_owned(), of: Vec::new() };
    let tool = |tool: &str| Subject { name: tool.to_owned(), of: vec![Selector::Name(tool.to_owned())] };
    let category =
        |name: &str| Subject { name: format!("category {name}"), of: vec![Selector::Category(name.to_owned())] };
    let parts: Vec<Subject> = match by {
        By::Tool => columns.tools().into_iter().map(tool).collect(),
        By::Category => columns.categories().into_iter().map(category).collect(),
    };
    std::iter::once(all).chain(parts).collect()
}

fn clause(advice: &Advice) -> String {
    format!("limit {} per {} per session", advice.max, advice.window)
}

/// The evidence for a limit, line by line.
fn speaks_for(advice: &Advice) -> Vec<String> {
    let Advice { max, evidence, knee, refused, stops, plateau, forward, .. } = advice;
    let stuck = sessions(evidence.stuck);
    let known = match stops {
        Some(Interval { low, high }) => {
            let (low, high) = (percent(*low, 10_000), percent(*high, 10_000));
            format!("95 %: {low} to {high} %, by a bootstrap over {stuck} with bad calls")
        }
        None => format!("in {stuck}, too few for an interval"),
    };
    let mut lines = vec![format!(
        "stops           {} of {} bad calls, {} % ({known})",
        refused.bad,
        evidence.bad,
        percent(refused.bad, evidence.bad)
    )];
    let bound = bound(refused.sessions, evidence.sessions);
    lines.push(format!(
        "refuses         {} of {} clean ones, in {} of {} ({bound})",
        refused.clean,
        evidence.clean,
        refused.sessions,
        sessions(evidence.sessions)
    ));
    let between = match knee.high {
        Some(high) => format!("95 %: {} to {high}", knee.low),
        None => format!("95 %: {} or more; so few sessions have no upper end", knee.low),
    };
    lines.push(format!(
        "healthy use     {} at the knee ({between}), {} at most, on {} days",
        knee.at, knee.highest, evidence.days
    ));
    lines.push(format!("plateau         {} to {} refuse as few clean calls; {max} was chosen", plateau.0, plateau.1));
    lines.push(match forward {
        Some(Forward { chosen_on, max, judged_on, refused, calls: (clean, bad) }) => format!(
            "walk-forward    {max} chosen on {chosen_on} sessions; of the next {judged_on} it touches {}, refuses {} of {clean} clean calls and stops {} of {bad} bad ones",
            refused.sessions, refused.clean, refused.bad
        ),
        None => "walk-forward    the first 70 % of the sessions support no limit by themselves".to_owned(),
    });
    if evidence.unknown > 0 {
        lines.push(format!("unknown         {} calls without a time or a session aren't counted", evidence.unknown));
    }
    lines
}

/// Hundredths of a per cent as per cent.
fn percent_number(hundredths: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 10,000")]
    let hundredths = hundredths as f64;
    hundredths / 100.0
}

/// What share of sessions loses a clean call; where none did, by the rule of three.
fn bound(touched: u64, sessions: u64) -> String {
    match touched {
        0 => format!("95 %: at most {} % of sessions", percent(3, sessions)),
        touched => format!("{} %", percent(touched, sessions)),
    }
}

fn sessions(count: u64) -> String {
    format!("{count} {}", if count == 1 { "session" } else { "sessions" })
}

/// How much there is of what is missing.
fn found(why: Declined) -> Option<u64> {
    match why {
        Declined::Sessions { found, .. } | Declined::Days { found, .. } => Some(found),
        Declined::NothingBad { highest } => Some(highest),
        Declined::NoRoom { bad } => Some(bad),
        Declined::Inexact(_) => None,
    }
}

fn missing(why: Declined) -> String {
    match why {
        Declined::Sessions { needed, .. } => {
            format!("fewer sessions with clean calls than the {needed} that it takes (--min-sessions)")
        }
        Declined::Days { needed, .. } => format!("calls on fewer days than the {needed} that it takes (--min-days)"),
        Declined::NothingBad { .. } => "no bad call, so a limit would stop nothing".to_owned(),
        Declined::NoRoom { .. } => "its bad calls come no faster than the healthy ones".to_owned(),
        Declined::Inexact(Inexact::GivenBack) => "calls that gave their units back can't be counted".to_owned(),
        Declined::Inexact(Inexact::Reset) => "an operator reset counters, so calls can't be counted".to_owned(),
        Declined::Inexact(Inexact::Unordered) => "times go back, so calls can't be counted".to_owned(),
        Declined::Inexact(Inexact::Continued) => "calls that are the rest of others can't be counted".to_owned(),
        Declined::Inexact(Inexact::Carried) => {
            "what several processes had counted at once goes on in others, so calls can't be counted".to_owned()
        }
        Declined::Inexact(Inexact::Bounds) => "there are too many keys to count".to_owned(),
    }
}

/// A share of sessions, as `1%` or `0.5%`, in thousandths.
#[derive(Debug, Clone, Copy)]
pub struct Share(u32);

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a share from 0.1% to 50%, in steps of 0.1%; found `{text}`");
        let number = text.strip_suffix('%').ok_or_else(expected)?;
        let micros = tollbook_policy::Decimal::parse(number.trim()).and_then(|number| number.to_micros());
        let per_mille = micros.filter(|micros| micros % 100_000 == 0).map(|micros| micros / 100_000);
        let per_mille = per_mille.and_then(|per_mille| u32::try_from(per_mille).ok());
        per_mille.filter(|per_mille| (1..=500).contains(per_mille)).map(Self).ok_or_else(expected)
    }
}

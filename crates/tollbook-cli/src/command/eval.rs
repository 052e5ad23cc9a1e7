//! `tollbook eval`: one call against a policy, and every clause that was looked at.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::Context;
use tollbook_backtest::script::{self, Looked};
use tollbook_engine::{Args, Bounds, Call, Engine, State, Verdict, canonical, hash128};
use tollbook_policy::{Category, json};

use crate::arguments::language::Eval;
use crate::policy::Source;

pub fn run(arguments: &Eval) -> anyhow::Result<ExitCode> {
    let source = Source::read(&arguments.file)?;
    let policy = source.policy()?;
    let args = json::parse(arguments.args.as_bytes()).context("cannot read the arguments")?;
    anyhow::ensure!(args.members().is_some(), "the arguments of a call are a JSON object");
    let at: jiff::Timestamp = match &arguments.at {
        Some(text) => text.parse().with_context(|| format!("cannot read the instant `{text}`"))?,
        None => jiff::Timestamp::now(),
    };
    let server = policy.name.clone().unwrap_or_else(|| "server".to_owned());
    let cannot = || format!("the policy `{}` cannot be put in force", source.name);
    let engine = Engine::compile(&policy, &server).with_context(cannot)?;
    let call = Call {
        at_us: Some(at.as_microsecond()),
        session: Some(&arguments.session),
        grant: Some(&arguments.grant),
        agent: Some(&arguments.agent),
        tool: &arguments.tool,
        category: Some(Category::by_name(&arguments.tool).name()),
        args: Args::whole(Some(&args), hash128(canonical(&args).as_bytes())),
        continues: false,
        codes: None,
    };
    let mut state = State::new(Bounds::default(), 0);
    let decision = engine.decide(&mut state, 1, &call);
    let mut text = String::new();
    let word = match decision.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Hold => "hold",
        Verdict::Unknown => "unknown",
    };
    writeln!(text, "{word}  {}  at {at}", crate::visible(&arguments.tool))?;
    writeln!(text, "  reason  {}", decision.reason.code())?;
    if let Some(rule) = decision.rule {
        writeln!(text, "  rule    {rule}")?;
    }
    if decision.verdict != Verdict::Allow {
        writeln!(text, "  text    {}", crate::visible(decision.text()))?;
    }
    let judged = !matches!(decision.rule, Some("(hidden)" | "(default deny)"));
    let examined = if judged { script::examine(&policy, &server, &call).with_context(cannot)? } else { Vec::new() };
    if !examined.is_empty() {
        writeln!(text, "clauses, in the order of judgement, as a first call meets them:")?;
    }
    for one in examined {
        let looked = match (one.looked, one.shadow) {
            (Looked::Passes, _) => "passes",
            (Looked::Refuses, false) => "refuses",
            (Looked::Refuses, true) => "would refuse",
            (Looked::Holds, false) => "holds",
            (Looked::Holds, true) => "would hold",
            (Looked::NotLookedAt, _) => "not looked at",
        };
        writeln!(text, "  {looked:13}  {}", one.rule)?;
    }
    crate::print(&text)?;
    Ok(if decision.verdict == Verdict::Allow { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

//! What `backtest('candidate.toll')` asks: the candidate of `tollbook backtest`, call by call.

use std::ops::ControlFlow;
use std::path::Path;

use tollbook_backtest::Candidate;
use tollbook_log::Reader;
use tollbook_query::{Backtest, Rejudged};

use crate::command::backtest::lineage;
use crate::policy::Source;

/// Replays logs under a policy that lies in a file.
#[derive(Debug)]
pub struct Replays;

impl Backtest for Replays {
    fn judge(&self, candidate: &str, log: &Reader, tell: &mut dyn FnMut(Rejudged) -> bool) -> Result<(), String> {
        replay(candidate, log, tell).map_err(|error| format!("{error:#}"))
    }
}

fn replay(name: &str, log: &Reader, tell: &mut dyn FnMut(Rejudged) -> bool) -> anyhow::Result<()> {
    let mut candidate = Candidate::new(Source::read(Path::new(name))?.policy()?)?;
    let lineage = lineage(log)?;
    for instance in log.instances() {
        candidate.begin(instance, &lineage);
        let mut enough = false;
        log.replay(instance, candidate.reads())?.each(|event| {
            if let (Some(judged), Some(record)) = (candidate.event(event), event.record()) {
                enough = !tell(Rejudged {
                    instance: instance.to_owned(),
                    seq: event.seq,
                    session: record.session.map(str::to_owned),
                    tool: record.tool.map(str::to_owned),
                    recorded: judged.recorded.to_string(),
                    candidate: judged.candidate.to_string(),
                    certainty: judged.certainty.as_str(),
                    rule: judged.rule,
                });
            }
            anyhow::Ok(if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if enough {
            break;
        }
    }
    Ok(())
}

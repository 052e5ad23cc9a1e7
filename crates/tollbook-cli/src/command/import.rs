//! `tollbook import`: history that was recorded elsewhere.

use std::process::ExitCode;

use tollbook_log::import::{Format, ImportOptions, ImportReport, import_watched};

use crate::arguments::Import;
use crate::progress::Progress;

pub fn run(arguments: &Import) -> anyhow::Result<ExitCode> {
    let options = ImportOptions {
        grant: arguments.grant.clone(),
        format: arguments.format.as_deref().and_then(Format::from_word),
        signer: super::log::signer(arguments.log_key.as_deref())?,
        ..ImportOptions::default()
    };
    for trace in &arguments.traces {
        let mut progress = Progress::over_file();
        let report = import_watched(&arguments.log, trace, &options, &mut |read, all| progress.bytes(read, all))?;
        drop(progress);
        tell(&trace.display().to_string(), &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(name: &str, report: &ImportReport) -> anyhow::Result<()> {
    let taken = &report.imported;
    if report.already {
        return crate::print(&format!("{name}: imported before, {} calls; nothing was added\n", taken.calls));
    }
    let mut text =
        format!("{name}: {} calls in {} sessions, {} outcomes\n", taken.calls, taken.sessions, taken.outcomes);
    if taken.calls_without_time > 0 {
        text.push_str(&format!("  {} calls have no time: no window can judge them\n", taken.calls_without_time));
    }
    if let Some(kept) = &report.rejected_file {
        text.push_str(&format!("  {} lines could not be read; they are kept in {}\n", taken.rejected, kept.display()));
        for line in &report.rejected {
            text.push_str(&format!("  {name}:{}: {}\n", line.line, line.why));
        }
    }
    crate::print(&text)
}

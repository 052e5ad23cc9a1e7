//! `tollbook diff`: what another version of a policy would let through.

use std::fmt::Write;
use std::process::ExitCode;

use tollbook_policy::Change;
use tollbook_policy::policy::Selector;

use crate::arguments::language::{Diff, FailOn};
use crate::policy::Source;

pub fn run(arguments: &Diff) -> anyhow::Result<ExitCode> {
    let old = Source::read(&arguments.old)?.policy()?;
    let new = Source::read(&arguments.new)?.policy()?;
    let all = tollbook_policy::diff(&old, &new);
    let mut text = String::new();
    for one in all.iter().filter(|one| one.change != Change::Same) {
        let tool = match &one.tool {
            Selector::Glob(glob) if glob == "*" => "any other tool".to_owned(),
            Selector::Name(name) => crate::visible(name),
            Selector::Glob(glob) => format!("other tools {}", crate::visible(glob)),
            Selector::Category(name) => format!("other tools of category {name}"),
        };
        writeln!(text, "{:13}  {tool}", one.change.name())?;
        for because in &one.because {
            writeln!(text, "{:13}    {}", "", because.replace(char::is_control, " "))?;
        }
    }
    let same = all.iter().filter(|one| one.change == Change::Same).count();
    writeln!(text, "{same} of {} the same", all.len())?;
    crate::print(&text)?;
    let loosens = all.iter().any(|one| one.change.loosens());
    let refused = loosens && arguments.fail_on == Some(FailOn::Looser);
    Ok(if refused { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

//! `tollbook fmt`: policies in the one style.

use std::process::ExitCode;

use anyhow::Context;
use tollbook_policy::FormatError;

use crate::arguments::language::Fmt;
use crate::policy::{Source, render};

pub fn run(arguments: &Fmt) -> anyhow::Result<ExitCode> {
    let (mut refused, mut changed) = (false, false);
    for file in &arguments.files {
        let source = Source::read(file)?;
        if tollbook_policy::is_json(&source.name) {
            anyhow::bail!("cannot format `{}`: a JSON document has no comments and no style to keep", source.name);
        }
        let formatted = match tollbook_policy::format(&source.text) {
            Ok(formatted) => formatted,
            Err(FormatError::Syntax(told)) => {
                eprint!("{}", render(&source, &told));
                refused = true;
                continue;
            }
            Err(FormatError::Changed) => anyhow::bail!("cannot format `{}` without changing it", source.name),
        };
        if formatted == source.text {
            continue;
        }
        changed = true;
        if arguments.diff {
            crate::print(&difference(&source, &formatted))?;
        } else if arguments.check {
            crate::print(&format!("{}\n", source.name))?;
        } else {
            replace(file, &formatted)?;
        }
    }
    let no = refused || (changed && (arguments.check || arguments.diff));
    Ok(if no { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

/// A unified diff.
fn difference(source: &Source, formatted: &str) -> String {
    let diff = similar::TextDiff::from_lines(&source.text, formatted);
    diff.unified_diff().header(&source.name, &format!("{} (formatted)", source.name)).to_string()
}

/// Writes a file anew beside itself and renames it, so that it is never half written.
pub fn replace(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let cannot = || format!("cannot write `{}`", file.display());
    let real = std::fs::canonicalize(file).with_context(cannot)?;
    let mut name = real.file_name().unwrap_or_default().to_owned();
    name.push(".tollbook-new");
    let aside = real.with_file_name(name);
    let permissions = std::fs::metadata(&real).with_context(cannot)?.permissions();
    std::fs::write(&aside, text).with_context(cannot)?;
    std::fs::set_permissions(&aside, permissions).with_context(cannot)?;
    std::fs::rename(&aside, &real).with_context(cannot)
}

//! `tollbook classify`: what each tool of a server does.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{Table, presets};
use tollbook_policy::Catalog;

use crate::arguments::language::{Classify, TextOrJson};

pub fn run(arguments: &Classify) -> anyhow::Result<ExitCode> {
    let catalog = read(&arguments.catalog)?;
    let classes = catalog.tools.values().map(|tool| (tool.name.as_str(), tool.class()));
    match arguments.format {
        TextOrJson::Text => {
            let mut table = Table::new();
            table.load_style(presets::ASCII_MARKDOWN);
            table.set_header(["tool", "category", "risk", "evidence"]);
            for (name, class) in classes {
                let name = crate::visible(name);
                let category = class.category;
                table.add_row([&name, category.name(), category.risk().name(), &class.evidence.join("; ")]);
            }
            crate::print(&format!("{table}\n"))?;
        }
        TextOrJson::Json => {
            let all: Vec<serde_json::Value> = classes
                .map(|(name, class)| {
                    let (category, risk) = (class.category.name(), class.category.risk().name());
                    serde_json::json!({ "tool": name, "category": category, "risk": risk, "evidence": class.evidence })
                })
                .collect();
            crate::print(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a saved list of tools.
pub fn read(file: &Path) -> anyhow::Result<Catalog> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the catalog `{}`", file.display()))?;
    Catalog::read(&text).map_err(|error| anyhow::anyhow!("cannot use the catalog `{}`: {error}", file.display()))
}

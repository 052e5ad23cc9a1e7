//! `tollbook schema`: the tables, and what their columns mean.

use std::process::ExitCode;

use anyhow::{Context, bail};
use comfy_table::{Table, presets};

use crate::arguments::query::Schema;

pub fn run(arguments: &Schema) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot start a runtime")?;
    let mut tables = runtime.block_on(tollbook_query::schema())?;
    if let Some(name) = &arguments.table {
        tables.retain(|table| table.name.trim_end_matches("()") == name.trim_end_matches("()"));
        if tables.is_empty() {
            bail!("there is no table `{name}`");
        }
    }
    let mut text = String::new();
    for table in tables {
        let mut drawn = Table::new();
        drawn.load_style(presets::ASCII_MARKDOWN);
        drawn.set_header(["column", "type", "meaning"]);
        for (name, data_type, meaning) in &table.columns {
            drawn.add_row([name, data_type, *meaning]);
        }
        text.push_str(&format!("{}: {}\n\n{drawn}\n\n", table.name, table.meaning));
    }
    crate::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

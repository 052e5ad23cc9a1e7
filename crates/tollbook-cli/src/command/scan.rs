//! `tollbook scan`: everything that agents can call, and a policy to begin with.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{Table, presets};
use tollbook_gateway::config::Config;
use tollbook_gateway::http::{Place, Program};
use tollbook_gateway::survey;
use tollbook_policy::{Catalog, Category, Target};

use super::run::{command_name, host, upstream};
use crate::arguments::serve::Scan;

pub fn run(arguments: &Scan) -> anyhow::Result<ExitCode> {
    let places = places(arguments)?;
    anyhow::ensure!(!places.is_empty(), "no server is named: a command, --url or --config is expected");
    let one = places.len() == 1;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["server", "tool", "category", "risk", "evidence"]);
    for (name, place) in &places {
        let tools = runtime.block_on(survey::tools(place)).with_context(|| format!("cannot scan `{name}`"))?;
        let saved = serde_json::to_string_pretty(&serde_json::json!({ "tools": tools }))?;
        let catalog = Catalog::read(&saved).map_err(|error| anyhow::anyhow!("cannot scan `{name}`: {error}"))?;
        for tool in catalog.tools.values() {
            let class = tool.class();
            let (category, risk) = (class.category.name(), class.category.risk().name());
            let evidence = crate::visible(&class.evidence.join("; "));
            table.add_row([&crate::visible(name), &crate::visible(&tool.name), category, risk, &evidence]);
        }
        if let Some(save) = &arguments.save {
            write(&file(save, one, name, "json"), &format!("{saved}\n"))?;
        }
        if let Some(into) = &arguments.write {
            write(&file(into, one, name, "toll"), &starter(name, &catalog)?)?;
        }
    }
    crate::print(&format!("{table}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The servers by name.
fn places(arguments: &Scan) -> anyhow::Result<BTreeMap<String, Place>> {
    let mut places = BTreeMap::new();
    if let Some(file) = &arguments.config {
        let all = Config::read(file)?.places();
        places = all.map_err(|(key, why)| anyhow::anyhow!("{}: `{key}` {why}", file.display()))?;
    }
    for url in &arguments.url {
        places.insert(host(url), Place::Url(upstream(url, &arguments.header_env)?));
    }
    if let Some((program, args)) = arguments.command.split_first() {
        let text = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
        let (command, args, env) = (text(program), args.iter().map(text).collect(), BTreeMap::new());
        places.insert(command_name(program), Place::Program(Program { command, args, env, lacks: Vec::new() }));
    }
    Ok(places)
}

/// Where a server's part goes: the file that was named, or among several one of its own in that directory.
fn file(named: &Path, one: bool, server: &str, extension: &str) -> PathBuf {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    if one {
        named.to_owned()
    } else {
        named.join(format!("{}.{extension}", server.chars().map(plain).collect::<String>()))
    }
}

/// Writes a new file. What is there already is left alone.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    }
    let mut new = std::fs::File::create_new(file).with_context(|| format!("cannot create `{}`", file.display()))?;
    new.write_all(text.as_bytes()).with_context(|| format!("cannot write `{}`", file.display()))
}

/// A limit that stops a flood and nothing else, until a log says what is usual.
const FLOOD: &str = "limit 20 per rolling minute per grant";
const ASK: &str = "approve by \"an operator\" within 1h limit 20 per rolling hour per grant";

const CATEGORIES: [(Category, &str, &str); 5] = [
    (Category::Read, "They look and change nothing.", ""),
    (Category::Write, "They change what can be changed back.", FLOOD),
    (Category::Execute, "They set something going.", FLOOD),
    (Category::Destructive, "What they take away is gone: a person is asked.", ASK),
    (Category::Financial, "They move money: a person is asked.", ASK),
];

/// A policy to begin with: what nothing names is refused, and the rest is as free as its category.
fn starter(server: &str, catalog: &Catalog) -> anyhow::Result<String> {
    let mut text =
        format!("# What `{}` offered to `tollbook scan`. Read it, and make it yours.\n", crate::visible(server));
    writeln!(text, "policy {}\ndefault deny", quoted(server))?;
    for (category, what, clause) in CATEGORIES {
        let mut tools = catalog.tools.values().filter(|tool| tool.class().category == category).peekable();
        if tools.peek().is_none() {
            continue;
        }
        writeln!(text, "\n# {}, risk {}. {what}", category.name(), category.risk().name())?;
        for tool in tools {
            // Where only the server's word makes it harmless, a limit stands all the same.
            let on_its_word = clause.is_empty() && Category::by_name(&tool.name) != Category::Read;
            match if on_its_word { FLOOD } else { clause } {
                "" => writeln!(text, "allow {}", quoted(&tool.name))?,
                clause => writeln!(text, "tool {} {{ {clause} }}", quoted(&tool.name))?,
            }
        }
    }
    let file = format!("{server}.toll");
    match tollbook_policy::read(&file, &text, Target::Native) {
        Ok(_) => {
            tollbook_policy::format(&text).map_err(|_| anyhow::anyhow!("the policy can't be written in the one style"))
        }
        Err(told) => {
            let told = tollbook_policy::diagnostic::render(&file, &text, &told, false);
            anyhow::bail!("no policy can be written for these tools:\n{told}")
        }
    }
}

fn quoted(name: &str) -> String {
    tollbook_policy::json::quote(name)
}

//! `tollbook grant`: who may speak to which server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use comfy_table::{Table, presets};
use tollbook_gateway::config::Config;
use tollbook_gateway::grants::{self, Grants};

use crate::arguments::serve::{Grant, Named, New};

pub fn run(arguments: &Grant) -> anyhow::Result<ExitCode> {
    match arguments {
        Grant::New(new) => self::new(new)?,
        Grant::List(which) => list(&which.config)?,
        Grant::Revoke(named) => {
            let (file, mut all) = read(&named.of.config)?;
            find(&mut all, named)?;
            all.grants.remove(&named.grant);
            all.write(&file)?;
            crate::print(&format!("revoked {}\n", named.grant))?;
        }
        Grant::Rotate(named) => {
            let (file, mut all) = read(&named.of.config)?;
            let token = grants::new_token()?;
            find(&mut all, named)?.sha256 = grants::hash(&token);
            all.write(&file)?;
            crate::print(&format!("{token}\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn new(new: &New) -> anyhow::Result<()> {
    let config = Config::read(&new.of.config)?;
    let (file, mut all) = read(&new.of.config)?;
    anyhow::ensure!(!all.grants.contains_key(&new.grant), "there is a grant `{}` already", new.grant);
    for server in &new.server {
        anyhow::ensure!(config.servers.contains_key(server), "there is no server `{server}` in the configuration");
    }
    let policy = new.policy.as_deref().map(absolute).transpose()?;
    let token = grants::new_token()?;
    let servers: BTreeMap<_, _> = new.server.iter().map(|server| (server.clone(), policy.clone())).collect();
    all.grants.insert(new.grant.clone(), grants::Grant { sha256: grants::hash(&token), servers });
    all.write(&file)?;
    crate::print(&format!("{token}\n"))
}

fn list(config: &Path) -> anyhow::Result<()> {
    let (_, all) = read(config)?;
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["grant", "server", "policy"]);
    for (name, grant) in &all.grants {
        for (server, policy) in &grant.servers {
            let policy = policy.as_ref().map_or("the server's".to_owned(), |policy| policy.display().to_string());
            table.add_row([crate::visible(name), crate::visible(server), crate::visible(&policy)]);
        }
    }
    crate::print(&format!("{table}\n"))
}

fn read(config: &Path) -> anyhow::Result<(PathBuf, Grants)> {
    anyhow::ensure!(config.is_file(), "there is no configuration `{}`", config.display());
    let file = Grants::beside(config);
    let grants = Grants::read(&file)?;
    Ok((file, grants))
}

fn find<'g>(all: &'g mut Grants, named: &Named) -> anyhow::Result<&'g mut grants::Grant> {
    all.grants.get_mut(&named.grant).with_context(|| format!("there is no grant `{}`", named.grant))
}

fn absolute(file: &Path) -> anyhow::Result<PathBuf> {
    std::fs::canonicalize(file).with_context(|| format!("cannot find the policy `{}`", file.display()))
}

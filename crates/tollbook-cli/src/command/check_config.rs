//! `tollbook check-config`: is this a configuration to start with?

use std::path::Path;
use std::process::ExitCode;

use tollbook_gateway::config::{Config, ConfigError};

use crate::arguments::serve::CheckConfig;

pub fn run(arguments: &CheckConfig) -> anyhow::Result<ExitCode> {
    let file = &arguments.config;
    let config = match Config::read(file) {
        Err(error @ ConfigError::File { .. }) => return Err(error.into()),
        Err(error) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(1));
        }
        Ok(config) => config,
    };
    let mut wrong: Vec<String> = Vec::new();
    if let Err((key, why)) = config.places() {
        wrong.push(format!("{}: `{key}` {why}", file.display()));
    }
    wrong.extend(super::serve::redaction(&config).err().map(|error| format!("{}: `redact`: {error}", file.display())));
    wrong.extend(super::log::signer(config.log_key.as_deref()).err().map(|error| format!("{error:#}")));
    let grants = super::serve::read_grants(file)?;
    wrong.extend(grants.unusable());
    for standing in super::serve::standing(file, &config, &grants) {
        wrong.extend(standing.engine().err().map(|error| format!("{error:#}")));
    }
    for (grant, server) in super::serve::unknown_servers(&config, &grants) {
        wrong.push(format!("the grant `{grant}` is for the server `{server}`, which isn't in the configuration"));
    }
    // It may be there where the gateway is to run.
    for (name, command) in config.servers.iter().filter_map(|(name, server)| Some((name, server.command.as_deref()?))) {
        if !is_found(command) {
            eprintln!("warning: `servers.{name}.command` is `{command}`, which isn't a program in the PATH here");
        }
    }
    for one in &wrong {
        eprintln!("{one}");
    }
    if !wrong.is_empty() {
        return Ok(ExitCode::from(1));
    }
    let (servers, grants) = (config.servers.len(), grants.grants.len());
    crate::print(&format!("{}: ok, {servers} servers, {grants} grants\n", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn is_found(command: &str) -> bool {
    if command.contains('/') {
        return Path::new(command).is_file();
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&places).any(|place| place.join(command).is_file())
}

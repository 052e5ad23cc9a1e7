//! The configuration of `tollbook serve`: servers, where they are, and which policy stands for each.
//!
//! A key that isn't known is an error, and so is a server that is said to be in two places. Paths are seen from
//! the file. A credential is named, by a variable of the environment or a file, so that the configuration
//! itself is no secret.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::http::{Bounds, Place, Program, Upstream, UpstreamError};

/// The whole configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where clients connect.
    #[serde(default = "listen", deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Where `/healthz`, `/readyz` and `/metrics` are; nowhere without it.
    #[serde(default, deserialize_with = "some_address")]
    pub admin: Option<SocketAddr>,
    /// The names under which clients reach the gateway, besides those of the loopback.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The log's directory.
    pub log: PathBuf,
    /// Judge and record everything, refuse nothing.
    #[serde(default)]
    pub shadow: bool,
    /// What must have happened to a record before its call goes on.
    #[serde(default)]
    pub durability: Durability,
    /// How much of the arguments is kept in the log.
    #[serde(default)]
    pub record_args: RecordArgs,
    /// Arguments that are never recorded, such as `args.api_key, args.*.password`.
    #[serde(default)]
    pub redact: String,
    /// What becomes of calls while the log can't be written.
    #[serde(default)]
    pub on_log_failure: OnLogFailure,
    /// The private key that signs the log.
    pub log_key: Option<PathBuf>,
    /// Days after which recorded events go; without it they stay.
    pub retention_days: Option<NonZeroU32>,
    /// How much the gateway takes at once.
    #[serde(default)]
    pub bounds: Bounds,
    /// The servers, by the name that they have in the log and in their path, `/NAME/mcp`.
    pub servers: BTreeMap<String, Server>,
}

/// A server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The program to start.
    pub command: Option<String>,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// What is added to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Where the server is, if it is to be reached over HTTP.
    pub url: Option<String>,
    /// Headers of every request to it.
    #[serde(default)]
    pub headers: BTreeMap<String, Text>,
    /// The policy, for every grant that has none of its own. Without it such a grant is refused everything.
    pub policy: Option<PathBuf>,
}

/// What must have happened to a record before its call goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// It is on the disk.
    Fsync,
    /// The system has it, and syncs it within 50 ms.
    #[default]
    Write,
    /// It is in memory.
    Relaxed,
}

/// How much of the arguments is kept in the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordArgs {
    /// The values that the policy reads.
    #[default]
    Read,
    /// All values.
    Full,
    /// No value.
    None,
}

/// What becomes of calls while the log can't be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLogFailure {
    /// They are refused.
    #[default]
    Refuse,
    /// They are judged, and go on unrecorded.
    Allow,
}

/// A text, or where it is to be had: `{ env = "NAME" }` or `{ file = "PATH" }`, with what stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// As it stands in the configuration.
    Plain(String),
    /// A secret from elsewhere.
    From {
        /// A variable of the environment.
        env: Option<String>,
        /// A file, of which white space at the end isn't taken.
        file: Option<PathBuf>,
        /// What stands before it, such as `Bearer `.
        prefix: String,
    },
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("cannot read `{}`", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// It isn't TOML, or a key isn't known or has a value of another kind.
    #[error("{}: {}", file.display(), source.to_string().trim_end())]
    Form {
        /// The file.
        file: PathBuf,
        /// The place, and what was expected there.
        source: Box<toml::de::Error>,
    },
    /// A key's value can't be what it is.
    #[error("{}: `{key}` {wrong}", file.display())]
    Meaning {
        /// The file.
        file: PathBuf,
        /// The key, from the top.
        key: String,
        /// What is found and what was expected.
        wrong: String,
    },
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// The first thing in it that can't be used.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(file).map_err(|source| ConfigError::File { file: file.to_owned(), source })?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|source| ConfigError::Form { file: file.to_owned(), source: Box::new(source) })?;
        let meaning = |(key, wrong)| ConfigError::Meaning { file: file.to_owned(), key, wrong };
        check_bounds(&config.bounds).map_err(meaning)?;
        let from = file.parent().unwrap_or(Path::new(""));
        config.log = from.join(&config.log);
        config.log_key = config.log_key.map(|key| from.join(key));
        for (name, server) in &mut config.servers {
            server.policy = server.policy.take().map(|policy| from.join(policy));
            let texts = server.env.values_mut().chain(server.headers.values_mut());
            for text in texts {
                if let Text::From { file: Some(secret), .. } = text {
                    *secret = from.join(&*secret);
                }
            }
            check(name, server).map_err(meaning)?;
        }
        Ok(config)
    }

    /// Where each server is, with its credentials.
    ///
    /// # Errors
    /// A credential that can't be had, or a URL or header that can't be used; the key and what is wrong.
    pub fn places(&self) -> Result<BTreeMap<String, Place>, (String, String)> {
        let connect_within = Duration::from_secs(self.bounds.connect_within_s);
        let secrets = self.secret_variables();
        let place =
            |(name, server): (&String, &Server)| Ok((name.clone(), server.place(name, connect_within, &secrets)?));
        self.servers.iter().map(place).collect()
    }

    /// Variables of the environment that hold credentials. No server's program sees those of another.
    fn secret_variables(&self) -> Vec<String> {
        let texts = self.servers.values().flat_map(|server| server.env.values().chain(server.headers.values()));
        texts.filter_map(|text| if let Text::From { env, .. } = text { env.clone() } else { None }).collect()
    }
}

impl Server {
    fn place(&self, name: &str, connect_within: Duration, lacks: &[String]) -> Result<Place, (String, String)> {
        let had = |table: &str, texts: &BTreeMap<String, Text>| -> Result<Vec<(String, String)>, (String, String)> {
            let one = |(key, text): (&String, &Text)| match text.had() {
                Ok(text) => Ok((key.clone(), text)),
                Err(wrong) => Err((format!("servers.{name}.{table}.{key}"), wrong)),
            };
            texts.iter().map(one).collect()
        };
        if let Some(url) = &self.url {
            return match Upstream::new(url, &had("headers", &self.headers)?, connect_within) {
                Ok(upstream) => Ok(Place::Url(upstream)),
                Err(error @ UpstreamError::Url(_)) => Err((format!("servers.{name}.url"), error.to_string())),
                Err(error) => Err((format!("servers.{name}.headers"), error.to_string())),
            };
        }
        let env = had("env", &self.env)?.into_iter().collect();
        let (command, args) = (self.command.clone().unwrap_or_default(), self.args.clone());
        Ok(Place::Program(Program { command, args, env, lacks: lacks.to_vec() }))
    }
}

impl Text {
    /// The text itself.
    fn had(&self) -> Result<String, String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::From { env: Some(name), prefix, .. } => match std::env::var(name) {
                Ok(value) => Ok(format!("{prefix}{value}")),
                Err(_) => Err(format!("names `{name}`, which isn't set in the environment")),
            },
            Self::From { file, prefix, .. } => {
                let file = file.clone().unwrap_or_default();
                let text = std::fs::read_to_string(&file);
                let text = text.map_err(|error| format!("names `{}`, which can't be read: {error}", file.display()))?;
                Ok(format!("{prefix}{}", text.trim_end()))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> serde::de::Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text::Plain(text.to_owned()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Text, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct From {
            env: Option<String>,
            file: Option<PathBuf>,
            #[serde(default)]
            prefix: String,
        }
        let from = From::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        if from.env.is_some() == from.file.is_some() {
            return Err(serde::de::Error::custom("either `env` or `file` is expected"));
        }
        Ok(Text::From { env: from.env, file: from.file, prefix: from.prefix })
    }
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 4100))
}

fn address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    let wrong = || format!("`{text}` is no address and port; one such as `127.0.0.1:4100` or `[::1]:4100` is expected");
    text.parse().map_err(|_| serde::de::Error::custom(wrong()))
}

fn some_address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    address(from).map(Some)
}

/// Bounds under which nothing could pass.
fn check_bounds(bounds: &Bounds) -> Result<(), (String, String)> {
    let seconds = |s: u64| usize::from(s > 0);
    let least_one = [
        ("frame_bytes_max", bounds.frame_bytes_max),
        ("answer_bytes_max", bounds.answer_bytes_max),
        ("header_bytes_max", bounds.header_bytes_max),
        ("connections_max", bounds.connections_max),
        ("streams_max", bounds.streams_max),
        ("sessions_max", bounds.sessions_max),
        ("children_max", bounds.children_max),
        ("session_idle_s", seconds(bounds.session_idle_s)),
        ("head_within_s", seconds(bounds.head_within_s)),
        ("body_within_s", seconds(bounds.body_within_s)),
        ("connect_within_s", seconds(bounds.connect_within_s)),
        ("answer_within_s", seconds(bounds.answer_within_s)),
    ];
    match least_one.into_iter().find(|(_, bound)| *bound == 0) {
        Some((key, _)) => {
            Err((format!("bounds.{key}"), "is 0, which lets nothing pass; 1 or more is expected".to_owned()))
        }
        None => Ok(()),
    }
}

/// What is wrong with a server, and at which key.
fn check(name: &str, server: &Server) -> Result<(), (String, String)> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(plain) {
        let wrong = "is no name for a path; letters, digits, `-`, `_` and `.` are expected";
        return Err((format!("servers.{name}"), wrong.to_owned()));
    }
    let key = |key: &str| format!("servers.{name}.{key}");
    match (&server.command, &server.url) {
        (Some(_), Some(_)) => Err((key("url"), "stands beside `command`; one of them is expected".to_owned())),
        (None, None) => {
            Err((format!("servers.{name}"), "has neither `command` nor `url`; one of them is expected".to_owned()))
        }
        (Some(_), None) if !server.headers.is_empty() => {
            Err((key("headers"), "stands beside `command`; headers go with `url`".to_owned()))
        }
        (None, Some(_)) if !server.args.is_empty() || !server.env.is_empty() => {
            let found = if server.args.is_empty() { "env" } else { "args" };
            Err((key(found), "stands beside `url`; it goes with `command`".to_owned()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;

//! Grants: labelled bearer tokens, each good on some servers.
//!
//! A token is 256 random bits and is shown once, when it is made. What is kept is its SHA-256, in a file beside
//! the configuration, so that whoever reads the file can't speak for anybody.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a token begins with, so that a scanner for secrets finds one that leaked.
const PREFIX: &str = "toll_";

/// The grants of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// All of them, by name.
    pub grants: BTreeMap<String, Grant>,
}

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// SHA-256 of the token, in hexadecimal digits.
    pub sha256: String,
    /// The servers that it is good on, each with a policy of its own where it has one: a file, seen from the
    /// configuration. Without one, the server's policy judges.
    pub servers: BTreeMap<String, Option<PathBuf>>,
}

/// Why the grants can't be used.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// The file can't be read or written.
    #[error("cannot {what} `{}`", file.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file doesn't hold grants.
    #[error("cannot use the grants in `{}`", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot get a random number from the system")]
    Random(#[from] getrandom::Error),
}

impl Grants {
    /// Where the grants of a configuration are: `tollbook.toml` has them in `tollbook.grants.json`.
    #[must_use]
    pub fn beside(config: &Path) -> PathBuf {
        config.with_extension("grants.json")
    }

    /// Reads the grants. A file that isn't there holds none.
    ///
    /// # Errors
    /// A file that can't be read, or holds something else.
    pub fn read(file: &Path) -> Result<Self, GrantsError> {
        let text = match std::fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|source| GrantsError::File { what: "read", file: file.to_owned(), source })?,
        };
        serde_json::from_str(&text).map_err(|source| GrantsError::Content { file: file.to_owned(), source })
    }

    /// Writes the grants, all or nothing, for their owner's eyes.
    ///
    /// # Errors
    /// A file that can't be written.
    pub fn write(&self, file: &Path) -> Result<(), GrantsError> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |source| GrantsError::File { what: "write", file: file.to_owned(), source };
        let text = serde_json::to_string_pretty(self)
            .map_err(|source| GrantsError::Content { file: file.to_owned(), source })?;
        let aside = file.with_extension("json.new");
        let mut options = std::fs::File::options();
        let mut new = options.write(true).create(true).truncate(true).mode(0o600).open(&aside).map_err(failed)?;
        new.write_all(text.as_bytes())
            .and_then(|()| new.write_all(b"\n"))
            .and_then(|()| new.sync_all())
            .map_err(failed)?;
        std::fs::rename(&aside, file).map_err(failed)
    }

    /// Grants that no token can stand for, and why.
    #[must_use]
    pub fn unusable(&self) -> Vec<String> {
        let (mut owners, mut wrong) = (BTreeMap::new(), Vec::new());
        for (name, grant) in &self.grants {
            let Some(digest) = digest_of(&grant.sha256) else {
                wrong.push(format!("the grant `{name}` has a `sha256` that isn't 64 hexadecimal digits"));
                continue;
            };
            if let Some(other) = owners.insert(digest, name) {
                wrong.push(format!(
                    "the grants `{other}` and `{name}` have the same token, so it isn't known who speaks"
                ));
            }
        }
        wrong
    }

    /// The tokens that are good.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        let mut tokens = Tokens::default();
        for (name, grant) in &self.grants {
            // What isn't a hash is no token's.
            let Some(digest) = digest_of(&grant.sha256) else { continue };
            for server in grant.servers.keys() {
                tokens.0.entry(digest).or_default().insert(server.clone(), name.clone());
            }
        }
        tokens
    }
}

/// Which tokens are good where.
#[derive(Debug, Clone, Default)]
pub struct Tokens(BTreeMap<[u8; 32], BTreeMap<String, String>>);

impl Tokens {
    /// The grant that a token stands for on a server. It is looked up by its hash, so the time that takes tells
    /// nothing of the tokens.
    pub(crate) fn grant(&self, server: &str, token: &str) -> Option<&str> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.0.get(&digest)?.get(server).map(String::as_str)
    }
}

/// The bytes that hexadecimal digits stand for.
fn digest_of(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
    rest.is_empty().then_some(bytes)?.try_into().ok()
}

/// A new token.
///
/// # Errors
/// Where the system gives no random numbers.
pub fn new_token() -> Result<String, GrantsError> {
    let mut token = PREFIX.to_owned();
    for _ in 0..4 {
        token.push_str(&format!("{:016x}", getrandom::u64()?));
    }
    Ok(token)
}

/// What is kept of a token.
#[must_use]
pub fn hash(token: &str) -> String {
    Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

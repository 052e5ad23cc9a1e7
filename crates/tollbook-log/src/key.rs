//! The keys of a log: Ed25519, in the text forms of C2SP's signed notes.
//!
//! The private key is a file of its own, readable by its owner only, and never lies in the log: who
//! can write the log but doesn't have the key can't sign another history. The public key is one line
//! that is given to whoever is to check.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::disk::{self, DiskError};

/// The key's own name, in its text forms.
const NAME: &str = "tollbook";
const PRIVATE: &str = "PRIVATE+KEY";
/// Ed25519, in the numbering of C2SP.
const ALGORITHM: u8 = 1;
/// Longest text of a key that is read, in bytes.
const TEXT_BYTES_MAX: u64 = 4096;

/// Why a key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file system refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The system has no randomness to give.
    #[error("cannot get randomness for a key: {0}")]
    Random(String),
    /// There is a file already, and keys aren't overwritten.
    #[error("`{}` exists; a key is never overwritten", .0.display())]
    Exists(PathBuf),
    /// The file can be read by others.
    #[error("`{}` can be read by others: its mode is {mode:o}, and 600 was expected", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It isn't a private key.
    #[error("`{}` isn't a private key as `tollbook log keygen` writes it", .0.display())]
    NotPrivate(PathBuf),
    /// It isn't a public key.
    #[error("`{0}` is neither a public key as `tollbook log keygen` prints it nor a file that holds one")]
    NotPublic(String),
}

/// What signs a log.
#[derive(Clone)]
pub struct Signer {
    key: SigningKey,
}

/// What a log's signatures are checked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
}

impl Signer {
    /// Makes a key.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| KeyError::Random(error.to_string()))?;
        Ok(Self::from_secret(&secret))
    }

    /// The key that belongs to 32 secret bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(secret) }
    }

    /// Writes the key to a new file that only its owner can read. It is on stable storage when this returns.
    ///
    /// # Errors
    /// Where there is such a file, or it can't be written.
    pub fn store(&self, path: &Path) -> Result<(), KeyError> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
            _ => DiskError::at("create", path)(error).into(),
        })?;
        let text = format!("{PRIVATE}+{}\n", text(self.public().id(NAME), self.key.as_bytes()));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(DiskError::at("write", path))?;
        Ok(path.parent().filter(|dir| !dir.as_os_str().is_empty()).map_or(Ok(()), disk::sync_dir)?)
    }

    /// Reads a key from its file.
    ///
    /// # Errors
    /// Where the file can't be read, can be read by others, or holds no private key.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let bytes = disk::read_small(path, TEXT_BYTES_MAX)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let mode = std::fs::metadata(path).map_err(DiskError::at("read", path))?.mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(KeyError::Exposed { path: path.to_owned(), mode });
            }
        }
        let text =
            std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().strip_prefix(PRIVATE)?.strip_prefix('+'));
        let secret = text.and_then(parse);
        let signer = secret.map(|(_, secret)| Self::from_secret(&secret));
        let fits = |signer: &Self| secret.is_some_and(|(id, _)| id == signer.public().id(NAME));
        signer.filter(fits).ok_or_else(|| KeyError::NotPrivate(path.to_owned()))
    }

    /// The key that checks what this one signs.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { key: self.key.verifying_key() }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.public())
    }
}

impl PublicKey {
    /// Reads a key from its text, or from a file that holds it.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn read(text_or_path: &str) -> Result<Self, KeyError> {
        if let Some(key) = Self::from_text(text_or_path) {
            return Ok(key);
        }
        let path = Path::new(text_or_path);
        let bytes = if path.is_file() { disk::read_small(path, TEXT_BYTES_MAX)? } else { Vec::new() };
        std::str::from_utf8(&bytes)
            .ok()
            .and_then(Self::from_text)
            .ok_or_else(|| KeyError::NotPublic(text_or_path.to_owned()))
    }

    /// Reads a key from its text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let (id, bytes) = parse(text.trim())?;
        let key = Self { key: VerifyingKey::from_bytes(&bytes).ok()? };
        (key.id(NAME) == id).then_some(key)
    }

    /// The text with which any reader of signed notes checks what is signed in this name, such as
    /// `tollbook/<instance>`.
    #[must_use]
    pub fn text_for(&self, name: &str) -> String {
        let id: String = disk::hex(&self.id(name));
        format!("{name}+{id}+{}", encoded(self.key.as_bytes()))
    }

    /// The first four bytes of `SHA-256(name || "\n" || 0x01 || key)`.
    pub(crate) fn id(&self, name: &str) -> [u8; 4] {
        let sum = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', ALGORITHM])
            .chain_update(self.key.as_bytes())
            .finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(sum);
        [a, b, c, d]
    }

    pub(crate) fn is_signature(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

/// The key's text, as `tollbook log keygen` prints it.
impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text_for(NAME))
    }
}

fn text(id: [u8; 4], key: &[u8; 32]) -> String {
    format!("{NAME}+{}+{}", disk::hex(&id), encoded(key))
}

fn encoded(key: &[u8; 32]) -> String {
    let mut bytes = vec![ALGORITHM];
    bytes.extend(key);
    BASE64_STANDARD.encode(bytes)
}

/// The id and the 32 bytes of `<name>+<id>+<key>`. The key may hold a `+` itself.
fn parse(text: &str) -> Option<([u8; 4], [u8; 32])> {
    let mut parts = text.splitn(3, '+');
    let (NAME, id, key) = (parts.next()?, parts.next()?, parts.next()?) else { return None };
    let bytes = BASE64_STANDARD.decode(key).ok()?;
    let (&ALGORITHM, key) = bytes.split_first()? else { return None };
    let id = (id.len() == 8).then(|| u32::from_str_radix(id, 16).ok()).flatten()?;
    Some((id.to_be_bytes(), key.try_into().ok()?))
}

#[cfg(test)]
mod tests;

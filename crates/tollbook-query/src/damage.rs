//! Sealed files that aren't as they were written.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};
use tollbook_log::SealedFile;

/// What is wrong with a file's size, which costs nothing to look at; None where nothing is.
pub fn wrong_size(path: &Path, file: &SealedFile) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() == file.bytes => None,
        Ok(found) => Some(format!("it has {} bytes instead of {}", found.len(), file.bytes)),
        Err(error) => Some(error.to_string()),
    }
}

/// What is wrong with a file, read to its end; None where nothing is.
pub fn wrong(path: &Path, file: &SealedFile) -> Option<String> {
    if let Some(what) = wrong_size(path, file) {
        return Some(what);
    }
    match sha256(path) {
        Ok(found) if found == file.sha256 => None,
        Ok(_) => Some("its SHA-256 isn't the manifest's".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        hasher.update(bytes);
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

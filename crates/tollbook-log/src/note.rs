//! Signed notes, as C2SP defines them (c2sp.org/signed-note): a text, an empty line, and signatures.
//!
//! ```text
//! tollbook/20261123T064652Z-7f3a9c01
//! 1500
//! 3ZkP…=
//!
//! — tollbook/20261123T064652Z-7f3a9c01 mF5o…=
//! ```
//!
//! Other signatures may stand beside ours: a witness adds its own line.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::key::{PublicKey, Signer};

/// Most bytes of a note that is read.
pub(crate) const NOTE_BYTES_MAX: u64 = 64 << 10;

/// The note over a text, which must end its last line.
pub(crate) fn sign(text: &str, name: &str, signer: &Signer) -> String {
    let mut signed = signer.public().id(name).to_vec();
    signed.extend(signer.sign(text.as_bytes()));
    format!("{text}\n— {name} {}\n", BASE64_STANDARD.encode(signed))
}

/// A note's text and its signature lines; none where it isn't a note.
pub(crate) fn split(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")?;
    let (text, rest) = note.split_at_checked(at + 1)?;
    let signatures = rest.strip_prefix('\n')?;
    let is_line = |line: &str| line.starts_with("— ");
    let whole = signatures.ends_with('\n') && signatures.lines().all(is_line) && !signatures.is_empty();
    whole.then_some((text, signatures))
}

/// The note's text, if one of these keys signed it in this name.
pub(crate) fn open<'a>(note: &'a str, name: &str, keys: &[PublicKey]) -> Option<&'a str> {
    let (text, lines) = split(note)?;
    let fits = |(key, signature): (&PublicKey, [u8; 64])| key.is_signature(text.as_bytes(), &signature);
    signatures(lines, name, keys).any(fits).then_some(text)
}

/// Whether the note says that one of these keys signed it in this name, whatever the signature is worth.
pub(crate) fn is_by(note: &str, name: &str, keys: &[PublicKey]) -> bool {
    split(note).is_some_and(|(_, lines)| signatures(lines, name, keys).next().is_some())
}

fn signatures<'a>(
    lines: &'a str,
    name: &'a str,
    keys: &'a [PublicKey],
) -> impl Iterator<Item = (&'a PublicKey, [u8; 64])> {
    lines.lines().filter_map(move |line| {
        let (signer, signature) = line.strip_prefix("— ")?.split_once(' ')?;
        let bytes = BASE64_STANDARD.decode(signature).ok().filter(|_| signer == name)?;
        let (id, signature) = bytes.split_first_chunk::<4>()?;
        let key = keys.iter().find(|key| key.id(name) == *id)?;
        Some((key, signature.try_into().ok()?))
    })
}

#[cfg(test)]
mod tests;

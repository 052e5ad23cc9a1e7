//! The state as bytes, so that a log that was cut at the front still replays.
//!
//! The bytes are a function of the events alone: entries stand in the order of their slots, which the
//! events gave them, and never in hash order. A restored state decides like the one that never stopped.
//! A snapshot is a cache: the events give the same state again, and that is how it is checked.

use crate::state::State;

/// The version of the form; a state of another one isn't restored.
const FORM: u32 = 1;

/// Why bytes aren't a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotError(String);

impl SnapshotError {
    /// An error with its cause in words.
    #[must_use]
    pub fn new(why: String) -> Self {
        Self(why)
    }
}

impl std::fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "not a snapshot of a state: {}", self.0)
    }
}

impl std::error::Error for SnapshotError {}

impl State {
    /// The state as bytes. States that came of the same events have equal bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let written = minicbor::encode((FORM, self), &mut bytes);
        debug_assert!(written.is_ok(), "encoding to memory failed");
        bytes
    }

    /// The state that these bytes hold. `seed` shuffles its hash tables and changes no decision.
    ///
    /// # Errors
    /// Bytes that aren't a state of this form.
    pub fn restore(bytes: &[u8], seed: u64) -> Result<Self, SnapshotError> {
        let refused = |error: minicbor::decode::Error| SnapshotError(error.to_string());
        let mut decoder = minicbor::Decoder::new(bytes);
        decoder.array().map_err(refused)?;
        let form = decoder.u32().map_err(refused)?;
        if form != FORM {
            return Err(SnapshotError(format!("form {form}; this version reads form {FORM}")));
        }
        let mut state: Self = decoder.decode().map_err(refused)?;
        if decoder.position() != bytes.len() {
            return Err(SnapshotError("bytes follow it".to_owned()));
        }
        state.reseed(seed);
        Ok(state)
    }
}

/// The charges of a call, as a list.
pub(crate) mod charges {
    use minicbor::encode::{Error, Write};
    use minicbor::{Decode, Decoder, Encode, Encoder};

    use crate::state::{Charged, Charges};

    pub fn encode<C, W: Write>(charges: &Charges, to: &mut Encoder<W>, context: &mut C) -> Result<(), Error<W::Error>> {
        charges.as_slice().encode(to, context)
    }

    pub fn decode<C>(from: &mut Decoder<'_>, context: &mut C) -> Result<Charges, minicbor::decode::Error> {
        Ok(Vec::<Charged>::decode(from, context)?.into())
    }
}

#[cfg(test)]
mod tests;

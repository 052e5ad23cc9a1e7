//! The state as bytes, so that a log that was cut at the front still replays.
//!
//! The bytes are a function of the events alone: entries stand in the order of their slots, which the
//! events gave them, and never in hash order. A restored state decides like the one that never stopped.
//! A snapshot is a cache: the events give the same state again, and that is how it is checked.

use minicbor::encode::{self, Write};
use minicbor::{Decode, Decoder, Encode, Encoder, decode};

use crate::approval::Approvals;
use crate::flight::Flight;
use crate::keyed::Keyed;
use crate::record::Bounds;
use crate::state::{Counters, State};

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
        let refused = |error: decode::Error| SnapshotError(error.to_string());
        let mut decoder = Decoder::new(bytes);
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

/// Parts of a state, which are written in this order.
const PARTS: u64 = 8;

impl<C> Encode<C> for State {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Result<(), encode::Error<W::Error>> {
        to.array(PARTS)?;
        self.bounds.encode(to, context)?;
        self.latest_us.encode(to, context)?;
        self.counters.encode(to, context)?;
        self.sessions.encode(to, context)?;
        self.sessions_swept.encode(to, context)?;
        self.approvals.encode(to, context)?;
        self.flight.written().encode(to, context)?;
        // How many of the calls have ended: none that is written.
        0_usize.encode(to, context)
    }
}

impl<'b, C> Decode<'b, C> for State {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        if from.array()? != Some(PARTS) {
            return Err(decode::Error::message("a state of another number of parts"));
        }
        let state = Self {
            bounds: Bounds::decode(from, context)?,
            latest_us: i64::decode(from, context)?,
            counters: Counters::decode(from, context)?,
            sessions: Keyed::decode(from, context)?,
            sessions_swept: usize::decode(from, context)?,
            approvals: Approvals::decode(from, context)?,
            flight: Flight::read(Vec::decode(from, context)?),
        };
        if usize::decode(from, context)? != state.flight.settled() {
            return Err(decode::Error::message("another number of calls has ended"));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests;
